"""Houses by viewport: what a map of a million of them needs to show one screen.

Houses lie in numpy columns along a Morton curve, so that every cell of every
zoom is one run of rows. A pyramid of cells holds counts and medians; with a
filter they are reckoned from the rows.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import UsageError
from housevis.pricing.confidence import GRADES
from housevis.views.data import need_columns, need_numbers

COLUMNS: Final = (
    "house_id", "latitude", "longitude", "price", "estimate", "low", "high", "sale_date", "bedrooms",
    "confidence", "effect",
)  # fmt: skip
"""Columns of the houses, one row per house.

``bedrooms`` and ``effect`` (what the picture adds to the estimate, currency)
may be NaN, ``confidence`` None.
"""

MOST_HOUSES: Final = 400
"""Above so many in view, houses are gathered in cells."""

MOST_STACKED: Final = 2_000
"""From :data:`ALWAYS_HOUSES` on, so many houses are listed, because cells would part them no further."""

ALWAYS_HOUSES: Final = 19
"""The zoom from which houses are always listed."""

DEEPEST_ZOOM: Final = 22
LATITUDE_LIMIT: Final = 85.0511

_BITS: Final = 26
_CELLS_PER_TILE: Final = 2
"""Doublings: a cell is a quarter of a tile's side, 64 pixels of the screen."""

