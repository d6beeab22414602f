from __future__ import annotations

import numpy as np

from housevis.pricing.attributes import ATTRIBUTE_SETS, encode, visual_names, with_visual
from housevis.pricing.crossfit import cross_fit
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds

FIVE = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]


def test_each_sale_is_estimated_without_its_fold(market, settings) -> None:
    sales, visual = market
    table = with_visual(encode(sales, FIVE), visual)
    folds = grouped_folds(sales["house_id"], 3, seed=1)
    asked = []

    def features(fold: int):
        asked.append(fold)
        return table

    result = cross_fit(features, sales["price"], folds, settings, FIVE, visual_names(4))
    assert asked == [0, 1, 2]
    np.testing.assert_array_equal(result.used_picture, ~np.isnan(visual[:, 0]))
    np.testing.assert_allclose(np.exp(result.contributions.sum(axis=1)), result.price)
    rest = HousePriceModel(settings, FIVE, visual_names(4)).fit(table[folds != 1], sales["price"][folds != 1])
    np.testing.assert_array_equal(result.price[folds == 1], rest.predict(table[folds == 1]).price)


def test_a_price_of_a_fold_cannot_move_its_own_estimate(market, settings) -> None:
    sales = market[0]
    table = encode(sales, FIVE)
    folds = grouped_folds(sales["house_id"], 3, seed=1)
    changed = sales["price"].to_numpy().copy()
    changed[folds == 0] *= 3
    before = cross_fit(lambda _: table, sales["price"], folds, settings, FIVE)
    after = cross_fit(lambda _: table, changed, folds, settings, FIVE)
    np.testing.assert_array_equal(before.price[folds == 0], after.price[folds == 0])
    assert (before.price[folds == 1] != after.price[folds == 1]).any()
