"""Runs are listed with their figures, compared on the same sales, promoted and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis import pipeline
from housevis.core.config import load_config
from housevis.core.workspace import Workspace
from housevis.pricing import metrics
from housevis.runs import REMOVED, current_run_id, list_runs

CONFIG = """
name = "kept"
[listings]
path = "sales.csv"
[pricing]
visual_features = "none"
rounds = {rounds}
bootstrap = 200
"""


def listings() -> pd.DataFrame:
    random = np.random.default_rng(4)
    area, east = random.uniform(60, 240, 200), random.uniform(0, 1, 200)
    return pd.DataFrame(
        {
            "id": [f"h{number}" for number in range(200)],
            "date": pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(200), "D"),
            "price": np.round(2500 * area * np.exp(0.4 * east + random.normal(0, 0.1, 200))),
            "latitude": 45 + random.uniform(0, 0.1, 200).round(5),
            "longitude": -75 + (0.1 * east).round(5),
            "bedrooms": random.integers(1, 5, 200),
            "bathrooms": random.integers(1, 3, 200),
            "area_m2": area.round(),
        }
    )


@pytest.fixture
def market(tmp_path: Path, housevis: Callable[..., Any]) -> Callable[..., Any]:
    listings().to_csv(tmp_path / "sales.csv", index=False)

    def command(step: str, *options: str, rounds: int = 4) -> Any:
        (tmp_path / "kept.toml").write_text(CONFIG.format(rounds=rounds))
        return housevis(step, tmp_path / "kept.toml", *options, "--runs", tmp_path / "runs")

    return command


def test_two_runs_are_listed_compared_promoted_and_restored(
    market: Callable[..., Any], tmp_path: Path
) -> None:
    assert "there is no run yet" in market("runs").out
    assert market("runs", "--restore").code == 1
    for rounds in (4, 60):
        assert market("run", rounds=rounds).code == 0
    workspace = Workspace(tmp_path / "runs" / "kept")
    config = load_config(tmp_path / "kept.toml")
    made = {run.record["config"]["pricing"]["rounds"]: run for run in list_runs(workspace)}
    poor, good = made[4], made[60]
    assert current_run_id(workspace) == good.run_id

    listed = market("runs")
    rows = {line.split()[0]: line for line in listed.out.splitlines()[1:]}
    assert "current" in rows[good.run_id]
    assert "finished" in rows[poor.run_id]
    table = {row["run_id"]: row for row in pipeline.runs(config, tmp_path / "runs").figures["runs"]}
    study = good.metrics()["ratio_study"]
    row = table[good.run_id]
    assert (row["share"], row["share_low"]) == (study["pe10"]["estimate"], study["pe10"]["low"])
    assert row["share"] == good.metrics()["headline"]["share_without"]
    assert row["gain"] is None
    assert good.record["sales_fingerprint"].startswith(row["sales_fingerprint"])

    compared = pipeline.runs(config, tmp_path / "runs", compare=(poor.run_id, good.run_id)).figures
    assert compared["settings"] == {"pricing.rounds": (4, 60)}
    assert compared["data"] == {}
    judged = [pd.read_parquet(run.estimates) for run in (poor, good)]
    later = [table[table["sample"] == "later sale"] for table in judged]
    shares = [metrics.pe(table["estimate"].to_numpy(), table["price"].to_numpy()) for table in later]
    paired = compared["paired"]
    assert paired["sales"] == len(later[0])
    assert paired["share"] == pytest.approx(shares)
    assert paired["difference"]["estimate"] == pytest.approx(shares[1] - shares[0])
    out = market("runs", "--compare", poor.run_id, good.run_id).out
    assert "pricing.rounds: 4 -> 60" in out
    assert "data and code: the same" in out
    assert f"{len(later[0])} later sales judged by both" in out

    assert market("runs", "--promote", poor.run_id).code == 0
    assert current_run_id(workspace) == poor.run_id
    assert market("runs", "--restore").code == 0
    assert current_run_id(workspace) == good.run_id
    assert market("runs", "--restore").code == 0
    assert current_run_id(workspace) == poor.run_id
    assert market("runs", "--restore").code == 1

    assert market("runs", "--promote", good.run_id).code == 0
    (poor.folder / REMOVED).write_text("{}")
    assert "withdrawn" in market("runs").out
    assert market("runs", "--restore").code == 1
    assert market("runs", "--promote", poor.run_id).code == 1
    unknown = market("runs", "--promote", "19990101")
    assert unknown.code == 1
    assert good.run_id in unknown.err
    assert market("runs", "--promote", good.run_id, "--restore").code == 2


def test_a_run_that_is_not_finished_says_so_and_is_not_promoted(
    market: Callable[..., Any], tmp_path: Path
) -> None:
    for step in ("ingest", "train"):
        assert market(step).code == 0
    assert "unfinished, after train" in market("runs").out
    (run,) = list_runs(Workspace(tmp_path / "runs" / "kept"))
    refused = market("runs", "--promote", run.run_id)
    assert refused.code == 1
    assert "is not finished" in refused.err
