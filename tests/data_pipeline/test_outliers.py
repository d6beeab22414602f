"""Flags after the published rules: who is compared with whom, what is flagged, what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_pipeline.outliers import OUTLIER_RULES, REASONS, areas_of_equal_sales, flag_outliers
from data_pipeline.resales import previous_sales, repeats_at_the_same_price


def market(size: int = 400, *, months: int = 12, seed: int = 3) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    day = np.datetime64("2014-01-01") + generator.integers(0, months * 30, size)
    return pd.DataFrame(
        {
            "sale_id": [f"h{number}@x" for number in range(size)],
            "house_id": [f"h{number}" for number in range(size)],
            "latitude": 47 + generator.random(size) / 10,
            "longitude": 8 + generator.random(size) / 10,
            "sale_date": day.astype("datetime64[s]"),
            "price": np.exp(generator.normal(13, 0.2, size)),
            "area_m2": np.exp(generator.normal(5, 0.1, size)),
            "source_row": np.arange(size) + 2,
        }
    )


def reasons(sales: pd.DataFrame) -> list[list[str]]:
    flagged = flag_outliers(sales)
    assert set(flagged["outlier_rules"]) == {OUTLIER_RULES}
    assert flagged["outlier_reasons"].str.len().max() <= 3
    return flagged["outlier_reasons"].tolist()


def late(sales: pd.DataFrame) -> int:
    """The position of the latest sale, which has the largest group."""
    return int(np.argmax(sales["sale_date"].to_numpy()))


def test_a_price_far_from_those_around_is_flagged_both_ways() -> None:
    sales = market()
    at = late(sales)
    price = sales["price"].copy()
    sales.loc[at, "price"] = price[at] * 30
    assert reasons(sales)[at] == ["high_price", "high_price_per_area"]
    sales.loc[at, "price"] = price[at] / 30
    assert reasons(sales)[at] == ["low_price", "low_price_per_area"]
    sales.loc[at, "area_m2"] = np.nan
    assert reasons(sales)[at] == ["low_price"]
    few = np.mean([len(codes) > 0 for codes in reasons(market())])
    assert 0.02 < few < 0.15


def test_a_price_that_fits_is_flagged_for_its_price_per_area() -> None:
    sales = market()
    at = late(sales)
    sales.loc[at, "price"] = float(np.exp(13))
    sales.loc[at, "area_m2"] = 10.0
    assert reasons(sales)[at] == ["high_price_per_area"]


def test_what_speaks_against_a_sale_counts_only_beside_a_price_reason() -> None:
    sales = market()
    at = late(sales)
    earlier = int(np.argmin(sales["sale_date"].to_numpy()))
    sales.loc[earlier, "house_id"] = sales.loc[at, "house_id"]
    sales.loc[earlier, "sale_date"] = sales.loc[at, "sale_date"] - pd.Timedelta(days=100)
    sales.loc[[earlier, at], "price"] = float(np.exp(13))
    assert reasons(sales)[at] == []
    sales.loc[at, "price"] = float(np.exp(16))
    assert reasons(sales)[at] == ["high_price", "high_price_per_area", "price_swing_up"]
    sales.loc[at, "area_m2"] = np.nan
    assert reasons(sales)[at] == ["high_price", "price_swing_up", "short_ownership"]
    sales.loc[at, "price"] = float(np.exp(10))
    assert reasons(sales)[at] == ["low_price", "price_swing_down", "short_ownership"]
    sales.loc[earlier, "sale_date"] = sales.loc[at, "sale_date"] - pd.Timedelta(days=365)
    assert reasons(sales)[at] == ["low_price", "price_swing_down"]


def test_a_sale_is_compared_with_its_month_and_the_eleven_before() -> None:
    sales = market(200).assign(area_m2=np.nan)
    sales.loc[:99, "price"] /= 20
    sales.loc[150, "price"] /= 20
    sales["sale_date"] = np.array(["2014-06-10"] * 100 + ["2015-06-10"] * 100, dtype="datetime64[s]")
    assert reasons(sales)[150] == ["low_price"]
    sales.loc[100:, "sale_date"] = pd.Timestamp("2015-05-10")
    assert reasons(sales)[150] == []


def test_a_small_group_or_equal_prices_judge_nobody() -> None:
    sales = market(29)
    sales.loc[0, "price"] = 1.0
    assert reasons(sales) == [[]] * 29
    sales = market(100).assign(price=500_000.0, area_m2=100.0)
    assert reasons(sales) == [[]] * 100
    assert reasons(market(1)) == [[]]
    assert flag_outliers(market(0))["outlier_reasons"].tolist() == []


def test_areas_hold_about_as_many_sales_each() -> None:
    generator = np.random.default_rng(1)
    latitude, longitude = generator.normal(size=(2, 10_000))
    area = areas_of_equal_sales(latitude, longitude, 500)
    counts = np.bincount(area)
    assert counts.max() < 1.3 * counts[counts > 0].min()
    assert 12 <= (counts > 0).sum() <= 25


def test_the_flags_do_not_depend_on_the_order_of_the_rows() -> None:
    sales = market(500)
    shuffled = sales.sample(frac=1, random_state=1)
    again = pd.Series(reasons(shuffled), index=shuffled.index).sort_index().tolist()
    assert again == reasons(sales)


def test_reasons_are_known() -> None:
    assert len(set(REASONS)) == 7


def test_the_sale_before_is_linked() -> None:
    sales = pd.DataFrame(
        {
            "sale_id": ["a@3", "b@1", "a@1", "a@2"],
            "house_id": ["a", "b", "a", "a"],
            "sale_date": pd.to_datetime(["2016-01-01", "2014-01-01", "2014-01-01", "2015-01-01"]),
        }
    )
    before = previous_sales(sales)
    assert before.fillna("none").tolist() == ["a@2", "none", "none", "a@1"]
    assert previous_sales(sales.iloc[:0]).tolist() == []


def test_repeats_are_counted_from_the_sale_before_at_that_price() -> None:
    sales = pd.DataFrame(
        {
            "house_id": ["a"] * 4,
            "price": [5.0, 5.0, 6.0, 5.0],
            "sale_date": pd.to_datetime(["2014-01-01", "2014-07-01", "2014-03-01", "2015-02-01"]),
            "source_row": [2, 3, 4, 5],
        }
    )
    assert list(repeats_at_the_same_price(sales, 365).index) == [1, 3]
    assert list(repeats_at_the_same_price(sales, 200).index) == [1]
    assert repeats_at_the_same_price(sales, 100).empty
