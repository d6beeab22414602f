"""Two foreign markets without pictures, as their publishers left them, with the example configurations."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from db.store import last_step
from housevis import pipeline
from housevis.core.config import Config, parse_config
from housevis.pipeline.project import open_project
from housevis.runs import Run, find_run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LONGEST_MAPPING = 10

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def example(name: str, shared_data: Path) -> Config:
    """The example as it is, but for smaller models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUSEVIS_SHARED", str(shared_data))
        table = tomllib.loads((EXAMPLES / f"{name}.toml").read_text(encoding="utf-8"))
        table["pricing"] |= {"rounds": 80, "bootstrap": 200}
        table.pop("results", None)
        return parse_config(table, where=name, directory=EXAMPLES)


@pytest.fixture(scope="module", params=["melbourne", "miami"])
def market(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Config, Run, dict[str, Any]]:
    """A market's configuration, its finished run, and what `ingest` counted."""
    if not (shared_data / "data" / "other-markets" / f"{request.param}.csv").is_file():
        pytest.skip("the shared data has no other-markets")
    runs = tmp_path_factory.mktemp(request.param)
    config = example(request.param, shared_data)
    with open_project(config, runs) as project:
        pipeline.run(project)
        ingested = last_step(project.engine, "ingest")
    assert ingested is not None
    return config, find_run(runs, config.name), ingested


def test_the_mapping_is_short(market: tuple[Config, Run, dict[str, Any]]) -> None:
    assert len(market[0].listings.columns) <= LONGEST_MAPPING


def test_every_row_is_kept_or_rejected(market: tuple[Config, Run, dict[str, Any]]) -> None:
    _, run, ingested = market
    assert ingested["rows"] == ingested["sales"] + sum(ingested["rejected"].values())
    assert ingested["sales"] > 10_000
    assert len(pd.read_parquet(run.estimates)) == ingested["sales"]


def test_the_estimates_are_plausible(market: tuple[Config, Run, dict[str, Any]]) -> None:
    config, run, _ = market
    figures = run.metrics()
    assert figures["headline"]["share_with"] is None
    assert figures["headline"]["share_without"] > 0.35
    assert figures["ratio_study"]["mdape"]["estimate"] < 0.2
    assert 0.9 < figures["ratio_study"]["median_ratio"]["estimate"] < 1.1
    assert figures["interval"]["covered"] == pytest.approx(figures["interval"]["nominal"], abs=0.04)
    judged = pd.read_parquet(run.estimates)
    drivers = judged[[name for name in judged if name.startswith("driver ")]]
    np.testing.assert_allclose(judged["base"] + drivers.sum(axis=1), judged["estimate"], rtol=1e-6)
    assert {f"driver {name}" for name in config.pricing.attributes} - {
        "driver latitude",
        "driver longitude",
    } == set(drivers) - {"driver location"}


def test_the_pages_speak_of_the_market_and_of_no_pictures(
    market: tuple[Config, Run, dict[str, Any]],
) -> None:
    config, run, ingested = market
    report = run.report.read_text(encoding="utf-8")
    assert f"{ingested['rows']:,} rows read" in report
    assert "This run uses no pictures" in report
    assert config.listings.currency in report
    assert (run.atlas / "index.html").is_file()
    assert not (run.atlas / "pictures").exists()
