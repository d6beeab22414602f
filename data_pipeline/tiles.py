"""Tile arithmetic: which tiles, which pixels, how many metres per pixel.

Tiles are XYZ tiles of the Web Mercator grid (EPSG:3857), named with
mercantile's :class:`mercantile.Tile`; a tile is 256 x 256 pixels. World
pixels count from the north-west corner of the world at a zoom. Latitudes and
longitudes are degrees in EPSG:4326.
"""

from __future__ import annotations

import math
from typing import Literal

import mercantile
import numpy as np
import numpy.typing as npt
import pandas as pd

TILE_PIXELS = 256
LATITUDE_LIMIT = 85.0511287798066
"""The Web Mercator grid ends at this latitude, north and south."""

EARTH_RADIUS = 6_378_137.0
"""Metres: the sphere of Web Mercator."""

_TOLERANCE = 1e-14

Framing = Literal["centred", "tile"]


def world_fractions(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Places as fractions of the world's width and height in Web Mercator.

    Args:
        latitude: Degrees, any shape.
        longitude: Degrees, the same shape.

    Returns:
        Fractions from the west and from the north edge, 0 to 1.
    """
    sine = np.sin(np.radians(np.asarray(latitude, dtype=np.float64)))
    with np.errstate(divide="ignore"):
        from_north = 0.5 - 0.25 * np.log((1.0 + sine) / (1.0 - sine)) / math.pi
    return np.asarray(longitude, dtype=np.float64) / 360.0 + 0.5, from_north


def tile_of(latitude: float, longitude: float, zoom: int) -> mercantile.Tile:
    """The tile that contains a place."""
    x, y = _tile_indices(*world_fractions([latitude], [longitude]), zoom)
    return mercantile.Tile(int(x[0]), int(y[0]), zoom)


def pixel_of(latitude: float, longitude: float, zoom: int) -> tuple[float, float]:
    """The world pixel of a place: columns from the west edge, rows from the north edge."""
    across, down = world_fractions(latitude, longitude)
    scale = TILE_PIXELS * 2.0**zoom
    return float(across) * scale, float(down) * scale


def place_of(pixel_x: float, pixel_y: float, zoom: int) -> tuple[float, float]:
    """The (latitude, longitude) of a world pixel; the inverse of :func:`pixel_of`."""
    scale = TILE_PIXELS * 2.0**zoom
    latitude = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * pixel_y / scale))))
    return latitude, (pixel_x / scale - 0.5) * 360.0


def metres_per_pixel(latitude: float, zoom: int) -> float:
    """Ground sample distance of a 256-pixel tile at a latitude, in metres."""
    equator = 2 * math.pi * EARTH_RADIUS
    return math.cos(math.radians(latitude)) * equator / (TILE_PIXELS * 2**zoom)


def window_origin(latitude: float, longitude: float, zoom: int, size: int) -> tuple[int, int]:
    """The north-west world pixel of the `size` x `size` window centred on a place.

    ``round(pixel - size / 2)``, halves to even, as in the masks of the sample
    market.

    Returns:
        (left, top) in world pixels.
    """
    x, y = pixel_of(latitude, longitude, zoom)
    return round(x - size / 2), round(y - size / 2)


def tiles_for_window(
    latitude: float, longitude: float, zoom: int, framing: Framing, size: int
) -> list[mercantile.Tile]:
    """The tiles that a picture of one place is made of, row by row from the north-west.

    Args:
        latitude: Degrees.
        longitude: Degrees.
        zoom: Zoom level.
        framing: ``"centred"`` for a window of `size` pixels around the place,
            ``"tile"`` for the one tile that contains it.
        size: Pixels per side of the window; no matter for ``"tile"``.
    """
    if framing == "tile":
        return [tile_of(latitude, longitude, zoom)]
    left, top = window_origin(latitude, longitude, zoom, size)
    count = 2**zoom
    rows = range(max(top // TILE_PIXELS, 0), min((top + size - 1) // TILE_PIXELS, count - 1) + 1)
    columns = range(left // TILE_PIXELS, (left + size - 1) // TILE_PIXELS + 1)
    return [mercantile.Tile(column % count, row, zoom) for row in rows for column in columns]


def unique_tiles(frame: pd.DataFrame, zoom: int, framing: Framing, size: int) -> list[mercantile.Tile]:
    """The distinct tiles that the pictures of many houses are made of.

    Args:
        frame: A frame with `latitude` and `longitude`.
        zoom: Zoom level.
        framing: See :func:`tiles_for_window`.
        size: Pixels per side of a centred window.

    Returns:
        Tiles in the order of their rows and columns, so that neighbours are
        fetched one after the other.
    """
    if frame.empty:
        return []
    across, down = world_fractions(frame["latitude"], frame["longitude"])
    count = 2**zoom
    if framing == "tile":
        x, y = _tile_indices(across, down, zoom)
        return _distinct(x, y, zoom)
    scale = float(TILE_PIXELS * count)
    left = np.rint(across * scale - size / 2).astype(np.int64)
    top = np.rint(down * scale - size / 2).astype(np.int64)
    first_x, first_y = left // TILE_PIXELS, top // TILE_PIXELS
    last_x, last_y = (left + size - 1) // TILE_PIXELS, (top + size - 1) // TILE_PIXELS
    reach = -(-size // TILE_PIXELS) + 1
    columns, rows = [], []
    for step_y in range(reach):
        for step_x in range(reach):
            x, y = first_x + step_x, first_y + step_y
            inside = (x <= last_x) & (y <= last_y) & (y >= 0) & (y < count)
            columns.append(x[inside] % count)
            rows.append(y[inside])
    return _distinct(np.concatenate(columns), np.concatenate(rows), zoom)


def _tile_indices(
    across: npt.NDArray[np.float64], down: npt.NDArray[np.float64], zoom: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    count = 2**zoom
    indices = []
    for fraction in (across, down):
        inside = np.clip(fraction, 0.0, 1.0)
        indices.append(np.minimum(np.floor((inside + _TOLERANCE) * count).astype(np.int64), count - 1))
    return indices[0], indices[1]


def _distinct(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], zoom: int) -> list[mercantile.Tile]:
    packed = np.unique((y << 32) | x)
    return [mercantile.Tile(key & 0xFFFFFFFF, key >> 32, zoom) for key in packed.tolist()]
