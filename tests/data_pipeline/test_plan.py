"""The plan: what fetching would take, without fetching, without a key, without a right."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.plan import TilePlan, plan_tiles
from data_pipeline.tile_step import tiles
from data_pipeline.tiles import unique_tiles
from db.store import replace_listings
from housevis.core.config import Config, parse_config
from housevis.core.errors import ConfigError, ImageryError, ListingsError
from housevis.core.workspace import Workspace

Store = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs" / "test")


@pytest.fixture
def store(sqlite_engine: Engine) -> Store:
    """Puts houses into the database."""

    def stored(places: pd.DataFrame) -> pd.DataFrame:
        houses = places.assign(
            house_id=[f"h{row}" for row in range(len(places))], address=None, listing_url=None
        )
        sales = pd.DataFrame(
            {
                "sale_id": houses["house_id"] + "@2020-01-01",
                "house_id": houses["house_id"],
                "sale_date": pd.Timestamp("2020-01-01"),
                "price": 1.0,
                "bedrooms": 1.0,
                "bathrooms": 1.0,
                "area_m2": 1.0,
                "source_row": np.arange(len(houses)) + 2,
            }
        )
        rejects = pd.DataFrame(columns=["source", "row", "house_id", "reason", "detail"])
        replace_listings(sqlite_engine, houses, sales, rejects)
        return houses

    return stored


@pytest.fixture
def houses(store: Store) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return store(
        pd.DataFrame(
            {
                "latitude": 47.6 + random.normal(0, 0.01, 300),
                "longitude": -122.33 + random.normal(0, 0.01, 300),
            }
        )
    )


def configured(folder: Path, **imagery: Any) -> Config:
    table = {"name": "test", "listings": {"path": "sales.csv"}, "imagery": imagery}
    return parse_config(table, where="test.toml", directory=folder)


def text_of(plan: TilePlan) -> str:
    return "\n".join(plan.lines())


def test_a_plan_needs_no_key_and_no_right(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOOGLE_MAPS_API_KEY", raising=False)
    config = configured(
        tmp_path, provider="google-static", further_zooms=[17], requests_per_second=2.0, window=2.0
    )
    plan = plan_tiles(config, workspace, sqlite_engine)
    counts = {zoom: len(unique_tiles(houses, zoom, "centred", 224, 2.0)) for zoom in (18, 17)}
    assert {one.zoom: one.needed for one in plan.zooms} == counts
    assert (plan.houses, plan.needed, plan.there) == (300, sum(counts.values()), 0)
    assert plan.cost == pytest.approx(plan.needed * 2 / 1000, abs=0.01)
    assert plan.seconds_at(plan.rate) == plan.needed / 2
    assert (plan.allowed_rate, plan.may_be_used) == (5.0, False)
    text = text_of(plan)
    assert "rights: not yet." in text
    assert "--i-have-rights" in text
    assert "GOOGLE_MAPS_API_KEY is not set yet" in text
    assert "at the 2 requests a second that the configuration asks for" in text
    assert "the record's usual size" in text
    assert not workspace.folder.exists() or not workspace.archive.exists()
    monkeypatch.setenv("GOOGLE_MAPS_API_KEY", "sesame")
    config = configured(tmp_path, provider="google-static", rights_reference="an agreement")
    told = text_of(plan_tiles(config, workspace, sqlite_engine))
    assert "used by right of: an agreement" in told
    assert "is set" in told
    assert "sesame" not in told


def test_open_imagery_and_too_much_haste(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, houses: pd.DataFrame
) -> None:
    plan = plan_tiles(configured(tmp_path, requests_per_second=50.0), workspace, sqlite_engine)
    assert plan.provider == "usgs-imagery (United States)"
    assert plan.cost is None
    text = text_of(plan)
    assert "rights: open: Public domain, https://" in text
    assert "more requests a second than the record allows" in text


def test_the_plan_counts_what_is_there(
    tmp_path: Path,
    workspace: Workspace,
    sqlite_engine: Engine,
    houses: pd.DataFrame,
    kit: SimpleNamespace,
) -> None:
    needed = unique_tiles(houses, 18, "centred", 224)
    picture = kit.picture(mercantile.Tile(1, 1, 1))
    with TileArchive.create(tmp_path / "s.mbtiles", {"name": "s"}) as made:
        made.write([(tile, picture) for tile in needed[:100]])
    config = configured(tmp_path, source="s.mbtiles", rights_reference="x")
    before = plan_tiles(config, workspace, sqlite_engine)
    assert (before.needed, before.there, before.allowed_rate) == (len(needed), 0, None)
    assert "a usual size, as nothing is known" in text_of(before)
    report = tiles(config, workspace, sqlite_engine)
    after = plan_tiles(config, workspace, sqlite_engine)
    assert (report.ok, after.there, after.waiting) == (100, len(needed), 0)
    assert after.bytes_each == len(picture)
    assert "the mean of 100 tiles that are there" in text_of(after)
    other = plan_tiles(configured(tmp_path, provider="pdok-luchtfoto"), workspace, sqlite_engine)
    assert other.there == 0


def test_a_plan_of_pictures(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, houses: pd.DataFrame, kit: SimpleNamespace
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for row in range(7):
        (folder / f"H{row}.png").write_bytes(kit.picture(mercantile.Tile(row, 1, 5)))
    config = configured(tmp_path, source="pictures", metres_per_pixel=0.3, rights_reference="x")
    plan = plan_tiles(config, workspace, sqlite_engine)
    assert (plan.unit, plan.needed, plan.there) == ("pictures", 7, 0)
    assert "293 houses have no picture in the folder" in text_of(plan)
    tiles(config, workspace, sqlite_engine)
    assert plan_tiles(config, workspace, sqlite_engine).waiting == 0


def test_a_wmts_is_not_asked(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, houses: pd.DataFrame
) -> None:
    config = configured(tmp_path, wmts="http://127.0.0.1:9/caps.xml", layer="x")
    assert "has not been asked" in text_of(plan_tiles(config, workspace, sqlite_engine))


def test_a_plan_that_cannot_be_made_says_why(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, store: Store
) -> None:
    with pytest.raises(ListingsError, match="housevis ingest CONFIG"):
        plan_tiles(configured(tmp_path), workspace, sqlite_engine)
    store(pd.DataFrame({"latitude": [47.6], "longitude": [-122.3]}))
    with pytest.raises(ConfigError, match="no zoom 22"):
        plan_tiles(configured(tmp_path, zoom=22), workspace, sqlite_engine)
    with pytest.raises(ImageryError, match="no such imagery"):
        plan_tiles(configured(tmp_path, source="none.tif"), workspace, sqlite_engine)


def test_many_houses_are_planned_in_little_memory(
    tmp_path: Path, workspace: Workspace, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    count = 300_000
    houses = pd.DataFrame(
        {
            "house_id": np.arange(count).astype(str),
            "latitude": random.uniform(30, 48, count),
            "longitude": random.uniform(-120, -75, count),
        }
    )
    monkeypatch.setattr("data_pipeline.plan.read_houses", lambda engine: houses)
    tracemalloc.start()
    plan = plan_tiles(configured(tmp_path), workspace, sqlite_engine)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.needed > count
    assert most < 100 * count * 4
