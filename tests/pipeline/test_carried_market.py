"""The pipeline with a market index and comparable sales: from listings to estimates at another date."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.core.config import load_config
from housevis.pipeline import run
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run, find_run

PRICING = """[pricing]
visual_features = "none"
rounds = 40
leaves = 15
bootstrap = 100
market_index = "hedonic"
comparables = 20
linear_base = true
boosters = 2
feature_fraction = 0.8
row_fraction = 0.8
"""
CONFIG = f"""name = "carried-town"

[sample_market]
houses = 300
seed = 2

{PRICING}"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; nothing in it is to be changed."""
    folder = tmp_path_factory.mktemp("carried")
    (folder / "town.toml").write_text(CONFIG)
    with open_project(load_config(folder / "town.toml"), folder / "runs") as project:
        run(project)
    return folder


def the_run(folder: Path) -> Run:
    return find_run(folder / "runs", "carried-town")


def estimates(folder: Path, housevis: Callable[..., Any], out: Path, as_of: str) -> pd.DataFrame:
    listings = out.with_name("new.csv")
    sold = pd.read_csv(folder / "runs" / "carried-town" / "sample-market" / "listings.csv").dropna()
    rows = sold.head(6)[["id", "latitude", "longitude", "bedrooms", "bathrooms", "area_m2"]]
    rows.assign(id=[f"new-{number}" for number in range(6)]).to_csv(listings, index=False)
    ended = housevis(
        "estimate", listings, "--run", "carried-town", "--runs", folder / "runs", "--out", out,
        "--as-of", as_of,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return pd.read_csv(out)


def test_drivers_are_place_comparables_market_and_the_house(town: Path) -> None:
    judged = pd.read_parquet(the_run(town).estimates)
    drivers = [name for name in judged if name.startswith("driver ")]
    assert set(drivers) == {
        f"driver {name}"
        for name in ("location", "bedrooms", "bathrooms", "area_m2", "sale_month", "comparable sales")
    }
    np.testing.assert_allclose(judged["base"] + judged[drivers].sum(axis=1), judged["estimate"], rtol=1e-6)
    assert (judged["estimate"] == judged["without_picture"]).all()


def test_each_model_compares_with_its_own_sales_only(town: Path) -> None:
    done = the_run(town)
    for folder in (*done.evaluation.glob("fold-*"), done.evaluation / EARLIER, done.serving):
        compared = pd.read_parquet(folder / "comparables.parquet")
        taught = pd.read_parquet(folder / "training.parquet")
        assert set(compared["house_id"]) == set(taught["house_id"])
        assert len(compared) == len(taught)


def test_the_ablation_measures_the_same_model(town: Path) -> None:
    figures = the_run(town).metrics()
    assert figures["ablation"][-1]["name"] == "G, Bed, Bath, T, A"
    assert figures["ablation"][-1]["without"] == figures["headline"]["share_without"]
    assert figures["town"]["ceiling"] > 0


def test_a_new_house_is_carried_to_its_valuation_date(
    town: Path, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    index = ValuationModel.load(the_run(town).serving).price_model.market_index_
    assert index is not None
    days = [index.last_day, index.last_day + pd.Timedelta(days=120)]
    now, later = (
        estimates(town, housevis, tmp_path / f"{day:%Y-%m-%d}.csv", f"{day:%Y-%m-%d}") for day in days
    )
    np.testing.assert_allclose(np.log(later["estimate"] / now["estimate"]), index.level(days)[1], atol=1e-6)
    assert (later["valuation_date"] == f"{days[1]:%Y-%m-%d}").all()


def test_the_estimate_of_the_command_is_that_of_the_loaded_model(
    town: Path, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    found = estimates(town, housevis, tmp_path / "estimates.csv", "2026-03-01")
    model = ValuationModel.load(the_run(town).serving).price_model
    houses = pd.read_csv(tmp_path / "new.csv").rename(columns={"id": "house_id"})
    houses["sale_date"] = pd.Timestamp("2026-03-01")
    np.testing.assert_allclose(found["estimate"], model.predict(houses).round(2))
    assert len(model.data_fingerprint_) == 64


def test_a_removed_house_is_no_comparable_any_more(
    town: Path, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    copy = shutil.copytree(town, tmp_path / "copy")
    run = the_run(copy)
    house = pd.read_parquet(run.estimates)["house_id"].iloc[7]
    ended = housevis("remove", copy / "town.toml", house, "--yes", "--runs", copy / "runs")
    assert ended.code == 0, ended.err
    tables = list((copy / "runs").rglob("comparables.parquet"))
    assert len(tables) == 1 + 7, "that of the estimates, and one beside each model"
    for table in tables:
        found = pd.read_parquet(table)
        for name in {"house_id", "comparable_house_id"} & set(found):
            assert house not in set(found[name])
        if table.parent != run.folder:
            ValuationModel.load(table.parent)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["latitude", "longitude", "area_m2"], "market_index needs the attribute 'sale_month'"),
        (["longitude", "area_m2", "sale_month"], "comparables needs the attribute 'latitude'"),
    ],
)
def test_settings_that_lack_an_attribute_are_refused(
    town: Path, tmp_path: Path, housevis: Callable[..., Any], attributes: list[str], message: str
) -> None:
    copy = shutil.copytree(town, tmp_path / "copy")
    (copy / "town.toml").write_text(f"{CONFIG}attributes = {json.dumps(attributes)}\n")
    ended = housevis("train", copy / "town.toml", "--runs", copy / "runs")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
