"""Places along a Morton curve over Web Mercator, so that every cell of every zoom is one run of codes."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

LATITUDE_LIMIT: Final = 85.0511
"""Degrees beyond which Web Mercator shows nothing."""

BITS: Final = 26
"""Doublings of the finest cells: less than a metre on a side."""


def world(
    longitude: NDArray[np.float64], latitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Web Mercator from the north-west corner, 0 to 1 in both directions.

    Args:
        longitude: Degrees ``(n,)``.
        latitude: Degrees ``(n,)``; clipped to :data:`LATITUDE_LIMIT`.
    """
    north = np.radians(np.clip(latitude, -LATITUDE_LIMIT, LATITUDE_LIMIT))
    x = longitude / 360 + 0.5
    y = 0.5 - np.log(np.tan(np.pi / 4 + north / 2)) / (2 * np.pi)
    return np.clip(x, 0, 1), np.clip(y, 0, 1)


def place(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude, in degrees, of a place of :func:`world`."""
    return x * 360 - 180, float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y)))))


def codes_of(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.int64]:
    """The code of each place ``(n,)``, of :data:`BITS` doublings."""
    size = 1 << BITS
    columns, rows = (
        np.minimum((part * size).astype(np.int64), size - 1) for part in world(longitude, latitude)
    )
    return interleaved(columns, rows)


def interleaved(columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Morton codes ``(n,)``: the bits of both numbers in turn."""
    return _spread(columns) | (_spread(rows) << 1)


def cells_between(left: int, right: int, top: int, bottom: int) -> NDArray[np.int64]:
    """Codes of all cells of a level from one column and row to others, both ends included, ascending."""
    columns, rows = np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1))
    return np.sort(interleaved(columns.ravel(), rows.ravel()))


def outwards(edges: NDArray[np.float64], size: int) -> tuple[int, int]:
    """The first and the last of `size` cells between two edges, outwards to whole pairs of cells."""
    first = min(int(edges[0] * size), size - 1) // 2 * 2
    last = max(math.ceil(edges[1] * size), first + 1)
    return first, min(-(-last // 2) * 2, size) - 1


def joined_ranges(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows from every start to its end, joined."""
    count = ends - starts
    starts, count = starts[count > 0], count[count > 0]
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    before = np.cumsum(count) - count
    return np.repeat(starts - before, count) + np.arange(int(count.sum()))


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
