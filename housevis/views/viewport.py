"""Houses by viewport: what a map of a million of them needs to show one screen.

Houses lie in numpy columns along a Morton curve, so that every cell of every
zoom is one run of rows. A pyramid of cells holds counts and medians; with a
filter they are reckoned from the rows.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import UsageError
from housevis.pricing.confidence import GRADES
from housevis.views.cells import NO_LIMITS, Cells, Gatherer, Limits
from housevis.views.data import SAMPLES, need_columns, need_numbers
from housevis.views.house_search import MOST_FOUND, HouseSearch
from housevis.views.morton import BITS, cells_between, codes_of, joined_ranges, outwards, place, world

COLUMNS: Final = (
    "house_id", "latitude", "longitude", "price", "estimate", "low", "high", "sale_date", "bedrooms",
    "confidence", "effect",
)  # fmt: skip
"""Columns of the houses, one row per house.

``bedrooms`` and ``effect`` (what the picture adds to the estimate, currency)
may be NaN, ``confidence`` None.
"""

MAP_COLUMNS: Final = ("address", "sample", "map_row")
"""Columns that may be there besides: what the map says of a house, its row there or -1."""

MOST_HOUSES: Final = 400
"""Above so many in view, houses are gathered in cells."""

MOST_STACKED: Final = 2_000
"""From :data:`ALWAYS_HOUSES` on, so many houses are listed, because cells would part them no further."""

ALWAYS_HOUSES: Final = 19
"""The zoom from which houses are always listed."""

DEEPEST_ZOOM: Final = 22
_CELLS_PER_TILE: Final = 2
"""Doublings: a cell is a quarter of a tile's side, 64 pixels of the screen."""

_LOOKED_AROUND: Final = (0.002, 0.01, 0.05, 0.5, 180.0)
"""Degrees to every side of a place in which houses next to it are looked for, one after the other."""

