"""The `tiles` step with imagery on this machine: every kind ends in the same archive."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pandas as pd
import pytest
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.frames import house_image
from data_pipeline.pmtiles_files import write_pmtiles
from data_pipeline.sources import copying
from data_pipeline.sources.kinds import source_at
from data_pipeline.tile_step import TilesReport, tiles
from data_pipeline.tiles import unique_tiles
from db.store import read_tile_rows, replace_listings
from housevis.core.config import Config, parse_config
from housevis.core.engine import open_runner
from housevis.core.errors import ConfigError, HousevisError, ImageryError, RightsError
from housevis.core.workspace import Workspace

PLACES = {"a": (47.6001, -122.3301), "b": (47.6004, -122.3312), "c/1": (47.6009, -122.3309)}


@pytest.fixture
def houses(sqlite_engine: Engine) -> pd.DataFrame:
    """Three houses in the database."""
    frame = pd.DataFrame(
        [(name, latitude, longitude, None, None) for name, (latitude, longitude) in PLACES.items()],
        columns=["house_id", "latitude", "longitude", "address", "listing_url"],
    )
    sales = pd.DataFrame(
        {
            "sale_id": [f"{name}@2020-01-01" for name in PLACES],
            "house_id": list(PLACES),
            "sale_date": pd.Timestamp("2020-01-01"),
            "price": 1.0,
            "bedrooms": 1.0,
            "bathrooms": 1.0,
            "area_m2": 1.0,
            "source_row": [2, 3, 4],
        }
    )
    rejects = pd.DataFrame(columns=["source", "row", "house_id", "reason", "detail"])
    replace_listings(sqlite_engine, frame, sales, rejects)
    return frame


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs" / "test")


@pytest.fixture
def needed(houses: pd.DataFrame) -> list[mercantile.Tile]:
    return unique_tiles(houses, 18, "centred", 224)


@pytest.fixture
def mbtiles(tmp_path: Path, needed: list[mercantile.Tile], kit: SimpleNamespace) -> Path:
    """All tiles but the first."""
    path = tmp_path / "source.mbtiles"
    with TileArchive.create(path, {"name": "s", "attribution": "Our own aeroplane"}) as made:
        made.write([(tile, kit.picture(tile)) for tile in needed[1:]])
    return path


def configured(folder: Path, **imagery: Any) -> Config:
    table = {"name": "test", "listings": {"path": "sales.csv"}, "imagery": imagery}
    return parse_config(table, where="test.toml", directory=folder)


def run(config: Config, workspace: Workspace, engine: Engine) -> TilesReport:
    with open_runner(config) as runner:
        return tiles(config, workspace, engine, runner)


@pytest.mark.parametrize("kind", ["mbtiles", "pmtiles"])
def test_an_archive_of_tiles(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    mbtiles: Path,
    needed: list[mercantile.Tile],
    kit: SimpleNamespace,
    kind: str,
) -> None:
    source = mbtiles
    if kind == "pmtiles":
        source = tmp_path / "source.pmtiles"
        with TileArchive(mbtiles) as archive:
            write_pmtiles(archive, source)
    config = configured(tmp_path, source=source.name, rights_reference="contract 7")
    report = run(config, workspace, sqlite_engine)
    assert (report.needed, report.fetched) == (len(needed), len(needed))
    assert (report.ok, report.missing, report.failed) == (len(needed) - 1, 1, 0)
    assert (report.provider, report.attribution) == ("unknown", "Our own aeroplane")
    assert report.rights_reference == "contract 7"
    again = run(config, workspace, sqlite_engine)
    assert (again.skipped, again.fetched, again.ok) == (True, 0, report.ok)
    with TileArchive(workspace.archive) as archive:
        assert set(archive.tiles(18)) == set(needed[1:])
        assert archive.read(18, needed[1].x, needed[1].y) == kit.picture(needed[1])
        assert archive.metadata["housevis_rights_reference"] == "contract 7"
    rows = read_tile_rows(sqlite_engine, 18)
    assert set(rows["status"]) == {"ok", "missing"}
    assert rows["http_status"].isna().all()
    assert rows.loc[rows["status"] == "ok", "sha256"].str.len().eq(64).all()


@pytest.mark.parametrize("named", ["naip.tif", "*.tif", ".", "naip.vrt"])
def test_geotiffs(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    rasters: SimpleNamespace,
    named: str,
) -> None:
    folder = tmp_path / "naip"
    folder.mkdir()
    rasters.write(folder / "naip.tif", pixels=500, bands=4)
    if named == "naip.vrt":
        named = "../naip.vrt"
        write_vrt(tmp_path / "naip.vrt", folder / "naip.tif", 500)
    config = configured(tmp_path, source=f"naip/{named}", provider="usgs-naip-files")
    report = run(config, workspace, sqlite_engine)
    assert (report.ok, report.provider, report.rights_reference) == (report.needed, "usgs-naip-files", None)
    with TileArchive(workspace.archive) as archive:
        assert (archive.format, archive.tile_size) == ("jpg", 256)
        image = house_image(archive, *PLACES["a"], framing="centred", zoom=18, size=224)
        assert image is not None
        assert image.native_metres_per_pixel is not None
        assert "National Agriculture Imagery Program" in image.attribution
    assert run(config, workspace, sqlite_engine).skipped


def test_retina_and_further_zooms(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    rasters: SimpleNamespace,
) -> None:
    rasters.write(tmp_path / "a.tif", pixels=600)
    config = configured(
        tmp_path, source="a.tif", rights_reference="ours", retina=True, further_zooms=[17, 16, 18]
    )
    report = run(config, workspace, sqlite_engine)
    wanted = [set(unique_tiles(houses, zoom, "centred", 224)) for zoom in (16, 17, 18)]
    assert report.needed == sum(map(len, wanted))
    with TileArchive(workspace.archive) as archive:
        assert archive.tile_size == 512
        assert set(archive.tiles(18)) == wanted[2]
        assert set(archive.tiles(17)) <= wanted[1]
        shallowest = min(zoom for zoom in (16, 17, 18) if set(archive.tiles(zoom)))
        assert (archive.metadata["minzoom"], archive.metadata["maxzoom"]) == (str(shallowest), "18")
    assert len(read_tile_rows(sqlite_engine, 16)) == len(wanted[0])


def test_a_folder_of_pictures(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, houses: pd.DataFrame, kit: SimpleNamespace
) -> None:
    folder = tmp_path / "pictures"
    (folder / "c").mkdir(parents=True)
    (folder / "a.png").write_bytes(kit.picture(mercantile.Tile(1, 1, 1)))
    (folder / "c" / "1.png").write_bytes(kit.picture(mercantile.Tile(2, 2, 2)))
    config = configured(tmp_path, source="pictures", rights_reference="our drone", metres_per_pixel=0.2)
    report = run(config, workspace, sqlite_engine)
    assert (report.unit, report.needed, report.ok, report.missing) == ("pictures", 3, 2, 1)
    assert report.without == ["b"]
    assert run(config, workspace, sqlite_engine).skipped
    with TileArchive(workspace.archive) as archive:
        before = archive.house_pictures.digest()
    (folder / "a.png").write_bytes(b"cut off")
    (folder / "b.png").write_bytes(kit.flat_picture())
    changed = run(config, workspace, sqlite_engine)
    assert (changed.ok, changed.blank, changed.failed, changed.fetched) == (1, 1, 1, 2)
    with TileArchive(workspace.archive) as archive:
        assert archive.house_pictures.digest() != before
        assert set(archive.house_pictures.stamps()) == {"c/1"}
    for file in folder.rglob("*.png"):
        file.unlink()
    (folder / "other.png").write_bytes(kit.picture(mercantile.Tile(3, 3, 3)))
    with pytest.raises(ImageryError, match="not one of 3 houses has a picture"):
        run(config, workspace, sqlite_engine)


def test_imagery_on_this_machine_needs_a_right_too(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, mbtiles: Path, rasters: SimpleNamespace
) -> None:
    rasters.write(tmp_path / "a.tif", pixels=50)
    for source in ("source.mbtiles", "a.tif"):
        with pytest.raises(RightsError, match="unknown, so it is refused"):
            run(configured(tmp_path, source=source), workspace, sqlite_engine)
        with pytest.raises(RightsError, match="do not allow"):
            run(configured(tmp_path, source=source, provider="google-static"), workspace, sqlite_engine)
        own = {"name": "Our flight 2024", "allows_storage": True, "allows_ml": True}
        with pytest.raises(RightsError, match="your own word"):
            run(configured(tmp_path, source=source, record=own), workspace, sqlite_engine)
    assert not workspace.archive.exists()
    record = configured(tmp_path, source="source.mbtiles", record=own, rights_reference="contract 7")
    report = run(record, workspace, sqlite_engine)
    assert (report.provider, report.rights_reference) == ("Our flight 2024", "contract 7")


def test_the_record_of_an_archive_of_housevis_goes_with_it(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, mbtiles: Path
) -> None:
    def mark(**entries: str) -> None:
        with TileArchive.create(mbtiles, {}) as archive:
            archive.describe(**entries)

    mark(housevis_provider="usgs-imagery")
    assert run(configured(tmp_path, source=mbtiles.name), workspace, sqlite_engine).provider == "usgs-imagery"
    mark(housevis_provider="esri-world-imagery")
    with pytest.raises(RightsError, match="esri-world-imagery"):
        run(configured(tmp_path, source=mbtiles.name), workspace, sqlite_engine)
    mark(housevis_rights_reference="Agreement 9")
    report = run(configured(tmp_path, source=mbtiles.name), workspace, sqlite_engine)
    assert (report.provider, report.rights_reference) == ("esri-world-imagery", "Agreement 9")


def test_another_file_starts_a_new_archive(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    rasters: SimpleNamespace,
) -> None:
    rasters.write(tmp_path / "a.tif")
    config = configured(tmp_path, source="a.tif", rights_reference="ours")
    run(config, workspace, sqlite_engine)
    rasters.write(tmp_path / "a.tif", gain=0.5)
    assert run(config, workspace, sqlite_engine).fetched
    assert len(list(workspace.folder.glob("tiles-*.mbtiles"))) == 1


def test_a_copy_that_was_stopped_goes_on(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    mbtiles: Path,
    needed: list[mercantile.Tile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "_TILES_AT_ONCE", 2)
    store, calls = copying.store_answers, []

    def stop_at_the_second(*arguments: Any) -> None:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        store(*arguments)

    monkeypatch.setattr(copying, "store_answers", stop_at_the_second)
    config = configured(tmp_path, source=mbtiles.name, rights_reference="x")
    with pytest.raises(KeyboardInterrupt):
        run(config, workspace, sqlite_engine)
    monkeypatch.setattr(copying, "store_answers", store)
    report = run(config, workspace, sqlite_engine)
    assert (report.fetched, report.ok) == (len(needed) - 2, len(needed) - 1)


@pytest.mark.parametrize(
    ("imagery", "message"),
    [
        ({"source": "none.tif"}, "no such imagery"),
        ({"source": "*.tif"}, "no GeoTIFF here"),
        ({"source": "empty"}, "neither GeoTIFFs nor pictures"),
        ({"source": "notes.txt"}, "no imagery that housevis reads"),
        ({"source": "notes.txt", "url": "https://tiles.example.org/{z}/{x}/{y}"}, "both say where"),
        ({"source": "notes.txt", "provider": "nobody"}, "unknown imagery provider"),
        ({"record": {"name": "mine"}}, "does not say where"),
        ({"record": {"name": "usgs-imagery"}, "source": "a.tif"}, "is a record of housevis"),
        ({"record": {"name": "mine"}, "provider": "usgs-imagery"}, "another one"),
        ({"layer": "x"}, "there is none"),
        ({"provider": "usgs-naip-files"}, "stands for files"),
        ({"provider": "pdok-luchtfoto", "retina": True}, "no retina tiles"),
        ({"zoom": 18, "further_zooms": [20]}, "no zoom 20"),
    ],
)
def test_mistakes_in_the_configuration(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    imagery: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises((ConfigError, ImageryError), match=message) as caught:
        run(configured(tmp_path, **imagery), workspace, sqlite_engine)
    assert isinstance(caught.value, HousevisError)
    assert caught.value.remedy


def test_files_are_told_by_their_content(tmp_path: Path, mbtiles: Path, rasters: SimpleNamespace) -> None:
    assert source_at(mbtiles.rename(tmp_path / "tiles.dat")).kind == "mbtiles"
    assert source_at(rasters.write(tmp_path / "a.tif").rename(tmp_path / "image")).kind == "geotiff"
    (tmp_path / "t.mbtiles").write_bytes(b"no database")
    with pytest.raises(ImageryError, match="no MBTiles archive"):
        source_at(tmp_path / "t.mbtiles").open()
    sqlite3.connect(tmp_path / "e.mbtiles").close()


def write_vrt(path: Path, file: Path, pixels: int) -> None:
    """A VRT of the first three bands of a file."""
    import rasterio

    with rasterio.open(file) as dataset:
        transform = ", ".join(str(number) for number in dataset.transform.to_gdal())
        crs = dataset.crs.to_wkt()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{file}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{pixels}" rasterYSize="{pixels}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}</VRTDataset>"
    )
