"""Tiles made of real GeoTIFFs: the right colours at the right place."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rasterio.warp import transform

from data_pipeline.sources.geotiff import GeoTiffSource
from housevis.core.errors import ImageryError


def pixels_of(source: GeoTiffSource, tile: mercantile.Tile) -> np.ndarray:
    data = source.read(tile.z, tile.x, tile.y)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def error_of(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).mean())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bands": 4},
        {"crs": "EPSG:3857", "metres": 1.5},
        {"crs": "EPSG:4326", "metres": 1e-5},
        {"crs": "EPSG:2926", "metres": 3.0},
        {"metres": 0.3, "pixels": 1000, "tiled": True, "compress": "deflate"},
        {"driver": "COG", "metres": 0.5, "pixels": 600},
    ],
    ids=["utm", "four bands", "web mercator", "degrees", "feet", "fine", "cog"],
)
def test_the_scene_lies_where_it_is(
    tmp_path: Path, rasters: SimpleNamespace, options: dict[str, Any]
) -> None:
    source = GeoTiffSource([rasters.write(tmp_path / "a.tif", **options)])
    found = pixels_of(source, rasters.tile)
    assert found.shape == (256, 256, 3)
    assert error_of(found, rasters.scene(rasters.tile)) < 2.5
    assert error_of(found, rasters.scene(rasters.tile)[:, ::-1]) > 20
    source.close()


def test_tiles_of_512_pixels(tmp_path: Path, rasters: SimpleNamespace) -> None:
    source = GeoTiffSource([rasters.write(tmp_path / "a.tif", metres=0.4, pixels=1200)], pixels=512)
    assert source.tile_size == 512
    assert error_of(pixels_of(source, rasters.tile), rasters.scene(rasters.tile, 512)) < 2.5


def test_near_infrared_is_not_taken_for_transparency(tmp_path: Path, rasters: SimpleNamespace) -> None:
    path = rasters.write(tmp_path / "a.tif", bands=4, marked=False)
    with rasterio.open(path) as made:
        assert made.colorinterp[3] == ColorInterp.alpha
    found = pixels_of(GeoTiffSource([path]), rasters.tile)
    assert error_of(found, rasters.scene(rasters.tile)) < 2.5


def test_a_band_of_transparency_is_one(tmp_path: Path, rasters: SimpleNamespace) -> None:
    path = rasters.write(tmp_path / "a.tif", bands=4, marked=False)
    with rasterio.open(path, "r+") as made:
        seen = np.full(made.shape, 255, dtype=np.uint8)
        seen[:, made.width // 2 :] = 0
        made.write(seen, 4)
    source = GeoTiffSource([path])
    assert source.read(*tile_east(rasters.tile, -1)) is not None
    assert source.read(*tile_east(rasters.tile, 1)) is None


def test_sixteen_bits_are_scaled_once_for_all_files(tmp_path: Path, rasters: SimpleNamespace) -> None:
    bright = rasters.write(tmp_path / "a.tif", dtype="uint16", gain=100.0)
    dark = rasters.write(tmp_path / "b.tif", dtype="uint16", gain=10.0, shift=700)
    found = pixels_of(GeoTiffSource([bright]), rasters.tile)
    scene = rasters.scene(rasters.tile)
    expected = (scene - scene.min()) / (scene.max() - scene.min()) * 255
    assert error_of(found, expected) < 6
    together = pixels_of(GeoTiffSource([bright, dark]), rasters.tile)
    assert together.mean() < found.mean() + 40
    assert "housevis_value_range" in GeoTiffSource([bright, dark]).metadata
    eight_in_sixteen = rasters.write(tmp_path / "c.tif", dtype="uint16")
    assert error_of(pixels_of(GeoTiffSource([eight_in_sixteen]), rasters.tile), scene) < 2.5


def test_one_band_is_grey_and_a_palette_has_its_colours(tmp_path: Path, rasters: SimpleNamespace) -> None:
    grey = pixels_of(GeoTiffSource([rasters.write(tmp_path / "a.tif", bands=1)]), rasters.tile)
    assert error_of(grey[..., 0], rasters.scene(rasters.tile)[..., 0]) < 2.5
    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 2
    indexed = rasters.write(
        tmp_path / "b.tif", bands=1, colours=lambda x, y: (rasters.colours(x, y) > 128).astype(float)
    )
    with rasterio.open(indexed, "r+") as made:
        made.colorinterp = [ColorInterp.palette]
        made.write_colormap(1, {0: (10, 200, 30, 255), 1: (250, 20, 90, 255)})
    coloured = pixels_of(GeoTiffSource([indexed]), rasters.tile)
    to_one = np.abs(coloured - (10, 200, 30)).sum(axis=2)
    to_other = np.abs(coloured - (250, 20, 90)).sum(axis=2)
    assert np.minimum(to_one, to_other).mean() < 25
    assert min((to_one < 60).mean(), (to_other < 60).mean()) > 0.2


def test_two_files_side_by_side_leave_no_seam(tmp_path: Path, rasters: SimpleNamespace) -> None:
    west = rasters.write(tmp_path / "west.tif", shift=-250)
    east = rasters.write(tmp_path / "east.tif", shift=250)
    found = pixels_of(GeoTiffSource([east, west]), rasters.tile)
    difference = np.abs(found - rasters.scene(rasters.tile)).mean(axis=2)
    assert difference.max() < 25
    assert difference.mean() < 2.5


def test_files_of_two_zones_and_sizes_go_together(tmp_path: Path, rasters: SimpleNamespace) -> None:
    coarse = rasters.write(tmp_path / "a.tif", crs="EPSG:32611", metres=4.0, pixels=300)
    fine = rasters.write(tmp_path / "b.tif", metres=0.5, pixels=900)
    source = GeoTiffSource([coarse, fine])
    assert source.files[0].path == fine
    assert error_of(pixels_of(source, rasters.tile), rasters.scene(rasters.tile)) < 2.5


@pytest.mark.parametrize("nodata", [0, 255])
def test_pixels_without_data_are_missing(tmp_path: Path, rasters: SimpleNamespace, nodata: int) -> None:
    half = rasters.write(tmp_path / "a.tif", nodata=nodata, hole=True)
    source = GeoTiffSource([half])
    assert source.read(*tile_east(rasters.tile, 1)) is None
    assert source.read(*tile_east(rasters.tile, -1)) is not None
    assert source.read(*tile_east(rasters.tile, 40)) is None


def test_a_tile_at_the_edge_is_filled_where_little_is_missing(
    tmp_path: Path, rasters: SimpleNamespace
) -> None:
    left, _, right, _ = mercantile.xy_bounds(rasters.tile)
    west = rasters.write(tmp_path / "a.tif", metres=1.0, pixels=600)
    with rasterio.open(west) as made:
        _, _, edge, _ = rasterio.warp.transform_bounds(made.crs, "EPSG:3857", *made.bounds)
    shift = round((left + 0.9 * (right - left) - edge) / 1.483)
    cut = GeoTiffSource([rasters.write(tmp_path / "b.tif", metres=1.0, pixels=600, shift=shift)])
    found = pixels_of(cut, rasters.tile)
    assert found.min() > 5
    assert error_of(found[:, :200], rasters.scene(rasters.tile)[:, :200]) < 2.5


def test_overviews_are_used_for_coarse_tiles(tmp_path: Path, rasters: SimpleNamespace) -> None:
    path = rasters.write(tmp_path / "a.tif", pixels=2048, metres=0.25, overviews=True)
    for level in range(4):
        with rasterio.open(path, "r+", OVERVIEW_LEVEL=level) as overview:
            overview.write(np.full((3, overview.height, overview.width), 77, dtype=np.uint8))
    exact = pixels_of(GeoTiffSource([path]), tile_of_zoom(rasters, 19))
    assert error_of(exact, rasters.scene(tile_of_zoom(rasters, 19))) < 2.5
    coarse = pixels_of(GeoTiffSource([path]), tile_of_zoom(rasters, 17))
    assert np.abs(coarse - 77).mean() < 5


def test_the_resolution_is_known(tmp_path: Path, rasters: SimpleNamespace) -> None:
    utm = GeoTiffSource([rasters.write(tmp_path / "a.tif", metres=0.6)])
    assert utm.native_metres_per_pixel(47.6) == pytest.approx(0.6)
    assert utm.native_zoom == 17
    mercator = GeoTiffSource([rasters.write(tmp_path / "b.tif", crs="EPSG:3857", metres=0.6)])
    assert mercator.native_metres_per_pixel(60.0) == pytest.approx(0.3, rel=1e-3)
    assert mercator.native_zoom == 18
    feet = GeoTiffSource([rasters.write(tmp_path / "c.tif", crs="EPSG:2926", metres=2.0)])
    assert feet.native_metres_per_pixel(47.6) == pytest.approx(0.6096, rel=1e-3)
    degrees = GeoTiffSource([rasters.write(tmp_path / "d.tif", crs="EPSG:4326", metres=1e-5)])
    assert degrees.native_metres_per_pixel(47.6) == pytest.approx(1.11, rel=1e-2)


def test_files_that_cannot_be_used_say_why(tmp_path: Path, rasters: SimpleNamespace) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", width=8, height=8, count=3, dtype="uint8") as made:
        made.write(np.ones((3, 8, 8), dtype=np.uint8))
    with pytest.raises(ImageryError, match="no coordinate system"):
        GeoTiffSource([path])
    path.write_bytes(b"II*\0 and nothing more")
    with pytest.raises(ImageryError, match="cannot be read") as caught:
        GeoTiffSource([path])
    assert str(path) in str(caught.value)
    good = rasters.write(tmp_path / "b.tif", tiled=True, blockxsize=128, blockysize=128)
    source = GeoTiffSource([good])
    content = good.read_bytes()
    good.write_bytes(content[: len(content) // 8])
    with pytest.raises(ImageryError, match="cannot be read"):
        source.read(rasters.tile.z, rasters.tile.x, rasters.tile.y)


def tile_east(tile: mercantile.Tile, steps: int) -> tuple[int, int, int]:
    return tile.z, tile.x + steps, tile.y


def tile_of_zoom(rasters: SimpleNamespace, zoom: int) -> mercantile.Tile:
    return mercantile.tile(rasters.longitude, rasters.latitude, zoom)


def test_a_file_across_the_date_line(tmp_path: Path, rasters: SimpleNamespace) -> None:
    path = tmp_path / "a.tif"
    profile = {"width": 400, "height": 400, "count": 3, "dtype": "uint8", "crs": "EPSG:32601"}
    (x,), (y,) = transform("EPSG:4326", "EPSG:32601", [-179.9999], [50.0])
    noise = np.random.default_rng(1).integers(0, 255, (3, 400, 400), dtype=np.uint8)
    with rasterio.open(path, "w", transform=from_origin(x - 400, y + 400, 2, 2), **profile) as made:
        made.write(noise)
    source = GeoTiffSource([path])
    assert source.native_zoom == 16
    for longitude in (-179.9995, 179.9995):
        tile = mercantile.tile(longitude, 50.0, 18)
        assert source.read(tile.z, tile.x, tile.y) is not None


def test_a_coordinate_system_that_is_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    crs = 'LOCAL_CS["site",UNIT["metre",1]]'
    profile = {"width": 8, "height": 8, "count": 3, "dtype": "uint8", "crs": crs}
    with rasterio.open(path, "w", transform=from_origin(0, 0, 1, 1), **profile) as made:
        made.write(np.ones((3, 8, 8), dtype=np.uint8))
    with pytest.raises(ImageryError, match="not tied to the earth"):
        GeoTiffSource([path])
