"""The simple methods beside a model: what they know, and that they are right where the truth is simple."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.core.config_sections import PricingSection
from housevis.pricing import metrics
from housevis.pricing.baselines import (
    areas,
    cheap_baselines,
    linear_hedonic,
    nearest_comparables,
    pictures_only,
)
from housevis.pricing.market_index import fit_market_index

ATTRIBUTES = ("latitude", "longitude", "bedrooms", "area_m2", "sale_month")


def market(count: int = 400, seed: int = 1, monthly: float = 0.0) -> pd.DataFrame:
    """A market without noise: price per area by place, area, and time."""
    generator = np.random.default_rng(seed)
    days = np.sort(generator.integers(0, 360, count))
    latitude, longitude = 47 + 0.1 * generator.random(count), 8 + 0.1 * generator.random(count)
    area = generator.uniform(60, 240, count)
    per_area = 4000 * np.exp(2 * (latitude - 47))
    return pd.DataFrame(
        {
            "sale_id": [f"s{number}" for number in range(count)],
            "house_id": [f"h{number}" for number in range(count)],
            "sale_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D"),
            "latitude": latitude,
            "longitude": longitude,
            "bedrooms": np.round(area / 40),
            "area_m2": area,
            "price": per_area * area * (1 + monthly) ** (days / 30.4),
        }
    )


def test_methods_do_not_read_the_price_of_the_judged() -> None:
    sales = market()
    taught, judged = sales[:300], sales[300:].reset_index(drop=True)
    found = cheap_baselines(taught, judged, ATTRIBUTES)
    other = cheap_baselines(taught, judged.assign(price=np.nan), ATTRIBUTES)
    assert set(found) == {"mean price", "nearest comparables", "linear hedonic"}
    for name, estimates in found.items():
        np.testing.assert_array_equal(estimates, other[name])
    assert np.all(found["mean price"] == taught["price"].mean())
    price = judged["price"].to_numpy()
    assert metrics.mdape(found["linear hedonic"], price) < 0.03
    assert metrics.mdape(found["nearest comparables"], price) < 0.05
    assert metrics.mdape(found["mean price"], price) > 0.2


def test_comparables_are_other_houses_of_known_area() -> None:
    sales = market(30).assign(latitude=47.0, longitude=8.0, price=lambda table: 1000.0 * table["area_m2"])
    taught = pd.concat(
        [
            sales,
            sales.iloc[:1].assign(sale_id="again", price=1e9),
            sales.iloc[1:2].assign(house_id="x", sale_id="no area", area_m2=np.nan, price=1e9),
        ],
        ignore_index=True,
    )
    judged = sales.iloc[:2].assign(area_m2=[100.0, np.nan]).reset_index(drop=True)
    with_area, without_area = nearest_comparables(taught, judged, ATTRIBUTES)
    assert with_area == pytest.approx(100_000)
    assert sales["price"].min() <= without_area <= sales["price"].max()
    plain = nearest_comparables(taught, judged, ("latitude", "longitude"))
    assert plain[0] != pytest.approx(100_000)


def test_a_market_index_carries_the_methods() -> None:
    sales = market(900, monthly=0.02)
    taught, judged = sales[:700], sales[700:].reset_index(drop=True)
    index = fit_market_index("hedonic", taught, ATTRIBUTES, PricingSection(rounds=100), seed=1, num_threads=1)
    price = judged["price"].to_numpy()
    for method in (nearest_comparables, linear_hedonic):
        plain = metrics.median_ratio(method(taught, judged, ATTRIBUTES), price)
        carried = metrics.median_ratio(method(taught, judged, ATTRIBUTES, index), price)
        assert abs(carried - 1) < abs(plain - 1)


def test_areas_hold_enough_sales_and_sort_in_houses_from_elsewhere() -> None:
    generator = np.random.default_rng(3)
    taught, judged = generator.normal(size=(1000, 2)), 5 * generator.normal(size=(200, 2))
    of_taught, of_judged = areas(taught, judged, 50)
    assert np.bincount(of_taught).min() >= 50
    assert of_taught.max() + 1 == 16
    assert set(of_judged) <= set(of_taught)
    again, same = areas(taught, taught, 50)
    np.testing.assert_array_equal(again, same)
    assert np.all(areas(np.zeros((200, 2)), judged, 50)[1] == 0)


def test_pictures_alone_give_a_house_without_one_the_median() -> None:
    generator = np.random.default_rng(1)
    visual = generator.normal(size=(400, 1)).astype(np.float32)
    price = 100_000 * np.exp(visual[:, 0].astype(np.float64))
    asked = visual[:20].copy()
    asked[0] = np.nan
    estimate = pictures_only(price, visual, asked, PricingSection(rounds=60), seed=1)
    assert estimate[0] == pytest.approx(np.median(price))
    assert metrics.mdape(estimate[1:], price[1:20]) < 0.1
