from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode, visual_names, with_visual
from housevis.pricing.drivers import driver_groups, to_currency
from housevis.pricing.metrics import mdape, pe
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import split_by_date

FIVE = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
VISUAL = visual_names(4)
PARTIAL = '{"kind": "house-price-model", "boosters": {}, "parameters": {"objective": "quartic"}}'


@pytest.fixture(scope="module")
def features(market) -> pd.DataFrame:
    return with_visual(encode(market[0], FIVE), market[1])


@pytest.fixture(scope="module")
def model(market, features, settings) -> HousePriceModel:
    return HousePriceModel.from_section(settings, FIVE, VISUAL).fit(features[:600], market[0]["price"][:600])


def test_the_picture_is_used_where_there_is_one_and_pays(market, features, model) -> None:
    price = market[0]["price"].to_numpy()[600:]
    estimate, used_picture = model.predict(features[600:]), model.used_picture(features[600:])
    without = model.predict_without_picture(features[600:])
    np.testing.assert_array_equal(used_picture, np.arange(600, 900) % 9 != 0)
    np.testing.assert_array_equal(estimate[~used_picture], without[~used_picture])
    assert pe(estimate[used_picture], price[used_picture]) > pe(without, price) + 0.2
    assert (model.sales_, model.sales_with_picture_) == (600, 533)


def test_estimates_do_not_depend_on_the_other_rows_or_on_threads(market, features, settings, model) -> None:
    mixed = features[600:700].iloc[::-1]
    np.testing.assert_array_equal(model.predict(mixed)[::-1], model.predict(features[600:700]))
    again = HousePriceModel.from_section(settings, FIVE, VISUAL, num_threads=1).fit(
        features[:600], market[0]["price"][:600]
    )
    np.testing.assert_array_equal(again.predict(features), model.predict(features))


@pytest.mark.parametrize("objective", ["squared", "absolute"])
def test_contributions_add_up_and_drivers_to_the_cent(market, features, settings, objective) -> None:
    section = settings.model_copy(update={"objective": objective})
    model = HousePriceModel.from_section(section, FIVE, VISUAL).fit(features, market[0]["price"])
    estimate, used_picture = model.predict(features), model.used_picture(features)
    phi = model.contributions(features)
    assert phi.shape == (900, len(FIVE) + 4 + 1)
    np.testing.assert_allclose(np.exp(phi.sum(axis=1)), estimate, rtol=1e-9)
    assert (phi[~used_picture, len(FIVE) : -1] == 0).all()
    drivers = to_currency(phi[:, :-1], phi[:, -1], model.features_, driver_groups(VISUAL))
    assert np.abs(drivers.estimate - estimate).max() < 0.005


def test_the_picture_driver_finds_the_pool(market, features, model) -> None:
    phi = model.contributions(features[600:])
    picture = phi[:, len(FIVE) : -1].sum(axis=1)
    seen = ~np.isnan(market[1][600:, 0])
    pool = market[1][600:, 0] > 0.5
    lift = picture[seen & pool].mean() - picture[seen & ~pool].mean()
    assert lift == pytest.approx(0.25, abs=0.05)


def test_a_saved_model_estimates_the_same(tmp_path, features, model) -> None:
    model.save(tmp_path / "model")
    loaded = HousePriceModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(features), model.predict(features))
    np.testing.assert_array_equal(loaded.contributions(features[:50]), model.contributions(features[:50]))
    assert loaded.features_ == model.features_
    assert loaded.get_params() == model.get_params()
    assert loaded.sales_with_picture_ == model.sales_with_picture_
    assert loaded.data_fingerprint_ == model.data_fingerprint_
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "model.json",
        "with_picture.txt",
        "without_picture.txt",
    ]
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["attributes"] == list(FIVE)
    assert facts["parameters"]["objective"] == "absolute"
    assert len(facts["data_fingerprint"]) == 64
    assert set(facts["versions"]) == {"housevis", "lightgbm"}


def test_attributes_alone(tmp_path, market, settings) -> None:
    table = encode(market[0], FIVE)
    model = HousePriceModel.from_section(settings, FIVE).fit(table, market[0]["price"])
    model.save(tmp_path)
    loaded = HousePriceModel.load(tmp_path)
    estimate, used_picture = loaded.predict(table), loaded.used_picture(table)
    assert not used_picture.any()
    np.testing.assert_array_equal(estimate, model.predict_without_picture(table))
    assert not (tmp_path / "with_picture.txt").exists()


