from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from housevis.core.config_sections import VisionSection
from housevis.core.errors import ModelError
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.engines import OpenVinoEngine, TorchEngine, open_engine

BF16_TOLERANCE = 0.15
"""Mean absolute difference by mean value: 8 bits of mantissa through some 50 layers, clipped activations."""


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).mean() / np.abs(expected).mean())


@pytest.fixture(scope="module", params=["openvino", "torch"])
def engine(request: pytest.FixtureRequest, efficientnet: Backbone):
    opened = open_engine(efficientnet, request.param, 4, threads=1)
    yield opened
    opened.close()


def test_both_engines_agree_with_the_float32_reference(
    engine, efficientnet: Backbone, pictures: np.ndarray
) -> None:
    expected = efficientnet.feature_map(torch.from_numpy(pictures))
    maps, pooled = engine.both(pictures)
    assert maps.dtype == pooled.dtype == np.float32
    assert maps.shape == (7, 1280, 7, 7)
    assert difference(maps, expected.numpy()) < BF16_TOLERANCE
    assert difference(pooled, efficientnet.pool(expected).numpy()) < BF16_TOLERANCE
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), pooled, atol=0.02)


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_engines_pool_the_middle_of_the_picture_as_the_reference_does(kind, pictures: np.ndarray) -> None:
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0", pooling="average-and-centre"))
    expected = backbone.pool(backbone.feature_map(torch.from_numpy(pictures[:3]))).numpy()
    engine = open_engine(backbone, kind, 4, threads=1)
    maps, pooled = engine.both(pictures[:3])
    engine.close()
    assert maps.shape == (3, 2560, 7, 7)
    assert difference(pooled[:, :1280], expected[:, :1280]) < BF16_TOLERANCE
    assert difference(pooled[:, 1280:], expected[:, 1280:]) < BF16_TOLERANCE


def test_each_output_alone_is_the_same(engine, pictures: np.ndarray) -> None:
    maps, pooled = engine.both(pictures)
    np.testing.assert_array_equal(engine.feature_maps(pictures), maps)
    np.testing.assert_array_equal(engine.pooled(pictures), pooled)
    features = engine.submit(pictures, "pooled").result()
    assert features.maps is None
    assert engine.submit(pictures, "maps").result().pooled is None


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_any_number_of_pictures(engine, pictures: np.ndarray, count: int) -> None:
    everything = engine.pooled(pictures)
    found = engine.pooled(pictures[:count])
    assert found.shape == (count, 1280)
    if count:
        assert difference(found, everything[:count]) < BF16_TOLERANCE


def test_many_batches_at_a_time_keep_their_rows(engine, pictures: np.ndarray) -> None:
    expected = engine.pooled(pictures)
    orders = [np.random.default_rng(seed).permutation(7) for seed in range(6)]
    futures = [engine.submit(pictures[order], "pooled") for order in orders]
    for order, future in zip(orders, futures, strict=True):
        assert difference(future.result().pooled, expected[order]) < 1e-2


def test_wrong_pictures_are_refused(engine) -> None:
    with pytest.raises(ModelError, match="takes uint8 pictures"):
        engine.pooled(np.zeros((1, 100, 100, 3), dtype=np.uint8))


def test_an_engine_leaves_the_backbone_as_it_was(efficientnet: Backbone, pictures: np.ndarray) -> None:
    images = torch.from_numpy(pictures[:1])
    before = efficientnet.feature_map(images)
    with TorchEngine(efficientnet, 4) as engine:
        engine.pooled(pictures[:1])
    torch.testing.assert_close(efficientnet.feature_map(images), before, rtol=0, atol=0)


def test_automatic_choice(efficientnet: Backbone) -> None:
    engine = open_engine(efficientnet, "auto", 2, threads=1)
    expected = TorchEngine if torch.cuda.is_available() else OpenVinoEngine
    assert isinstance(engine, expected)
    engine.close()


class BrokenRequest:
    """A request of OpenVINO that ends in an error, as a lack of memory does."""

    def infer(self, inputs: list[np.ndarray]) -> None:
        raise RuntimeError("not enough memory")


def test_a_request_that_fails_fails_its_batch_and_no_other(
    efficientnet: Backbone, pictures: np.ndarray
) -> None:
    with OpenVinoEngine(efficientnet, 4, threads=1) as engine:
        expected = engine.pooled(pictures)
        whole = [engine._idle.get() for _ in range(engine._idle.qsize())]
        engine._idle.put(BrokenRequest())
        failed = engine.submit(pictures)
        with pytest.raises(ModelError, match="not enough memory") as problem:
            failed.result(timeout=60)
        assert "torch" in problem.value.remedy
        engine._idle.get()
        for request in whole:
            engine._idle.put(request)
        np.testing.assert_array_equal(engine.pooled(pictures), expected)


def test_many_threads_may_hand_over_batches(efficientnet: Backbone, pictures: np.ndarray) -> None:
    with (
        OpenVinoEngine(efficientnet, 4, threads=1) as engine,
        ThreadPoolExecutor(4) as threads,
    ):
        expected = engine.pooled(pictures)
        for found in threads.map(engine.pooled, [pictures] * 8):
            np.testing.assert_array_equal(found, expected)
