"""The price model with a market index and comparable sales."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ModelError
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode, model_table, visual_names
from housevis.pricing.comparables import ComparableSales
from housevis.pricing.drivers import COMPARABLE_SALES, driver_groups, to_currency
from housevis.pricing.market_index import fit_market_index
from housevis.pricing.model import HousePriceModel

FIVE = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
VISUAL = visual_names(4)
SMALL = {"rounds": 40, "learning_rate": 0.1, "leaves": 7, "num_threads": 1}
BOTH = {
    "market_index": "hedonic",
    "comparables": 20,
    "linear_base": True,
    "boosters": 2,
    "row_fraction": 0.8,
    **SMALL,
}


@pytest.fixture(scope="module")
def table(market) -> pd.DataFrame:
    return model_table(market[0], FIVE, market[1])


@pytest.fixture(scope="module")
def model(market, table) -> HousePriceModel:
    model = HousePriceModel(attributes=FIVE, visual_names=VISUAL, **BOTH)
    return model.fit(table[:600], market[0]["price"][:600])


def test_the_features_of_both_boosters(model) -> None:
    names = model.comparable_names_
    assert model.features_ == (*FIVE, *names, *VISUAL)
    assert all(name.startswith("comparable_") for name in names)
    boosted = len(FIVE) - 1 + len(names)
    assert [booster.num_feature() for booster in model.without_picture_.boosters] == [boosted] * 2
    assert [booster.num_feature() for booster in model.with_picture_.boosters] == [boosted + 4] * 2


def test_contributions_and_index_sum_to_the_log_estimate(table, model) -> None:
    phi = model.contributions(table)
    assert phi.shape == (900, len(model.features_) + 1)
    np.testing.assert_allclose(np.exp(phi.sum(axis=1)), model.predict(table), rtol=1e-9)
    month = phi[:, model.features_.index("sale_month")]
    np.testing.assert_allclose(month, model.market_index_.level(table["sale_date"]))
    groups = driver_groups(VISUAL, model.comparable_names_)
    drivers = to_currency(phi[:, :-1], phi[:, -1], model.features_, groups)
    names = ("location", "bedrooms", "bathrooms", "sale_month", "area_m2", COMPARABLE_SALES, "picture")
    assert drivers.names == names
    np.testing.assert_allclose(drivers.estimate, model.predict(table), rtol=1e-9)


def test_the_valuation_date_moves_the_estimate_by_the_index_and_nothing_else(table, model) -> None:
    index = model.market_index_
    days = [index.last_day + pd.Timedelta(days=days) for days in (-200, 0, 90)]
    early, last, later = (
        model.predict(table.assign(sale_date=day).drop(columns="sale_month")) for day in days
    )
    level = index.level(days)
    np.testing.assert_allclose(np.log(early / last), level[0], atol=1e-12)
    np.testing.assert_allclose(np.log(later / last), level[2], atol=1e-12)


def test_the_boosters_see_prices_at_one_date(market, table, model) -> None:
    sales, price = market[0][:600], market[0]["price"].to_numpy()[:600]
    index = fit_market_index("hedonic", sales, FIVE)
    np.testing.assert_array_equal(
        index.level(sales["sale_date"]), model.market_index_.level(sales["sale_date"])
    )
    target = np.log(price) - index.level(sales["sale_date"])
    alone = ComparableSales(20, FIVE)
    np.testing.assert_array_equal(
        alone.fit_transform(sales, target), ComparableSales(20, FIVE).fit_transform(table[:600], target)
    )
    np.testing.assert_allclose(model.comparables_.sales_["log_price"], target)
    np.testing.assert_allclose(model.comparables_.transform(sales), alone.transform(sales))


def test_a_saved_model_estimates_and_explains_the_same(tmp_path, table, model) -> None:
    model.save(tmp_path)
    loaded = HousePriceModel.load(tmp_path, num_threads=1)
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    np.testing.assert_array_equal(loaded.contributions(table), model.contributions(table))
    np.testing.assert_array_equal(loaded.predict_without_picture(table), model.predict_without_picture(table))
    assert loaded.features_ == model.features_
    assert loaded.data_fingerprint_ == model.data_fingerprint_
    assert loaded.get_params() == model.get_params()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "comparables.json",
        "comparables.parquet",
        "model.json",
        "with_picture.txt",
        "with_picture_2.txt",
        "without_picture.txt",
        "without_picture_2.txt",
    ]
    loaded.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "model.json").read_text()) == json.loads(
        (tmp_path / "model.json").read_text()
    )


def test_what_is_missing_of_a_saved_model_is_noticed(tmp_path, model) -> None:
    model.save(tmp_path)
    (tmp_path / "with_picture_2.txt").unlink()
    with pytest.raises(ModelError, match="there is no house-price-model here"):
        HousePriceModel.load(tmp_path)
    model.save(tmp_path)
    (tmp_path / "comparables.parquet").unlink()
    with pytest.raises(ModelError, match="there are no comparable sales here"):
        HousePriceModel.load(tmp_path)
    model.save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    facts["market_index"]["kind"] = "guess"
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError, match=r"model.json: this is no house-price-model"):
        HousePriceModel.load(tmp_path)


def test_attributes_without_time_or_place_have_no_index_and_no_comparables(market) -> None:
    sales, price = market[0], market[0]["price"]
    timeless = HousePriceModel(attributes=ATTRIBUTE_SETS["G, Bed, Bath"], **BOTH).fit(sales, price)
    assert timeless.market_index_ is None
    assert timeless.comparable_names_
    nowhere = HousePriceModel(attributes=("bedrooms", "area_m2", "sale_month"), **BOTH).fit(sales, price)
    assert nowhere.market_index_ is not None
    assert nowhere.comparable_names_ == ()
    assert np.isfinite(nowhere.predict(sales)).all()


def test_time_alone_is_the_index_and_a_median(market) -> None:
    sales, price = market[0], market[0]["price"]
    model = HousePriceModel(attributes=("sale_month",), market_index="hedonic", **SMALL).fit(sales, price)
    level = model.market_index_.level(sales["sale_date"])
    np.testing.assert_allclose(np.log(model.predict(sales)) - level, np.median(np.log(price) - level))
    phi = model.contributions(sales)
    assert phi.shape == (900, 2)
    np.testing.assert_allclose(np.exp(phi.sum(axis=1)), model.predict(sales))


def test_a_month_stands_for_a_day_where_no_day_is_given(market, table) -> None:
    months = encode(market[0], FIVE)
    model = HousePriceModel(attributes=FIVE, market_index="hedonic", **SMALL)
    model.fit(months.to_numpy(), market[0]["price"])
    middle = market[0]["sale_date"].dt.to_period("M").dt.to_timestamp() + pd.Timedelta(days=14)
    phi = model.contributions(months.to_numpy())
    np.testing.assert_allclose(phi[:, model.features_.index("sale_month")], model.market_index_.level(middle))


def test_an_estimate_without_a_valuation_date_is_refused(table, model) -> None:
    undated = table.assign(sale_date=pd.NaT)
    with pytest.raises(ModelError, match="900 of 900 dates are missing"):
        model.predict(undated)


def test_sales_without_a_house_id_are_houses_of_their_own(market) -> None:
    sales, price = market[0][:300].copy(), market[0]["price"][:300]
    sales["house_id"] = None
    known = HousePriceModel(attributes=FIVE, **BOTH).fit(sales, price)
    unknown = HousePriceModel(attributes=FIVE, **BOTH).fit(sales.drop(columns="house_id"), price)
    np.testing.assert_array_equal(known.predict(sales), unknown.predict(sales.drop(columns="house_id")))
