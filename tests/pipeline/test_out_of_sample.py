"""No estimate that is shown for a sold house comes from a model that has seen its sale, or the house."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from db.store import read_estimates
from housevis.pipeline.attention import load_parts
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses, load_sold_houses


def training(run: Any, model_id: str) -> pd.DataFrame:
    folder = run.serving if model_id == SERVING else run.evaluation / model_id
    return pd.read_parquet(folder / "training.parquet")


def test_every_estimate_is_by_a_model_that_knows_neither_sale_nor_house(town: Any) -> None:
    judged = pd.read_parquet(town.run.estimates)
    with open_project(town.config, town.runs) as project:
        sold = load_sold_houses(project)
        stored = read_estimates(project.engine, town.run.run_id)
    assert set(judged["sale_id"]) == set(sold.sales["sale_id"]) == set(stored["sale_id"])
    assert set(judged["model_id"]) == {*(f"fold-{fold}" for fold in range(5)), EARLIER}
    for model_id, rows in judged.groupby("model_id"):
        known = training(town.run, str(model_id))
        assert not set(rows["sale_id"]) & set(known["sale_id"])
        assert not set(rows["house_id"]) & set(known["house_id"])
    later = judged["sample"] == "later sale"
    assert (judged.loc[later, "model_id"] == EARLIER).all()
    assert judged.loc[later, "sale_date"].min() > judged.loc[~later, "sale_date"].max()
    assert set(training(town.run, SERVING)["sale_id"]) == set(judged["sale_id"])
    for name in ("model_id", "estimate"):
        ours = judged.set_index("sale_id")[name].sort_index()
        assert (ours == stored.set_index("sale_id")[name].sort_index()).all()


def test_base_and_drivers_add_up_to_the_estimate(town: Any) -> None:
    judged = pd.read_parquet(town.run.estimates)
    drivers = judged[[name for name in judged if name.startswith("driver ")]]
    assert "driver picture" in drivers
    np.testing.assert_allclose(judged["base"] + drivers.sum(axis=1), judged["estimate"], rtol=1e-6)
    assert (judged["low"] < judged["estimate"]).all()
    assert (judged["estimate"] < judged["high"]).all()


def test_attention_of_a_sold_house_is_by_the_same_model_and_lent_by_another_house(town: Any) -> None:
    judged = pd.read_parquet(town.run.estimates).set_index("sale_id")["model_id"]
    maps = load_parts(town.run.maps).houses
    assert (judged.loc[maps["sale_id"]].to_numpy() == maps["model_id"].to_numpy()).all()
    assert (maps["house_id"] != maps["neighbour_house_id"]).all()
    for model_id, rows in maps.groupby("model_id"):
        assert set(rows["neighbour_house_id"]) <= set(training(town.run, str(model_id))["house_id"])


def changed(judged: pd.DataFrame, how: str, run: Any) -> pd.DataFrame:
    later = judged.index[judged["sample"] == "later sale"][0]
    if how == "serving model":
        judged.loc[later, "model_id"] = SERVING
    elif how == "another fold":
        earlier = judged.index[judged["model_id"] == "fold-0"][0]
        judged.loc[earlier, "model_id"] = "fold-1"
        judged.loc[earlier, "sample"] = "later sale"
    elif how == "no sample":
        judged.loc[later, "sample"] = "training"
    return judged


@pytest.mark.parametrize("page", ["atlas", "report"])
@pytest.mark.parametrize("how", ["serving model", "another fold", "house known"])
def test_pages_refuse_an_estimate_that_is_not_out_of_sample(
    town_copy: Any, housevis: Callable[..., Any], page: str, how: str
) -> None:
    run = town_copy.run
    if how == "house known":
        file = run.evaluation / EARLIER / "training.parquet"
        known = pd.read_parquet(file)
        judged = pd.read_parquet(run.estimates)
        known.loc[0, "house_id"] = judged.loc[judged["sample"] == "later sale", "house_id"].iloc[0]
        known.to_parquet(file, index=False)
    else:
        changed(pd.read_parquet(run.estimates), how, run).to_parquet(run.estimates, index=False)
    town_copy.config_file.write_text(town_copy.config_file.read_text() + '[atlas]\ntitle = "New"\n')
    before = {path: path.read_bytes() for path in [run.report, *run.atlas.rglob("*")] if path.is_file()}
    ended = housevis(page, town_copy.config_file, "--runs", town_copy.runs)
    assert ended.code == 1
    assert "cannot be shown" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in run.atlas.rglob("*") if path.is_file()} <= set(before)


def test_the_map_refuses_an_estimate_of_no_known_sample(town_copy: Any, housevis: Callable[..., Any]) -> None:
    run = town_copy.run
    changed(pd.read_parquet(run.estimates), "no sample", run).to_parquet(run.estimates, index=False)
    shutil.rmtree(run.atlas)
    ended = housevis("atlas", town_copy.config_file, "--runs", town_copy.runs)
    assert ended.code == 1
    assert "its sample is 'training'" in ended.err
    assert not run.atlas.exists()


def test_a_house_sold_before_and_after_the_cutoff_teaches_no_model(project: Project) -> None:
    sold = load_sold_houses(project)
    sales = sold.sales.copy()
    earlier, later = np.flatnonzero(sold.is_earlier)[0], np.flatnonzero(~sold.is_earlier)[0]
    sales.loc[earlier, "house_id"] = sales.loc[later, "house_id"]
    again = SoldHouses(
        sales, sold.pooled, sold.image_keys, sold.groups, sold.is_earlier, sold.folds, sold.cutoff
    )
    assert again.sold_again.sum() == 1
    for model_id in again.evaluation_models():
        assert not again.training_rows(model_id)[earlier]
        assert not again.training_rows(model_id)[later]
        judged_by_it = again.model_ids == model_id
        assert not (again.training_rows(model_id) & judged_by_it).any()
    assert again.training_rows(SERVING).all()


def test_houses_that_share_a_picture_share_a_fold(project: Project) -> None:
    sold = load_sold_houses(project)
    frame = pd.DataFrame({"group": sold.groups, "fold": sold.folds})[sold.is_earlier]
    assert (frame.groupby("group")["fold"].nunique() == 1).all()
    assert set(frame["fold"]) == set(range(5))
