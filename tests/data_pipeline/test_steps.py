"""The ETL steps over a real database and a real tile server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pandas as pd
import pytest
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.frames import house_image
from data_pipeline.steps import imagery_section, ingest, tiles
from data_pipeline.tiles import unique_tiles
from db.session import open_database
from db.store import read_houses, read_rejects, read_sales
from housevis.core.config import Config, parse_config
from housevis.core.errors import ConfigError, ImageryError, ListingsError, RightsError
from housevis.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
ROWS = """id,date,price,latitude,longitude,bedrooms
a,2014-05-02,500000,47.6001,-122.3301,3
b,2014-05-03,600000,47.6002,-122.3312,4
c,2014-05-04,n/a,47.6003,-122.3303,4
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs" / "test")


@pytest.fixture
def source(tmp_path: Path, kit: SimpleNamespace) -> Path:
    """An archive with most of the tiles that the houses need."""
    (tmp_path / "sales.csv").write_text(ROWS)
    places = pd.DataFrame({"latitude": [47.6001, 47.6002], "longitude": [-122.3301, -122.3312]})
    needed = unique_tiles(places, 18, "centred", 224)
    path = tmp_path / "source.mbtiles"
    with TileArchive.create(path, {"name": "s", "format": "png", "attribution": "Our own aeroplane"}) as made:
        made.write([(tile, kit.picture(tile)) for tile in needed[1:]])
    return path


def configured(folder: Path, **changes: Any) -> Config:
    table: dict[str, Any] = {
        "name": "test",
        "listings": {"path": "sales.csv"},
        "imagery": {
            "rights_reference": "contract 7",
            "local_server": {"source": "mbtiles", "path": "source.mbtiles"},
        },
    }
    return parse_config(table | changes, where="test.toml", directory=folder)


