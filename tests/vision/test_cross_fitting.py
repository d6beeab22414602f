from __future__ import annotations

import numpy as np
import pytest

from housevis.core.config import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.cross_fitting import cross_fitted_features
from housevis.vision.siamese import RankSiamese, fit_rank_siamese

PENALTY = 100.0


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(8)
    features = generator.normal(size=(600, 40)).astype(np.float32)
    log_price = 13 + 0.4 * features[:, 3] - 0.3 * features[:, 17] + 0.2 * generator.normal(size=600)
    return features, np.exp(log_price).round(-3)


@pytest.fixture(scope="module")
def full(market: tuple[np.ndarray, np.ndarray]) -> RankSiamese:
    return fit_rank_siamese(*market, SiameseSection(), seed=1, penalty=PENALTY)


def test_features_are_out_of_fold_and_aligned(market, full: RankSiamese) -> None:
    features, prices = market
    folds = np.arange(len(prices)) % 3
    found = cross_fitted_features(features, prices, folds, SiameseSection(), 1, penalty=PENALTY, full=full)
    assert found.shape == (600, 4)
    direction = full.direction().detach().numpy()
    scores = found @ direction, full.embed(features) @ direction
    assert np.corrcoef(*scores)[0, 1] > 0.95
    assert abs(np.log(scores[0].std() / scores[1].std())) < 0.2

    changed = prices.copy()
    changed[folds == 0] = prices[folds == 0][::-1]
    again = cross_fitted_features(features, changed, folds, SiameseSection(), 1, penalty=PENALTY, full=full)
    np.testing.assert_array_equal(again[folds == 0], found[folds == 0])
    assert not np.array_equal(again[folds == 1], found[folds == 1])


def test_it_takes_two_folds(market, full: RankSiamese) -> None:
    with pytest.raises(ModelError, match="at least two folds"):
        cross_fitted_features(*market, np.zeros(600), SiameseSection(), 1, penalty=PENALTY, full=full)
