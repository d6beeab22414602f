from __future__ import annotations

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.vision.ranking import comparable, draw_pairs, ordered_share
from housevis.vision.siamese import rank_accuracy


def test_uniform_pairs_are_those_of_rank_accuracy() -> None:
    generator = np.random.default_rng(1)
    prices = generator.integers(1, 30, 200).astype(float)
    scores = prices + generator.normal(0, 8, 200)
    pairs = draw_pairs(prices, pairs=20_000, seed=4)
    assert 0 < len(pairs) < 20_000
    assert (prices[pairs[:, 0]] != prices[pairs[:, 1]]).all()
    assert ordered_share(scores, prices, pairs) == pytest.approx(
        rank_accuracy(scores, prices, pairs=20_000, seed=4), abs=1e-12
    )


def test_order_ties_and_reverse() -> None:
    prices = np.array([1.0, 2.0, 3.0])
    pairs = draw_pairs(prices, pairs=100, seed=1)
    assert ordered_share(prices, prices, pairs) == 1
    assert ordered_share(-prices, prices, pairs) == 0
    assert ordered_share(np.zeros(3), prices, pairs) == 0.5


def test_comparable_houses_are_near_and_of_one_size() -> None:
    # 0.01 degrees of latitude are 1.11 km; 0.02 degrees of longitude at 60 degrees north are the same.
    latitude = np.array([60.0, 60.01, 60.0, 60.02, 60.0, 60.0])
    longitude = np.array([10.0, 10.0, 10.02, 10.0, 10.0, 10.0])
    area = np.array([100.0, 100.0, 86.0, 100.0, 84.0, np.nan])
    prices = np.arange(1.0, 7.0)
    found = draw_pairs(prices, pairs=5_000, seed=1, keep=comparable(latitude, longitude, area))
    assert {tuple(sorted(pair)) for pair in found.tolist()} == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 4)}
    assert len(found) == 5_000


def test_no_pair_left_is_told() -> None:
    with pytest.raises(ModelError, match="not one pair"):
        draw_pairs(np.ones(5), pairs=10, seed=1)