_MOST_CELLS: Final = 4_096
_DEEPEST_PYRAMID: Final = 17

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees (EPSG:4326)."""


@dataclass(frozen=True)
class Wanted:
    """Which houses are asked for; what is None does not matter.

    Attributes:
        price_from: Least price, currency.
        price_to: Highest price.
        bedrooms_from: Least number of bedrooms; houses without a number are left out then.
        bedrooms_to: Highest number of bedrooms.
        sold_from: First day of sale, ``YYYY-MM-DD``.
        sold_to: Last day of sale.
        confidence: Grades; empty takes all.
    """

    price_from: float | None = None
    price_to: float | None = None
    bedrooms_from: float | None = None
    bedrooms_to: float | None = None
    sold_from: str | None = None
    sold_to: str | None = None
    confidence: tuple[str, ...] = ()

    @property
    def takes_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()


@dataclass(frozen=True, eq=False)
class Cells:
    """Houses gathered in m cells; medians are NaN where no house of a cell has the value.

    Attributes:
        count: Houses ``(m,)``.
        latitude: Their mean place ``(m,)``, degrees.
        longitude: ``(m,)``, degrees.
        price: Median price ``(m,)``, currency.
        error: Median of estimate / price - 1 ``(m,)``.
        effect: Median effect of the picture ``(m,)``, currency.
    """

    count: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    price: NDArray[np.float64]
    error: NDArray[np.float64]
    effect: NDArray[np.float64]

    def rows(self, rows: NDArray[np.int64]) -> Cells:
        """Some of the cells."""
        return Cells(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class View:
    """What one screen shows: houses or cells, never both.

    Attributes:
        box: The area that is answered: the one asked for, outwards to whole cells.
        count: Houses in it that are wanted.
        houses: Rows of :attr:`Viewport.houses`; None where cells are given.
        cells: The cells; None where houses are given.
    """

    box: Box
    count: int
    houses: NDArray[np.int64] | None = None
    cells: Cells | None = None


class Viewport:
    """The houses of a run, to be asked by area.

    Args:
        houses: One row per house with :data:`COLUMNS`.

    Attributes:
        digest: Names this content; two viewports with one digest answer alike.

    Raises:
        DataError: A column is missing, or a place or an amount is no number.
    """

    def __init__(self, houses: pd.DataFrame) -> None:
        need_columns(houses, COLUMNS, "Viewport")
        numbers = ("latitude", "longitude", "price", "estimate", "low", "high")
        need_numbers(houses, numbers, "Viewport")
        codes = _codes(houses["longitude"].to_numpy(float), houses["latitude"].to_numpy(float))
        order = np.argsort(codes, kind="stable")
        self._codes = codes[order]
        self.house_id = np.char.encode(houses["house_id"].to_numpy(dtype=str)[order], "utf-8")
        self.latitude, self.longitude, self.price, self.estimate, self.low, self.high = (
            houses[name].to_numpy(np.float64)[order] for name in numbers
        )
        self.effect = houses["effect"].to_numpy(dtype=np.float64, na_value=np.nan)[order]
        self.bedrooms = houses["bedrooms"].to_numpy(dtype=np.float32, na_value=np.nan)[order]
        days = pd.to_datetime(houses["sale_date"]).to_numpy("datetime64[D]")[order]
        self.sale_day = days.astype(np.int64).astype(np.int32)
        grades = {grade: number for number, grade in enumerate(GRADES)}
        self._grade = houses["confidence"].map(grades).fillna(-1).to_numpy(np.int8)[order]
        self._by_id = np.argsort(self.house_id, kind="stable").astype(np.int32)
        error = self.estimate / self.price - 1
        self._values = {"price": _Ranked(self.price), "error": _Ranked(error), "effect": _Ranked(self.effect)}
        digest = hashlib.blake2b(digest_size=12)
        for column in (self._codes, self.house_id, self.price, self.estimate, self.low, self.high):
            digest.update(np.ascontiguousarray(column).tobytes())
        for column in (self.effect, self.bedrooms, self.sale_day, self._grade):
            digest.update(np.ascontiguousarray(column).tobytes())
        self.digest = digest.hexdigest()
        whole = np.arange(len(order))
        self._pyramid = [self._level(level, whole) for level in range(_DEEPEST_PYRAMID + 1)]

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def box(self) -> Box:
        """The area that holds every house."""
        longitude, latitude = self.longitude, self.latitude
        return float(longitude.min()), float(latitude.min()), float(longitude.max()), float(latitude.max())

    def confidence(self, row: int) -> str | None:
        """The grade of the house in a row."""
        grade = int(self._grade[row])
        return None if grade < 0 else GRADES[grade]

    def row_of(self, house_id: str) -> int | None:
        """The row of a house; None where there is none."""
        wanted = house_id.encode("utf-8", errors="replace")
        place = int(np.searchsorted(self.house_id, np.bytes_(wanted), sorter=self._by_id))
        if place == len(self):
            return None
        row = int(self._by_id[place])
        return row if bytes(self.house_id[row]) == wanted else None

    def snapped(self, box: Box, zoom: int) -> tuple[Box, int, tuple[int, int, int, int]]:
        """The area that is answered, the level of its cells, and those cells (first and last x, then y).

        Raises:
            UsageError: The area is empty, or the zoom is none.
        """
        west, south, east, north = box
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise UsageError(
                "this is no area",
                where="bbox",
                remedy="Give west,south,east,north in degrees with west < east and south < north.",
            )
        if not 0 <= zoom <= DEEPEST_ZOOM:
            raise UsageError("there is no such zoom", where="zoom", remedy=f"Give 0 to {DEEPEST_ZOOM}.")
        x, y = _world(np.array([west, east]), np.array([north, south]))
        level = zoom + _CELLS_PER_TILE
        while True:
            size = 1 << level
            left, right = _outwards(x, size)
            top, bottom = _outwards(y, size)
            if (right - left + 1) * (bottom - top + 1) <= _MOST_CELLS or level == 0:
                break
            level -= 1
        answered = (*_place(left / size, (bottom + 1) / size), *_place((right + 1) / size, top / size))
        return answered, level, (left, right, top, bottom)

    def look(self, box: Box, zoom: int, wanted: Wanted = Wanted()) -> View:
        """What a screen over `box` shows.

        Args:
            box: The area.
            zoom: Zoom of the map; a cell has 64 pixels of the screen there.
            wanted: Which houses.

        Raises:
            UsageError: The area is empty, or the zoom is none.
        """
        answered, level, (left, right, top, bottom) = self.snapped(box, zoom)
        columns, rows = np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1))
        cells = np.sort(_interleaved(columns.ravel(), rows.ravel()))
        in_pyramid = level <= _DEEPEST_PYRAMID
        if wanted.takes_all and in_pyramid:
            known, gathered = self._pyramid[level]
            found = np.flatnonzero(np.isin(known, cells, assume_unique=True))
            count = int(gathered.count[found].sum())
            if count > self._most(zoom):
                return View(answered, count, cells=gathered.rows(found))
        shift = 2 * (_BITS - level)
        starts = np.searchsorted(self._codes, cells << shift)
        ends = np.searchsorted(self._codes, (cells + 1) << shift)
        chosen = _ranges(starts, ends)
        if not wanted.takes_all:
            chosen = chosen[self._passes(wanted, chosen)]
        if len(chosen) <= self._most(zoom) or zoom >= ALWAYS_HOUSES:
            return View(answered, len(chosen), houses=chosen[:MOST_STACKED])
        return View(answered, len(chosen), cells=self._level(level, chosen)[1])

    @staticmethod
    def _most(zoom: int) -> int:
        return MOST_STACKED if zoom >= ALWAYS_HOUSES else MOST_HOUSES

    def _passes(self, wanted: Wanted, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some houses ``(n,)`` are wanted."""
        passes = np.ones(len(rows), dtype=bool)
        for column, least, highest in (
            (self.price, wanted.price_from, wanted.price_to),
            (self.bedrooms, wanted.bedrooms_from, wanted.bedrooms_to),
            (self.sale_day, _day(wanted.sold_from), _day(wanted.sold_to)),
        ):
            if least is None and highest is None:
                continue
            values = column[rows]
            if least is not None:
                passes &= values >= least
            if highest is not None:
                passes &= values <= highest
        if wanted.confidence:
            numbers = [number for number, grade in enumerate(GRADES) if grade in wanted.confidence]
            passes &= np.isin(self._grade[rows], numbers)
        return passes

    def _level(self, level: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Cells]:
        """Codes of the cells of a level that hold some of the rows, and what they hold."""
        codes = self._codes[rows] >> (2 * (_BITS - level))
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, int)
        count = np.diff(np.r_[starts, len(codes)])
        if not len(codes):
            empty = np.empty(0)
            return codes, Cells(count.astype(np.int64), empty, empty, empty, empty, empty)
        group = np.repeat(np.arange(len(starts)), count)
        return codes[starts], Cells(
            count.astype(np.int64),
            np.add.reduceat(self.latitude[rows], starts) / count,
            np.add.reduceat(self.longitude[rows], starts) / count,
            *(ranked.medians(rows, group, len(starts)) for ranked in self._values.values()),
        )


