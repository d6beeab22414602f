from __future__ import annotations

import threading

import numpy as np
import pytest

from housevis.vision.backbones import Backbone
from housevis.vision.embed import fit_picture, iterate_features
from housevis.vision.engines import FeatureEngine, open_engine


@pytest.fixture(scope="module")
def engine(efficientnet: Backbone):
    opened = open_engine(efficientnet, "openvino", 3, threads=1)
    yield opened
    opened.close()


def test_batches_hold_every_item_once_and_in_order(engine: FeatureEngine, pictures: np.ndarray) -> None:
    expected = engine.pooled(pictures)
    items = [0, 1, 2, 9, 3, 4, 5, 9, 6]

    def load(item: int) -> np.ndarray | None:
        return None if item == 9 else pictures[item]

    batches = list(iterate_features(load, items, engine, want="both", images=True))
    assert [len(b.items) + len(b.missing) for b in batches] == [3, 3, 3]
    assert [item for b in batches for item in b.items] == list(range(7))
    assert [item for b in batches for item in b.missing] == [9, 9]
    np.testing.assert_array_equal(np.concatenate([b.images for b in batches]), pictures)
    pooled = np.concatenate([b.pooled for b in batches])
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5)
    assert np.concatenate([b.maps for b in batches]).shape == (7, 1280, 7, 7)


def test_only_what_is_asked_for_is_handed_over(engine: FeatureEngine, pictures: np.ndarray) -> None:
    (batch,) = iterate_features(lambda item: pictures[item], [0, 1], engine)
    assert batch.maps is None
    assert batch.images is None
    (batch,) = iterate_features(lambda item: pictures[item], [0, 1], engine, want="maps")
    assert batch.pooled is None
    assert list(iterate_features(lambda item: pictures[item], [], engine)) == []


def test_a_batch_without_any_picture(engine: FeatureEngine) -> None:
    (batch,) = iterate_features(lambda item: None, ["a", "b"], engine)
    assert batch.items == []
    assert batch.missing == ["a", "b"]
    assert batch.pooled.shape == (0, 1280)


def test_an_error_in_loading_reaches_the_caller_and_ends_the_threads(
    engine: FeatureEngine, pictures: np.ndarray
) -> None:
    def load(item: int) -> np.ndarray:
        if item == 4:
            raise OSError("broken tile")
        return pictures[0]

    with pytest.raises(OSError, match="broken tile"):
        list(iterate_features(load, range(40), engine))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_stopping_early_ends_the_threads(engine: FeatureEngine, pictures: np.ndarray) -> None:
    batches = iterate_features(lambda item: pictures[0], range(40), engine)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_pictures_are_fitted_to_the_input() -> None:
    half = np.zeros((256, 256, 3), dtype=np.uint8)
    half[:, 128:] = 200
    fitted = fit_picture(half, 224)
    assert fitted.shape == (224, 224, 3)
    assert fitted[5, 5, 0] == 0
    assert fitted[5, -5, 0] == 200
    same = np.zeros((224, 224, 3), dtype=np.uint8)
    assert fit_picture(same, 224) is same
