"""Tile arithmetic: which tiles, which pixels, how many metres per pixel.

Tiles are XYZ tiles of the Web Mercator grid (EPSG:3857), named with
mercantile's :class:`mercantile.Tile`; a tile is 256 x 256 pixels. World
pixels count from the north-west corner of the world at a zoom. Latitudes and
longitudes are degrees in EPSG:4326.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
_SNAP = 1e-3
"""A window's edge that lies this close to the edge of a pixel, in pixels, lies on it."""

_FARTHEST_LATITUDE = 89.9
"""Places nearer to a pole are taken to lie here: beyond the grid, and yet not at infinity."""

_HOUSES_AT_ONCE = 1 << 16

Keys = npt.NDArray[np.int64]
"""Tiles of one zoom, packed: ``row << 32 | column``."""

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
    within = np.clip(np.asarray(latitude, dtype=np.float64), -_FARTHEST_LATITUDE, _FARTHEST_LATITUDE)
    sine = np.sin(np.radians(within))
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


def metres_across(bounds: tuple[float, float, float, float]) -> tuple[float, float]:
    """Width and height on the ground of a picture, in metres.

    Args:
        bounds: West, south, east, north in degrees (EPSG:4326).
    """
    west, south, east, north = bounds
    middle = math.cos(math.radians((south + north) / 2))
    return math.radians(east - west) * EARTH_RADIUS * middle, math.radians(north - south) * EARTH_RADIUS


def window_origin(
    latitude: float, longitude: float, zoom: int, size: int, window: float = 1.0
) -> tuple[float, float]:
    """The north-west corner of the window that is centred on a place.

    Args:
        latitude: Degrees.
        longitude: Degrees.
        zoom: Zoom level.
        size: Pixels per side of the picture.
        window: Side of the window, as a multiple of `size` world pixels.

    Returns:
        (left, top) in world pixels, with fractions of a pixel.
    """
    x, y = pixel_of(latitude, longitude, zoom)
    return x - size * window / 2, y - size * window / 2


def window_edges(start: float, length: float) -> tuple[float, float]:
    """Both edges of a window's side in world pixels; an edge close to that of a pixel lies on it."""
    edges = (start, start + length)
    first, last = (round(edge) if abs(edge - round(edge)) < _SNAP else edge for edge in edges)
    return float(first), float(last)


def tiles_for_window(
    latitude: float, longitude: float, zoom: int, framing: Framing, size: int, window: float = 1.0
) -> list[mercantile.Tile]:
    """The tiles that a picture of one place is made of, row by row from the north-west.

    Args:
        latitude: Degrees.
        longitude: Degrees.
        zoom: Zoom level.
        framing: ``"centred"`` for a window around the place, ``"tile"`` for
            the one tile that contains it.
        size: Pixels per side of the picture; no matter for ``"tile"``.
        window: Side of the window, as a multiple of `size` world pixels.

    Returns:
        Distinct tiles. A window goes round the world at the date line, and
        ends at the north and south edge of the grid.
    """
    if framing == "tile":
        return [tile_of(latitude, longitude, zoom)]
    left, top = window_origin(latitude, longitude, zoom, size, window)
    count = 2**zoom
    (west, east), (north, south) = (window_edges(start, size * window) for start in (left, top))
    rows = range(max(_first_tile(north), 0), min(_last_tile(south), count - 1) + 1)
    columns = range(_first_tile(west), _last_tile(east) + 1)
    return list(
        dict.fromkeys(mercantile.Tile(column % count, row, zoom) for row in rows for column in columns)
    )


def distinct_tile_keys(
    frame: pd.DataFrame, zoom: int, framing: Framing, size: int, window: float = 1.0
) -> Keys:
    """The distinct tiles that the pictures of many houses are made of, packed.

    A million houses take seconds, and eight bytes per distinct tile.

    Args:
        frame: A frame with `latitude` and `longitude`.
        zoom: Zoom level.
        framing: See :func:`tiles_for_window`, also for `size` and `window`.
        size: Pixels per side of a picture.
        window: Side of a centred window.

    Returns:
        Keys in the order of their rows and columns, so that neighbours are
        fetched one after the other; :func:`tiles_of_keys` unpacks them.
    """
    latitudes = frame["latitude"].to_numpy(dtype=np.float64)
    longitudes = frame["longitude"].to_numpy(dtype=np.float64)
    parts = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(frame), _HOUSES_AT_ONCE):
        part = slice(start, start + _HOUSES_AT_ONCE)
        across, down = world_fractions(latitudes[part], longitudes[part])
        if framing == "tile":
            columns, rows = _tile_indices(across, down, zoom)
            parts.append(_distinct(pack(columns, rows)))
        else:
            parts.append(_window_keys(across, down, zoom, size * window))
    return _distinct(np.concatenate(parts))


