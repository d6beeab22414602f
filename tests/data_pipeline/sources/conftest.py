"""Small real rasters of a scene whose colours tell the place."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rasterio.warp import transform

LATITUDE, LONGITUDE = 47.6001, -122.3301
TILE = mercantile.tile(LONGITUDE, LATITUDE, 18)
UTM = "EPSG:32610"


def colours_at(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Red, green and blue (3, ...) of the scene at places in EPSG:3857, 28 to 228."""
    return 128 + 100 * np.stack(
        [np.sin(2 * np.pi * x / 190), np.cos(2 * np.pi * y / 170), np.sin(2 * np.pi * (x + y) / 230)]
    )


def scene_of(tile: mercantile.Tile, size: int = 256) -> npt.NDArray[np.float64]:
    """What a tile of the scene must look like, (size, size, 3)."""
    left, bottom, right, top = mercantile.xy_bounds(tile)
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(left + steps * (right - left), top - steps * (top - bottom))
    return np.moveaxis(colours_at(x, y), 0, -1)


def write_raster(
    path: Path,
    *,
    crs: str = UTM,
    metres: float = 1.0,
    pixels: int = 500,
    shift: float = 0.0,
    bands: int = 3,
    dtype: str = "uint8",
    gain: float = 1.0,
    nodata: float | None = None,
    hole: bool = False,
    overviews: bool = False,
    marked: bool = True,
    colours: Callable[..., npt.NDArray[np.float64]] = colours_at,
    **options: Any,
) -> Path:
    """A raster of the scene around the place; `shift` moves it east by so many pixels."""
    (x,), (y,) = transform("EPSG:4326", crs, [LONGITUDE], [LATITUDE])
    half = pixels * metres / 2
    origin = from_origin(x - half + shift * metres, y + half, metres, metres)
    steps = (np.arange(pixels) + 0.5) * metres
    east, north = np.meshgrid(origin.c + steps, origin.f - steps)
    world = transform(crs, "EPSG:3857", east.ravel(), north.ravel())
    values = colours(*(np.array(axis).reshape(east.shape) for axis in world)) * gain
    if bands == 4:
        values = np.concatenate([values, 255 - values[:1]])
    if bands == 1:
        values = values[:1]
    if hole:
        values[:, :, pixels // 2 :] = nodata
    profile = {"driver": "GTiff", "count": len(values), "dtype": dtype, "nodata": nodata, **options}
    with rasterio.open(
        path, "w", width=pixels, height=pixels, crs=CRS.from_string(crs), transform=origin, **profile
    ) as made:
        made.write(np.rint(values).astype(dtype))
        if bands == 4 and marked:
            made.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    if overviews:
        with rasterio.open(path, "r+") as made:
            made.build_overviews([2, 4, 8, 16])
    return path


@pytest.fixture
def rasters() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(
        write=write_raster,
        scene=scene_of,
        colours=colours_at,
        tile=TILE,
        latitude=LATITUDE,
        longitude=LONGITUDE,
    )


@pytest.fixture
def big_picture() -> bytes:
    """A textured JPEG of 512 pixels."""
    pixels = np.random.default_rng(5).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, "JPEG")
    return buffer.getvalue()