_MANY: Final = 30_000
"""From so many houses on they are taken from whole columns."""

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
        houses: One row per house with :data:`COLUMNS`, as far as they are known with :data:`MAP_COLUMNS`.
        limits: Limits of the classes that houses are coloured by, as on the map.

    Attributes:
        limits: The same.
        digest: Names this content; two viewports with one digest answer alike.

    Raises:
        DataError: A column is missing, or a place or an amount is no number.
    """

    def __init__(self, houses: pd.DataFrame, limits: Limits = NO_LIMITS) -> None:
        need_columns(houses, COLUMNS, "Viewport")
        numbers = ("latitude", "longitude", "price", "estimate", "low", "high")
        need_numbers(houses, numbers, "Viewport")
        codes = codes_of(houses["longitude"].to_numpy(float), houses["latitude"].to_numpy(float))
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
        self._grade = _numbered(houses["confidence"], GRADES, order)
        self._by_id = np.argsort(self.house_id, kind="stable").astype(np.int32)
        self._sample = _numbered(houses.get("sample"), SAMPLES, order)
        self._map_row = np.full(len(order), -1, dtype=np.int32)
        if "map_row" in houses:
            self._map_row = houses["map_row"].to_numpy(np.int32)[order]
        self._address = np.full(len(order), None, dtype=object)
        if "address" in houses:
            there = houses["address"].notna().to_numpy()[order]
            self._address[there] = houses["address"].to_numpy(object)[order][there]
        self.limits = limits
        values = {"price": self.price, "error": self.estimate / self.price - 1, "effect": self.effect}
        self._gatherer = Gatherer(self.latitude, self.longitude, values, limits)
        names = houses["house_id"].to_numpy(dtype=object)[order].tolist()
        self._search = HouseSearch(names, self._address.tolist())
        digest = hashlib.blake2b(digest_size=12)
        for column in (self._codes, self.house_id, self.price, self.estimate, self.low, self.high):
            digest.update(np.ascontiguousarray(column).tobytes())
        for column in (self.effect, self.bedrooms, self.sale_day, self._grade, self._sample, self._map_row):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(repr((self._address.tolist(), sorted(limits.items()))).encode("utf-8", "replace"))
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

    def sample(self, row: int) -> str | None:
        """Why the estimate of the house in a row is out of sample; None where the map does not say it."""
        number = int(self._sample[row])
        return None if number < 0 else SAMPLES[number]

    def address(self, row: int) -> str | None:
        """The address of the house in a row; None where none was supplied."""
        return self._address[row]

    def map_row(self, row: int) -> int | None:
        """The place of the house among the sales of the map; None where it is not on it."""
        number = int(self._map_row[row])
        return None if number < 0 else number

    @property
    def known(self) -> tuple[str, ...]:
        """Of address, bedrooms, confidence and effect those that are known of some house."""
        there = {
            "address": any(address is not None for address in self._address),
            "bedrooms": bool(np.isfinite(self.bedrooms).any()),
            "confidence": bool((self._grade >= 0).any()),
            "effect": bool(np.isfinite(self.effect).any()),
        }
        return tuple(name for name, known in there.items() if known)

    def row_of(self, house_id: str) -> int | None:
        """The row of a house; None where there is none."""
        wanted = house_id.encode("utf-8", errors="replace")
        found = int(np.searchsorted(self.house_id, np.bytes_(wanted), sorter=self._by_id))
        if found == len(self):
            return None
        row = int(self._by_id[found])
        return row if bytes(self.house_id[row]) == wanted else None

    def find(self, text: str) -> list[int]:
        """Rows of houses by a part of their id or address, that very id before all others."""
        exact = self.row_of(text.strip())
        rest = self._search.find(text)
        return rest if exact is None else [exact, *(row for row in rest if row != exact)][:MOST_FOUND]

    def nearest(self, latitude: float, longitude: float, most: int = MOST_FOUND) -> list[int]:
        """Rows of the houses next to a place, the nearest first."""
        wide = max(math.cos(math.radians(latitude)), 0.01)
        for half in _LOOKED_AROUND:
            box = (
                max(longitude - half / wide, -180.0),
                max(latitude - half, -90.0),
                min(longitude + half / wide, 180.0),
                min(latitude + half, 90.0),
            )
            _, level, corners = self.snapped(box, int(math.log2(180 / half)))
            rows = self._rows_of(level, cells_between(*corners))
            away = np.hypot(self.latitude[rows] - latitude, (self.longitude[rows] - longitude) * wide)
            if (away <= half).sum() >= min(most, len(self)):
                break
        return rows[np.argsort(away, kind="stable")[:most]].tolist()

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
        x, y = world(np.array([west, east]), np.array([north, south]))
        level = zoom + _CELLS_PER_TILE
        while True:
            size = 1 << level
            left, right = outwards(x, size)
            top, bottom = outwards(y, size)
            if (right - left + 1) * (bottom - top + 1) <= _MOST_CELLS or level == 0:
                break
            level -= 1
        answered = (*place(left / size, (bottom + 1) / size), *place((right + 1) / size, top / size))
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
        cells = cells_between(left, right, top, bottom)
        in_pyramid = level <= _DEEPEST_PYRAMID
        if wanted.takes_all and in_pyramid:
            known, gathered = self._pyramid[level]
            found = np.flatnonzero(np.isin(known, cells, assume_unique=True))
            count = int(gathered.count[found].sum())
            if count > self._most(zoom):
                return View(answered, count, cells=gathered.rows(found))
        chosen = self._rows_of(level, cells, wanted)
        if len(chosen) <= self._most(zoom) or zoom >= ALWAYS_HOUSES:
            return View(answered, len(chosen), houses=chosen[:MOST_STACKED])
        return View(answered, len(chosen), cells=self._level(level, chosen)[1])

    def _rows_of(self, level: int, cells: NDArray[np.int64], wanted: Wanted = Wanted()) -> NDArray[np.int64]:
        """The rows of some cells of a level, ascending, as far as they are wanted."""
        shift = 2 * (BITS - level)
        starts = np.searchsorted(self._codes, cells << shift)
        ends = np.searchsorted(self._codes, (cells + 1) << shift)
        if wanted.takes_all or (ends - starts).sum() < _MANY:
            chosen = joined_ranges(starts, ends)
            return chosen if wanted.takes_all else chosen[self._passes(wanted, chosen)]
        # Of many rows, looking at all between the first and the last in one go is the shorter way.
        first, last = int(starts[0]), int(ends[-1])
        inside = np.zeros(last - first, dtype=bool)
        for start, end in zip((starts - first).tolist(), (ends - first).tolist(), strict=True):
            inside[start:end] = True
        inside &= self._passes(wanted, slice(first, last))
        return np.flatnonzero(inside) + first

    @staticmethod
    def _most(zoom: int) -> int:
        return MOST_STACKED if zoom >= ALWAYS_HOUSES else MOST_HOUSES

    def _passes(self, wanted: Wanted, rows: NDArray[np.int64] | slice) -> NDArray[np.bool_]:
        """Which of some houses are wanted ``(n,)``."""
        grades = self._grade[rows]
        passes = np.ones(len(grades), dtype=bool)
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
            passes &= np.array([*(grade in wanted.confidence for grade in GRADES), False])[grades]
        return passes

    def _level(self, level: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Cells]:
        """Codes of the cells of a level that hold some of the rows, and what they hold."""
        codes = self._codes[rows] >> (2 * (BITS - level))
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]][: len(codes)])
        return codes[starts], self._gatherer.gather(rows, np.diff(np.r_[starts, len(codes)]))


def _numbered(
    values: pd.Series[Any] | None, names: tuple[str, ...], order: NDArray[np.int64]
) -> NDArray[np.int8]:
    """The place of each value among the names, -1 where it is none of them, in an order."""
    if values is None:
        return np.full(len(order), -1, dtype=np.int8)
    places = {name: number for number, name in enumerate(names)}
    return np.asarray(values.map(places).fillna(-1), dtype=np.int8)[order]


def _day(text: str | None) -> int | None:
    return None if text is None else int(np.datetime64(text, "D").astype(np.int64))
