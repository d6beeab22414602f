from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housevis.core.errors import ConfigError, ModelError
from housevis.pricing import metrics
from housevis.pricing.equal_treatment import if_treated_alike
from housevis.pricing.price_nearness import expected_shares, nearness_to_prices
from housevis.pricing.ratio_groups import COLUMNS, in_words, ratio_groups, verdict
from housevis.pricing.sale_groups import by_attribute, by_bedrooms, by_decile, by_place, by_quarter

NOISE = 0.1
HALF_WIDTH = 1.6449 * NOISE


def judged_sales(count: int = 900, seed: int = 1) -> pd.DataFrame:
    """Sales whose errors are normal noise of 10 % in the price, with honest 90 % intervals."""
    random = np.random.default_rng(seed)
    estimate = np.exp(random.normal(13, 0.5, count))
    return pd.DataFrame(
        {
            "estimate": estimate,
            "price": estimate * np.exp(random.normal(0, NOISE, count)),
            "low": estimate * np.exp(-HALF_WIDTH),
            "high": estimate * np.exp(HALF_WIDTH),
            "sale_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 182, count), "D"),
            "latitude": random.uniform(47.5, 47.7, count),
            "longitude": random.uniform(-122.4, -122.2, count),
            "bedrooms": random.integers(1, 5, count).astype(float),
        }
    )


def figure(studies: pd.DataFrame, by: str, group: str, name: str) -> pd.Series:
    found = studies[(studies["by"] == by) & (studies["group"] == group) & (studies["figure"] == name)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope="module")
def studies() -> pd.DataFrame:
    return ratio_groups(judged_sales(), repeats=100)


def test_every_group_has_every_figure_once(studies):
    assert list(studies.columns) == list(COLUMNS)
    assert not studies.duplicated(["by", "group", "figure"]).any()
    assert studies["by"].unique().tolist() == [
        "all", "decile of estimate", "decile of price", "quarter", "area", "kind", "nearness to price",
    ]  # fmt: skip
    grouped = studies[~studies["by"].isin(["all", "nearness to price"])]
    for _, group in grouped.groupby("by"):
        assert group.drop_duplicates("group")["sales"].sum() == 900
        assert (group.groupby("group")["figure"].nunique() >= len(metrics.STATISTICS) + 2).all()
    bounded = studies.dropna(subset=["value", "low", "high"])
    assert (bounded["low"] <= bounded["high"]).all()


def test_an_honest_market_is_within_the_ranges(studies):
    assert figure(studies, "all", "all sales", "covered")["verdict"] == "inside"
    deciles = studies[studies["by"] == "decile of estimate"]
    for _, group in deciles.groupby("position"):
        assert "too" not in in_words(group).replace("perhaps ranges too", "")
    near = studies[(studies["by"] == "nearness to price") & (studies["figure"] == "share")]
    assert (near["verdict"] == "inside").all()


def test_by_sale_price_nothing_is_judged_and_in_deciles_no_slope(studies):
    assert studies.loc[studies["by"] == "decile of price", "verdict"].isna().all()
    deciles = studies[studies["by"] == "decile of estimate"].set_index("figure")
    assert deciles.loc[["prd", "prb", "mki"], "verdict"].isna().all()
    assert in_words(studies[studies["by"] == "decile of price"].head(13)) == "not judged"


def test_figures_of_a_group_are_those_of_its_sales():
    sales = judged_sales(400)
    studies = ratio_groups(sales, repeats=20)
    two = sales[sales["bedrooms"] == 2]
    estimate, price = two["estimate"].to_numpy(), two["price"].to_numpy()
    for name, statistic in metrics.STATISTICS.items():
        found = figure(studies, "kind", "2 bedrooms", name)
        assert found["value"] == pytest.approx(float(statistic(estimate, price)))
        assert found["sales"] == len(two)
    level = metrics.median_ratio(estimate, price) / metrics.median_ratio(sales["estimate"], sales["price"])
    assert figure(studies, "kind", "2 bedrooms", "level_to_all")["value"] == pytest.approx(level)
    covered = ((two["low"] <= two["price"]) & (two["price"] <= two["high"])).mean()
    assert figure(studies, "kind", "2 bedrooms", "covered")["value"] == pytest.approx(covered)
    first = studies[(studies["by"] == "decile of estimate") & (studies["position"] == 0)].iloc[0]
    assert first["from"] == sales["estimate"].min()


