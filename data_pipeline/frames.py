"""From tiles to one picture of a house, with its bounds on the ground."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import mercantile
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from data_pipeline.tiles import (
    TILE_PIXELS,
    Framing,
    metres_per_pixel,
    pixel_of,
    place_of,
    tile_of,
    unique_tiles,
    window_origin,
)
from housevis.core.config import ImagerySection

Pixels = npt.NDArray[np.uint8]
_DECODED_TILES = 64
_FLAT_RANGE = 2
_thread = threading.local()


class TileSource(Protocol):
    """Anything that hands out tiles: an archive, the sample market."""

    @property
    def format(self) -> str:
        """``png``, ``jpg`` or ``webp``."""

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The bytes of an XYZ tile, or None if there is none."""


class PictureSource(TileSource, Protocol):
    """A tile source that says where its imagery comes from."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    @property
    def attribution(self) -> str:
        """Credit for the imagery."""


@dataclass(frozen=True, eq=False)
class HouseImage:
    """A picture of a house.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, north at the top.
        bounds: West, south, east, north of the picture's outer edges,
            degrees in EPSG:4326.
        metres_per_pixel: Ground sample distance at the house.
        provider: Name of the imagery's provider.
        attribution: Credit that has to be shown with the picture.
        house_pixel: (x, y) of the house in the picture, pixels from the
            north-west corner.
        missing_tiles: Tiles of the window that had no imagery; their part is
            a reflection of the rest.
    """

    pixels: Pixels
    bounds: tuple[float, float, float, float]
    metres_per_pixel: float
    provider: str
    attribution: str
    house_pixel: tuple[float, float]
    missing_tiles: int = 0

    @cached_property
    def key(self) -> str:
        """Hex SHA-256 over shape and pixels: the identity of the content."""
        digest = hashlib.sha256(",".join(map(str, self.pixels.shape)).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def house_image(
    archive: PictureSource, latitude: float, longitude: float, *, framing: Framing, zoom: int, size: int
) -> HouseImage | None:
    """The picture of one place.

    Args:
        archive: Where the tiles are.
        latitude: Degrees.
        longitude: Degrees.
        framing: ``"centred"`` cuts `size` x `size` pixels around the place
            out of the stitched tiles; where a neighbour is missing, its part
            is filled by reflection at the edge of what is there. ``"tile"``
            is the one tile that contains the place, resized.
        zoom: Zoom of the tiles.
        size: Pixels per side of the picture.

    Returns:
        The picture, or None where there is no imagery: all tiles are missing
        or one flat colour.
    """
    if framing == "tile":
        found = _whole_tile(archive, latitude, longitude, zoom, size)
    else:
        found = _centred(archive, latitude, longitude, zoom, size)
    if found is None or int(found.pixels.max()) - int(found.pixels.min()) <= _FLAT_RANGE:
        return None
    return found


def tiles_needed(frame: pd.DataFrame, imagery: ImagerySection, size: int) -> list[mercantile.Tile]:
    """The distinct tiles behind the pictures of a frame with `latitude` and `longitude`."""
    return unique_tiles(frame, imagery.zoom, imagery.framing, size)


def decode_tile(data: bytes) -> Pixels | None:
    """Decode a picture.

    Args:
        data: PNG, JPEG, WebP or another format that Pillow reads.

    Returns:
        uint8 (256, 256, 3), RGB, resized if it has another size; None if the
        bytes are no picture.
    """
    try:
        with Picture.open(io.BytesIO(data)) as picture:
            colour = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Picture.DecompressionBombError):
        return None
    if colour.size != (TILE_PIXELS, TILE_PIXELS):
        colour = colour.resize((TILE_PIXELS, TILE_PIXELS), Picture.Resampling.BICUBIC)
    return np.asarray(colour)


def _whole_tile(
    archive: PictureSource, latitude: float, longitude: float, zoom: int, size: int
) -> HouseImage | None:
    tile = tile_of(latitude, longitude, zoom)
    pixels = _decoded(archive, tile)
    if pixels is None:
        return None
    scale = size / TILE_PIXELS
    if size != TILE_PIXELS:
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
    )


def _centred(
    archive: PictureSource, latitude: float, longitude: float, zoom: int, size: int
) -> HouseImage | None:
    left, top = window_origin(latitude, longitude, zoom, size)
    rows = _segments(top, size)
    columns = _segments(left, size)
    canvas: Pixels = np.zeros((size, size, 3), dtype=np.uint8)
    there = np.zeros((len(rows), len(columns)), dtype=bool)
    count = 2**zoom
    for i, (tile_y, from_y, until_y) in enumerate(rows):
        for j, (tile_x, from_x, until_x) in enumerate(columns):
            if not 0 <= tile_y < count:
                continue
            pixels = _decoded(archive, mercantile.Tile(tile_x % count, tile_y, zoom))
            if pixels is None:
                continue
            there[i, j] = True
            offset_y, offset_x = top - tile_y * TILE_PIXELS, left - tile_x * TILE_PIXELS
            canvas[from_y:until_y, from_x:until_x] = pixels[
                from_y + offset_y : until_y + offset_y, from_x + offset_x : until_x + offset_x
            ]
    if not there.any():
        return None
    if not there.all():
        canvas = _filled(canvas, there, rows, columns)
    north, west = place_of(left, top, zoom)
    south, east = place_of(left + size, top + size, zoom)
    world_x, world_y = pixel_of(latitude, longitude, zoom)
    return HouseImage(
        canvas,
        (west, south, east, north),
        metres_per_pixel(latitude, zoom),
        archive.provider,
        archive.attribution,
        (world_x - left, world_y - top),
        int(there.size - there.sum()),
    )


def _segments(start: int, size: int) -> list[tuple[int, int, int]]:
    """Cut a window side at tile edges: (tile index, first, one past the last pixel of the window)."""
    first, last = start // TILE_PIXELS, (start + size - 1) // TILE_PIXELS
    return [
        (index, max(index * TILE_PIXELS - start, 0), min((index + 1) * TILE_PIXELS - start, size))
        for index in range(first, last + 1)
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


def _decoded(archive: TileSource, tile: mercantile.Tile) -> Pixels | None:
    """The tile's pixels, kept for a while per thread: neighbours share tiles."""
    kept: OrderedDict[tuple[int, int, int], Pixels | None] | None = getattr(_thread, "tiles", None)
    if kept is None or getattr(_thread, "archive", None) is not archive:
        kept = _thread.tiles = OrderedDict()
        _thread.archive = archive
    key = (tile.z, tile.x, tile.y)
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    data = archive.read(tile.z, tile.x, tile.y)
    pixels = None if data is None else decode_tile(data)
    kept[key] = pixels
    if len(kept) > _DECODED_TILES:
        kept.popitem(last=False)
    return pixels
