"""The town plan: which block is what, decided block by block from hashed seeds.

Nothing is stored: every answer is computed from ``(seed, column, row)``, so a
town of a million houses costs no more memory than a hamlet. A block is bounded
by the streets ``row`` (above) and ``row + 1`` (below) and by ``column`` (left)
and ``column + 1`` (right), and holds two rows of lots back to back with a green
strip between them.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

BLOCK_WIDTH = 950.0
BLOCK_HEIGHT = 406.0
"""Distance between street centre lines, in plan pixels (0.30 m)."""
STREET_HALF_WIDTH = 25.0
ARTERIAL_HALF_WIDTH = 50.0
"""Half the land of a street or arterial, verges and pavements included."""
STRIP_HALF_WIDTH = 28.0
"""Half the green strip between the back yards of a block."""
GROUP_COLUMNS = 5
GROUP_ROWS = 4
"""Blocks are dealt parks, shops, lakes and ponds in groups of this size."""
PONDS_PER_GROUP = 3
"""At least; every second row of groups has one more."""
LOTS_PER_BLOCK = 9.6
"""Average over the residential and the other blocks, less the drowned rows."""
ROWS_PER_ARTERIAL = 7.8

BlockKind = Literal["homes", "park", "shops", "country"]
StreetKind = Literal["street", "arterial", "lake", "path", "none"]


@dataclass(frozen=True)
class Lot:
    """One lot of the plan, in plan pixels.

    Attributes:
        column: Block column.
        row: Block row.
        side: 0 for the lots on the block's upper street, 1 for the lower.
        number: Count from the left on that side.
        left: u of the left side.
        right: u of the right side.
        front: v of the line to the street.
        rear: v of the line to the green strip.
        shore: Whether water lies behind the lot.
    """

    column: int
    row: int
    side: int
    number: int
    left: float
    right: float
    front: float
    rear: float
    shore: bool

    @property
    def house_id(self) -> str:
        """Text id that holds the place in the plan, so a house is found without a table."""
        return f"h{self.column:03d}-{self.row:03d}-{self.side}{self.number}"


@dataclass(frozen=True)
class Pond:
    """A pond in the strip of a block: plan u from and to."""

    left: float
    right: float


class Plan:
    """Size and block kinds of one town.

    Args:
        houses: Houses the town must hold at least.
        seed: Any whole number.
    """

    def __init__(self, houses: int, seed: int) -> None:
        self.seed = seed
        blocks = houses / LOTS_PER_BLOCK
        self.columns = max(2, round(math.sqrt(blocks / 1.56)))
        self.rows = max(2, math.ceil(blocks / self.columns))
        self._bands = max(1, round(self.rows / ROWS_PER_ARTERIAL))
        self._deal = lru_cache(maxsize=512)(self._deal_group)
        self._bend = lru_cache(maxsize=1024)(self._band_bend)

    @property
    def left(self) -> float:
        """Plan u of the town's left edge."""
        return -self.columns * BLOCK_WIDTH / 2.0

    @property
    def top(self) -> float:
        """Plan v of the town's upper edge."""
        return -self.rows * BLOCK_HEIGHT / 2.0

    def stream(self, purpose: str, column: int, row: int) -> random.Random:
        """Random numbers that belong to one block and one purpose."""
        return random.Random(f"{self.seed}/{purpose}/{column}/{row}")

    def inside(self, column: int, row: int) -> bool:
        """Whether the block belongs to the town; beyond it lies open country."""
        return 0 <= column < self.columns and 0 <= row < self.rows + 2

    def _deal_group(self, group_column: int, group_row: int) -> dict[tuple[int, int], str]:
        stream = self.stream("deal", group_column, group_row)
        places = [
            (group_column * GROUP_COLUMNS + column, group_row * GROUP_ROWS + row)
            for column in range(GROUP_COLUMNS)
            for row in range(GROUP_ROWS)
        ]
        stream.shuffle(places)
        dealt = {places[0]: "park", places[1]: "shops"}
        for place in places[2:]:
            if self._across(*place) == "street" and place[1] > 0:
                dealt[place] = "lake"
                break
        ponds = [place for place in places[2:] if place not in dealt][: PONDS_PER_GROUP + group_row % 2]
        dealt.update(dict.fromkeys(ponds, "pond"))
        return dealt

    def _dealt(self, column: int, row: int) -> str:
        group = self._deal(column // GROUP_COLUMNS, row // GROUP_ROWS)
        return group.get((column, row), "")

    def kind(self, column: int, row: int) -> BlockKind:
        """What stands in the block."""
        if not self.inside(column, row):
            return "country"
        dealt = self._dealt(column, row)
        if dealt == "park" or dealt == "shops":
            return "park" if dealt == "park" else "shops"
        return "homes"

    def _band_bend(self, band: int) -> tuple[float, float]:
        stream = self.stream("arterial", band, 0)
        return 2.0 * math.pi / stream.uniform(7.0, 11.0), stream.uniform(0.0, 2.0 * math.pi)

    def arterial_row(self, band: int, column: int) -> int:
        """Row whose upper street is the arterial of this band, in one column."""
        number, phase = self._bend(band)
        middle = (band + 0.5) * self.rows / self._bands
        return round(middle + 1.8 * math.sin(number * column + phase))

    def _across(self, column: int, row: int) -> StreetKind:
        for band in range(int(row * self._bands / self.rows) - 1, int(row * self._bands / self.rows) + 2):
            if self.arterial_row(band, column) == row:
                return "arterial"
        return "street"

    def across(self, column: int, row: int) -> StreetKind:
        """The street along the upper side of the block; ``lake`` where water takes its place."""
        if not (self.inside(column, row) or self.inside(column, row - 1)):
            return "none"
        kind = self._across(column, row)
        both = self.inside(column, row) and self.inside(column, row - 1)
        if kind == "street" and both and self._dealt(column, row) == "lake":
            return "lake"
        return kind

    def down(self, column: int, row: int) -> StreetKind:
        """The street along the left side of the block."""
        if not (self.inside(column, row) or self.inside(column - 1, row)):
            return "none"
        band = int(row * self._bands / self.rows)
        for near in (band - 1, band, band + 1):
            here, before = self.arterial_row(near, column), self.arterial_row(near, column - 1)
            if min(here, before) <= row < max(here, before):
                return "arterial"
        if 0 < column < self.columns and self.stream("path", column, row).random() < 0.12:
            return "path"
        return "street"

    def half_width(self, kind: StreetKind) -> float:
        """Half the land that a street of this kind takes, in plan pixels."""
        return ARTERIAL_HALF_WIDTH if kind == "arterial" else STREET_HALF_WIDTH

    def inner_box(self, column: int, row: int) -> tuple[float, float, float, float]:
        """Plan box (left, top, right, bottom) of the block within its streets."""
        left, top = self.left + column * BLOCK_WIDTH, self.top + row * BLOCK_HEIGHT
        return (
            left + self.half_width(self.down(column, row)),
            top + self.half_width(self.across(column, row)),
            left + BLOCK_WIDTH - self.half_width(self.down(column + 1, row)),
            top + BLOCK_HEIGHT - self.half_width(self.across(column, row + 1)),
        )

    def middle(self, row: int) -> float:
        """Plan v of the middle of a block's green strip."""
        return self.top + (row + 0.5) * BLOCK_HEIGHT

    def boundaries(self, column: int, row: int, side: int) -> list[float]:
        """Plan u of the lot lines on one side of a block, left to right."""
        left, _, right, _ = self.inner_box(column, row)
        stream = self.stream("lots", column, 2 * row + side)
        count = 5 if stream.random() < 0.35 else 6
        step = (right - left) / count
        inner = [left + step * number + stream.uniform(-8.0, 8.0) for number in range(1, count)]
        return [left, *inner, right]

    def pond(self, column: int, row: int) -> Pond | None:
        """The pond behind the back yards of a block, if it has one."""
        if self.kind(column, row) != "homes" or self._dealt(column, row) != "pond":
            return None
        if "lake" in (self.across(column, row), self.across(column, row + 1)):
            return None
        stream = self.stream("pond", column, row)
        lines = self.boundaries(column, row, 0)
        length = stream.choice((2, 3))
        first = stream.randrange(0, len(lines) - length)
        return Pond(lines[first] + 24.0, lines[first + length] - 24.0)

    def lots(self, column: int, row: int) -> list[Lot]:
        """The lots of a block that carry a house; rows that a lake drowned have none."""
        if self.kind(column, row) != "homes":
            return []
        _, top, _, bottom = self.inner_box(column, row)
        lake = (self.across(column, row) == "lake", self.across(column, row + 1) == "lake")
        pond = self.pond(column, row)
        middle = self.middle(row)
        lots = []
        for side in (0, 1):
            if lake[side]:
                continue
            front, rear = (
                (top, middle - STRIP_HALF_WIDTH) if side == 0 else (bottom, middle + STRIP_HALF_WIDTH)
            )
            lines = self.boundaries(column, row, side)
            for number, (left, right) in enumerate(pairwise(lines)):
                at_pond = pond is not None and left < pond.right - 20.0 and right > pond.left + 20.0
                lots.append(
                    Lot(column, row, side, number, left, right, front, rear, lake[1 - side] or at_pond)
                )
        return lots
