from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ModelError
from housevis.pricing.confidence import PLACES, RULES, ConfidenceRules, forecast_deviation


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(1)
    sales = pd.DataFrame(
        {
            "house_id": [f"h{number}" for number in range(400)],
            "latitude": 47.5 + random.uniform(0, 0.05, 400),
            "longitude": -122.3 + random.uniform(0, 0.05, 400),
            "sale_date": pd.Timestamp("2014-06-01"),
        }
    )
    attributes = sales[["latitude", "longitude"]].assign(
        bedrooms=random.integers(1, 6, 400).astype(float), area_m2=random.uniform(60, 250, 400)
    )
    return sales, attributes


@pytest.fixture(scope="module")
def rules(market) -> ConfidenceRules:
    sales, attributes = market
    apart = np.random.default_rng(2).normal(0, 0.02, 400)
    return ConfidenceRules.fit(sales, attributes, apart, uses_pictures=True)


def judged(count: int, half_width: float) -> pd.DataFrame:
    estimate = np.full(count, 500_000.0)
    return pd.DataFrame(
        {
            "estimate": estimate,
            "low": estimate / np.exp(half_width),
            "high": estimate * np.exp(half_width),
            "without_picture": estimate,
            "used_picture": True,
        }
    )


def ordinary(market) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One new house in the middle of the town."""
    sales = pd.DataFrame(
        {
            "house_id": ["new"],
            "latitude": [47.525],
            "longitude": [-122.275],
            "sale_date": [pd.Timestamp("2014-09-01")],
        }
    )
    attributes = sales[["latitude", "longitude"]].assign(bedrooms=3.0, area_m2=150.0)
    return sales, attributes


def test_the_deviation_is_the_half_width_over_the_normal_quantile() -> None:
    low, high = np.array([100.0]), np.array([100.0 * np.exp(2 * 0.2)])
    assert forecast_deviation(low, high, 0.9)[0] == pytest.approx(0.2 / 1.6449, rel=1e-4)


@pytest.mark.parametrize(("half_width", "grade"), [(0.15, "high"), (0.30, "medium"), (0.40, "low")])
def test_a_narrow_range_is_graded_high(market, rules, half_width, grade) -> None:
    sales, attributes = ordinary(market)
    found = rules.grade(sales, attributes, judged(1, half_width), 0.9)
    assert found["confidence"].tolist() == [grade]
    assert ("far from their prices" in found["confidence_reasons"][0]) == (grade == "low")


def test_what_is_missing_or_unusual_or_far_is_said_and_is_never_graded_high(market, rules) -> None:
    sales, attributes = ordinary(market)
    cases = [
        (attributes.assign(area_m2=np.nan), sales, "living area not known"),
        (attributes.assign(bedrooms=33.0), sales, "unusual: bedrooms above that of 99 % of the sales"),
        (attributes.assign(area_m2=5.0), sales, "unusual: living area below that of 99 %"),
        (attributes, sales.assign(latitude=47.9), "few sales near: the tenth nearest is "),
    ]
    for known, houses, reason in cases:
        found = rules.grade(houses, known, judged(1, 0.15), 0.9)
        assert found["confidence"].tolist() == ["medium"]
        assert reason in found["confidence_reasons"][0]


def test_pictures_that_lack_or_disagree_or_are_old_are_reasons(market, rules) -> None:
    sales, attributes = ordinary(market)
    without = judged(1, 0.15).assign(used_picture=False)
    assert rules.grade(sales, attributes, without, 0.9)["confidence_reasons"][0] == "no aerial picture"
    moved = judged(1, 0.15).assign(without_picture=400_000.0)
    assert "moves the estimate by +25%" in rules.grade(sales, attributes, moved, 0.9)["confidence_reasons"][0]
    found = rules.grade(sales, attributes, judged(1, 0.15), 0.9, picture_taken=date(2009, 9, 1))
    assert found["confidence_reasons"][0] == "the picture is 5 years older than the valuation"
    assert found["confidence"].tolist() == ["high"]


def test_a_house_is_not_its_own_neighbour(market) -> None:
    sales, attributes = market
    lonely = sales.copy()
    lonely.loc[0, ["latitude", "longitude"]] = 48.5, -121.0
    rules = ConfidenceRules.fit(lonely, attributes, np.zeros(400), uses_pictures=False)
    found = rules.grade(lonely[:1], attributes[:1], judged(1, 0.15), 0.9)
    assert found["confidence_reasons"][0].startswith("few sales near: the tenth nearest is 1")


def test_few_sales_are_a_reason_for_every_house(market) -> None:
    sales, attributes = market
    rules = ConfidenceRules.fit(sales[:8], attributes[:8], np.zeros(8), uses_pictures=False)
    found = rules.grade(sales[:2], attributes[:2], judged(2, 0.15), 0.9)
    assert found["confidence"].tolist() == ["medium", "medium"]
    assert "few sales were learned from" in found["confidence_reasons"][0]


def test_saved_rules_grade_alike_and_damaged_ones_are_refused(market, rules, tmp_path) -> None:
    assert ConfidenceRules.load(tmp_path) is None
    rules.save(tmp_path)
    loaded = ConfidenceRules.load(tmp_path)
    assert loaded is not None
    sales, attributes = market
    ours, theirs = (each.grade(sales, attributes, judged(400, 0.2), 0.9) for each in (rules, loaded))
    pd.testing.assert_frame_equal(ours, theirs)
    (tmp_path / PLACES).unlink()
    with pytest.raises(ModelError, match="rules of confidence are damaged"):
        ConfidenceRules.load(tmp_path)
    (tmp_path / RULES).write_text("{")
    with pytest.raises(ModelError, match="rules of confidence are damaged"):
        ConfidenceRules.load(tmp_path)
