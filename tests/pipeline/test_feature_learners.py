"""A run with the pictures of the neighbourhood and two targets, from training to new houses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from housevis.core.errors import ModelError
from housevis.explain.database import GradWeightDatabase
from housevis.pipeline.attention import load_parts
from housevis.pipeline.evaluating import evaluate
from housevis.pipeline.explaining import GRAD_WEIGHTS, explain
from housevis.pipeline.project import open_project
from housevis.pipeline.removal import remove
from housevis.pipeline.sold import EARLIER, POOL, SERVING, load_sold_houses, stored_pool
from housevis.pipeline.training import train
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import find_run
from housevis.vision.neighbourhood import PicturePool

CHANNELS = 1280
SETTINGS = """
[siamese]
penalty = 300.0
objective = "price"
targets = ["price", "residual"]
neighbourhood = [4, 12]
"""


@pytest.fixture(scope="module")
def with_neighbours(town: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small town, run again with other learners; read it only."""
    folder = tmp_path_factory.mktemp("neighbours") / "town"
    shutil.copytree(town.folder, folder)
    copy = type(town)(folder)
    text = copy.config_file.read_text().replace("[siamese]\npenalty = 60.0\n", SETTINGS)
    text = text.replace("[pricing]\n", '[pricing]\nvisual_features = "cross-fitted"\n')
    copy.config_file.write_text(text)
    with open_project(copy.config, copy.runs) as project:
        for step in (train, explain, evaluate):
            step(project)
    return copy


def the_run(town: Any) -> Any:
    with open_project(town.config, town.runs) as project:
        return find_run(town.runs, train(project).figures["run_id"])


def test_features_of_both_targets_reach_the_booster(with_neighbours: Any) -> None:
    run = the_run(with_neighbours)
    for model_id in (EARLIER, SERVING):
        model = ValuationModel.load(run.serving if model_id == SERVING else run.evaluation / model_id)
        assert [learner.kind for learner in model.learners] == ["price regression"] * 2
        assert [learner.channels for learner in model.learners] == [3 * CHANNELS] * 2
        assert tuple(model.price_model.visual_names) == tuple(f"visual_{n}" for n in range(1, 9))
    metrics = run.metrics()
    assert set(metrics["split"]["penalty"]) == {"price", "residual"}
    assert 0.5 < metrics["rank_accuracy"] <= 1
    judged = pd.read_parquet(run.estimates)
    drivers = judged[[name for name in judged if name.startswith("driver ")]]
    np.testing.assert_allclose(judged["base"] + drivers.sum(axis=1), judged["estimate"], rtol=1e-6)


def test_maps_show_the_house_s_own_picture_alone(with_neighbours: Any) -> None:
    run = the_run(with_neighbours)
    maps = load_parts(run.maps)
    with open_project(with_neighbours.config, with_neighbours.runs) as project:
        sold = load_sold_houses(project)
    assert set(maps.houses["house_id"]) == set(sold.sales.loc[sold.image_keys != "", "house_id"])
    database = GradWeightDatabase.load(run.evaluation / EARLIER / GRAD_WEIGHTS)
    assert database.about.channels_in_all == CHANNELS
    assert database.channels.max() < CHANNELS
    ranker = ValuationModel.load(run.evaluation / EARLIER).picture_ranker()
    rows = sold.training_rows(EARLIER) & (sold.image_keys != "")
    np.testing.assert_allclose(database.embeddings, ranker.embed(sold.pooled[rows]), rtol=1e-3, atol=1e-3)
    own = ranker.direction().detach().numpy() @ ranker.embedding.weight.detach().numpy()[:, :CHANNELS]
    dearest = int(sold.sales.loc[rows, "price"].to_numpy().argmax())
    strongest = np.argsort(-own)[: database.channels.shape[1]]
    assert set(database.channels[dearest].tolist()) == set(strongest.tolist())


def test_the_pictures_are_kept_with_the_serving_model(with_neighbours: Any) -> None:
    run = the_run(with_neighbours)
    with open_project(with_neighbours.config, with_neighbours.runs) as project:
        sold = load_sold_houses(project)
    pool = stored_pool(run, with_neighbours.config)
    assert pool is not None
    assert set(pool.image_keys) == set(sold.image_keys[sold.image_keys != ""])
    stored = load_file(run.serving / POOL)
    assert stored["features"].dtype == np.float16
    place = [sold.sales[name].to_numpy() for name in ("latitude", "longitude")]
    own = sold.pooled[:, :CHANNELS]
    np.testing.assert_array_equal(pool.joined(own, sold.image_keys, *place, [4, 12]), sold.pooled)


