"""The price model among the tools of scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from housevis.core.errors import ModelError
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode, visual_names, with_visual
from housevis.pricing.model import HousePriceModel

FIVE = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
VISUAL = visual_names(4)
SMALL = {"rounds": 40, "learning_rate": 0.1, "leaves": 7, "num_threads": 1}
NEEDS_ANOTHER_SETTING = {"check_array_api_input"}
"""Skipped by scikit-learn itself unless an environment variable is set."""


@pytest.fixture(scope="module")
def fitted(market) -> HousePriceModel:
    return HousePriceModel(attributes=FIVE, **SMALL).fit(market[0], market[0]["price"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "boosters": 1,
            "random_boosters": 1,
            "feature_fraction": 0.7,
            "row_fraction": 0.8,
            "linear_base": True,
        },
    ],
)
def test_scikit_learn_finds_nothing_to_complain_about(settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(HousePriceModel(num_threads=1, **settings), on_skip=None, on_fail=None)
    wrong = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert set(wrong) <= NEEDS_ANOTHER_SETTING, wrong
    assert len(results) > 40


def test_parameters_are_read_set_and_cloned(fitted) -> None:
    assert fitted.get_params()["attributes"] == FIVE
    copy = clone(fitted).set_params(leaves=31)
    assert (copy.leaves, fitted.leaves) == (31, 7)
    with pytest.raises(NotFittedError, match="the model is not fitted"):
        copy.predict(np.zeros((2, 6)))


def test_a_sale_frame_is_taken_as_it_is(market, fitted) -> None:
    sales = market[0]
    np.testing.assert_array_equal(fitted.predict(sales), fitted.predict(encode(sales, FIVE)))
    np.testing.assert_array_equal(
        fitted.predict(sales), fitted.predict(sales[sorted(sales.columns, reverse=True)])
    )
    np.testing.assert_array_equal(fitted.feature_names_in_, FIVE)
    assert (fitted.n_features_in_, fitted.attributes_) == (6, FIVE)


def test_bare_numbers_and_named_columns_say_the_same(market) -> None:
    table, price = with_visual(encode(market[0], FIVE), market[1]), market[0]["price"]
    named = HousePriceModel(attributes=FIVE, visual_names=VISUAL, **SMALL).fit(table, price)
    numbers = HousePriceModel(attributes=FIVE, visual_names=VISUAL, **SMALL).fit(table.to_numpy(), price)
    np.testing.assert_array_equal(named.predict(table), numbers.predict(table.to_numpy()))
    np.testing.assert_array_equal(named.used_picture(table), numbers.used_picture(table.to_numpy()))
    unnamed = HousePriceModel(**SMALL).fit(table.to_numpy(), price)
    assert unnamed.attributes_[:2] == ("x0", "x1")
    with pytest.raises(ModelError, match="9 columns do not fit 6 attributes and 4 visual features"):
        HousePriceModel(attributes=FIVE, visual_names=VISUAL).fit(table.to_numpy()[:, 1:], price)


def test_without_names_every_column_but_those_of_the_sale_is_an_attribute(market) -> None:
    sales = market[0].assign(sale_month=encode(market[0], ["sale_month"]))
    model = HousePriceModel(**SMALL).fit(sales, sales["price"])
    assert sorted(model.attributes_) == sorted(FIVE)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(sales.drop(columns="bedrooms"))


def test_cross_validation_by_house(market) -> None:
    sales = market[0]
    scores = cross_val_score(
        HousePriceModel(attributes=FIVE, **SMALL),
        sales,
        sales["price"],
        groups=sales["house_id"],
        cv=GroupKFold(3),
        scoring="neg_median_absolute_error",
        error_score="raise",
    )
    assert scores.shape == (3,)
    assert (scores > -0.2 * sales["price"].median()).all()


def test_a_grid_search_finds_that_one_tree_is_too_few(market) -> None:
    sales = market[0]
    model = HousePriceModel(attributes=FIVE, **SMALL)
    search = GridSearchCV(model, {"rounds": [1, 40]}, cv=3, error_score="raise").fit(sales, sales["price"])
    assert search.best_params_ == {"rounds": 40}
    assert search.best_estimator_.predict(sales).shape == (900,)


def test_the_last_step_of_a_pipeline(market) -> None:
    table = encode(market[0], FIVE)
    table.loc[::5, "area_m2"] = np.nan
    pipeline = make_pipeline(SimpleImputer().set_output(transform="pandas"), HousePriceModel(**SMALL))
    pipeline.fit(table, market[0]["price"])
    assert pipeline.score(table, market[0]["price"]) > 0.5
    assert pipeline[-1].attributes_ == FIVE


def test_parameters_without_sense_are_named(market) -> None:
    sales = market[0]
    with pytest.raises(ModelError, match=r"rounds: .*It is 0 now"):
        HousePriceModel(attributes=FIVE, rounds=0).fit(sales, sales["price"])
    with pytest.raises(ModelError, match="market_index: Input should be"):
        HousePriceModel(attributes=FIVE, market_index="guess").fit(sales, sales["price"])


def test_infinite_numbers_are_refused_by_name(market) -> None:
    sales = market[0].copy()
    sales.loc[3, "area_m2"] = np.inf
    with pytest.raises(ModelError, match="the feature 'area_m2' is infinite in some sales"):
        HousePriceModel(attributes=FIVE).fit(sales, sales["price"])


def test_the_fingerprint_knows_the_data_and_the_parameters(market) -> None:
    sales = market[0][:200]

    def fingerprint(sales: pd.DataFrame = sales, **changes: object) -> str:
        model = HousePriceModel(**{"attributes": FIVE, **SMALL, "rounds": 3, **changes})
        return model.fit(sales, sales["price"]).data_fingerprint_

    known = fingerprint()
    assert fingerprint() == known
    assert fingerprint(num_threads=2) == known
    dearer = sales.assign(price=sales["price"] + np.r_[1.0, np.zeros(199)])
    larger = sales.assign(area_m2=sales["area_m2"] + np.r_[1.0, np.zeros(199)])
    changed = [fingerprint(dearer), fingerprint(larger), fingerprint(rounds=4), fingerprint(seed=2)]
    assert len({known, *changed}) == 5
