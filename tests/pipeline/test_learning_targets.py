"""What the feature learners learn from: no house's price reaches what is learned for that house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.core.config import Config, parse_config
from housevis.core.errors import ConfigError
from housevis.pipeline.learning_targets import fold_targets, places_of, whole_target
from housevis.pipeline.valuation import fit_valuation_model
from housevis.pricing.splits import grouped_folds

SALES = 240
TARGETS = ["price", "residual", "residual-without-location"]
PENALTIES = dict.fromkeys(TARGETS, 30.0)


def config(siamese: dict[str, Any] | None = None, pricing: dict[str, Any] | None = None) -> Config:
    table = {
        "name": "targets",
        "listings": {"path": "listings.csv"},
        "siamese": {"targets": TARGETS, "epochs": 2, "pairs_per_house": 20, **(siamese or {})},
        "pricing": {
            "objective": "squared",
            "rounds": 15,
            "folds": 4,
            "visual_features": "cross-fitted",
            **(pricing or {}),
        },
    }
    return parse_config(table, where="test", directory=Path())


@pytest.fixture(scope="module")
def sales() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    latitude, area = 47 + generator.random(SALES), 60 + 100 * generator.random(SALES)
    log_price = 12 + latitude - 47 + np.log(area / 100) + 0.1 * generator.normal(size=SALES)
    ids = [f"house-{number}" for number in range(SALES)]
    return pd.DataFrame(
        {
            "sale_id": ids,
            "house_id": ids,
            "latitude": latitude,
            "longitude": -122 + generator.random(SALES),
            "sale_date": pd.Timestamp("2014-05-01") + pd.to_timedelta(np.arange(SALES), unit="D"),
            "price": np.exp(log_price),
            "bedrooms": generator.integers(1, 5, SALES).astype(float),
            "bathrooms": generator.integers(1, 3, SALES).astype(float),
            "area_m2": area,
        }
    )


@pytest.fixture(scope="module")
def folds() -> np.ndarray:
    return np.arange(SALES) % 4


def with_price(sales: pd.DataFrame, row: int, price: float) -> pd.DataFrame:
    changed = sales.copy()
    changed.loc[row, "price"] = price
    return changed


def test_a_residual_is_what_is_left_of_the_price(sales: pd.DataFrame, folds: np.ndarray) -> None:
    price, residual, without_location = (whole_target(name, sales, folds, config()) for name in TARGETS)
    np.testing.assert_allclose(price, np.log(sales["price"]))
    assert residual.std() < without_location.std() < price.std()
    north = sales["latitude"].to_numpy()
    assert np.corrcoef(without_location, north)[0, 1] > np.corrcoef(residual, north)[0, 1] + 0.2


def test_without_any_other_attribute_the_price_less_its_level_is_left(
    sales: pd.DataFrame, folds: np.ndarray
) -> None:
    lonely = config(pricing={"attributes": ["latitude", "longitude"]})
    left = whole_target("residual-without-location", sales, folds, lonely)
    log_price = np.log(sales["price"].to_numpy())
    for number in range(4):
        inside = folds == number
        np.testing.assert_allclose(left[inside], log_price[inside] - np.median(log_price[~inside]))


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_fold_s_learner_learns_from_knows_no_price_of_that_fold(
    sales: pd.DataFrame, folds: np.ndarray, name: str
) -> None:
    before = fold_targets(name, sales, folds, config(), 1.0)
    after = fold_targets(name, with_price(sales, 6, 9e6), folds, config(), 1.0)
    own = int(folds[6])
    elsewhere = folds != own
    np.testing.assert_array_equal(after.by_fold[own, elsewhere], before.by_fold[own, elsewhere])
    if name != "price":
        other = (own + 1) % 4
        third = folds == (own + 2) % 4
        assert not np.array_equal(after.by_fold[other, third], before.by_fold[other, third])
        assert np.isnan(before.by_fold[own, folds == own]).all()


def test_the_price_of_a_house_does_not_change_its_own_cross_fitted_features(sales: pd.DataFrame) -> None:
    generator = np.random.default_rng(2)
    pooled = generator.normal(size=(SALES, 12)).astype(np.float32)
    log_price = np.log(sales["price"].to_numpy())
    pooled[:, 0] += 5 * (log_price - log_price.mean()) / log_price.std()
    pooled[::10] = np.nan
    groups = sales["house_id"].to_numpy(dtype=str)
    folds = grouped_folds(groups, 4, 1)

    def features(known: pd.DataFrame) -> np.ndarray:
        model = fit_valuation_model("earlier", known, pooled, groups, config(), penalties=PENALTIES)
        assert len(model.learners) == 3
        return model.training_visual()

    before, after = features(sales), features(with_price(sales, 6, 9e6))
    assert before.shape == (SALES, 12)
    assert np.isnan(before[::10]).all()
    own = (folds == folds[6]) & np.isfinite(before[:, 0])
    assert own[6]
    np.testing.assert_allclose(after[own], before[own], rtol=1e-5, atol=1e-6)
    others = ~own & np.isfinite(before[:, 0])
    assert np.abs(after[others] - before[others]).max() > 1e-3


def test_in_sample_features_are_those_that_new_houses_get(sales: pd.DataFrame) -> None:
    pooled = np.random.default_rng(2).normal(size=(SALES, 12)).astype(np.float32)
    recipe = config(pricing={"visual_features": "in-sample"})
    groups = sales["house_id"].to_numpy(dtype=str)
    model = fit_valuation_model("earlier", sales, pooled, groups, recipe, penalties=PENALTIES)
    np.testing.assert_array_equal(model.visual_features(pooled), model.training_visual())
    np.testing.assert_allclose(model.training["target"], np.log(sales["price"]))


def test_places_are_handed_over_for_near_pairs_alone(sales: pd.DataFrame) -> None:
    assert places_of(sales, config()) is None
    near = config({"pair_sampling": "near"})
    places = places_of(sales, near)
    assert places is not None
    assert places.shape == (SALES, 4)
    groups = sales["house_id"].to_numpy(dtype=str)
    pooled = np.random.default_rng(2).normal(size=(SALES, 12)).astype(np.float32)
    model = fit_valuation_model("earlier", sales, pooled, groups, near, penalties=PENALTIES)
    assert np.isfinite(model.training_visual()).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"siamese": {"targets": ["price", "price"]}}, "siamese.targets names 'price' twice"),
        ({"siamese": {"neighbourhood": [8, 8]}}, "siamese.neighbourhood names 8 twice"),
        ({"siamese": {"targets": []}}, "siamese.targets"),
        ({"siamese": {"objective": "price"}, "explain": {"scalar": "loss-for"}}, "explain.scalar 'loss-for'"),
        (
            {
                "siamese": {"targets": ["residual"]},
                "pricing": {"folds": 2, "visual_features": "cross-fitted"},
            },
            "pricing.folds must be 3",
        ),
    ],
)
def test_settings_that_do_not_fit(table: dict[str, Any], message: str) -> None:
    whole = {"name": "targets", "listings": {"path": "listings.csv"}, **table}
    with pytest.raises(ConfigError, match=message):
        parse_config(whole, where="test", directory=Path())
