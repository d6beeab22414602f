from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from housevis.core.errors import UsageError
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode, with_visual
from housevis.pricing.regressors import REGRESSORS, make_regressor

FIVE = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]


@pytest.fixture(scope="module")
def table(market):
    features = with_visual(encode(market[0], FIVE), market[1])
    features.loc[features.index[::7], "bedrooms"] = np.nan
    return features, np.log(market[0]["price"].to_numpy())


def test_the_names_are_those_of_the_paper() -> None:
    assert REGRESSORS == ("random-forest", "gradient-boosting", "support-vector", "neural-network")


@pytest.mark.parametrize("name", REGRESSORS)
def test_each_learns_from_a_table_with_gaps(name, table) -> None:
    features, log_price = table
    predicted = cross_val_predict(make_regressor(name, num_threads=1), features, log_price, cv=3)
    explained = 1 - np.var(log_price - predicted) / np.var(log_price)
    assert explained > 0.7


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_same_seed_gives_the_same_estimates(name, table) -> None:
    features, log_price = table
    first = make_regressor(name, seed=5, num_threads=1)
    again = clone(first).fit(features[:300], log_price[:300]).predict(features[300:])
    np.testing.assert_array_equal(first.fit(features[:300], log_price[:300]).predict(features[300:]), again)
    assert again.shape == (600,)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_column_without_values_and_any_column_name_are_taken(name, table) -> None:
    features, log_price = table
    odd = (
        features[["area_m2", "latitude"]].rename(columns={"area_m2": 'area "m2", [net]'}).assign(empty=np.nan)
    )
    regressor = make_regressor(name, num_threads=1).fit(odd[:200], log_price[:200])
    assert np.isfinite(regressor.predict(odd[200:])).all()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown regressor 'forest'\. Choose one of: random-forest"):
        make_regressor("forest")
