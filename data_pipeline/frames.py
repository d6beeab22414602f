"""From tiles to one picture of a house, with its bounds on the ground.

A centred picture is cut out at the house's exact place, to a fraction of a
pixel: the house is the middle of the picture, whatever the tile grid. Windows
are measured in pixels of the grid (256 to a tile) and cut from the tiles' own
pixels, of which there may be more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import mercantile
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as Picture

from data_pipeline.decoding import Pixels, TileSource, decoded_tile
from data_pipeline.tiles import (
    TILE_PIXELS,
    Framing,
    Keys,
    distinct_tile_keys,
    metres_per_pixel,
    pixel_of,
    place_of,
    tile_of,
    unique_tiles,
    window_edges,
    window_origin,
)
from housevis.core.config_sections import ImagerySection

_FLAT_RANGE = 2


class PictureSource(TileSource, Protocol):
    """A tile source that says where its imagery comes from."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    @property
    def attribution(self) -> str:
        """Credit for the imagery."""

    @property
    def tile_size(self) -> int:
        """Pixels per side of a tile: 256, or 512 for tiles of twice the detail."""

    @property
    def native_zoom(self) -> int | None:
        """The deepest zoom that is no enlargement of a shallower one, where it is known."""


@dataclass(frozen=True, eq=False)
class HouseImage:
    """A picture of a house.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, north at the top.
        bounds: West, south, east, north of the picture's outer edges,
            degrees in EPSG:4326.
        metres_per_pixel: Ground sample distance of the picture at the house.
        provider: Name of the imagery's provider.
        attribution: Credit that has to be shown with the picture.
        house_pixel: (x, y) of the house in the picture, pixels from the
            north-west corner.
        missing_tiles: Tiles of the window that had no imagery; their part is
            a reflection of the rest.
        native_metres_per_pixel: Ground sample distance of the source's own
            pixels at the house, None if it is not known.
    """

    pixels: Pixels
    bounds: tuple[float, float, float, float]
    metres_per_pixel: float
    provider: str
    attribution: str
    house_pixel: tuple[float, float]
    missing_tiles: int = 0
    native_metres_per_pixel: float | None = None

    @cached_property
    def key(self) -> str:
        """Hex SHA-256 over shape and pixels: the identity of the content."""
        digest = hashlib.sha256(",".join(map(str, self.pixels.shape)).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def house_image(
    archive: PictureSource,
    latitude: float,
    longitude: float,
    *,
    framing: Framing,
    zoom: int,
    size: int,
    window: float = 1.0,
) -> HouseImage | None:
    """The picture of one place.

    Args:
        archive: Where the tiles are.
        latitude: Degrees.
        longitude: Degrees.
        framing: ``"centred"`` cuts a window with the place in its middle out
            of the stitched tiles; where a neighbour is missing, its part is
            filled by reflection at the edge of what is there. ``"tile"`` is
            the one tile that contains the place, resized.
        zoom: Zoom of the tiles, any that the archive has.
        size: Pixels per side of the picture.
        window: Side of a centred window, as a multiple of `size` pixels of
            the tile grid; no matter for ``"tile"``.

    Returns:
        The picture, or None where there is no imagery: all tiles are missing
        or one flat colour.
    """
    if framing == "tile":
        found = _whole_tile(archive, latitude, longitude, zoom, size)
    else:
        found = _centred(archive, latitude, longitude, zoom, size, window)
    if found is None or int(found.pixels.max()) - int(found.pixels.min()) <= _FLAT_RANGE:
        return None
    return found


def tiles_needed(frame: pd.DataFrame, imagery: ImagerySection, size: int) -> list[mercantile.Tile]:
    """The distinct tiles behind the pictures of a frame with `latitude` and `longitude`."""
    return unique_tiles(frame, imagery.zoom, imagery.framing, size, imagery.window)


def tile_keys_needed(frame: pd.DataFrame, imagery: ImagerySection, size: int) -> Keys:
    """As :func:`tiles_needed`, packed as of :func:`data_pipeline.tiles.pack`: for a million houses."""
    return distinct_tile_keys(frame, imagery.zoom, imagery.framing, size, imagery.window)


def _whole_tile(
    archive: PictureSource, latitude: float, longitude: float, zoom: int, size: int
) -> HouseImage | None:
    tile = tile_of(latitude, longitude, zoom)
    tile_size = archive.tile_size
    pixels = decoded_tile(archive, tile, tile_size)
    if pixels is None:
        return None
    scale = size / TILE_PIXELS
    if size != tile_size:
        resized = Picture.fromarray(pixels).resize((size, size), Picture.Resampling.BICUBIC)
        pixels = np.asarray(resized)
    world_x, world_y = pixel_of(latitude, longitude, zoom)
    west, south, east, north = mercantile.bounds(tile)
    return HouseImage(
        pixels,
        (west, south, east, north),
        metres_per_pixel(latitude, zoom) / scale,
        archive.provider,
        archive.attribution,
        ((world_x - tile.x * TILE_PIXELS) * scale, (world_y - tile.y * TILE_PIXELS) * scale),
        native_metres_per_pixel=_native_metres_per_pixel(archive, latitude, zoom),
    )


def _centred(
    archive: PictureSource, latitude: float, longitude: float, zoom: int, size: int, window: float
) -> HouseImage | None:
    side = size * window
    left, top = window_origin(latitude, longitude, zoom, size, window)
    tile_size = archive.tile_size
    detail = tile_size / TILE_PIXELS
    west_edge, east_edge = (edge * detail for edge in window_edges(left, side))
    north_edge, south_edge = (edge * detail for edge in window_edges(top, side))
    first_x, first_y = math.floor(west_edge), math.floor(north_edge)
    columns = _segments(first_x, math.ceil(east_edge), tile_size)
    rows = _segments(first_y, math.ceil(south_edge), tile_size)
    canvas: Pixels = np.zeros((rows[-1][2], columns[-1][2], 3), dtype=np.uint8)
    there = np.zeros((len(rows), len(columns)), dtype=bool)
    count = 2**zoom
    for i, (tile_y, from_y, until_y) in enumerate(rows):
        if not 0 <= tile_y < count:
            continue
        for j, (tile_x, from_x, until_x) in enumerate(columns):
            pixels = decoded_tile(archive, mercantile.Tile(tile_x % count, tile_y, zoom), tile_size)
            if pixels is None:
                continue
            there[i, j] = True
            offset_y, offset_x = first_y - tile_y * tile_size, first_x - tile_x * tile_size
            canvas[from_y:until_y, from_x:until_x] = pixels[
                from_y + offset_y : until_y + offset_y, from_x + offset_x : until_x + offset_x
            ]
    if not there.any():
        return None
    if not there.all():
        canvas = _filled(canvas, there, rows, columns)
    box = (west_edge - first_x, north_edge - first_y, east_edge - first_x, south_edge - first_y)
    north, west = place_of(left, top, zoom)
    south, east = place_of(left + side, top + side, zoom)
    return HouseImage(
        _resampled(canvas, box, size),
        (west, south, east, north),
        metres_per_pixel(latitude, zoom) * window,
        archive.provider,
        archive.attribution,
        (size / 2, size / 2),
        int(there.size - there.sum()),
        _native_metres_per_pixel(archive, latitude, zoom),
    )


def _resampled(canvas: Pixels, box: tuple[float, float, float, float], size: int) -> Pixels:
    """The part of a canvas in a box with fractions of a pixel; a plain copy where the pixels coincide."""
    if box == (0, 0, size, size):
        return canvas
    part = Picture.fromarray(canvas).resize((size, size), Picture.Resampling.BICUBIC, box=box)
    return np.asarray(part)


def _native_metres_per_pixel(archive: PictureSource, latitude: float, zoom: int) -> float:
    deepest = zoom if archive.native_zoom is None else min(zoom, archive.native_zoom)
    return metres_per_pixel(latitude, deepest) * TILE_PIXELS / archive.tile_size


def _segments(first: int, end: int, tile_size: int) -> list[tuple[int, int, int]]:
    """Cut the side of a canvas at tile edges: (tile index, first, one past the last pixel of the canvas)."""
    return [
        (index, max(index * tile_size, first) - first, min((index + 1) * tile_size, end) - first)
        for index in range(first // tile_size, (end - 1) // tile_size + 1)
    ]


def _filled(
    canvas: Pixels,
    there: npt.NDArray[np.bool_],
    rows: Sequence[tuple[int, int, int]],
    columns: Sequence[tuple[int, int, int]],
) -> Pixels:
    result = canvas.copy()
    for i, (_, top, bottom) in enumerate(rows):
        if there[i].any() and not there[i].all():
            source = _reflection(there[i], columns)
            result[top:bottom] = result[top:bottom][:, source]
    has_row = np.asarray(there.any(axis=1))
    return result if has_row.all() else result[_reflection(has_row, rows)]


def _reflection(
    there: npt.NDArray[np.bool_], segments: Sequence[tuple[int, int, int]]
) -> npt.NDArray[np.intp]:
    """For each pixel along a side, the pixel to take: itself, or its mirror image in the nearest run."""
    source = np.arange(segments[-1][2])
    runs: list[list[int]] = []
    for present, (_, start, stop) in zip(there, segments, strict=True):
        if present and runs and runs[-1][1] == start:
            runs[-1][1] = stop
        elif present:
            runs.append([start, stop])
    for present, (_, start, stop) in zip(there, segments, strict=True):
        if present:
            continue
        pixels = np.arange(start, stop)
        distances = np.stack([np.maximum(first - pixels, pixels - last + 1) for first, last in runs])
        nearest = np.asarray(runs)[distances.argmin(axis=0)]
        first, length = nearest[:, 0], nearest[:, 1] - nearest[:, 0]
        phase = (pixels - first) % (2 * length)
        source[start:stop] = first + np.where(phase < length, phase, 2 * length - 1 - phase)
    return source
