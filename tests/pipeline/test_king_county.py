"""The main job on real input, small: real sales, real tiles over HTTP, the real ResNet-50 trunk."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from housevis import pipeline
from housevis.core.config import parse_config
from housevis.core.errors import ConfigError, RightsError
from housevis.pipeline.project import open_project
from housevis.runs import find_run

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "king-county.toml"
RIGHTS = "private measuring only, for this test"

pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.fixture(scope="module")
def listings(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sales = pd.read_csv(shared_data / "data" / "king-county" / "sales.csv", dtype=str)
    path = tmp_path_factory.mktemp("king-county") / "sales.csv"
    sales.iloc[:: len(sales) // 500].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def runs(shared_data: Path, listings: Path) -> Path:
    folder = listings.parent / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUSEVIS_SHARED", str(shared_data))
        patch.setenv("HOUSEVIS_RIGHTS", RIGHTS)
        table = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
        table["listings"]["path"] = str(listings)
        table["siamese"] = {"penalty": 1000.0}
        table.pop("results")
        config = parse_config(table, where=str(EXAMPLE), directory=EXAMPLE.parent)
    with open_project(config, folder) as project:
        pipeline.run(project)
    return folder


def test_the_figures_are_those_of_the_paper_s_table(runs: Path) -> None:
    run = find_run(runs, "king-county")
    figures = run.metrics()
    names = [row["name"] for row in figures["ablation"]]
    assert names == [
        "none",
        "G",
        "G, Bed, Bath",
        "G, Bed, Bath, T",
        "G, A",
        "G, Bed, Bath, T, A",
        "all attributes",
    ]
    assert run.record["backbone"]["channels"] == 1024
    assert run.record["backbone"]["grid"] == [14, 14]
    assert figures["rank_accuracy"] > 0.6
    assert RIGHTS in run.report.read_text(encoding="utf-8")


def test_new_listings_need_the_right_to_the_imagery(runs: Path, listings: Path, shared_data: Path) -> None:
    tiles = shared_data / "data" / "king-county" / "tiles-z18.mbtiles"
    out = runs.parent / "estimates.csv"
    ask = {"imagery": str(tiles), "out": out, "as_of": pd.Timestamp("2015-05-01").date()}
    with pytest.raises(RightsError, match="--i-have-rights"):
        pipeline.estimate(listings, runs, "king-county", **ask)
    assert not out.exists()
    pipeline.estimate(listings, runs, "king-county", **ask, rights_reference=RIGHTS)
    estimates = pd.read_csv(out)
    assert (estimates["low"] < estimates["estimate"]).all()
    assert (estimates["estimate"] < estimates["high"]).all()
    assert set(estimates["currency"]) == {"USD"}
    assert (estimates["imagery"] == "yes").mean() > 0.99


def test_maps_of_new_listings_lie_on_the_model_s_grid(runs: Path, listings: Path, shared_data: Path) -> None:
    tiles = shared_data / "data" / "king-county" / "tiles-z18.mbtiles"
    few = listings.with_name("few.csv")
    pd.read_csv(listings, dtype=str).head(5).drop(columns="price").to_csv(few, index=False)
    out = runs.parent / "maps"
    pipeline.explain_listings(few, runs, "king-county", imagery=str(tiles), out=out, rights_reference=RIGHTS)
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        assert stored["maps"].shape == (5, 14, 14)
        assert stored["maps"].dtype == np.float32
        west, south, east, north = stored["bounds"].T
        assert ((east > west) & (north > south)).all()
    assert len(list(out.glob("*.png"))) == 5


def test_without_a_recorded_right_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOUSEVIS_RIGHTS", raising=False)
    table = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    with pytest.raises(ConfigError, match="HOUSEVIS_RIGHTS"):
        parse_config(table, where=str(EXAMPLE), directory=EXAMPLE.parent)
