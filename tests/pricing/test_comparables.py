from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from housevis.core.errors import ConfigError, ModelError
from housevis.pricing.comparables import ComparableSales

ATTRIBUTES = ("bedrooms", "bathrooms", "area_m2")


def town(count: int, seed: int = 1) -> pd.DataFrame:
    """Sales of houses of their own, strewn over 10 km; the log price rises to the north and with area."""
    random = np.random.default_rng(seed)
    sales = pd.DataFrame(
        {
            "house_id": [f"h{number}" for number in range(count)],
            "latitude": random.uniform(47.5, 47.6, count),
            "longitude": random.uniform(-122.4, -122.3, count),
            "sale_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(count) % 300, unit="D"),
            "bedrooms": random.integers(1, 6, count).astype(float),
            "bathrooms": random.integers(1, 4, count).astype(float),
            "area_m2": random.uniform(60, 260, count),
        }
    )
    sales["log_price"] = (
        12 + 8 * (sales["latitude"] - 47.55) + 0.6 * np.log(sales["area_m2"]) + random.normal(0, 0.05, count)
    )
    sales["sale_id"] = sales["house_id"] + "@" + sales["sale_date"].dt.strftime("%Y-%m-%d")
    return sales


def features(sales: pd.DataFrame, **parameters) -> pd.DataFrame:
    return ComparableSales(**parameters).fit_transform(sales, sales["log_price"])


def test_a_sales_own_price_changes_nothing_of_its_own_features() -> None:
    sales = town(300)
    dearer = sales.copy()
    dearer.loc[7, "log_price"] += 3
    before, after = features(sales), features(dearer)
    pd.testing.assert_series_equal(before.loc[7], after.loc[7], check_exact=True)
    assert (before != after).any(axis=1).sum() > 10


def test_another_sale_of_the_same_house_changes_nothing() -> None:
    sales = town(300)
    sales.loc[8, "house_id"] = sales.loc[7, "house_id"]
    sales.loc[8, ["latitude", "longitude"]] = sales.loc[7, ["latitude", "longitude"]] + 1e-4
    dearer = sales.copy()
    dearer.loc[8, "log_price"] += 3
    before, after = features(sales), features(dearer)
    pd.testing.assert_series_equal(before.loc[7], after.loc[7], check_exact=True)


@pytest.mark.parametrize("missing", [False, True])
def test_the_same_house_under_another_id_changes_nothing(missing) -> None:
    sales = town(300)
    same = ["latitude", "longitude", *ATTRIBUTES]
    sales.loc[8, same] = sales.loc[7, same]
    if missing:
        sales.loc[[7, 8], "bedrooms"] = np.nan
    dearer = sales.copy()
    dearer.loc[8, "log_price"] += 3
    before, after = features(sales), features(dearer)
    pd.testing.assert_series_equal(before.loc[7], after.loc[7], check_exact=True)


def test_another_flat_at_the_same_place_is_a_comparable_sale() -> None:
    sales = town(300)
    sales.loc[8, ["latitude", "longitude"]] = sales.loc[7, ["latitude", "longitude"]]
    fitted = ComparableSales().fit(sales, sales["log_price"])
    found = fitted.comparables(sales.loc[[7]])
    assert "h8" in set(found["house_id"])
    assert "h7" not in set(found["house_id"])
    assert found.loc[found["house_id"] == "h8", "metres"].item() == 0


def test_sales_linked_through_a_third_are_of_one_house() -> None:
    sales = town(300)
    same = ["latitude", "longitude", *ATTRIBUTES]
    sales.loc[8, same] = sales.loc[7, same]
    sales.loc[9, "house_id"] = sales.loc[8, "house_id"]
    sales.loc[9, ["latitude", "longitude"]] = sales.loc[7, ["latitude", "longitude"]] + 1e-4
    dearer = sales.copy()
    dearer.loc[9, "log_price"] += 3
    pd.testing.assert_series_equal(features(sales).loc[7], features(dearer).loc[7], check_exact=True)


def test_transform_leaves_out_the_house_whose_id_is_given() -> None:
    sales = town(300)
    fitted = ComparableSales()
    left_out = fitted.fit_transform(sales, sales["log_price"])
    moved = sales.assign(area_m2=sales["area_m2"] + 1)
    known = fitted.comparables(moved.loc[[7]])
    unknown = fitted.comparables(moved.loc[[7]].drop(columns="house_id"))
    assert "h7" not in set(known["house_id"])
    assert "h7" in set(unknown["house_id"])
    pd.testing.assert_frame_equal(fitted.transform(sales), left_out)
    pd.testing.assert_frame_equal(fitted.transform(sales.drop(columns="house_id")), left_out)


