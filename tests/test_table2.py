"""The benchmark of C Table 2: the whole command on a small town."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis import pipeline
from housevis.core.config import load_config
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import load_sold_houses

pytest.importorskip("psutil")

PROJECT = Path(__file__).resolve().parents[1]
PAPER = "rank siamese, in-sample"
JOINED = "rank siamese on prices and on residuals, cross-fitted"
NEIGHBOURHOOD = "neighbourhood: rank siamese, cross-fitted"
ONLY = ("rank siamese, cross-fitted", "rank siamese on residuals, cross-fitted", "components")
CONFIG = """
name = "small-town"

[sample_market]
houses = 300
seed = 1

[vision]
backbone = "efficientnet-lite0"

[siamese]
penalty = 60.0
epochs = 1
pairs_per_house = 20

[pricing]
rounds = 10
folds = 4
bootstrap = 200
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small town, ingested and embedded, and a table of scores as another program would write it."""
    folder = tmp_path_factory.mktemp("table2")
    (folder / "town.toml").write_text(CONFIG)
    with open_project(load_config(folder / "town.toml"), folder / "runs") as project:
        for step in (pipeline.ingest, pipeline.tiles, pipeline.embed):
            step(project)
        sold = load_sold_houses(project)
    log_price = np.log(sold.sales["price"].to_numpy())
    known = log_price + np.random.default_rng(1).normal(0, 0.02, len(log_price))
    scores = pd.DataFrame({"sale_id": sold.sales["sale_id"], "fold": 0, "score_price": known})
    scores[sold.image_keys != ""].to_parquet(folder / "oracle.parquet")
    return folder


@pytest.fixture(scope="module")
def figures(town: Path) -> dict[str, Any]:
    out = town / "table2.json"
    command = [sys.executable, str(PROJECT / "benchmarks" / "table2.py"), str(town / "town.toml")]
    command += ["--runs", str(town / "runs"), "--out", str(out), "--workers", "1", "--only", *ONLY]
    command += ["--scores", str(town / "oracle.parquet")]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert f"{found['market']['later']:,} later sales" in done.stdout
    return found


def test_every_set_learner_and_regressor_has_its_row(figures: dict[str, Any]) -> None:
    sets = figures["market"]["sets"]
    assert {"none", "G", "G, Bed, Bath, T, A", "Bed, Bath, T, A"} <= set(sets)
    learners = {PAPER, *ONLY[:2], NEIGHBOURHOOD, "16 principal components, no prices", JOINED, "oracle"}
    assert {found["name"] for found in figures["learners"]} == learners
    boosted = [row for row in figures["rows"] if row["regressor"] == "gradient-boosting"]
    wanted = {(name, learner) for name in sets for learner in (*learners, None)} - {("none", None)}
    assert {(row["attributes"], row["learner"]) for row in boosted} == wanted
    assert len({row["regressor"] for row in figures["rows"]}) == 4
    assert {row["learner"] for row in figures["rows"] if row["regressor"] == "random-forest"} == {
        None,
        PAPER,
        figures["selection"]["best"],
    }


def test_figures_belong_together(figures: dict[str, Any]) -> None:
    for row in figures["rows"]:
        if row["gain"] is not None:
            difference = row["with"]["share"] - row["without"]["share"]
            assert row["gain"]["estimate"] == pytest.approx(difference)
            assert row["gain"]["low"] <= row["gain"]["estimate"] <= row["gain"]["high"]
        assert row["sales"] == figures["market"]["later"] or row["attributes"] == "none"
    paper = next(row for row in figures["rows"] if row["attributes"] == "G, A" and row["learner"] == PAPER)
    assert paper["published"] == {"without": 0.483, "with_visual": 0.487}
    for found in figures["learners"]:
        for accuracy in filter(None, found["rank_accuracy"].values()):
            assert 0.3 < accuracy["all"] <= 1


def test_features_that_know_the_price_are_chosen(figures: dict[str, Any]) -> None:
    selection = figures["selection"]
    assert selection["best"] == "oracle"
    assert selection["best_fitted"] in {
        *ONLY[:2],
        NEIGHBOURHOOD,
        "16 principal components, no prices",
        JOINED,
    }
    assert PAPER not in selection["mean_gain"]
    without_location = next(
        row
        for row in figures["rows"]
        if row["attributes"] == "Bed, Bath, T, A"
        and row["learner"] == "oracle"
        and row["regressor"] == "random-forest"
    )
    assert without_location["gain"]["low"] > 0


def test_blocks_strongest_and_shuffled_are_there(figures: dict[str, Any]) -> None:
    blocks = figures["blocks"]
    assert blocks["sales"] == figures["market"]["sales"]
    assert {row["learner"] for row in blocks["rows"]} == {None, PAPER, figures["selection"]["best_fitted"]}
    assert all(row["sales"] == blocks["sales"] for row in blocks["rows"] if row["attributes"] != "none")
    assert {row["model"] for row in figures["strongest"]} == {
        "comparable sales",
        "comparable sales, linear base",
        "comparable sales, market index",
    }
    assert {row["shuffled"] for row in figures["shuffled"]} == {"prices", "pictures"}


def test_draws_of_the_teaching_sales_give_about_the_same_gain(figures: dict[str, Any]) -> None:
    assert {row["attributes"] for row in figures["draws"]} == set(figures["market"]["sets"]) - {"none"}
    for row in figures["draws"]:
        assert row["gain"]["estimate"] == pytest.approx(row["with"] - row["without"])
        assert row["gain"]["low"] <= row["gain"]["estimate"] <= row["gain"]["high"]
        assert 0 <= row["deviation"] < 0.1


def test_scores_of_other_sales_are_refused(town: Path) -> None:
    pd.DataFrame({"sale_id": ["x"], "score_price": [1.0]}).to_parquet(town / "foreign.parquet")
    done = subprocess.run(
        [
            sys.executable,
            str(PROJECT / "benchmarks" / "table2.py"),
            str(town / "town.toml"),
            "--runs",
            str(town / "runs"),
            "--scores",
            str(town / "foreign.parquet"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "these scores are of other sales" in done.stderr
    assert "Traceback" not in done.stderr
