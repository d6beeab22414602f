"""Likeness by leaves, checked tree by tree against LightGBM's own answers."""

from __future__ import annotations

import numpy as np
import pytest

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing import leaf_likeness
from housevis.pricing.boosted import Boosted
from housevis.pricing.leaf_likeness import LeafLikeness

SECTION = PricingSection(rounds=30, leaves=8, boosters=1, random_boosters=1, linear_base=True)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    random = np.random.default_rng(3)
    features = random.normal(size=(400, 4))
    features[::17, 2] = np.nan
    return features


@pytest.fixture(scope="module")
def boosted(table: np.ndarray) -> Boosted:
    target = table[:, 0] + np.sin(3 * table[:, 1]) + 0.1 * np.nan_to_num(table[:, 2])
    return Boosted.fit(SECTION, table, target, seed=1, num_threads=1)


def leaves_one_by_one(boosted: Boosted, features: np.ndarray) -> np.ndarray:
    return np.hstack([booster.predict(features, pred_leaf=True) for booster in boosted.boosters])


def test_share_is_that_of_the_trees_of_all_boosters_by_their_weight(
    boosted: Boosted, table: np.ndarray
) -> None:
    likeness = LeafLikeness(boosted, table[:300])
    leaves = leaves_one_by_one(boosted, table)
    candidates = np.array([[0, 7, 299], [5, 5, -1], [120, 3, 250]])
    found = likeness.share(likeness.leaves(table[[310, 320, 399]]), candidates)

    for row, house in enumerate([310, 320, 399]):
        for column, sale in enumerate(candidates[row]):
            same = leaves[house] == leaves[sale]
            expected = float(same @ likeness.weights) if sale >= 0 else 0.0
            assert found[row, column] == pytest.approx(expected, abs=1e-5)


def test_a_tree_weighs_what_it_moves_prices_by(boosted: Boosted, table: np.ndarray) -> None:
    likeness = LeafLikeness(boosted, table)
    leaves = leaves_one_by_one(boosted, table)
    spreads, column = [], 0
    for booster in boosted.boosters:
        for tree in range(booster.num_trees()):
            outputs = [booster.get_leaf_output(tree, int(leaf)) for leaf in leaves[:, column]]
            spreads.append(np.std(outputs))
            column += 1

    assert len(likeness.weights) == 60
    assert likeness.weights == pytest.approx(np.array(spreads) / np.sum(spreads))


def test_a_house_is_wholly_like_itself_and_likeness_goes_both_ways(
    boosted: Boosted, table: np.ndarray
) -> None:
    likeness = LeafLikeness(boosted, table)
    leaves = likeness.leaves(table[:50])
    every = np.tile(np.arange(50), (50, 1))
    found = likeness.share(leaves, every)

    assert np.diag(found) == pytest.approx(1.0, abs=1e-6)
    assert found == pytest.approx(found.T, abs=1e-6)
    assert found.min() >= 0
    assert found.max() <= 1


def test_pieces_make_no_difference(
    boosted: Boosted, table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    likeness = LeafLikeness(boosted, table)
    candidates = np.random.default_rng(0).integers(-1, 400, (90, 11))
    whole = likeness.share(likeness.leaves(table[:90]), candidates)
    monkeypatch.setattr(leaf_likeness, "_COMPARED", 1_000)
    monkeypatch.setattr(leaf_likeness, "_ROWS", 7)
    again = LeafLikeness(boosted, table)

    assert np.array_equal(whole, again.share(again.leaves(table[:90]), candidates))


def test_no_training_sale_is_an_error_and_no_house_is_none(boosted: Boosted, table: np.ndarray) -> None:
    with pytest.raises(ModelError, match="there is none"):
        LeafLikeness(boosted, table[:0])
    likeness = LeafLikeness(boosted, table)
    assert likeness.share(likeness.leaves(table[:0]), np.empty((0, 5), dtype=np.int64)).shape == (0, 5)
