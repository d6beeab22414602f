from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.cross_fitting import (
    FoldTargets,
    cross_fitted_features,
    fit_and_cross_fit,
    says_something,
)
from housevis.vision.lessons import StoredRows
from housevis.vision.objectives import OBJECTIVES, fit_learner

PENALTY = 100.0
SECTION = SiameseSection(epochs=4, pairs_per_house=60)
FOLDS = np.arange(600) % 3


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(8)
    features = generator.normal(size=(600, 40)).astype(np.float32)
    log_price = 13 + 0.4 * features[:, 3] - 0.3 * features[:, 17] + 0.2 * generator.normal(size=600)
    return features, log_price


@pytest.mark.parametrize("objective", [objective for objective in OBJECTIVES if objective != "kernel"])
def test_features_are_out_of_fold_and_mean_what_those_of_all_houses_mean(market: Any, objective: Any) -> None:
    features, log_price = market
    targets = [FoldTargets(log_price, np.repeat(log_price[None], 3, axis=0), PENALTY)]
    learners, found = fit_and_cross_fit(objective, features, targets, FOLDS, SECTION, 1)
    assert found.shape == (600, 4)
    whole = learners[0].embed(features)
    for dimension in range(4):
        if whole[:, dimension].std() > 0.1 * whole.std(axis=0).max():
            assert np.corrcoef(found[:, dimension], whole[:, dimension])[0, 1] > 0.75
    direction = learners[0].direction().detach().numpy()
    scores = found @ direction, whole @ direction
    assert np.corrcoef(*scores)[0, 1] > 0.9
    assert abs(np.log(scores[0].std() / scores[1].std())) < 0.3

    alone = cross_fitted_features(objective, features, log_price, FOLDS, SECTION, 1, penalty=PENALTY)
    np.testing.assert_allclose(alone, found, rtol=1e-3, atol=1e-3)
    by_itself = fit_learner(objective, features, log_price, SECTION, 1, penalty=PENALTY)
    np.testing.assert_allclose(by_itself.embed(features), whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_price_of_a_house_does_not_reach_its_own_features(market: Any, objective: Any) -> None:
    features, log_price = market

    def found(price_of_house_7: float) -> np.ndarray:
        changed = log_price.copy()
        changed[7] = price_of_house_7
        targets = [FoldTargets(changed, np.repeat(changed[None], 3, axis=0), PENALTY)]
        return fit_and_cross_fit(objective, features, targets, FOLDS, SECTION, 1)[1]

    before, after = found(float(log_price[7])), found(20.0)
    of_its_fold = int(FOLDS[7]) == FOLDS
    np.testing.assert_allclose(after[of_its_fold], before[of_its_fold], rtol=0, atol=1e-6)
    assert np.abs(after[~of_its_fold] - before[~of_its_fold]).max() > 1e-4


def test_each_fold_may_have_targets_of_its_own(market: Any) -> None:
    features, log_price = market
    by_fold = np.stack([np.where(number == FOLDS, np.nan, log_price) for number in range(3)])
    crossed = cross_fitted_features("rank", features, by_fold, FOLDS, SECTION, 1, penalty=PENALTY)
    plain = cross_fitted_features("rank", features, log_price, FOLDS, SECTION, 1, penalty=PENALTY)
    np.testing.assert_array_equal(crossed, plain)


def test_several_targets_stand_side_by_side(market: Any) -> None:
    features, log_price = market
    targets = [FoldTargets(t, np.repeat(t[None], 3, axis=0), PENALTY) for t in (log_price, -log_price)]
    learners, found = fit_and_cross_fit("price", features, targets, FOLDS, SECTION, 1, fingerprint="net")
    assert [learner.fingerprint for learner in learners] == ["net", "net"]
    assert found.shape == (600, 8)
    np.testing.assert_allclose(found[:, :4], -found[:, 4:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_features_may_stay_in_a_file(market: Any, objective: Any, tmp_path: Path) -> None:
    features, log_price = market
    rows = np.random.default_rng(1).permutation(600)
    stored = np.empty_like(features)
    stored[rows] = features
    np.save(tmp_path / "features.npy", stored)
    in_file = StoredRows(tmp_path / "features.npy", rows)
    targets = [FoldTargets(log_price, np.repeat(log_price[None], 3, axis=0), PENALTY)]
    learners, found = fit_and_cross_fit(objective, in_file, targets, FOLDS, SECTION, 1)
    known, expected = fit_and_cross_fit(objective, features, targets, FOLDS, SECTION, 1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(learners[0].embed(in_file[:]), known[0].embed(features))


def test_targets_of_some_houses() -> None:
    targets = FoldTargets(np.arange(4.0), np.arange(12.0).reshape(3, 4), PENALTY)
    some = targets.only(np.array([True, False, True, False]), np.array([0, 1, 2, 1]))
    np.testing.assert_array_equal(some.whole, [0, 2])
    np.testing.assert_array_equal(some.by_fold, [[0, 2], [8, 10]])


def test_what_cannot_be_cross_fitted(market: Any) -> None:
    with pytest.raises(ModelError, match="at least two folds"):
        cross_fitted_features("rank", *market, np.zeros(600, dtype=int), SECTION, 1, penalty=PENALTY)
    with pytest.raises(ModelError, match="do not belong"):
        cross_fitted_features("rank", market[0], np.zeros((2, 600)), FOLDS, SECTION, 1, penalty=PENALTY)


def test_a_learner_whose_folds_contradict_it_is_silent(market: Any) -> None:
    features, log_price = market
    against = FoldTargets(log_price, np.repeat(-log_price[None], 3, axis=0), PENALTY)
    true = FoldTargets(log_price, np.repeat(log_price[None], 3, axis=0), PENALTY)
    learners, found = fit_and_cross_fit("price", features, [against, true], FOLDS, SECTION, 1)
    assert [learner.is_silent for learner in learners] == [True, False]
    assert not found[:, :4].any()
    assert found[:, 4:].any()
    assert not learners[0].embed(features).any()


def test_what_says_something() -> None:
    scores = np.random.default_rng(4).normal(size=400)
    assert says_something(scores, 0.5 * scores + np.random.default_rng(5).normal(size=400))
    assert not says_something(scores, -scores)
    assert not says_something(np.zeros(400), scores)
    assert not says_something(scores, np.tile([1.0, -1.0], 200) * np.abs(scores))
