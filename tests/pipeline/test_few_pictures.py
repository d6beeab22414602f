"""Markets where the imagery covers some of the houses, or none: the pipeline copes, or says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.archive import TileArchive
from data_pipeline.sample_market import SampleMarket
from data_pipeline.tiles import tile_of
from db.store import read_sales
from housevis.core.config import load_config
from housevis.pipeline.project import open_project
from housevis.pricing.splits import split_by_date
from housevis.runs import find_run

ZOOM = 18
CONFIG = """
name = "some"
seed = 1

[sample_market]
houses = 300
seed = 1

[vision]
backbone = "efficientnet-lite0"

[siamese]
penalty = 60.0

[pricing]
rounds = 60
bootstrap = 200

[imagery]
rights_reference = "made for this test"
framing = "tile"

[imagery.local_server]
source = "mbtiles"
path = "some.mbtiles"
"""

Choice = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def market(tmp_path: Path, housevis: Callable[..., Any]) -> Callable[[Choice], Path]:
    """Makes a configuration of the town whose imagery covers only the houses of some sales."""
    file = tmp_path / "some.toml"
    file.write_text(CONFIG)
    assert housevis("ingest", file, "--runs", tmp_path / "runs").code == 0
    with open_project(load_config(file), tmp_path / "runs") as project:
        sales = read_sales(project.engine)
    is_earlier, _ = split_by_date(sales["sale_date"], 0.6)
    tiles = [tile_of(*place, ZOOM) for place in zip(sales["latitude"], sales["longitude"], strict=True)]
    sales = sales.assign(is_earlier=is_earlier, tile=tiles)

    def make(choose: Choice) -> Path:
        source = SampleMarket(300, 1, "steady").source()
        with TileArchive.create(tmp_path / "some.mbtiles", {"name": "some"}) as archive:
            archive.write(
                [(tile, source.read(tile.z, tile.x, tile.y)) for tile in set(choose(sales)["tile"])]
            )
        return file

    return make


@pytest.mark.parametrize("count", [0, 1, 5])
def test_hardly_any_picture_ends_with_the_way_forward(
    market: Callable[..., Path], housevis: Callable[..., Any], count: int
) -> None:
    config = market(lambda sales: sales.iloc[:count])
    ended = housevis("run", config, "--runs", config.parent / "runs")
    assert ended.code == 1
    words = " ".join(ended.err.split())
    assert 'visual_features = "none" in [pricing]' in words
    if count == 0:
        assert "not one house has a picture" in words
    else:
        assert "sales have a picture; the rank siamese needs at least 50" in words
    if count < 5:
        return
    config.write_text(config.read_text().replace("[pricing]\n", '[pricing]\nvisual_features = "none"\n'))
    forward = housevis("run", config, "--runs", config.parent / "runs")
    assert forward.code == 0, forward.err
    assert "from attributes alone" in forward.out


def test_pictures_of_the_earlier_sales_alone_measure_nothing(
    market: Callable[..., Path], housevis: Callable[..., Any]
) -> None:
    config = market(lambda sales: sales[~sales["tile"].isin(sales.loc[~sales["is_earlier"], "tile"])])
    ended = housevis("run", config, "--runs", config.parent / "runs")
    assert ended.code == 1
    words = " ".join(ended.err.split())
    assert "later sales has a picture" in words
    assert 'visual_features = "none" in [pricing]' in words


def test_half_of_the_houses_with_pictures_go_the_whole_way(
    market: Callable[..., Path], housevis: Callable[..., Any]
) -> None:
    config = market(lambda sales: sales.sample(frac=0.5, random_state=3))
    runs = config.parent / "runs"
    ended = housevis("run", config, "--runs", runs)
    assert ended.code == 0, ended.err
    run = find_run(runs, "some")
    judged = pd.read_parquet(run.estimates)
    pictured = judged["used_picture"].to_numpy()
    assert 0.3 < pictured.mean() < 0.9
    assert (judged.loc[~pictured, "driver picture"] == 0).all()
    assert (judged.loc[pictured, "driver picture"] != 0).any()
    np.testing.assert_array_equal(judged.loc[~pictured, "estimate"], judged.loc[~pictured, "without_picture"])
    drivers = judged[[name for name in judged if name.startswith("driver ")]]
    np.testing.assert_allclose(judged["base"] + drivers.sum(axis=1), judged["estimate"], rtol=1e-6)
    later = judged["sample"] == "later sale"
    figures = run.metrics()
    assert figures["pictures"]["later_sales_without_picture"] == int((~pictured & later).sum())
    statuses = "".join(path.read_text() for path in (run.atlas / "data").glob("details-*.js"))
    assert statuses.count('"status":"no imagery"') == int((~pictured).sum())