def test_the_steps_store_and_then_have_nothing_to_do(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    config = configured(tmp_path)
    first = ingest(config, workspace, sqlite_engine)
    assert (first.rows, first.houses, first.sales, first.rejected) == (3, 2, 2, {"invalid_price": 1})
    assert not first.skipped
    assert ingest(config, workspace, sqlite_engine) == replace(first, skipped=True)

    fetched = tiles(config, workspace, sqlite_engine)
    assert fetched.needed == fetched.fetched == fetched.ok + fetched.missing
    assert (fetched.missing, fetched.failed, fetched.skipped) == (1, 0, False)
    assert (fetched.attribution, fetched.rights_reference) == ("Our own aeroplane", "contract 7")
    again = tiles(config, workspace, sqlite_engine)
    assert (again.skipped, again.fetched, again.ok) == (True, 0, fetched.ok)

    with TileArchive(workspace.archive) as archive:
        house = read_houses(sqlite_engine).iloc[0]
        image = house_image(
            archive, house["latitude"], house["longitude"], framing="centred", zoom=18, size=224
        )
        assert image is not None
        assert image.attribution == "Our own aeroplane"
        assert archive.metadata["housevis_rights_reference"] == "contract 7"


def test_changed_listings_replace_the_stored_ones(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    ingest(configured(tmp_path), workspace, sqlite_engine)
    (tmp_path / "sales.csv").write_text(ROWS.replace("n/a", "700000").replace("a,2014", "d,2014", 1))
    report = ingest(configured(tmp_path), workspace, sqlite_engine)
    assert (report.sales, report.skipped) == (3, False)
    assert set(read_sales(sqlite_engine)["house_id"]) == {"b", "c", "d"}


@pytest.mark.parametrize("content", [b"", b"id,date\n", b"id,pri\xff\n", ROWS.replace("2014-", "x").encode()])
def test_a_bad_file_never_loses_what_was_stored(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine, content: bytes
) -> None:
    ingest(configured(tmp_path), workspace, sqlite_engine)
    (tmp_path / "sales.csv").write_bytes(content)
    with pytest.raises(ListingsError):
        ingest(configured(tmp_path), workspace, sqlite_engine)
    assert len(read_sales(sqlite_engine)) == 2
    assert len(read_rejects(sqlite_engine)) == 1


def test_listings_without_a_good_row_say_why(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    (tmp_path / "sales.csv").write_text(ROWS.replace("2014-05-0", "5/2014/"))
    with pytest.raises(ListingsError, match=r"none of 3 rows.*invalid_date.*date_format"):
        ingest(configured(tmp_path), workspace, sqlite_engine)


def test_imagery_of_unknown_terms_is_refused(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    imagery = {"local_server": {"source": "mbtiles", "path": "source.mbtiles"}}
    config = configured(tmp_path, imagery=imagery)
    ingest(config, workspace, sqlite_engine)
    with pytest.raises(RightsError, match="unknown, so it is refused"):
        tiles(config, workspace, sqlite_engine)
    assert not workspace.archive.exists()


def test_another_source_starts_a_new_archive_and_keeps_the_old(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine, kit: SimpleNamespace
) -> None:
    config = configured(tmp_path)
    ingest(config, workspace, sqlite_engine)
    before = tiles(config, workspace, sqlite_engine)
    with TileArchive(source) as old, TileArchive.create(tmp_path / "new.mbtiles", {"name": "n"}) as new:
        new.write([(tile, kit.picture(mercantile.Tile(1, 1, 1))) for tile in old.tiles(18)])
    other = {"rights_reference": "x", "local_server": {"source": "mbtiles", "path": "new.mbtiles"}}
    after = tiles(configured(tmp_path, imagery=other), workspace, sqlite_engine)
    assert after.fetched == before.fetched
    assert len(list(workspace.folder.glob("tiles-*.mbtiles"))) == 1


def test_mistakes_in_the_configuration(
    tmp_path: Path, source: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    with pytest.raises(ListingsError, match="ingest"):
        tiles(configured(tmp_path), workspace, sqlite_engine)
    with pytest.raises(ConfigError, match="needs its MBTiles file"):
        imagery_section(configured(tmp_path, imagery={"local_server": {"source": "mbtiles"}}))
    with pytest.raises(ConfigError, match="there is none"):
        imagery_section(configured(tmp_path, imagery={"local_server": {"source": "sample-market"}}))
    ingest(configured(tmp_path), workspace, sqlite_engine)
    absent = {"rights_reference": "x", "local_server": {"source": "mbtiles", "path": "none.mbtiles"}}
    with pytest.raises(ImageryError, match="no such tile archive"):
        tiles(configured(tmp_path, imagery=absent), workspace, sqlite_engine)


def test_the_sample_market_is_made_once_and_its_tiles_fetched(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine
) -> None:
    town = {"houses": 100, "seed": 3}
    config = parse_config({"name": "town", "sample_market": town}, where="t", directory=tmp_path)
    report = ingest(config, workspace, sqlite_engine)
    assert report.rows == report.sales + sum(report.rejected.values())
    assert report.sales >= 90
    assert json.loads((workspace.sample_market / "settings.json").read_text())["houses"] == 100
    listings = workspace.sample_market / "listings.csv"
    made = listings.stat().st_mtime_ns
    assert ingest(config, workspace, sqlite_engine).skipped
    assert listings.stat().st_mtime_ns == made
    fetched = tiles(config, workspace, sqlite_engine)
    assert (fetched.ok, fetched.provider, fetched.rights_reference) == (fetched.needed, "sample-market", None)
    assert tiles(config, workspace, sqlite_engine).skipped


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "openvino"):
    sys.modules[name] = None
from data_pipeline.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_module_runs_without_torch(tmp_path: Path, source: Path) -> None:
    config = tmp_path / "test.toml"
    config.write_text(
        'name = "test"\n[listings]\npath = "sales.csv"\n'
        '[imagery.local_server]\nsource = "mbtiles"\npath = "source.mbtiles"\n'
    )
    runs = str(tmp_path / "runs")
    refused = run_module(str(config), "--runs", runs)
    assert refused.returncode == 2
    assert "ingest: 3 rows = 2 sales + 1 rejected, 2 houses" in refused.stdout
    assert "--i-have-rights" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run_module(str(config), "--runs", runs, "--i-have-rights", "contract 7")
    assert done.returncode == 0, done.stderr
    assert "(unchanged)" in done.stdout
    assert "1 missing + 0 failed" in done.stdout
    assert "rights: contract 7" in done.stdout
    assert len(read_sales(open_database(tmp_path / "runs" / "test" / "housevis.sqlite"))) == 2
    assert run_module(str(tmp_path / "none.toml")).returncode == 2


@pytest.mark.shared
@pytest.mark.slow
def test_king_county_over_http(shared_data: Path, tmp_path: Path) -> None:
    county = shared_data / "data" / "king-county"
    table: dict[str, Any] = {
        "name": "king-county",
        "listings": {"path": str(county / "sales.csv"), "area_unit": "ft2"},
        "imagery": {
            "framing": "tile",
            "rights_reference": "private measuring",
            "connections": 12,
            "local_server": {"source": "mbtiles", "path": str(county / "tiles-z18.mbtiles")},
        },
    }
    config = parse_config(table, where="test", directory=tmp_path)
    workspace = Workspace(tmp_path / "runs" / "king-county")
    engine = open_database(workspace.database)
    assert ingest(config, workspace, engine).sales == 16_858
    report = tiles(config, workspace, engine)
    assert (report.needed, report.failed) == (13_911, 0)
    assert report.ok + report.blank == 13_903
    assert report.missing == 8
    assert tiles(config, workspace, engine).skipped
