"""A synthetic market whose structure is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection

SETTINGS = {"rounds": 60, "learning_rate": 0.1, "leaves": 15, "bootstrap": 400}


def synthetic_market(count: int, seed: int) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Sales and visual features ``(n, 4)``: the picture shows the pool, which no attribute knows.

    The log price is 12 + 0.004 per m2 + 0.25 for a pool + 1.5 per degree of latitude + noise of 0.05.
    """
    random = np.random.default_rng(seed)
    pool = random.integers(0, 2, count)
    area = random.uniform(60, 260, count)
    latitude = random.uniform(47.5, 47.7, count)
    log_price = 12 + 0.004 * area + 0.25 * pool + 1.5 * (latitude - 47.6) + random.normal(0, 0.05, count)
    days = np.sort(random.integers(0, 300, count))
    sales = pd.DataFrame(
        {
            "house_id": [f"h{number // 2}" for number in range(count)],
            "latitude": latitude,
            "longitude": random.uniform(-122.4, -122.2, count),
            "sale_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D"),
            "price": np.exp(log_price),
            "bedrooms": random.integers(1, 6, count).astype(float),
            "bathrooms": random.integers(1, 4, count).astype(float),
            "area_m2": area,
            "address": None,
        }
    )
    sales.insert(
        0,
        "sale_id",
        [f"{house}@{day:%Y-%m-%d}" for house, day in zip(sales["house_id"], sales["sale_date"], strict=True)],
    )
    visual = np.column_stack([pool + random.normal(0, 0.1, count), random.normal(0, 1, (count, 3))])
    return sales, visual


@pytest.fixture(scope="session")
def market() -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """900 sales with visual features ``(900, 4)``; every ninth house has no picture."""
    sales, visual = synthetic_market(900, seed=3)
    visual[::9] = np.nan
    return sales, visual


@pytest.fixture(scope="session")
def settings() -> PricingSection:
    """Settings that fit in a moment."""
    return PricingSection.model_validate(SETTINGS)


@pytest.fixture(scope="session")
def king_county(shared_data) -> pd.DataFrame:
    """The real sales as a sale frame."""
    table = pd.read_csv(shared_data / "data" / "king-county" / "sales.csv")
    return pd.DataFrame(
        {
            "house_id": table["id"].astype(str),
            "latitude": table["lat"],
            "longitude": table["long"],
            "sale_date": pd.to_datetime(table["date"]),
            "price": table["price"].astype(float),
            "bedrooms": table["bedrooms"].astype(float),
            "bathrooms": table["bathrooms"],
            "area_m2": table["sqft_living"] * 0.09290304,
        }
    )