def test_a_group_that_is_estimated_too_low_is_named():
    sales = judged_sales(900)
    sales["zipcode"] = np.where(np.arange(900) < 300, 98101.0, 98102.0)
    sales.loc[sales["zipcode"] == 98101, "estimate"] *= 0.8
    studies = ratio_groups(sales, repeats=100)
    low = studies[(studies["by"] == "area") & (studies["group"] == "98101")]
    assert in_words(low).startswith("20 % too low")
    assert "level" not in in_words(low)
    assert "ranges too narrow" not in in_words(
        studies[(studies["by"] == "area") & (studies["group"] == "98102")]
    )


def test_narrow_intervals_are_named_where_they_are():
    sales = judged_sales(900)
    dear = sales["estimate"] >= sales["estimate"].quantile(0.9)
    middle = np.sqrt(sales["low"] * sales["high"])
    for end in ("low", "high"):
        sales.loc[dear, end] = middle * (sales[end] / middle) ** 0.4
    studies = ratio_groups(sales, repeats=20)
    words = [
        in_words(group) for _, group in studies[studies["by"] == "decile of estimate"].groupby("position")
    ]
    assert "ranges too narrow" in words[9]
    assert figure(studies, "decile of estimate", "decile 10", "covered")["verdict"] == "outside"
    assert not any(said.startswith("ranges too narrow") for said in words[:9])


def test_few_sales_have_figures_but_no_verdict():
    studies = ratio_groups(judged_sales(29), repeats=20)
    assert np.isfinite(figure(studies, "all", "all sales", "cod")["value"])
    assert set(studies["verdict"].dropna()) == {"not judged"}
    assert in_words(studies[studies["by"] == "all"]) == "not judged"
    thirty = ratio_groups(judged_sales(30), repeats=20)
    assert figure(thirty, "all", "all sales", "cod")["verdict"] != "not judged"


def test_coverage_of_an_area_needs_two_hundred_sales(studies):
    areas = studies[(studies["by"] == "area") & (studies["figure"] == "covered")]
    assert (areas["sales"] == 100).all()
    assert (areas["verdict"] == "not judged").all()


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (15.0, 14, 16, "inside"),
        (5.0, 4, 6, "inside"),
        (15.1, 14.9, 16, "outside, chance not excluded"),
        (15.1, 15.05, 16, "outside"),
        (float("nan"), 1, 2, "not judged"),
    ],
)
def test_ranges_are_inclusive_and_chance_is_told(value, low, high, said):
    assert verdict(value, low, high, (5.0, 15.0), enough=True) == said
    assert verdict(value, low, high, None, enough=True) is None
    assert verdict(value, low, high, (5.0, 15.0), enough=False) == "not judged"


def test_noise_in_the_prices_alone_moves_the_slope_and_says_so():
    random = np.random.default_rng(2)
    estimate = np.exp(random.normal(13, 0.15, 400))
    price = estimate * np.exp(random.normal(0, 0.12, 400))
    assert metrics.prb(estimate, price) < -0.1
    alike = if_treated_alike(estimate, price)["prb"]
    assert alike.low <= metrics.prb(estimate, price) <= alike.high
    unequal = estimate * (estimate / np.exp(13)) ** -0.5
    assert metrics.prb(unequal, price) < if_treated_alike(unequal, price)["prb"].low
    studies = ratio_groups(pd.DataFrame({"estimate": estimate, "price": price}), repeats=50)
    assert "as noise in the prices gives" in in_words(studies[studies["by"] == "all"])
    studies = ratio_groups(pd.DataFrame({"estimate": unequal, "price": price}), repeats=50)
    assert "dear houses too low" in in_words(studies[studies["by"] == "all"])