def test_a_new_house_at_the_place_of_a_sold_one_has_its_neighbourhood(
    with_neighbours: Any, housevis: Callable[..., Any], tmp_path: Any
) -> None:
    """The serving model estimates it with the features that the sold house itself has."""
    town, run = with_neighbours, the_run(with_neighbours)
    listings = town.write_listings("new.csv", rows=4)
    common = ("--run", run.run_id, "--runs", town.runs, "--imagery", town.archive)
    rights = ("--i-have-rights", "made for this test")
    out = tmp_path / "estimates.csv"
    ended = housevis("estimate", listings, *common, "--out", out, "--as-of", "2024-06-01", *rights)
    assert ended.code == 0, ended.err
    estimates = pd.read_csv(out).set_index("id")["estimate"]

    with open_project(town.config, town.runs) as project:
        sold = load_sold_houses(project)
    model = ValuationModel.load(run.serving)
    rows = [np.flatnonzero(sold.sales["house_id"].astype(str) == str(name))[0] for name in estimates.index]
    sales = sold.sales.iloc[rows].reset_index(drop=True).assign(sale_date=pd.Timestamp("2024-06-01"))
    sales = sales.assign(house_id=[f"new {row}" for row in rows])
    expected = model.price_model.predict(model.features(sales, sold.pooled[rows]))
    np.testing.assert_allclose(estimates, expected, rtol=2e-3)

    shown = housevis("explain", listings, *common, "--out", tmp_path / "maps", *rights)
    assert shown.code == 0, shown.err
    heat = np.load(tmp_path / "maps" / "heatmaps.npz")
    assert set(heat["ids"].tolist()) == set(estimates.index.astype(str))
    assert np.isfinite(heat["maps"]).all()


def test_without_the_pictures_of_the_neighbourhood_nothing_is_estimated(
    with_neighbours: Any, housevis: Callable[..., Any], tmp_path: Any
) -> None:
    run = the_run(with_neighbours)
    copy = tmp_path / "copy"
    shutil.copytree(with_neighbours.runs, copy)
    kept = copy / (run.serving / POOL).relative_to(with_neighbours.runs)
    kept.unlink()
    arguments = ("--run", run.run_id, "--runs", copy, "--imagery", with_neighbours.archive)
    listings = with_neighbours.write_listings("again.csv", rows=2)
    ended = housevis("estimate", listings, *arguments, "--out", tmp_path / "estimates.csv")
    assert ended.code != 0
    assert "pictures of the neighbourhood" in ended.err
    with pytest.raises(ModelError):
        PicturePool.load(kept)


def test_a_removed_house_leaves_the_pictures_of_the_neighbourhood(
    with_neighbours: Any, tmp_path: Any
) -> None:
    run = the_run(with_neighbours)
    shutil.copytree(with_neighbours.folder, tmp_path / "copy")
    copy = type(with_neighbours)(tmp_path / "copy")
    with open_project(copy.config, copy.runs) as project:
        sold = load_sold_houses(project)
        keys, counts = np.unique(sold.image_keys[sold.image_keys != ""], return_counts=True)
        key = keys[counts == 1][0]
        house_id = str(sold.sales.loc[sold.image_keys == key, "house_id"].iloc[0])
        done = remove(project, [house_id])
    pool = PicturePool.load(copy.runs / (run.serving / POOL).relative_to(with_neighbours.runs))
    assert key not in pool.image_keys
    assert len(pool) == len(keys) - 1
    assert done.figures


def test_a_kernel_regression_from_training_to_maps(
    town: Any, housevis: Callable[..., Any], tmp_path: Any
) -> None:
    copy = type(town)(shutil.copytree(town.folder, tmp_path / "town"))
    settings = SETTINGS.replace("300.0", "0.3").replace('"price"\n', '"kernel"\nfeature_dimension = 1\n')
    text = copy.config_file.read_text().replace("[siamese]\npenalty = 60.0\n", settings)
    copy.config_file.write_text(text)
    with open_project(copy.config, copy.runs) as project:
        for step in (train, explain, evaluate):
            step(project)
        sold = load_sold_houses(project)
    run = the_run(copy)
    model = ValuationModel.load(run.evaluation / EARLIER)
    assert [learner.kind for learner in model.learners] == ["kernel regression"] * 2
    rows = sold.training_rows(EARLIER) & (sold.image_keys != "")
    features = model.visual_features(sold.pooled[rows])
    np.testing.assert_allclose(
        model.training_visual()[sold.image_keys[sold.training_rows(EARLIER)] != ""], features
    )
    maps = load_parts(run.maps)
    assert (maps.houses["status"] == "ok").mean() > 0.5
    assert np.isfinite(maps.heats).all()

    listings = copy.write_listings("new.csv", rows=4)
    common = ("--run", run.run_id, "--runs", copy.runs, "--imagery", copy.archive)
    rights = ("--i-have-rights", "made for this test")
    out = tmp_path / "estimates.csv"
    ended = housevis("estimate", listings, *common, "--out", out, "--as-of", "2024-06-01", *rights)
    assert ended.code == 0, ended.err
    assert np.isfinite(pd.read_csv(out)["estimate"]).all()
