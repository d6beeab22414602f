"""One lot of the town: the house, its yard, and the drivers that are its own."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data_pipeline.sample_market.geometry import Frame, Points, Warp
from data_pipeline.sample_market.plan import STREET_HALF_WIDTH, Lot, Plan
from data_pipeline.sample_market.roofs import add_building
from data_pipeline.sample_market.shapes import (
    CAR,
    FITTING,
    LAWN,
    POOL,
    YARD,
    Colour,
    Scene,
    Tree,
    blob,
    moved,
    vary,
)

POOL_SHARE = 0.25
"""Part of the lots with a pool."""
CANOPY_SHARE = 0.42
"""Part of the lots with a clump of large trees."""
LAWNS: tuple[Colour, ...] = ((104, 123, 74), (99, 120, 70), (110, 127, 78), (116, 128, 82), (96, 117, 70))
PAVINGS: tuple[Colour, ...] = ((168, 165, 158), (150, 147, 142), (122, 121, 120), (178, 168, 150))
CARS: tuple[Colour, ...] = (
    (225, 226, 228),
    (190, 192, 196),
    (60, 62, 66),
    (120, 124, 130),
    (150, 40, 36),
    (44, 74, 128),
    (70, 150, 176),
)
POOL_BLUES: tuple[Colour, ...] = ((86, 176, 196), (72, 158, 190), (104, 190, 200), (64, 146, 178))


@dataclass(frozen=True)
class Dwelling:
    """The attributes that shape the building, drawn before anything is painted."""

    bedrooms: int
    bathrooms: float
    area_m2: float
    storeys: int


class House:
    """A lot with its house, drawn from the lot's own random numbers.

    Args:
        plan: The town plan.
        warp: The plan's deformation.
        lot: The lot to build on.

    Attributes:
        centre: Town pixel (2,) of the middle of the building: the place that listings name.
        canopy: The crowns that count as the lot's tree canopy.
        scene: Everything on the lot, the canopy included.
    """

    def __init__(self, plan: Plan, warp: Warp, lot: Lot) -> None:
        stream = random.Random(f"{plan.seed}/house/{lot.house_id}")
        self.lot = lot
        self.dwelling = draw_dwelling(plan.seed, lot)
        back = 1 if lot.side == 0 else -1
        deep = abs(lot.rear - lot.front)
        setback = deep * (0.43 if lot.shore else 0.49) + stream.uniform(-3.0, 3.0)
        middle = (lot.left + lot.right) / 2.0 + stream.uniform(-6.0, 6.0)
        self._frame = Frame(warp, middle, lot.front + back * setback, back)
        self.centre: Points = self._frame.centre
        self._stream = stream
        self._half_lot = (lot.right - lot.left) / 2.0 - 6.0
        self._front, self._rear = -setback, deep - setback
        self._taken: list[tuple[float, float, float, float]] = []
        self.scene = Scene()
        self.canopy: list[Tree] = []
        self.has_pool = stream.random() < POOL_SHARE
        outline = warp(
            [(lot.left, lot.front), (lot.right, lot.front), (lot.right, lot.rear), (lot.left, lot.rear)]
        )
        self.scene.add(LAWN, outline, vary(stream, stream.choice(LAWNS), 5.0))
        self._build()
        self._yard()
        self._plant()

    def _take(self, along: float, back: float, width: float, depth: float) -> None:
        self._taken.append((along - width / 2, back - depth / 2, along + width / 2, back + depth / 2))

    def _build(self) -> None:
        stream, frame, scene = self._stream, self._frame, self.scene
        ground = self.dwelling.area_m2 / (1.0 if self.dwelling.storeys == 1 else 1.7) + 30.0
        pixels = ground / 0.0892
        shape = stream.uniform(1.3, 1.8)
        width = min(74.0, max(44.0, (pixels * shape) ** 0.5))
        depth = min(48.0, max(30.0, pixels / width))
        self._width, self._depth = width, depth
        height = 14.0 if self.dwelling.storeys == 1 else 21.0
        add_building(scene, frame, stream, 0.0, 0.0, width, depth, height)
        self._take(0.0, 0.0, width, depth)
        side = stream.choice((-1, 1))
        drive = stream.uniform(11.0, 17.0)
        along = side * (width / 2 - drive / 2)
        near = self._front - STREET_HALF_WIDTH / 2 + 1.0
        colour = vary(stream, stream.choice(PAVINGS), 6.0)
        scene.add(YARD, frame.rectangle(along, (near - depth / 2) / 2, drive, -depth / 2 - near), colour)
        self._take(along, (near - depth / 2) / 2, drive + 4, -depth / 2 - near)
        walk = -side * stream.uniform(2.0, width / 4)
        scene.add(YARD, frame.rectangle(walk, (near - depth / 2) / 2, 4.0, -depth / 2 - near), colour)
        if stream.random() < 0.55:
            self._park_car(along, -depth / 2 - stream.uniform(11.0, 22.0))

    def _park_car(self, along: float, back: float) -> None:
        stream = self._stream
        colour = vary(stream, stream.choice(CARS), 5.0)
        body = self._frame.rectangle(along, back, 6.5, 15.0)
        self.scene.add(CAR, body, colour)
        glass = self._frame.rectangle(along, back - 1.5, 5.0, 3.0)
        self.scene.add(FITTING, glass, (48, 54, 60), cover="road")
        self.scene.shadows.append(moved(body, -2.0, -4.0))

    def _yard(self) -> None:
        stream, frame, scene = self._stream, self._frame, self.scene
        top = self._depth / 2
        patio = stream.uniform(0.3, 0.7) * self._width
        scene.add(
            YARD,
            frame.rectangle(stream.uniform(-8.0, 8.0), top + 6.0, patio, 12.0),
            vary(stream, stream.choice(PAVINGS), 8.0),
        )
        limit = self._rear - (16.0 if self.lot.shore else 4.0)
        if self.has_pool:
            self._dig_pool(top, limit)
        self._decoys(top, limit)
        for edge in (-1, 1):
            if stream.random() < 0.35:
                fence = frame(
                    [
                        (edge * (self._half_lot + 3.0), self._front + 18.0),
                        (edge * (self._half_lot + 3.0), limit),
                    ]
                )
                hedge = stream.random() < 0.5
                if hedge:
                    scene.add(FITTING, fence, (62, 84, 48), 4.0, cover="tree")
                else:
                    scene.add(FITTING, fence, (128, 116, 100), 1.5, cover="bare")

    def _dig_pool(self, top: float, limit: float) -> None:
        stream, frame, scene = self._stream, self._frame, self.scene
        depth = min(stream.uniform(27.0, 33.0), limit - top - 10.0)
        width = stream.uniform(46.0, 60.0)
        reach = max(0.0, self._half_lot - width / 2 - 6.0)
        along = stream.uniform(-reach, reach)
        back = max(top + 5.0, limit - depth - stream.uniform(5.0, 12.0)) + depth / 2
        deck = vary(stream, stream.choice(PAVINGS), 8.0)
        scene.add(YARD, frame.rectangle(along, back, width + 13.0, depth + 11.0), deck)
        blue = vary(stream, stream.choice(POOL_BLUES), 6.0)
        style = stream.random()
        if style < 0.5:
            outline = frame.rectangle(along, back, width, depth)
        else:
            outline = frame(
                moved(blob(stream, width / 2, depth / 2, 0.05 if style < 0.75 else 0.10, 28), along, back)
            )
        rim = outline.mean(0)
        light: Colour = (198, 206, 204)
        scene.add(POOL, (outline - rim) * 1.05 + rim, light, cover="road")
        scene.add(POOL, outline, blue, driver="pool")
        scene.add(POOL, moved((outline - rim) * 0.72 + rim, 2.0, 3.0), vary(stream, blue, 3.0))
        for _ in range(stream.randrange(0, 5)):
            seat = along + stream.uniform(-width / 2, width / 2)
            scene.add(CAR, frame.rectangle(seat, back - depth / 2 - 3.0, 2.5, 5.0), (226, 226, 222))
        self._take(along, back, width + 10.0, depth + 8.0)

    def _decoys(self, top: float, limit: float) -> None:
        """Things that share a driver's colour and are none."""
        stream, frame, scene = self._stream, self._frame, self.scene
        choice = stream.random()
        along = stream.choice((-1, 1)) * stream.uniform(self._half_lot * 0.5, self._half_lot - 14.0)
        back = stream.uniform(top + 14.0, max(top + 15.0, limit - 16.0))
        if any(
            left - 10 < along < right + 10 and low - 10 < back < high + 10
            for left, low, right, high in self._taken
        ):
            return
        if choice < 0.10:
            disc = frame(moved(blob(stream, 8.0, 8.0, 0.0, 20), along, back))
            scene.add(POOL, disc, (40, 46, 58), cover="bare")
            scene.add(POOL, (disc - disc.mean(0)) * 0.8 + disc.mean(0), (60, 88, 122), cover="bare")
        elif choice < 0.16:
            sheet = frame.rectangle(along, back, 14.0, 10.0)
            scene.add(POOL, sheet, vary(stream, stream.choice(POOL_BLUES), 6.0), cover="bare")
        elif choice < 0.40:
            shed = stream.choice(((110, 98, 88), (136, 132, 126), (84, 138, 156), (150, 96, 70)))
            add_building(scene, frame, stream, along, back, 15.0, 12.0, 6.0, roof=vary(stream, shed, 6.0))
            self._take(along, back, 15.0, 12.0)
        elif choice < 0.52:
            bed = frame.rectangle(along, back, stream.uniform(12.0, 20.0), stream.uniform(10.0, 18.0))
            scene.add(YARD, bed, vary(stream, (112, 92, 68), 6.0), cover="bare")

    def _plant(self) -> None:
        stream = self._stream
        limit = self._rear - (20.0 if self.lot.shore else 2.0)
        for _ in range(stream.randrange(1, 6)):
            self._try_tree(
                stream.uniform(-self._half_lot, self._half_lot),
                stream.uniform(self._front + 4.0, limit),
                stream.randrange(3, 6),
            )
        self.ornamental = len(self.scene.trees)
        wooded = stream.random()
        if wooded > CANOPY_SHARE:
            return
        crowns = round(6 + 7 * wooded / CANOPY_SHARE)
        side = stream.choice((-1, 1))
        to_the_rear = stream.random() < 0.6
        middle = (
            side * self._half_lot * stream.uniform(0.55, 0.8),
            limit - 26.0 if to_the_rear else stream.uniform(self._front + 24.0, 4.0),
        )
        spread, planted, tries = 12.0, 0, 0
        while planted < crowns and tries < 160:
            tries += 1
            spread += 0.25
            radius = stream.randrange(12, 18)
            along = stream.gauss(middle[0], spread)
            back = stream.gauss(middle[1], spread)
            if abs(along) > self._half_lot - radius * 0.6 or not self._front + 6.0 < back < limit - 8.0:
                continue
            planted += self._try_tree(along, back, radius)
        self.canopy = self.scene.trees[self.ornamental :]

    def _try_tree(self, along: float, back: float, radius: int) -> bool:
        room = radius * 0.72
        for left, low, right, high in self._taken:
            if left - room < along < right + room and low - room < back < high + room:
                return False
        x, y = self._frame([(along, back)])[0]
        spacing = radius * 0.95
        for other in self.scene.trees:
            if (other.x - x) ** 2 + (other.y - y) ** 2 < spacing * spacing:
                return False
        self.scene.trees.append(Tree(round(x), round(y), radius, self._stream.randrange(24)))
        return True


def draw_dwelling(seed: int, lot: Lot) -> Dwelling:
    """Bedrooms, bathrooms, living area and storeys of the house on a lot."""
    stream = random.Random(f"{seed}/dwelling/{lot.house_id}")
    area = min(330.0, max(95.0, 175.0 * 2.718281828 ** stream.gauss(0.0, 0.22)))
    bedrooms = min(6, max(1, round(area / 52.0 + stream.gauss(0.0, 0.6))))
    bathrooms = min(4.0, max(1.0, round((area / 85.0 + stream.gauss(0.0, 0.4)) * 2.0) / 2.0))
    storeys = 2 if area > 150.0 and stream.random() < 0.55 else 1
    return Dwelling(bedrooms, bathrooms, round(area), storeys)