def test_estimates_moved_to_their_prices_are_found():
    sales = judged_sales(1000, seed=3)
    columns = [sales[name].to_numpy() for name in ("estimate", "price", "low", "high")]
    honest = nearness_to_prices(*columns, 0.9)
    assert all(near.smooth < near.peaked and near.share.low < near.peaked for near in honest)
    chased = sales.copy()
    chased.loc[:99, "estimate"] = chased.loc[:99, "price"]
    studies = ratio_groups(chased, repeats=20)
    found = figure(studies, "nearness to price", "within ±0.5 %", "share")
    assert found["verdict"] == "outside"
    near = studies[(studies["by"] == "nearness to price") & (studies["group"] == "within ±0.5 %")]
    assert "more estimates equal their price" in in_words(near)


def test_expected_nearness_is_that_of_the_two_distributions():
    random = np.random.default_rng(4)
    half_width = np.full(200_000, 0.2)
    smooth, peaked = expected_shares(half_width, 0.9, 0.02)
    normal = random.normal(0, 0.2 / 1.6448536, 200_000)
    double = random.laplace(0, 0.2 / np.log(10), 200_000)
    assert smooth == pytest.approx((np.abs(normal) <= np.log(1.02)).mean(), abs=0.004)
    assert peaked == pytest.approx((np.abs(double) <= np.log(1.02)).mean(), abs=0.004)
    assert expected_shares(np.zeros(3), 0.9, 0.02) == (1.0, 1.0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
@settings(max_examples=50, deadline=None)
def test_deciles_are_ordered_and_never_split_equal_values(values):
    numbers = pd.Series(values, dtype=float)
    group = by_decile(numbers, "decile of price").group
    assert group.min() >= 0
    assert group.max() <= 9
    table = pd.DataFrame({"value": numbers, "group": group})
    assert (table.groupby("value")["group"].nunique() == 1).all()
    assert table.sort_values("value", kind="stable")["group"].is_monotonic_increasing


@given(st.integers(0, 50), st.floats(-180, 180))
@settings(max_examples=30, deadline=None)
def test_ninths_follow_the_compass_wherever_the_market_is(seed, middle):
    random = np.random.default_rng(seed)
    north, east = random.uniform(-0.1, 0.1, (2, 180))
    longitude = (middle + east + 180) % 360 - 180
    grouping = by_place(pd.Series(-33 + north), pd.Series(longitude))
    assert np.bincount(grouping.group, minlength=9).tolist() == [20] * 9
    for name, place in zip(grouping.names, range(9), strict=True):
        inside = grouping.group == place
        assert ("north" in name) == bool(north[inside].min() > np.median(north))
    west, other = (grouping.group == grouping.names.index(name) for name in ("west", "east"))
    assert np.median((longitude[west] - middle + 180) % 360) < np.median(
        (longitude[other] - middle + 180) % 360
    )


def test_names_of_groups_are_plain_words():
    assert by_quarter(pd.Series(pd.to_datetime(["2015-01-02", "2014-12-31"]))).names == ("2014 Q4", "2015 Q1")
    assert by_attribute(pd.Series([98103.0, np.nan, 1234567.0]), "area").names == (
        "98103", "1234567", "not stated",
    )  # fmt: skip
    assert by_attribute(pd.Series(["b", None, "a"]), "area").group.tolist() == [1, 2, 0]
    grouping = by_bedrooms(pd.Series([1.0, 2.5, 9.0, np.nan]))
    assert [grouping.names[place] for place in grouping.group] == [
        "1 bedroom", "2 bedrooms", "6 bedrooms or more", "not stated",
    ]  # fmt: skip


def test_wrong_attributes_and_no_sales_are_errors():
    sales = judged_sales(40)
    with pytest.raises(ConfigError, match="no value of 'zone'"):
        ratio_groups(sales, area="zone", repeats=5)
    many = pd.concat([judged_sales(1001).assign(lot=np.arange(1001.0))])
    with pytest.raises(ConfigError, match="1,001 values"):
        ratio_groups(many, kind="lot", repeats=5)
    with pytest.raises(ModelError):
        ratio_groups(sales.head(0), repeats=5)
