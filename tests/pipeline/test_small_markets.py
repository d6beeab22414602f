"""Small markets and odd attributes: an estimate, or one message that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.runs import find_run

SETTINGS = 'visual_features = "none"\nrounds = 20\nbootstrap = 100\n'


def listings(count: int, *, months: int = 12) -> pd.DataFrame:
    """Made-up sales, one house each; the price follows area and place."""
    random = np.random.default_rng(4)
    area = random.uniform(60, 240, count)
    east = random.uniform(0, 1, count)
    dates = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(count) * months * 30 // count, "D")
    return pd.DataFrame(
        {
            "id": [f"h{number}" for number in range(count)],
            "date": dates.strftime("%Y-%m-%d"),
            "price": np.round(2500 * area * np.exp(0.4 * east + random.normal(0, 0.08, count))),
            "latitude": 45 + random.uniform(0, 0.1, count).round(5),
            "longitude": -75 + (0.1 * east).round(5),
            "bedrooms": random.integers(1, 5, count),
            "bathrooms": random.integers(1, 3, count),
            "area_m2": area.round(),
            "storeys": 2,
        }
    )


@pytest.fixture
def market(tmp_path: Path, housevis: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a command on made-up listings."""

    def command(step: str, table: pd.DataFrame, pricing: str = "") -> Any:
        table.to_csv(tmp_path / "sales.csv", index=False)
        extra = [name for name in table if name in ("storeys",)]
        text = f'name = "small"\n[listings]\npath = "sales.csv"\nextra_attributes = {extra}\n'
        (tmp_path / "small.toml").write_text(f"{text}[pricing]\n{SETTINGS}{pricing}\n")
        return housevis(step, tmp_path / "small.toml", "--runs", tmp_path / "runs")

    return command


def words(text: str) -> str:
    return " ".join(text.split())


def test_thirty_sales_are_too_few_and_the_message_says_how_many_it_takes(market: Callable[..., Any]) -> None:
    ended = market("run", listings(30))
    assert ended.code == 1
    assert "30 sales are too few: a model would learn from" in words(ended.err)
    needed = int(re.search(r"at least about (\d+) sales", words(ended.err))[1])  # type: ignore[index]
    enough = market("run", listings(needed + 5))
    assert enough.code == 0, enough.err


def test_one_date_for_all_sales_cannot_be_split(market: Callable[..., Any]) -> None:
    ended = market("run", listings(150).assign(date="2023-05-01"))
    assert ended.code == 1
    assert "all 150 sales have the same date (2023-05-01)" in words(ended.err)
    assert "more than one date" in words(ended.err)


def test_few_later_sales_are_said_to_be_few(market: Callable[..., Any], tmp_path: Path) -> None:
    table = listings(150)
    table["date"] = np.where(np.arange(150) < 145, "2023-05-01", "2023-06-01")
    ended = market("run", table)
    assert ended.code == 0, ended.err
    assert "only 5 later sales: what is measured on so few is mostly chance" in words(ended.out)
    report = find_run(tmp_path / "runs", "small").report.read_text()
    assert "not judged" in report


@pytest.mark.parametrize("how", ["no column", "empty column"])
def test_attributes_without_any_value_are_named_with_the_line_that_helps(
    market: Callable[..., Any], how: str
) -> None:
    table = listings(150)
    table = table.drop(columns=["bedrooms", "bathrooms"]) if how == "no column" else table.assign(
        bedrooms="", bathrooms=""
    )  # fmt: skip
    ingested = market("ingest", table)
    assert ingested.code == 0, ingested.err
    line = 'attributes = ["latitude", "longitude", "area_m2", "sale_month"]'
    assert line in words(ingested.out)
    for step in ("train", "run"):
        ended = market(step, table)
        assert ended.code == 2
        assert "the sales hold no value of 'bedrooms', 'bathrooms'" in words(ended.err)
        assert line in words(ended.err)
    assert market("run", table, line).code == 0


def test_an_unknown_attribute_names_those_that_are_there(market: Callable[..., Any]) -> None:
    table = listings(150).drop(columns="bathrooms")
    ended = market("run", table, 'attributes = ["latitude", "longitude", "living_space"]')
    assert ended.code == 2
    assert "unknown attribute 'living_space'" in words(ended.err)
    assert "area_m2, bedrooms, latitude, longitude, sale_month, storeys" in words(ended.err)


def test_half_of_the_areas_missing_and_a_constant_column_go_through(
    market: Callable[..., Any], tmp_path: Path
) -> None:
    table = listings(200)
    table.loc[::2, "area_m2"] = np.nan
    attributes = 'attributes = ["latitude", "longitude", "area_m2", "storeys"]'
    ended = market("run", table, attributes)
    assert ended.code == 0, ended.err
    run = find_run(tmp_path / "runs", "small")
    judged = pd.read_parquet(run.estimates)
    assert len(judged) == 200
    assert (judged["driver storeys"] == 0).all()
    assert np.isfinite(judged[["estimate", "low", "high"]]).all().all()
    names = [row["name"] for row in run.metrics()["ablation"]]
    assert names == ["G", "G, Bed, Bath", "G, Bed, Bath, T", "G, A", "G, Bed, Bath, T, A", "all attributes"]
