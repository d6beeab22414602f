"""What the report says beyond the ratio study: gains by group, Lorenz curves, levels, likeness."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ModelError
from housevis.pricing.drivers import to_currency
from housevis.pricing.equity import gini, lorenz_curves
from housevis.pricing.metrics import hit, mki
from housevis.pricing.picture_gain import HELPS, HURTS, NOT_JUDGED, UNSURE, moved_most, picture_gain, verdict
from housevis.pricing.price_level import log_contribution, price_level
from housevis.pricing.representativeness import compare_by_picture
from housevis.pricing.sale_groups import PRICE, groupings


def sales(count: int = 900) -> pd.DataFrame:
    """Pictures that help in the south and hurt in the north."""
    random = np.random.default_rng(5)
    price = np.exp(random.normal(13, 0.4, count))
    south = np.arange(count) % 3 == 0
    north = np.arange(count) % 3 == 2
    noise = np.where(south, 0.04, np.where(north, 0.25, 0.1))
    return pd.DataFrame(
        {
            "price": price,
            "estimate": price * np.exp(random.normal(0, noise)),
            "without_picture": price * np.exp(random.normal(0, 0.12, count)),
            "district": np.where(south, "south", np.where(north, "north", "middle")),
            "bedrooms": 3.0,
        }
    )


def test_gains_are_those_of_the_groups():
    table = sales()
    found = picture_gain(table, groupings(table), repeats=500)
    areas = found[found["by"] == "area"].set_index("group")
    assert areas.loc["south", "verdict"] == HELPS
    assert areas.loc["north", "verdict"] == HURTS
    chosen = table["district"] == "south"
    price, estimate = table.loc[chosen, "price"].to_numpy(), table.loc[chosen, "estimate"].to_numpy()
    assert areas.loc["south", "with"] == hit(estimate, price).mean()
    assert areas.loc["south", "gain"] == pytest.approx(
        areas.loc["south", "with"] - areas.loc["south", "without"]
    )
    assert (found["low"] <= found["gain"]).all()
    assert (found["gain"] <= found["high"]).all()
    assert found[found["by"] == "decile of estimate"]["sales"].sum() == len(table)


def test_by_sale_price_nothing_is_grouped():
    table = sales()
    assert PRICE not in set(picture_gain(table, groupings(table), repeats=20)["by"])


@pytest.mark.parametrize(
    ("low", "high", "count", "said"),
    [(0.01, 0.1, 30, HELPS), (-0.1, -0.01, 30, HURTS), (0.0, 0.1, 30, UNSURE), (0.01, 0.1, 29, NOT_JUDGED)],
)
def test_few_sales_are_not_judged(low, high, count, said):
    assert verdict(low, high, count) == said


def test_the_most_moved_are_those_of_the_largest_factor_each_house_once():
    effects = [0.1, -0.5, 0.9, 0.2, -0.4, 3.0]
    table = pd.DataFrame(
        {
            "sale_id": list("abcdef"),
            "house_id": ["A", "B", "C", "C", "E", "F"],
            "sale_date": pd.Timestamp("2024-01-01"),
            **dict.fromkeys(("price", "estimate", "without_picture", "low", "high", "picture"), 100.0),
            "picture_effect": effects,
            "used_picture": [True] * 5 + [False],
        }
    )
    assert moved_most(table, 3)["sale_id"].tolist() == ["b", "c", "e"]


def test_ginis_of_both_give_the_mki():
    table = sales()
    price, estimate = table["price"].to_numpy(), table["estimate"].to_numpy()
    assert gini(estimate, price) / gini(price) == pytest.approx(float(mki(estimate, price)))
    assert gini(np.full(50, 7.0)) == pytest.approx(0, abs=1e-12)
    assert gini(np.array([1e-9] * 99 + [1.0])) == pytest.approx(0.99, abs=1e-6)


def test_lorenz_curves_rise_from_nothing_to_everything():
    table = sales()
    price = table["price"].to_numpy()
    curves = lorenz_curves(table["estimate"].to_numpy(), price)
    assert curves.iloc[0].tolist() == [0, 0, 0]
    assert curves.iloc[-1].tolist() == [1, 1, 1]
    assert (np.diff(curves["prices"]) >= 0).all()
    assert (curves["prices"] <= curves["houses"] + 1e-12).all()
    area = float(np.trapezoid(curves["houses"] - curves["prices"], curves["houses"]))
    assert 2 * area == pytest.approx(gini(price), abs=2e-3)
    with pytest.raises(ModelError):
        lorenz_curves(np.array([]), np.array([]))


def test_amounts_go_back_to_the_contributions_they_came_from():
    random = np.random.default_rng(0)
    contributions = random.normal(0, 0.2, (40, 3))
    contributions[0] = 0
    base = np.full(40, 13.0)
    drivers = to_currency(contributions, base, ["a", "b", "c"])
    estimate = np.exp(base + contributions.sum(axis=1))
    for column, name in enumerate(drivers.names):
        back = log_contribution(drivers.amounts[:, column], estimate, np.asarray(drivers.base))
        np.testing.assert_allclose(back, contributions[:, ["a", "b", "c"].index(name)], atol=1e-9)


def test_the_level_is_that_of_the_market_whatever_the_estimates_know_of_time():
    random = np.random.default_rng(2)
    dates = pd.Series(pd.Timestamp("2023-01-15") + pd.to_timedelta(random.integers(0, 700, 6000), "D"))
    months = (dates.dt.year - 2023) * 12 + dates.dt.month - 1
    worth = random.normal(12.5, 0.3, 6000)
    price = np.exp(worth + 0.01 * months + random.normal(0, 0.1, 6000))
    blind = price_level(dates, price, np.exp(worth))
    knowing = price_level(dates, price, np.exp(worth + 0.007 * months), 0.007 * months.to_numpy())
    np.testing.assert_allclose(blind["level"], knowing["level"], atol=1e-9)
    assert blind["level"].iloc[-1] == 0
    truth = 0.01 * (np.arange(len(blind)) - len(blind) + 1)
    inside = (blind["low"] <= truth + 0.02) & (truth - 0.02 <= blind["high"])
    assert inside.all()
    assert blind["sales"].sum() == 6000


def test_a_month_of_few_sales_has_no_interval():
    dates = pd.Series(pd.to_datetime(["2024-01-01"] * 6 + ["2024-02-01"] * 2))
    level = price_level(dates, np.linspace(1, 2, 8) * 1e5, np.full(8, 1.5e5))
    assert np.isfinite(level["low"]).tolist() == [True, False]


def test_houses_with_and_without_a_picture():
    random = np.random.default_rng(4)
    pictured = np.arange(400) < 300
    table = pd.DataFrame(
        {
            "used_picture": pictured,
            "price": np.where(pictured, 200.0, 100.0) + random.normal(0, 50, 400),
            "area_m2": random.normal(100, 10, 400),
            "bedrooms": np.nan,
            "sale_date": pd.Timestamp("2024-05-01"),
        }
    )
    found = compare_by_picture(table).set_index("measure")
    assert found.loc["price", "difference"] == pytest.approx(2, abs=0.3)
    assert abs(found.loc["area_m2", "difference"]) < 0.3
    assert np.isnan(found.loc["bedrooms", "difference"])
    assert found.loc["price", ["with_sales", "without_sales"]].tolist() == [300, 100]
    day = pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=found.loc["sale_date", "with_median"])
    assert day == pd.Timestamp("2024-05-01")
