from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market import SampleMarket
from data_pipeline.sample_market.geometry import world_pixel
from housevis.core.errors import ModelError, WeightsError
from housevis.explain.landcover import TRANSFER, WEIGHTS, LandCoverSegmenter, save_weights
from housevis.explain.landcover_network import CELL, LandCoverNetwork

SIDE = 224


@pytest.fixture(scope="module")
def segmenter() -> LandCoverSegmenter:
    return LandCoverSegmenter.load(threads=1)


@pytest.fixture(scope="module")
def town() -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a town that the network has not seen, and the true classes of their pixels."""
    market = SampleMarket(200, seed=77)
    pictures, covers = [], []
    for house in market.houses().iloc[::8].itertuples():
        x, y = world_pixel(house.latitude, house.longitude)
        place = (round(float(x)) - SIDE // 2, round(float(y)) - SIDE // 2, SIDE, SIDE)
        pictures.append(market.render(*place))
        covers.append(market.land_cover(*place))
    return np.stack(pictures), np.stack(covers)


def test_the_packaged_weights_are_small_and_know_a_town_they_have_not_seen(
    segmenter: LandCoverSegmenter, town: tuple[np.ndarray, np.ndarray]
) -> None:
    assert WEIGHTS.stat().st_size < 300_000
    pictures, covers = town
    found = segmenter.classes(pictures)
    assert found.shape == (len(pictures), SIDE // CELL, SIDE // CELL)
    assert found.dtype == np.uint8
    large = found.repeat(CELL, axis=1).repeat(CELL, axis=2)
    assert (large == covers).mean() > 0.75
    for name in ("roof", "road", "tree", "lawn", "pool"):
        true, said = covers == LAND_COVERS.index(name), large == LAND_COVERS.index(name)
        assert (true & said).sum() / (true | said).sum() > 0.25, name


def test_a_picture_has_the_same_classes_in_any_batch(
    segmenter: LandCoverSegmenter, town: tuple[np.ndarray, np.ndarray]
) -> None:
    pictures = town[0][:11]
    together = segmenter.classes(pictures)
    for row in (0, 7, 10):
        np.testing.assert_array_equal(segmenter.classes(pictures[row : row + 1])[0], together[row])
    assert segmenter.classes(pictures[:0]).shape == (0, SIDE // CELL, SIDE // CELL)


def test_what_is_said_of_real_pictures_is_what_was_counted() -> None:
    results = Path(__file__).parents[2] / "docs" / "results" / "land-cover-real.json"
    table = np.array(json.loads(results.read_text(encoding="utf-8"))["confusion"])
    road = LAND_COVERS.index("road")
    assert f"{np.trace(table)} of {table.sum()} points" in TRANSFER
    assert f"{table[road, road]} of {table[road].sum()}." in TRANSFER


def test_threads_may_share_it(town: tuple[np.ndarray, np.ndarray]) -> None:
    shared = LandCoverSegmenter.load(threads=1)
    parts = [town[0][row : row + 3] for row in (0, 3, 6, 9)]
    with ThreadPoolExecutor(4) as threads:
        found = np.concatenate(list(threads.map(shared.classes, parts)))
    np.testing.assert_array_equal(found, shared.classes(town[0][:12]))


def test_the_engines_agree(town: tuple[np.ndarray, np.ndarray]) -> None:
    found = [
        LandCoverSegmenter.load(engine=engine, threads=1).classes(town[0][:8])
        for engine in ("torch", "openvino")
    ]
    assert (found[0] == found[1]).mean() > 0.97


@pytest.mark.parametrize("size", [(256, 256), (200, 300), (64, 64)])
def test_pictures_of_other_sizes_are_covered_whole(
    segmenter: LandCoverSegmenter, town: tuple[np.ndarray, np.ndarray], size: tuple[int, int]
) -> None:
    height, width = size
    picture = np.tile(town[0][:1], (1, 2, 2, 1))[:, :height, :width]
    found = segmenter.classes(picture)
    assert found.shape == (1, -(-height // 16) * 4, -(-width // 16) * 4)


def test_what_is_no_picture_is_refused(segmenter: LandCoverSegmenter) -> None:
    for wrong in (np.zeros((2, 224, 224), np.uint8), np.zeros((1, 224, 224, 3), np.float32)):
        with pytest.raises(ModelError, match="land cover"):
            segmenter.classes(wrong)


def test_damaged_and_foreign_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be used"):
        LandCoverSegmenter.load(tmp_path / "absent.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be used"):
        LandCoverSegmenter.load(damaged)
    foreign = tmp_path / "foreign.safetensors"
    save_weights(torch.nn.Linear(2, 2), foreign)
    with pytest.raises(WeightsError, match="cannot be used"):
        LandCoverSegmenter.load(foreign)


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = LandCoverNetwork().eval()
    save_weights(network, tmp_path / "own.safetensors")
    again = LandCoverSegmenter.load(tmp_path / "own.safetensors", engine="torch")
    picture = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    own = LandCoverSegmenter(network.half().float(), engine="torch")
    np.testing.assert_array_equal(own.classes(picture.numpy()), again.classes(picture.numpy()))