def test_a_later_sale_meets_all_fitted_sales() -> None:
    sales, later = town(300), town(5, seed=2).assign(house_id=lambda frame: "new " + frame["house_id"])
    fitted = ComparableSales().fit(sales, sales["log_price"])
    result = fitted.transform(later.set_index(pd.Index(list("abcde"))))
    assert list(result.index) == list("abcde")
    assert list(result.columns) == list(fitted.get_feature_names_out())
    assert all(name.startswith("comparable_") for name in result.columns)
    assert np.isfinite(result.to_numpy()).all()


def test_no_houses_have_no_features() -> None:
    sales = town(30)
    fitted = ComparableSales().fit(sales, sales["log_price"])
    assert fitted.transform(sales[:0]).shape == (0, len(fitted.get_feature_names_out()))


def test_house_ids_may_be_numbers(tmp_path) -> None:
    sales = town(30)
    numbered = sales.assign(house_id=np.arange(30))
    fitted = ComparableSales().fit(numbered, numbered["log_price"])
    fitted.save(tmp_path)
    house = numbered.loc[[3]].assign(area_m2=100.0)
    for known in (fitted, ComparableSales.load(tmp_path)):
        assert "3" not in set(known.comparables(house)["house_id"])
        assert len(known.comparables(house)) == 29


def test_medians_are_those_of_the_nearest_sales() -> None:
    sales = town(300)
    place = sales[["latitude", "longitude"]].to_numpy() * [1, np.cos(np.radians(47.55))]
    result = features(sales, attributes=())
    for row in range(0, 300, 50):
        distance = np.linalg.norm(place - place[row], axis=1)
        nearest = np.argsort(distance)[1:11]
        assert result.loc[row, "comparable_price_10"] == pytest.approx(
            np.median(sales["log_price"].to_numpy()[nearest])
        )


def test_metres_are_those_of_the_great_circle() -> None:
    degree = 6_371_008.8 * np.pi / 180
    sales = town(3)
    sales["latitude"], sales["longitude"] = [0.0, 1.0, 0.0], [179.5, 179.5, -179.5]
    fitted = ComparableSales().fit(sales, sales["log_price"])
    metres = fitted.comparables(sales.loc[[0]]).set_index("house_id")["metres"]
    assert metres["h1"] == pytest.approx(degree)
    assert metres["h2"] == pytest.approx(degree)


def test_missing_attributes_are_neither_an_error_nor_a_gap() -> None:
    sales = town(300)
    sales.loc[::3, "area_m2"] = np.nan
    sales.loc[::5, "bedrooms"] = np.nan
    assert np.isfinite(features(sales).to_numpy()).all()
    sales["area_m2"] = np.nan
    result = features(sales)
    per_area = [name for name in result.columns if "per_area" in name]
    assert result[per_area].isna().all().all()
    assert np.isfinite(result.drop(columns=per_area).to_numpy()).all()


def test_few_sales_count_as_far_as_they_go() -> None:
    sales = town(4)
    result = features(sales, neighbours=60)
    assert np.isfinite(result.to_numpy()).all()
    others = sales["log_price"].to_numpy()[1:]
    assert result.loc[0, "comparable_price_30"] == pytest.approx(np.median(others))
    alone = ComparableSales().fit(sales[:1], sales["log_price"][:1])
    assert np.isfinite(alone.transform(sales[1:]).to_numpy()).all()
    assert alone.transform(sales[:1]).drop(columns="comparable_alike_sales").isna().all().all()
    assert alone.transform(sales[:1])["comparable_alike_sales"].item() == 0
    assert alone.comparables(sales[:1]).empty


def test_fewer_neighbours_than_the_widest_median() -> None:
    result = features(town(100), neighbours=3)
    pd.testing.assert_series_equal(
        result["comparable_price_5"], result["comparable_price_30"], check_names=False
    )


def test_many_sales_at_one_place() -> None:
    sales = town(300)
    sales[["latitude", "longitude"]] = 47.55, -122.35
    result = features(sales)
    assert np.isfinite(result.to_numpy()).all()
    assert (result["comparable_distance"] == 0).all()


def test_a_house_with_hundreds_of_sales_still_meets_its_neighbours() -> None:
    sales = town(400)
    sales.loc[:299, "house_id"] = "hotel"
    sales.loc[:299, ["latitude", "longitude"]] = 47.55, -122.35
    result = features(sales)
    others = sales.loc[300:]
    expected = ComparableSales().fit(others, others["log_price"]).transform(sales.loc[:299])
    prices = [
        name for name in result.columns if "_5" in name or "_30" in name or name.endswith("_price_near")
    ]
    pd.testing.assert_frame_equal(result.loc[:299, prices], expected[prices])


