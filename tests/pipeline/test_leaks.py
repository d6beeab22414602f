"""A run with a planted leak stops with the leak's name; houses on both sides follow the stated policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.core.config_sections import PricingSection
from housevis.core.workspace import Workspace
from housevis.runs import LEAKAGE, find_run, list_runs

SALES = 240
SETTINGS = 'visual_features = "none"\nrounds = 20\nbootstrap = 100\n'


def listings() -> pd.DataFrame:
    """Made-up sales; the price follows area and place, and ten houses are sold once more at the end."""
    random = np.random.default_rng(4)
    area, east = random.uniform(60, 240, SALES).round(), random.uniform(0, 1, SALES)
    table = pd.DataFrame(
        {
            "id": [f"h{number}" for number in range(SALES)],
            "date": pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(SALES), "D"),
            "price": np.round(2500 * area * np.exp(0.4 * east + random.normal(0, 0.12, SALES))),
            "latitude": 45 + random.uniform(0, 0.1, SALES).round(5),
            "longitude": -75 + (0.1 * east).round(5),
            "bedrooms": random.integers(1, 5, SALES),
            "bathrooms": random.integers(1, 3, SALES),
            "area_m2": area,
            "yr_built": random.integers(1900, 2020, SALES),
        }
    )
    again = table.iloc[:120:12].assign(
        date=pd.Timestamp("2023-09-10"), price=lambda sold: sold["price"] * 1.1
    )
    return pd.concat([table, again], ignore_index=True)


@pytest.fixture
def market(tmp_path: Path, housevis: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a command on listings; columns of their own become attributes."""

    def command(step: str, table: pd.DataFrame, pricing: str = "") -> Any:
        table.to_csv(tmp_path / "sales.csv", index=False)
        extra = list(table.columns[8:])
        text = f'name = "leaks"\n[listings]\npath = "sales.csv"\nextra_attributes = {extra}\n'
        (tmp_path / "leaks.toml").write_text(f"{text}[pricing]\n{SETTINGS}{pricing}\n")
        return housevis(step, tmp_path / "leaks.toml", "--runs", tmp_path / "runs")

    return command


def words(text: str) -> str:
    return " ".join(text.split())


def stopped_run(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The check that stopped the only run, and the run's finished steps."""
    (run,) = list_runs(Workspace(tmp_path / "runs" / "leaks"))
    checks = json.loads((run.folder / LEAKAGE).read_text())["checks"]
    (stopped,) = [check for check in checks if check["result"] == "stopped"]
    return stopped, run.steps()


def test_the_price_per_area_as_a_column_stops_the_run(market: Callable[..., Any], tmp_path: Path) -> None:
    table = listings().assign(price_per_m2=lambda sales: (sales["price"] / sales["area_m2"]).round())
    ended = market("run", table)
    assert ended.code == 1
    message = words(ended.err)
    assert "leakage check, price-derived attribute" in message
    assert "the price is a constant times" in message
    assert "Take 'price_per_m2' out of attributes in [pricing] and extra_attributes in [listings]" in message
    assert "Such as sale h" in message
    stopped, steps = stopped_run(tmp_path)
    assert stopped["name"] == "price-derived attribute"
    assert stopped["findings"][0]["column"] == "price_per_m2"
    assert "train" not in steps
    assert market("run", table).code == 1
    assert market("run", listings()).code == 0


def test_an_attribute_from_after_the_sale_stops_the_run(market: Callable[..., Any], tmp_path: Path) -> None:
    table = listings().assign(yr_renovated=0)
    table.loc[::9, "yr_renovated"] = 2024
    ended = market("run", table)
    assert ended.code == 1
    message = words(ended.err)
    assert "leakage check, attribute dated after the sale" in message
    assert "'yr_renovated': it lies after the sale for 28 of 28 dated sales (100.0%)" in message
    assert stopped_run(tmp_path)[0]["findings"][0]["column"] == "yr_renovated"
    stated = market("train", table, 'attribute_dates = { yr_renovated = "sale_date" }')
    assert stated.code == 0, stated.err


def test_a_house_on_both_sides_stops_the_run_where_that_is_refused(
    market: Callable[..., Any], tmp_path: Path
) -> None:
    ended = market("run", listings(), 'shared_houses = "refuse"')
    assert ended.code == 1
    message = words(ended.err)
    assert "leakage check, shared by both sides of the split" in message
    assert "10 houses are sold on both sides" in message
    assert "sale h0@2023-01-01" in message
    assert stopped_run(tmp_path)[0]["findings"][0]["column"] == "house_id"
    apart = listings().drop_duplicates("id")
    for step in ("ingest", "train"):
        assert market(step, apart, 'shared_houses = "refuse"').code == 0


@pytest.mark.parametrize("policy", ["exclude_from_train", "report"])
def test_both_headlines_stand_in_the_report(market: Callable[..., Any], tmp_path: Path, policy: str) -> None:
    ended = market("run", listings(), f'shared_houses = "{policy}"')
    assert ended.code == 0, ended.err
    assert "leakage check, price-derived attribute: passed" in words(ended.out)
    run = find_run(tmp_path / "runs", "leaks")
    figures = run.metrics()
    leakage = figures["leakage"]
    assert [check["result"] for check in leakage["checks"]] == ["passed"] * 3
    every, apart = leakage["headlines"]["all"], leakage["headlines"]["apart"]
    assert every["share"] == figures["headline"]["share_without"]
    known = set(pd.read_parquet(run.evaluation / "earlier" / "training.parquet")["house_id"])
    judged = pd.read_parquet(run.estimates)
    later = judged[judged["sample"] == "later sale"]
    assert every["sales"] == len(later)
    assert apart["sales"] == (~later["house_id"].isin(known)).sum()
    left_out = figures["split"]["sold_again_left_out"]
    assert (left_out, every["sales"] - apart["sales"]) == ((10, 0) if policy != "report" else (0, 10))
    page = words(run.report.read_text(encoding="utf-8"))
    assert "Does anything leak?" in page
    assert "10 houses are sold on both sides (10 earlier sales, 10 later ones)" in page
    assert "that share no house with a sale learned from" in page


def test_runs_made_before_there_was_a_policy_keep_their_fingerprint() -> None:
    ordinary = PricingSection().deciding()
    assert not {"shared_houses", "attribute_dates"} & set(ordinary)
    assert PricingSection(attribute_dates={"a": "b"}).deciding() == ordinary
    assert PricingSection(shared_houses="report").deciding() == ordinary | {"shared_houses": "report"}
