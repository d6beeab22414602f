"""Everything of a block but its lots: strip, pond, lake, park, shops and open country."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_pipeline.land_cover import LandCover
from data_pipeline.sample_market.geometry import Frame, Points, Warp
from data_pipeline.sample_market.house import House
from data_pipeline.sample_market.plan import BLOCK_HEIGHT, BLOCK_WIDTH, STREET_HALF_WIDTH, Plan
from data_pipeline.sample_market.roofs import add_building
from data_pipeline.sample_market.shapes import (
    CAR,
    GROUND,
    LAWN,
    MARKING,
    POOL,
    ROAD,
    SHORE,
    WATER,
    YARD,
    Colour,
    Scene,
    Tree,
    blob,
    moved,
    shade,
    vary,
)
from data_pipeline.sample_market.streets import add_streets

WATERS: tuple[Colour, ...] = ((56, 82, 92), (66, 88, 84), (48, 72, 90), (74, 92, 92))
FIELDS: tuple[Colour, ...] = ((138, 138, 84), (112, 126, 72), (158, 146, 104), (124, 112, 82), (98, 118, 64))
FALLOW = FIELDS[2:4]
"""Fields without a crop: bare soil."""
POND_BULGE = 19.0
"""How far a pond reaches beyond the strip into the back yards, in pixels."""


class Block:
    """One block of the town, with all that is drawn on it.

    Args:
        plan: The town plan.
        warp: The plan's deformation.
        column: Block column; may lie outside the town.
        row: Block row.

    Attributes:
        houses: The houses of the block, in lot order.
        scene: Everything to draw.
        drivers: The shapes that belong to a price driver.
        bounds: Town pixels (left, top, right, bottom) that the scene may touch.
    """

    def __init__(self, plan: Plan, warp: Warp, column: int, row: int) -> None:
        self._plan, self._warp, self._column, self._row = plan, warp, column, row
        self._stream = plan.stream("block", column, row)
        self.scene = Scene()
        self.houses = [House(plan, warp, lot) for lot in plan.lots(column, row)]
        kind = plan.kind(column, row)
        left, top = plan.left + column * BLOCK_WIDTH, plan.top + row * BLOCK_HEIGHT
        self._box = (left, top, left + BLOCK_WIDTH, top + BLOCK_HEIGHT)
        if kind == "country":
            self._country()
        else:
            self.scene.add(GROUND, self._outline(*self._box), vary(self._stream, (110, 126, 78), 4.0))
        for house in self.houses:
            self.scene.extend(house.scene)
        if kind == "homes":
            self._strip()
        elif kind == "park":
            self._park()
        elif kind == "shops":
            self._shops()
        add_streets(self.scene, plan, warp, column, row)
        if plan.across(column, row) == "lake":
            self._lake()
        self.drivers = [shape for shape in self.scene.shapes if shape.driver]
        self.bounds = self._bounds()

    def _bounds(self) -> tuple[float, float, float, float]:
        corners = np.concatenate([shape.points for shape in self.scene.shapes])
        low, high = corners.min(axis=0) - 60.0, corners.max(axis=0) + 60.0
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def _outline(self, left: float, top: float, right: float, bottom: float) -> Points:
        across = np.linspace(left, right, 14)
        upper = np.stack([across, np.full(14, top)], axis=1)
        lower = np.stack([across[::-1], np.full(14, bottom)], axis=1)
        return self._warp(np.concatenate([upper, lower]))

    def _tree(self, x: float, y: float, smallest: int, largest: int) -> None:
        radius = self._stream.randrange(smallest, largest)
        self.scene.trees.append(Tree(round(x), round(y), radius, self._stream.randrange(24)))

    def _strip(self) -> None:
        plan, stream, warp = self._plan, self._stream, self._warp
        left, _, right, _ = plan.inner_box(self._column, self._row)
        middle = plan.middle(self._row)
        self.scene.add(
            LAWN, self._outline(left, middle - 28.0, right, middle + 28.0), vary(stream, (112, 124, 76))
        )
        path = np.linspace(left, right, 24)
        bend = stream.uniform(4.0, 10.0)
        line = warp(np.stack([path, middle + bend * np.sin(path / 90.0 + stream.uniform(0, 6))], axis=1))
        self.scene.add(ROAD, line, (172, 160, 136), 4.0)
        pond = plan.pond(self._column, self._row)
        drowned = "lake" in (plan.across(self._column, self._row), plan.across(self._column, self._row + 1))
        for _ in range(stream.randrange(2, 9)):
            u, v = stream.uniform(left, right), middle + stream.uniform(-16.0, 16.0)
            if not drowned and (pond is None or not pond.left - 30.0 < u < pond.right + 30.0):
                x, y = warp([(u, v)])[0]
                self._tree(x, y, 4, 9)
        if pond is not None:
            half = (pond.right - pond.left) / 2.0
            outline = blob(stream, half, 28.0 + POND_BULGE, 0.03, 120)
            self._water(moved(outline, (pond.left + pond.right) / 2.0, middle))

    def _lake(self) -> None:
        left, top, right, _ = self._box
        half = (BLOCK_WIDTH - 2.0 * STREET_HALF_WIDTH) / 2.0 - 8.0
        outline = blob(self._stream, half, BLOCK_HEIGHT / 2.0 + 28.0 + POND_BULGE, 0.02, 200)
        self._water(moved(outline, (left + right) / 2.0, top))

    def _water(self, outline: Any) -> None:
        """A body of water from its plan outline (n, 2): reeds, sand, shallows and depth."""
        stream, warp = self._stream, self._warp
        colour = vary(stream, stream.choice(WATERS), 5.0)
        middle = outline.mean(0)
        away = outline - middle
        away = away / np.hypot(away[:, 0], away[:, 1])[:, None]
        outline = outline + away * self._uneven(len(outline))[:, None]
        self.scene.add(SHORE, warp(outline + away * 5.0), (96, 108, 62), cover="lawn")
        self.scene.add(SHORE, warp(outline + away * 2.0), (158, 148, 116))
        self.scene.add(WATER, warp(outline), shade(colour, 1.18), driver="water")
        self.scene.add(WATER, warp(outline - away * 4.0), shade(colour, 1.07))
        self.scene.add(WATER, warp(outline - away * 10.0), colour)
        self.scene.add(WATER, warp(outline - away * 18.0), shade(colour, 0.94))

    def _uneven(self, corners: int) -> Any:
        """Small bays and tongues (corners,) of a shore, in pixels."""
        around = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
        bays = ((5, 3.0), (9, 2.6), (14, 2.0), (23, 1.4))
        return np.sum(
            [size * np.sin(number * around + self._stream.uniform(0.0, 6.28)) for number, size in bays],
            axis=0,
        )

    def _park(self) -> None:
        stream, warp, plan = self._stream, self._warp, self._plan
        left, top, right, bottom = plan.inner_box(self._column, self._row)
        self.scene.add(LAWN, self._outline(left, top, right, bottom), vary(stream, (102, 128, 68), 4.0))
        for _ in range(3):
            start = np.array([stream.uniform(left, right), top])
            end = np.array([stream.uniform(left, right), bottom])
            share = np.linspace(0.0, 1.0, 16)[:, None]
            bow = np.sin(share * 3.14) * (stream.uniform(-90, 90), 0.0)
            self.scene.add(ROAD, warp(start + share * (end - start) + bow), (178, 166, 142), 6.0)
        court = np.array([stream.uniform(left + 120, right - 120), (top + bottom) / 2])
        for number in range(stream.randrange(1, 4)):
            self._court(moved(court, number * 64.0, 0.0))
        for _ in range(stream.randrange(6, 10)):
            middle = (stream.uniform(left + 30, right - 30), stream.uniform(top + 30, bottom - 30))
            for _ in range(stream.randrange(3, 16)):
                u, v = stream.gauss(middle[0], 26.0), stream.gauss(middle[1], 22.0)
                if left + 12 < u < right - 12 and top + 12 < v < bottom - 12 and abs(u - court[0] - 60) > 130:
                    x, y = warp([(u, v)])[0]
                    self._tree(x, y, 8, 18)

    def _court(self, middle: Any) -> None:
        stream, warp = self._stream, self._warp
        colour = stream.choice(((88, 146, 168), (96, 132, 96), (158, 100, 78)))
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)
        for half, tone in (((28.0, 52.0), shade(colour, 0.85)), ((18.0, 40.0), colour)):
            self.scene.add(POOL, warp(middle + corners * half), vary(stream, tone), cover="road")
        for line in (corners * (18.0, 40.0), corners * (13.0, 40.0), corners[:2] * (18.0, 0.0)):
            self.scene.add(CAR, warp(middle + np.concatenate([line, line[:1]])), (220, 220, 216), 1.0)

    def _shops(self) -> None:
        stream, warp, plan = self._stream, self._warp, self._plan
        left, top, right, bottom = plan.inner_box(self._column, self._row)
        self.scene.add(
            ROAD, self._outline(left + 14, top + 14, right - 14, bottom - 14), vary(stream, (118, 119, 122))
        )
        u = left + 110.0
        while u < right - 90.0:
            if stream.random() < 0.6:
                frame = Frame(warp, u, (top + bottom) / 2 + stream.uniform(20.0, 60.0), -1)
                width = stream.uniform(110.0, 170.0)
                add_building(
                    self.scene, frame, stream, 0.0, 0.0, width, stream.uniform(80.0, 130.0), 24.0, flat=True
                )
            else:
                width = 90.0
            u += width + stream.uniform(20.0, 40.0)
        for row in (top + 40.0, top + 82.0):
            for number in range(int((right - left - 80) / 10.0)):
                u = left + 40.0 + number * 10.0
                bay = warp([(u, row - 9.0), (u, row + 9.0)])
                self.scene.add(MARKING, bay, (196, 196, 190), 1.0)
                if stream.random() < 0.5:
                    frame = Frame(warp, u + 5.0, row, 1)
                    car = stream.choice(
                        ((226, 226, 228), (60, 62, 66), (150, 40, 36), (126, 130, 136), (60, 90, 140))
                    )
                    body = frame.rectangle(0.0, 0.0, 6.5, 15.0)
                    self.scene.shadows.append(moved(body, -2.0, -4.0))
                    self.scene.add(CAR, body, vary(stream, car, 5.0))

    def _country(self) -> None:
        stream = self._stream
        left, top, right, bottom = self._box
        split = stream.uniform(0.3, 0.7) * (right - left) + left
        for west, east in ((left, split), (split, right)):
            crop = stream.choice(FIELDS)
            colour = vary(stream, crop, 5.0)
            cover: LandCover = "bare" if crop in FALLOW else "lawn"
            self.scene.add(GROUND, self._outline(west, top, east, bottom), colour, cover=cover)
            if stream.random() < 0.35:
                for _ in range(int((east - west) / 5.0)):
                    x, y = self._warp([(stream.uniform(west, east), stream.uniform(top, bottom))])[0]
                    self._tree(x, y, 9, 18)
            else:
                for v in np.arange(top + 10.0, bottom, 14.0):
                    line = self._warp([(west + 4, v), ((west + east) / 2, v), (east - 4, v)])
                    self.scene.add(YARD, line, shade(colour, 0.94), 4.0, cover=cover)