def test_the_picture_alone_falls_back_to_the_median_price(tmp_path, market, settings) -> None:
    table = with_visual(encode(market[0], []), market[1])
    HousePriceModel.from_section(settings, [], VISUAL).fit(table, market[0]["price"]).save(tmp_path)
    model = HousePriceModel.load(tmp_path)
    estimate, used_picture = model.predict(table), model.used_picture(table)
    median = np.exp(np.median(np.log(market[0]["price"])))
    np.testing.assert_allclose(estimate[~used_picture], median)
    np.testing.assert_allclose(np.exp(model.contributions(table).sum(axis=1)), estimate)
    with pytest.raises(ModelError, match="not fitted on attributes"):
        model.predict_without_picture(table)


def test_missing_attributes_are_estimated(market, features, model) -> None:
    table = features[600:].copy()
    table["area_m2"] = np.nan
    assert np.isfinite(model.predict(table)).all()


def test_names_that_lightgbm_would_refuse_are_allowed(market, settings) -> None:
    table = encode(market[0].assign(**{'lot "m2", [net]': market[0]["area_m2"]}), ['lot "m2", [net]'])
    model = HousePriceModel.from_section(settings, ['lot "m2", [net]']).fit(table, market[0]["price"])
    assert np.isfinite(model.predict(table)).all()


def test_too_few_sales_are_counted(market, features, settings) -> None:
    with pytest.raises(ModelError, match="49 sales are too few to fit a model; it takes 50"):
        HousePriceModel.from_section(settings, FIVE, VISUAL).fit(features[:49], market[0]["price"][:49])
    table = features[:300].copy()
    table.loc[table.index[20:], list(VISUAL)] = np.nan
    with pytest.raises(ModelError, match="17 sales with a picture of 300 are too few"):
        HousePriceModel.from_section(settings, FIVE, VISUAL).fit(table, market[0]["price"][:300])


def test_errors_name_what_is_wrong(market, features, settings, model) -> None:
    with pytest.raises(ModelError, match="at least one attribute or visual feature"):
        HousePriceModel.from_section(settings, []).fit(features, market[0]["price"])
    with pytest.raises(ModelError, match="needs the feature 'area_m2'"):
        model.predict(features.drop(columns="area_m2"))
    with pytest.raises(ModelError, match="2 of 900 sales have a price that is missing or not above zero"):
        HousePriceModel.from_section(settings, FIVE).fit(features, np.r_[0.0, np.nan, market[0]["price"][2:]])
    with pytest.raises(ModelError, match="899 prices do not fit 900 sales"):
        HousePriceModel.from_section(settings, FIVE).fit(features, market[0]["price"][1:])
    with pytest.raises(ModelError, match="not fitted"):
        HousePriceModel.from_section(settings, FIVE).predict(features)


def test_damaged_files_are_noticed(tmp_path, model) -> None:
    with pytest.raises(ModelError, match="there is no house-price-model here"):
        HousePriceModel.load(tmp_path / "absent")
    model.save(tmp_path)
    text = (tmp_path / "with_picture.txt").read_text()
    (tmp_path / "with_picture.txt").write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match=r"with_picture.txt: this is no house-price-model"):
        HousePriceModel.load(tmp_path)
    (tmp_path / "with_picture.txt").unlink()
    with pytest.raises(ModelError, match="there is no house-price-model here"):
        HousePriceModel.load(tmp_path)
    for text in ("{", "[]", '{"kind": "calibration", "boosters": {}}', PARTIAL):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(ModelError, match=r"model.json: this is no house-price-model"):
            HousePriceModel.load(tmp_path)


def test_a_folder_that_cannot_be_written_to(tmp_path, model) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        model.save(tmp_path / "file")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("objective", "share", "error"), [("squared", 0.481, 0.105), ("absolute", 0.490, 0.103)]
)
def test_king_county_baselines(king_county, objective, share, error) -> None:
    earlier, cutoff = split_by_date(king_county["sale_date"], 0.6)
    table, price = encode(king_county, FIVE), king_county["price"].to_numpy()
    section = PricingSection(objective=objective)
    model = HousePriceModel.from_section(section, FIVE).fit(table[earlier], price[earlier])
    estimate = model.predict(table[~earlier])
    assert cutoff == pd.Timestamp("2014-10-06")
    assert pe(estimate, price[~earlier]) == pytest.approx(share, abs=0.01)
    assert mdape(estimate, price[~earlier]) == pytest.approx(error, abs=0.003)