class _Ranked:
    """One column and the rank of each of its values, so that medians by group are one sort of integers."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        self._rank = np.empty(len(values), dtype=np.int32)
        self._rank[order] = np.arange(len(values), dtype=np.int32)
        self._known = int(np.isfinite(values).sum())

    def medians(self, rows: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
        """Median of every group ``(groups,)``; of an even number the mean of the middle two."""
        rank = self._rank[rows]
        if self._known < len(self._rank):
            known = rank < self._known
            rank, group = rank[known], group[known]
        keys = np.sort((group.astype(np.int64) << 32) | rank)
        count = np.bincount(group, minlength=groups)
        start = np.cumsum(count) - count
        there = count > 0
        result = np.full(groups, np.nan)
        lower, upper = (start + (count - 1) // 2)[there], (start + count // 2)[there]
        below, above = (self._sorted[keys[place] & 0xFFFFFFFF] for place in (lower, upper))
        result[there] = (below + above) / 2
        return result


def _outwards(edges: NDArray[np.float64], size: int) -> tuple[int, int]:
    """The first and the last of `size` cells between two edges, outwards to whole pairs of cells."""
    first = min(int(edges[0] * size), size - 1) // 2 * 2
    last = max(math.ceil(edges[1] * size), first + 1)
    return first, min(-(-last // 2) * 2, size) - 1


def _day(text: str | None) -> int | None:
    return None if text is None else int(np.datetime64(text, "D").astype(np.int64))


def _ranges(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows from every start to its end, joined."""
    count = ends - starts
    starts, count = starts[count > 0], count[count > 0]
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    before = np.cumsum(count) - count
    return np.repeat(starts - before, count) + np.arange(int(count.sum()))


def _world(
    longitude: NDArray[np.float64], latitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Web Mercator from the north-west corner, 0 to 1 in both directions."""
    north = np.radians(np.clip(latitude, -LATITUDE_LIMIT, LATITUDE_LIMIT))
    x = longitude / 360 + 0.5
    y = 0.5 - np.log(np.tan(np.pi / 4 + north / 2)) / (2 * np.pi)
    return np.clip(x, 0, 1), np.clip(y, 0, 1)


def _place(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of a place of :func:`_world`."""
    return x * 360 - 180, float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y)))))


def _codes(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.int64]:
    x, y = _world(longitude, latitude)
    size = 1 << _BITS
    columns, rows = (np.minimum((part * size).astype(np.int64), size - 1) for part in (x, y))
    return _interleaved(columns, rows)


def _interleaved(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Morton codes: the bits of both numbers in turn."""
    return _spread(columns) | (_spread(rows) << 1)


def _spread(values: NDArray[np.int64]) -> NDArray[np.int64]:
    found = values.astype(np.int64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        found = (found | (found << shift)) & mask
    return found
