"""A small town whose pictures are pooled twice, over the whole and over the middle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from housevis import pipeline
from housevis.core.config import parse_config
from housevis.pipeline.attention import load_parts
from housevis.pipeline.embedding import embed_figures, open_store
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import list_runs
from housevis.vision.backbones import load_backbone
from housevis.vision.networks import centre_window

CHANNELS = 1280


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A town of 160 houses, run up to its attention maps."""
    folder = tmp_path_factory.mktemp("pooling")
    table = {
        "name": "pooled-twice",
        "sample_market": {"houses": 160, "seed": 3},
        "vision": {"backbone": "efficientnet-lite0", "pooling": "average-and-centre"},
        "siamese": {"penalty": 1000.0, "epochs": 2},
        "pricing": {"folds": 3, "rounds": 20, "bootstrap": 100},
    }
    config = parse_config(table, where="test", directory=folder)
    with open_project(config, folder / "runs") as opened:
        for step in (pipeline.ingest, pipeline.tiles, pipeline.embed, pipeline.train, pipeline.explain):
            step(opened)
        yield opened


def test_the_features_are_the_averages_of_the_whole_and_of_the_middle(project: Project) -> None:
    sold = load_sold_houses(project)

    assert sold.pooled.shape == (len(sold.sales), 2 * CHANNELS)
    whole, middle = sold.pooled[:, :CHANNELS], sold.pooled[:, CHANNELS:]
    assert np.isfinite(sold.pooled).all()
    assert not np.allclose(whole, middle)
    assert np.corrcoef(whole.ravel(), middle.ravel())[0, 1] > 0.5


def test_ranker_and_maps_take_both_kinds_of_channels(project: Project) -> None:
    (run,) = list_runs(project.workspace)
    ranker = ValuationModel.load(model_folder(run, EARLIER)).picture_ranker()
    maps = load_parts(run.maps)

    assert ranker.channels == 2 * CHANNELS
    assert run.record["backbone"]["channels"] == 2 * CHANNELS
    assert "half of them of the middle" in run.record["backbone"]["deviation"]
    assert maps.heats.shape[1:] == (7, 7)
    assert np.isfinite(maps.heats).all()
    assert (maps.houses["status"] == "ok").mean() > 0.5
    inside = centre_window(7, 7).numpy() > 0
    assert maps.heats[:, ~inside].max() > 0
    assert maps.heats[:, inside].max() > 0


def test_other_pooling_is_another_backbone(project: Project) -> None:
    vision = project.config.vision.model_copy(update={"pooling": "average"})
    plain = load_backbone(vision).fingerprint

    assert embed_figures(project)["backbone"]["fingerprint"] == f"{plain} pooling=average-and-centre"
    assert not open_store(project.workspace.features, plain).keys()
