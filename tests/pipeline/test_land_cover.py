"""What is under the heat of sold and new houses, and where buildings and roads come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from safetensors import safe_open
from safetensors.numpy import save_file

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market import DRIVERS, SampleMarket
from housevis.core.config_sections import LandCoverSection
from housevis.explain.landcover import TRANSFER
from housevis.explain.under_heat import UNDER_HEAT
from housevis.pipeline.attention import load_parts
from housevis.pipeline.land_cover import UNMEASURED, land_cover_mark, land_cover_notes

POOL, ROOF = LAND_COVERS.index("pool"), LAND_COVERS.index("roof")


def test_every_sold_house_is_measured_and_the_money_adds_up(town: Any) -> None:
    maps = load_parts(town.run.maps)
    assert maps.land_cover == land_cover_mark(LandCoverSection())
    under = maps.under
    assert under.is_known.all()
    np.testing.assert_allclose(under.areas.sum(axis=1), 1, rtol=1e-5)
    shown = (maps.houses["status"] == "ok").to_numpy()
    np.testing.assert_allclose(under.attention[shown].sum(axis=1), 1, rtol=1e-5)
    assert np.isnan(under.attention[~shown]).all()
    placed = (maps.houses["value_status"] == "ok").to_numpy()
    sums = maps.values[placed].sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(under.money[placed].sum(axis=1), sums, rtol=1e-4, atol=0.1)
    assert np.isnan(under.money[~placed]).all()


def test_pools_are_found_where_the_town_has_them(town: Any) -> None:
    maps = load_parts(town.run.maps)
    truth = SampleMarket(300, seed=1).houses().set_index("id").loc[maps.houses["house_id"]]
    assert "pool" in DRIVERS
    own = (truth["pool_effect"] != 0).to_numpy()
    assert maps.under.areas[own, POOL].mean() > 3 * maps.under.areas[~own, POOL].mean()


def test_the_pages_show_it(town: Any) -> None:
    assert "What is under the heat" in town.run.report.read_text()
    page = (town.run.atlas / "data" / "details-0.js").read_text()
    assert '"under":[[' in page
    assert TRANSFER not in town.run.report.read_text(), (
        "the sample market is what the classes were learned on"
    )


def without_land_cover(folder: Path) -> None:
    """Make the maps those of a version that knew nothing of land cover."""
    for path in folder.glob("part-*.safetensors"):
        with safe_open(path, framework="numpy") as source:
            rows = {"rows": source.metadata()["rows"]}
            kept = {name: source.get_tensor(name) for name in source.keys() if name not in UNDER_HEAT}  # noqa: SIM118
        save_file(kept, path, metadata=rows)


def test_an_older_run_loads_says_so_and_is_measured_again(
    town_copy: Any, housevis: Callable[..., Any]
) -> None:
    before = load_parts(town_copy.run.maps)
    without_land_cover(town_copy.run.maps)
    older = load_parts(town_copy.run.maps)
    assert older.land_cover == ""
    assert not older.under.is_known.any()
    (town_copy.run.report).unlink()
    done = housevis("report", town_copy.config_file, "--runs", town_copy.runs)
    assert done.code == 0, done.err
    assert UNMEASURED.split("`")[0] in town_copy.run.report.read_text()
    done = housevis("explain", town_copy.config_file, "--runs", town_copy.runs)
    assert done.code == 0, done.err
    again = load_parts(town_copy.run.maps)
    np.testing.assert_allclose(again.under.areas, before.under.areas, atol=0.02)
    assert again.houses["house_id"].tolist() == before.houses["house_id"].tolist()


def with_land_cover(town: Any, lines: str) -> None:
    town.config_file.write_text(town.config_file.read_text() + f"\n[land_cover]\n{lines}\n")


def test_footprints_and_roads_of_a_file_are_drawn_over_the_segmenter(
    town_copy: Any, housevis: Callable[..., Any], tmp_path: Path
) -> None:
    truth = SampleMarket(300, seed=1).houses()
    east = truth["longitude"] > truth["longitude"].median()
    west, south = truth.loc[east, "longitude"].min() - 0.01, truth["latitude"].min() - 0.01
    block = shapely.box(west + 0.0115, south, west + 1, south + 1)
    frame = geopandas.GeoDataFrame(geometry=[block], crs="EPSG:4326").to_crs("EPSG:3413")
    frame.to_file(tmp_path / "houses.gpkg")
    with_land_cover(
        town_copy, f'buildings = "{tmp_path / "houses.gpkg"}"\nattribution = "© Map makers, ODbL"'
    )
    run_id = town_copy.run.run_id
    done = housevis("run", town_copy.config_file, "--runs", town_copy.runs)
    assert done.code == 0, done.err
    assert town_copy.run.run_id == run_id, "no model depends on it"
    maps = load_parts(town_copy.run.maps)
    inside = maps.houses["house_id"].map(truth.set_index("id")["longitude"]).to_numpy() > west + 0.013
    assert inside.any()
    assert (maps.under.areas[inside, ROOF] > 0.999).all()
    assert (maps.under.areas[~inside, ROOF] < 0.9).any()
    assert "Buildings are from a file: © Map makers, ODbL." in town_copy.run.report.read_text()


@pytest.mark.parametrize("content", [None, b"no vector file"])
def test_a_bad_file_is_one_error_and_keeps_what_is_there(
    town_copy: Any, housevis: Callable[..., Any], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "roads.gpkg"
    if content is not None:
        path.write_bytes(content)
    with_land_cover(town_copy, f'roads = "{path}"')
    before = len(load_parts(town_copy.run.maps).houses)
    done = housevis("explain", town_copy.config_file, "--runs", town_copy.runs)
    assert done.code in (1, 2)
    assert "land_cover.roads" in done.err
    assert "Traceback" not in done.err
    assert len(load_parts(town_copy.run.maps).houses) == before


@pytest.mark.parametrize("method", ["transfer", "value"])
def test_new_houses_get_a_table(town: Any, tmp_path: Path, housevis: Callable[..., Any], method: str) -> None:
    path = town.write_listings(f"under-{method}.csv", rows=3)
    out = tmp_path / "maps"
    done = housevis(
        *("explain", path, "--run", "small-town", "--imagery", town.archive, "--out", out),
        *("--runs", town.runs, "--method", method),
    )
    assert done.code == 0, done.err
    table = pd.read_csv(out / "under-heat.csv")
    assert set(table["land_cover"]) <= set(LAND_COVERS)
    np.testing.assert_allclose(table.groupby("id")["area_share"].sum(), 1, atol=0.001)
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        sums = dict(zip(stored["ids"], stored["maps"].sum(axis=(1, 2), dtype=np.float64), strict=True))
        shown = dict(zip(stored["ids"], stored["status"] == "ok", strict=True))
    for house_id, rows in table.groupby("id"):
        if method == "value":
            assert rows["attention_share"].isna().all()
            assert set(rows["currency"]) == {"USD"}
            if shown[str(house_id)]:
                assert rows["amount"].sum() == pytest.approx(sums[str(house_id)], abs=1)
        else:
            assert rows["amount"].isna().all()
            if shown[str(house_id)]:
                assert rows["attention_share"].sum() == pytest.approx(1, abs=0.001)


def test_real_pictures_come_with_a_warning(town: Any) -> None:
    under = load_parts(town.run.maps).under
    assert land_cover_notes(town.config, under) == ()
    real = town.config.model_copy(update={"sample_market": None})
    assert land_cover_notes(real, under) == (TRANSFER,)
