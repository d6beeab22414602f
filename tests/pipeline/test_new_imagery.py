"""Imagery for new houses: a name, an address, archives, rasters, a folder of pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_bounds

from data_pipeline.archive import TileArchive
from data_pipeline.pmtiles_files import write_pmtiles
from data_pipeline.tile_server import TileServer
from data_pipeline.tiles import unique_tiles
from housevis.core.config import Config, parse_config
from housevis.core.errors import ConfigError, ImageryError, RightsError, UsageError
from housevis.pipeline.embedding import HousePlace, PictureLoader
from housevis.pipeline.new_imagery import open_new_imagery

HOUSES = pd.DataFrame(
    {"house_id": ["a", "b"], "latitude": [47.6001, 47.6004], "longitude": [-122.3301, -122.3312]}
)


def configured(folder: Path, **imagery: Any) -> Config:
    table = {"name": "t", "listings": {"path": "s.csv"}, "imagery": imagery}
    return parse_config(table, where="t.toml", directory=folder)


def png(seed: int, size: int = 256) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mbtiles(tmp_path: Path) -> Path:
    path = tmp_path / "tiles.mbtiles"
    with TileArchive.create(path, {"name": "s", "format": "png", "attribution": "Our aeroplane"}) as made:
        tiles = unique_tiles(HOUSES, 18, "centred", 224)
        made.write([(tile, png(tile.x * 7 + tile.y)) for tile in tiles])
    return path


def pictures(imagery: str, config: Config, reference: str | None = "ours") -> dict[str, Any]:
    """The picture of each house."""
    with open_new_imagery(imagery, config, HOUSES, reference) as archive:
        loader = PictureLoader(archive, config.imagery, config.vision)
        return {
            house: loader.picture(HousePlace(house, latitude, longitude))
            for house, latitude, longitude in HOUSES.itertuples(index=False)
        }


def test_archives_and_addresses_give_the_same_pictures(tmp_path: Path, mbtiles: Path) -> None:
    config = configured(tmp_path)
    expected = pictures(str(mbtiles), config)
    assert expected["a"].attribution == "Our aeroplane"
    other = tmp_path / "tiles.pmtiles"
    with TileArchive(mbtiles) as archive:
        write_pmtiles(archive, other)
        with TileServer(archive) as server:
            fetched = pictures(server.url, config)
    copied = pictures(str(other), config)
    for house, image in expected.items():
        assert image.key == copied[house].key == fetched[house].key


def test_a_geotiff(tmp_path: Path) -> None:
    tile = mercantile.tile(-122.3305, 47.6002, 16)
    bounds = mercantile.xy_bounds(tile)
    pixels = np.random.default_rng(1).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=64,
        height=64,
        count=3,
        dtype="uint8",
        crs="EPSG:3857",
        transform=from_bounds(*bounds, 64, 64),
    ) as made:
        made.write(pixels)
    found = pictures(str(tmp_path / "*.tif"), configured(tmp_path))
    assert all(image is not None for image in found.values())
    assert found["a"].key != found["b"].key


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "A.png").write_bytes(png(1))
    found = pictures(str(folder), configured(tmp_path, metres_per_pixel=0.25))
    assert found["b"] is None
    image = found["a"]
    assert image.pixels.shape == (224, 224, 3)
    assert image.metres_per_pixel == pytest.approx(0.25 * 256 / 224)
    west, south, east, north = image.bounds
    assert west < -122.3301 < east
    assert south < 47.6001 < north


def test_every_way_in_passes_the_gate(tmp_path: Path, mbtiles: Path) -> None:
    config = configured(tmp_path)
    for imagery in (str(mbtiles), "https://tiles.example.org/{z}/{x}/{y}", "google-static"):
        with pytest.raises(RightsError, match="--i-have-rights"):
            pictures(imagery, config, None)


@pytest.mark.parametrize(
    ("imagery", "kind", "message"),
    [
        ("{tmp}/none.mbtiles", UsageError, "no such file or folder"),
        ("pdok-luchtphoto", UsageError, "no such file or folder"),
        ("{tmp}/empty", ImageryError, "neither GeoTIFFs nor pictures"),
        ("{tmp}/notes.txt", ImageryError, "no imagery that housevis reads"),
        ("https://tiles.example.org/a.png", ConfigError, "which tile is meant"),
        ("usgs-basemap", ConfigError, "no zoom 18"),
    ],
)
def test_mistakes(tmp_path: Path, imagery: str, kind: type[Exception], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(kind, match=message):
        pictures(imagery.format(tmp=tmp_path), configured(tmp_path))


def test_a_server_that_fails_is_no_place_without_imagery(tmp_path: Path, mbtiles: Path) -> None:
    config, notes = configured(tmp_path), list[str]()

    class Failing:
        """Serves the tiles of an even column, and no picture for the others."""

        format = "png"

        def __init__(self, archive: TileArchive, columns: tuple[int, ...]) -> None:
            self.archive, self.columns = archive, columns

        def read(self, z: int, x: int, y: int) -> bytes | None:
            return self.archive.read(z, x, y) if x % 2 in self.columns else b"<html>try later</html>"

    with TileArchive(mbtiles) as archive:
        with (
            TileServer(Failing(archive, ())) as server,
            pytest.raises(ImageryError, match=r"not one of .*\(a text") as caught,
        ):
            pictures(server.url + "?key=hidden", config)
        assert "hidden" not in str(caught.value)
        with (
            TileServer(Failing(archive, (0,))) as server,
            open_new_imagery(server.url, config, HOUSES, "ours", notes),
        ):
            assert "could not be fetched (a text, not a picture)" in notes[0]
