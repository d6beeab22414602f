"""Exact TreeSHAP of many houses: LightGBM's own values, whatever the trees."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import lightgbm
import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.pricing.boosters import raw_contributions
from housevis.pricing.tree_shap import FEWEST_ROWS, MOST_FEATURES, contributions_of

FEATURES = 14


def table_of(rows: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    table = random.normal(size=(rows, FEATURES))
    table[:, 3] = random.integers(0, 3, rows)
    table[random.random(table.shape) < 0.08] = np.nan
    table[random.random(table.shape) < 0.05] = 0.0
    return table


def fitted(rows: int = 3000, rounds: int = 12, *, missing_known: bool = True, **parameters: object):
    table = table_of(rows)
    known = np.nan_to_num(table)
    target = known[:, 0] + known[:, 1] * known[:, 2] + np.sin(3 * known[:, 4:]).sum(axis=1)
    settings = {"verbosity": -1, "num_threads": 1, "seed": 3, "min_data_in_leaf": 5, **parameters}
    learned = table if missing_known else known
    return lightgbm.train(settings, lightgbm.Dataset(learned, target), num_boost_round=rounds)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"num_leaves": 2},
        {"num_leaves": 200, "extra_trees": True},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"missing_known": False},
        {"objective": "regression_l1", "bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.6},
    ],
    ids=["plain", "stumps", "deep", "zero is missing", "no missing", "missing never seen", "subsamples"],
)
def test_the_values_are_those_of_lightgbm(parameters: dict[str, object]) -> None:
    booster = fitted(**parameters)
    table = table_of(700, seed=2)
    expected = booster.predict(table, pred_contrib=True, num_threads=1)
    found = contributions_of(booster, table)
    assert found.shape == (700, FEATURES + 1)
    assert np.abs(found - expected).max() < 1e-12
    assert np.abs(found.sum(axis=1) - booster.predict(table, num_threads=1)).max() < 1e-12


def test_leaves_with_very_many_features_on_their_path() -> None:
    random = np.random.default_rng(5)
    table = random.normal(size=(4000, FEATURES))
    target = np.exp(table @ np.linspace(0.4, 0.7, FEATURES))
    settings = {
        "verbosity": -1,
        "num_threads": 1,
        "num_leaves": 60,
        "min_data_in_leaf": 2,
        "extra_trees": True,
    }
    booster = lightgbm.train(settings, lightgbm.Dataset(table, target), num_boost_round=15)
    deepest = booster.trees_to_dataframe()["node_depth"].max()
    assert deepest > 12
    expected = booster.predict(table, pred_contrib=True, num_threads=1)
    assert np.allclose(contributions_of(booster, table), expected, rtol=1e-9, atol=1e-9)


def test_a_tree_without_a_split_is_all_base() -> None:
    settings = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1000}
    booster = lightgbm.train(settings, lightgbm.Dataset(table_of(600), np.full(600, 2.5)), num_boost_round=3)
    found = contributions_of(booster, table_of(5))
    assert np.allclose(found[:, -1], booster.predict(table_of(5)))
    assert not found[:, :-1].any()


def test_they_are_shapleys_values_by_their_definition() -> None:
    """Every coalition of three features of one small tree, an absent one by the shares of the sales."""
    random = np.random.default_rng(4)
    table = random.normal(size=(800, 3))
    target = table[:, 0] * table[:, 1] + table[:, 2]
    settings = {"verbosity": -1, "num_threads": 1, "num_leaves": 8, "min_data_in_leaf": 20}
    booster = lightgbm.train(settings, lightgbm.Dataset(table, target), num_boost_round=1)
    root = booster.dump_model()["tree_info"][0]["tree_structure"]

    def count(node: dict) -> int:
        return node.get("internal_count", node.get("leaf_count"))

    def value(node: dict, house: np.ndarray, known: tuple[int, ...]) -> float:
        if "leaf_value" in node:
            return node["leaf_value"]
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            followed = left if house[node["split_feature"]] <= node["threshold"] else right
            return value(followed, house, known)
        share = count(left) / count(node)
        return share * value(left, house, known) + (1 - share) * value(right, house, known)

    for house, found in zip(table[:20], contributions_of(booster, table[:20]), strict=True):
        assert found[-1] == pytest.approx(value(root, house, ()))
        for feature in range(3):
            others = [other for other in range(3) if other != feature]
            expected = sum(
                factorial(size) * factorial(2 - size) / factorial(3)
                * (value(root, house, (*some, feature)) - value(root, house, some))
                for size in range(3)
                for some in combinations(others, size)
            )  # fmt: skip
            assert found[feature] == pytest.approx(expected)


def test_few_houses_and_many_get_the_same_values() -> None:
    booster = fitted()
    table = table_of(FEWEST_ROWS, seed=8)
    many = raw_contributions(booster, table, 1)
    few = raw_contributions(booster, table[:7], 1)
    assert np.abs(many[:7] - few).max() < 1e-12
    assert raw_contributions(booster, table[:0], 1).shape == (0, FEATURES + 1)


def test_a_split_by_category_is_refused() -> None:
    table = table_of(1000)
    table[:, 3] = np.random.default_rng(1).integers(0, 4, 1000)
    settings = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(table, (table[:, 3] == 2) * 1.0, categorical_feature=[3])
    booster = lightgbm.train(settings, data, num_boost_round=2)
    with pytest.raises(ModelError, match="numeric features"):
        contributions_of(booster, table)


def test_a_model_of_very_many_features_keeps_lightgbms_own_way() -> None:
    random = np.random.default_rng(6)
    table = random.normal(size=(FEWEST_ROWS + 100, MOST_FEATURES + 3))
    settings = {"verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(table, table.sum(axis=1)), num_boost_round=3)
    expected = booster.predict(table, pred_contrib=True, num_threads=1)
    assert np.array_equal(raw_contributions(booster, table, 1), expected)