def test_a_house_far_from_all_others() -> None:
    sales = town(300)
    fitted = ComparableSales()
    near = fitted.fit_transform(sales, sales["log_price"])
    far = fitted.transform(sales.loc[[0]].assign(house_id="far", latitude=-40.0, longitude=60.0))
    assert np.isfinite(far.to_numpy()).all()
    assert far["comparable_distance"].item() > near["comparable_distance"].max() + 4
    assert sales["log_price"].min() <= far["comparable_price_alike"].item() <= sales["log_price"].max()


def test_alike_sales_weigh_most() -> None:
    sales = town(300)
    house = sales.loc[[0]].assign(house_id="new", area_m2=250.0, bedrooms=5.0)
    found = ComparableSales().fit(sales, sales["log_price"]).comparables(house)
    assert len(found) == 60
    assert found["weight"].sum() == pytest.approx(1)
    assert found["weight"].is_monotonic_decreasing
    assert found["area_m2"][:10].mean() > found["area_m2"].mean() + 20
    named = sales.set_index("sale_id").loc[found["sale_id"]]
    np.testing.assert_allclose(found["price"], np.exp(named["log_price"]))


def test_the_order_of_the_sales_does_not_matter() -> None:
    sales = town(300)
    shuffled = sales.sample(frac=1, random_state=5)
    pd.testing.assert_frame_equal(features(sales), features(shuffled).loc[sales.index])


def test_saved_sales_give_the_same_features(tmp_path) -> None:
    sales, later = town(300), town(40, seed=2)
    sales.loc[3, "house_id"] = None
    fitted = ComparableSales(neighbours=20, attributes=("latitude", "sale_month", "area_m2"))
    fitted.fit(sales, sales["log_price"])
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparables.json", "comparables.parquet"]
    loaded = ComparableSales.load(tmp_path)
    pd.testing.assert_frame_equal(fitted.transform(later), loaded.transform(later), check_exact=True)
    pd.testing.assert_frame_equal(fitted.comparables(later[:1]), loaded.comparables(later[:1]))


def test_damaged_files_are_an_error(tmp_path) -> None:
    with pytest.raises(ModelError, match="there are no comparable sales here"):
        ComparableSales.load(tmp_path)
    sales = town(30)
    fitted = ComparableSales().fit(sales, sales["log_price"])
    fitted.save(tmp_path)
    table = tmp_path / "comparables.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-20])
    with pytest.raises(ModelError, match="damaged"):
        ComparableSales.load(tmp_path)
    table.write_bytes(whole)
    description = tmp_path / "comparables.json"
    for wrong in ("{", json.dumps({"kind": "something"}), "[]"):
        description.write_text(wrong)
        with pytest.raises(ModelError, match="damaged"):
            ComparableSales.load(tmp_path)


def test_what_cannot_be_compared_is_refused(tmp_path) -> None:
    sales = town(30)
    with pytest.raises(ModelError, match="1 of 30 houses have no coordinates"):
        features(sales.assign(latitude=sales["latitude"].where(sales.index != 3)))
    with pytest.raises(ModelError, match="'longitude'"):
        features(sales.drop(columns="longitude"))
    with pytest.raises(ConfigError, match="unknown attribute 'aera'"):
        features(sales, attributes=("aera",))
    with pytest.raises(ModelError, match="29 of them finite"):
        features(sales.assign(log_price=sales["log_price"].where(sales.index != 3)))
    with pytest.raises(ModelError, match="at least 1"):
        features(sales, neighbours=0)
    with pytest.raises(ModelError, match="not fitted"):
        ComparableSales().transform(sales)
    with pytest.raises(ModelError, match="not fitted"):
        ComparableSales().save(tmp_path)
    with pytest.raises(ModelError, match="one house at a time"):
        ComparableSales().fit(sales, sales["log_price"]).comparables(sales)


def test_it_is_an_estimator_of_scikit_learn() -> None:
    sales = town(60)
    fitted = ComparableSales(neighbours=10, attributes=["area_m2"]).fit(sales, sales["log_price"])
    copy = clone(fitted)
    assert copy.get_params() == {"neighbours": 10, "attributes": ["area_m2"]}
    assert not hasattr(copy, "sales_")


def test_a_changed_house_is_still_told_from_its_own_sale() -> None:
    sales = town(300)
    fitted = ComparableSales().fit(sales, sales["log_price"])
    listed = sales.loc[[7, 8]].assign(house_id=["new listing", "h8"])
    changed = listed.assign(bathrooms=listed["bathrooms"] + 1)
    assert "h7" in set(fitted.comparables(changed.iloc[[0]])["house_id"])
    ids = fitted.known_house_ids(listed)
    assert ids.tolist() == ["h7", "h8"]
    assert "h7" not in set(fitted.comparables(changed.iloc[[0]].assign(house_id=ids[:1]))["house_id"])
    stranger = listed.assign(latitude=47.0)
    assert fitted.known_house_ids(stranger).tolist() == ["new listing", "h8"]