def pack(columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Keys:
    """Keys of tiles: ``row << 32 | column``."""
    return (rows << 32) | columns


def unpack(keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Columns and rows of packed tiles."""
    return keys & 0xFFFFFFFF, keys >> 32


def tiles_of_keys(keys: Keys, zoom: int) -> Iterator[mercantile.Tile]:
    """Packed tiles one by one, as mercantile's."""
    for start in range(0, len(keys), _HOUSES_AT_ONCE):
        for key in keys[start : start + _HOUSES_AT_ONCE].tolist():
            yield mercantile.Tile(key & 0xFFFFFFFF, key >> 32, zoom)


def unique_tiles(
    frame: pd.DataFrame, zoom: int, framing: Framing, size: int, window: float = 1.0
) -> list[mercantile.Tile]:
    """The tiles of :func:`distinct_tile_keys` as a list of mercantile's."""
    return list(tiles_of_keys(distinct_tile_keys(frame, zoom, framing, size, window), zoom))


def nearby_order(frame: pd.DataFrame, zoom: int) -> npt.NDArray[np.intp]:
    """An order of places in which those that share tiles follow each other closely.

    Args:
        frame: A frame with `latitude` and `longitude`.
        zoom: Zoom of the tiles.

    Returns:
        Positions of the rows, along the Z-shaped curve of the tiles; within a
        tile by latitude and longitude.
    """
    fractions = world_fractions(frame["latitude"].to_numpy(), frame["longitude"].to_numpy())
    columns, rows = _tile_indices(*fractions, zoom)
    curve = np.zeros(len(frame), dtype=np.int64)
    for bit in range(zoom):
        curve |= ((columns >> bit & 1) | (rows >> bit & 1) << 1) << 2 * bit
    return np.lexsort((frame["longitude"], frame["latitude"], curve))


def _first_tile(edge: float) -> int:
    return math.floor(edge) // TILE_PIXELS


def _last_tile(edge: float) -> int:
    return (math.ceil(edge) - 1) // TILE_PIXELS


def _window_keys(
    across: npt.NDArray[np.float64], down: npt.NDArray[np.float64], zoom: int, side: float
) -> Keys:
    count = 2**zoom
    scale = float(TILE_PIXELS * count)
    first_x, last_x = _tile_spans(across * scale - side / 2, side)
    first_y, last_y = _tile_spans(down * scale - side / 2, side)
    parts = []
    for step_y in range(int((last_y - first_y).max()) + 1):
        for step_x in range(int((last_x - first_x).max()) + 1):
            x, y = first_x + step_x, first_y + step_y
            inside = (x <= last_x) & (y <= last_y) & (y >= 0) & (y < count)
            parts.append(pack(x[inside] % count, y[inside]))
    return _distinct(np.concatenate(parts))


def _distinct(keys: Keys) -> Keys:
    """Each key once, in order; sorts in place, which takes less memory than ``np.unique``."""
    keys.sort()
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]


def _tile_spans(
    starts: npt.NDArray[np.float64], length: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last tile that each side of a window touches."""
    first = np.floor(_snapped(starts)).astype(np.int64)
    end = np.ceil(_snapped(starts + length)).astype(np.int64)
    return first // TILE_PIXELS, (end - 1) // TILE_PIXELS


def _snapped(edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest = np.rint(edges)
    return np.where(np.abs(edges - nearest) < _SNAP, nearest, edges)


def _tile_indices(
    across: npt.NDArray[np.float64], down: npt.NDArray[np.float64], zoom: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    count = 2**zoom
    indices = []
    for fraction in (across, down):
        inside = np.clip(fraction, 0.0, 1.0)
        indices.append(np.minimum(np.floor((inside + _TOLERANCE) * count).astype(np.int64), count - 1))
    return indices[0], indices[1]
