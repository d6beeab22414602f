"""Nothing leaks: a picture that cannot know the price brings no gain, however it is learned from.

The product's own way: feature learners cross-fitted over groups, the boosting
on attributes and features, the gain judged on later sales. With the true
pictures the gain is large. With prices or pictures dealt anew it must vanish,
and a learner that has seen the later prices must be found out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection, SiameseSection
from housevis.pricing.ablation import AblationRow, ablate
from housevis.pricing.attributes import ATTRIBUTE_SETS
from housevis.pricing.splits import grouped_folds, split_by_date
from housevis.vision.cross_fitting import FoldTargets, fit_and_cross_fit
from housevis.vision.objectives import fit_learner

SALES, CHANNELS, FOLDS = 1500, 400, 4
SHUFFLES = 8
PRICING = PricingSection(rounds=60, learning_rate=0.1, leaves=15, bootstrap=500)
SIAMESE = SiameseSection(objective="price", feature_dimension=1)
SETS = {name: ATTRIBUTE_SETS[name] for name in ("G, Bed, Bath, T, A",)}


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Sales of a place where the picture shows a pool worth 35 %, which no attribute knows."""
    random = np.random.default_rng(11)
    pool = random.integers(0, 2, SALES)
    area = random.uniform(60, 260, SALES)
    latitude = random.uniform(47.5, 47.7, SALES)
    log_price = 12 + 0.002 * area + 0.3 * pool + 1.5 * (latitude - 47.6) + random.normal(0, 0.08, SALES)
    sales = pd.DataFrame(
        {
            "house_id": [f"h{number}" for number in range(SALES)],
            "latitude": latitude,
            "longitude": random.uniform(-122.4, -122.2, SALES),
            "sale_date": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(np.sort(random.integers(0, 300, SALES)), unit="D"),
            "price": np.exp(log_price),
            "bedrooms": random.integers(1, 6, SALES).astype(float),
            "bathrooms": random.integers(1, 4, SALES).astype(float),
            "area_m2": area,
        }
    )
    shown = np.outer(pool, random.normal(0, 0.15, CHANNELS)) + random.normal(0, 1, (SALES, CHANNELS))
    return sales, shown.astype(np.float32)


def gains(
    sales: pd.DataFrame, pictures: NDArray[np.float32], *, sees_later_prices: bool = False
) -> list[AblationRow]:
    """The gain of cross-fitted features; a learner that sees later prices is the control."""
    earlier, _ = split_by_date(sales["sale_date"], 0.6)
    log_price = np.log(sales["price"].to_numpy())
    if sees_later_prices:
        learner = fit_learner("price", pictures, log_price, SIAMESE, 1, penalty=1.0)
        taught_features = learner.embed(pictures[earlier])
    else:
        target = log_price[earlier]
        folds = grouped_folds(sales["house_id"][earlier], FOLDS, seed=1)
        targets = FoldTargets(target, np.repeat(target[None], FOLDS, axis=0), penalty=300.0)
        (learner,), taught_features = fit_and_cross_fit(
            "price", pictures[earlier], [targets], folds, SIAMESE, seed=1
        )
    return ablate(
        sales[earlier].reset_index(drop=True),
        sales[~earlier].reset_index(drop=True),
        taught_features,
        learner.embed(pictures[~earlier]),
        SETS,
        PRICING,
    )


def with_dealt_prices(sales: pd.DataFrame, seed: int) -> pd.DataFrame:
    order = np.random.default_rng(seed).permutation(len(sales))
    return sales.assign(price=sales["price"].to_numpy()[order])


def assert_no_gain(rows: list[AblationRow]) -> None:
    """The interval includes 0 but for chance, and the gain is nothing beside the true one."""
    found = [row.gain for row in rows if row.gain is not None]
    assert len(found) == SHUFFLES
    assert sum(gain.low > 0 or gain.high < 0 for gain in found) <= 1
    assert abs(np.mean([gain.estimate for gain in found])) < 0.04


def test_true_pictures_gain(market) -> None:
    for row in gains(*market):
        assert row.gain.low > 0.15


def test_with_prices_dealt_anew_there_is_no_gain(market) -> None:
    sales, pictures = market
    rows = [row for seed in range(SHUFFLES) for row in gains(with_dealt_prices(sales, seed), pictures)]
    assert_no_gain(rows)


def test_with_pictures_dealt_anew_there_is_no_gain(market) -> None:
    sales, pictures = market
    rows = []
    for seed in range(SHUFFLES):
        rows += gains(sales, pictures[np.random.default_rng(seed).permutation(SALES)])
    assert_no_gain(rows)


def test_a_learner_that_has_seen_the_later_prices_is_found_out(market) -> None:
    few = 2 * CHANNELS
    sales, pictures = market[0][:few], market[1][:few]
    found = [
        row.gain.estimate
        for seed in range(4)
        for row in gains(with_dealt_prices(sales, seed), pictures, sees_later_prices=True)
    ]
    assert np.mean(found) > 0.06
