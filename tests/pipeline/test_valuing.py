"""Value maps of sold houses and every method of maps for new ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.explain.value_map import NEGLIGIBLE
from housevis.pipeline.attention import load_parts
from housevis.pipeline.method_maps import METHODS

CURRENCY = "USD"


def test_value_maps_add_up_to_what_the_estimate_reports(town: Any) -> None:
    maps = load_parts(town.run.maps)
    judged = pd.read_parquet(town.run.estimates).set_index("sale_id").loc[maps.houses["sale_id"]]
    reported = judged["driver picture"].to_numpy()
    effects = maps.houses["visual_effect"].to_numpy(np.float64)
    np.testing.assert_allclose(effects, reported, rtol=1e-3, atol=1.0)
    sums = maps.values.sum(axis=(1, 2), dtype=np.float64) + maps.houses["surroundings"].to_numpy(np.float64)
    np.testing.assert_allclose(sums, reported, rtol=0.01, atol=1.0)
    assert maps.values.shape[1:] == tuple(2 * side for side in maps.heats.shape[1:])
    assert np.isfinite(maps.values).all()
    share = np.abs(np.log1p(-reported / judged["estimate"].to_numpy()))
    statuses = maps.houses["value_status"].to_numpy()
    assert set(statuses) <= {"ok", "negligible"}
    assert (statuses[share > 3 * NEGLIGIBLE] == "ok").all()


def test_the_town_scores_its_value_maps(town: Any) -> None:
    figures = town.run.metrics()["town"]
    assert {score["method"] for score in figures["attention"]} >= {"transferred", "value map", "uniform"}
    scored = figures["value_map"]
    assert scored["largest_error"] < 0.01
    assert 0 <= scored["refused"] <= 1
    assert 0 <= scored["right"] <= 1
    assert scored["count"] == sum(scored["drivers"][name]["count"] for name in ("pool", "water", "arterial"))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "transfer"])
def test_every_method_explains_new_houses(
    town: Any, tmp_path: Path, housevis: Callable[..., Any], method: str
) -> None:
    listed = pd.read_csv(town.workspace / "sample-market" / "listings.csv").iloc[:3]
    path = tmp_path / "new.csv"
    listed.drop(columns=["price", "date"]).to_csv(path, index=False)
    out = tmp_path / "maps"
    done = housevis(
        *("explain", path, "--run", "small-town", "--imagery", town.archive, "--out", out),
        *("--runs", town.runs, "--method", method),
    )
    assert done.code == 0, done.err
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        found = stored["maps"]
        assert len(found) == len(listed)
        assert np.isfinite(found).all()
        assert str(stored["unit"]) == (CURRENCY if method == "value" else "attention")
        assert (found.min() < 0) == (method == "value")
    assert len(list(out.glob("*.png"))) == len(listed)


def test_an_unknown_method_is_told_with_those_there_are(
    town: Any, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    path = tmp_path / "new.csv"
    pd.read_csv(town.workspace / "sample-market" / "listings.csv").iloc[:1].to_csv(path, index=False)
    done = housevis(
        *("explain", path, "--run", "small-town", "--imagery", town.archive, "--out", tmp_path / "maps"),
        *("--runs", town.runs, "--method", "astrology"),
    )
    assert done.code == 2
    assert "embedding-cam" in done.err
