"""What estimates give back of the planted parts of a price, on made-up truths where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.sample_market import DRIVERS, SampleMarket
from data_pipeline.sample_market.prices import FULL_EFFECTS
from housevis.core.errors import ModelError
from housevis.pipeline.planted import LEVELS, part_columns, recovered_parts


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    """600 houses; pools are commoner where the location is dear, so that the parts are not independent."""
    generator = np.random.default_rng(5)
    n = 600
    location = generator.normal(0.0, 0.03, n)
    frame = {f"{level}_level": generator.normal(0.0, 0.04, n) for level in LEVELS}
    frame["location_level"] = location
    for driver in DRIVERS:
        has = generator.random(n) < (np.where(location > 0, 0.5, 0.1) if driver == "pool" else 0.25)
        frame[f"{driver}_effect"] = np.where(has, FULL_EFFECTS[driver], 0.0)
    return pd.DataFrame(frame)


def weighted_sum(truth: pd.DataFrame, shares: dict[str, float]) -> np.ndarray:
    columns = part_columns()
    return 12.0 + sum(share * truth[columns[part]].to_numpy() for part, share in shares.items())


def test_a_price_without_noise_holds_every_part_in_full(truth: pd.DataFrame) -> None:
    parts = recovered_parts(truth, weighted_sum(truth, dict.fromkeys(part_columns(), 1.0)), repeats=100)

    assert [part.part for part in parts] == [*DRIVERS, *LEVELS]
    for part in parts:
        assert (part.recovered, part.low, part.high) == pytest.approx((1.0, 1.0, 1.0), abs=1e-9)
        assert part.within_factor


def test_parts_known_too_little_too_well_or_with_the_wrong_sign_are_told_apart(truth: pd.DataFrame) -> None:
    shares = {
        "pool": 0.3,
        "water": 1.2,
        "canopy": -0.9,
        "arterial": 1.8,
        "attributes": 0.8,
        "location": 1.0,
        "market": 0.0,
    }
    found = {part.part: part for part in recovered_parts(truth, weighted_sum(truth, shares), repeats=100)}

    assert {name: part.recovered for name, part in found.items()} == pytest.approx(shares, abs=1e-9)
    assert [name for name, part in found.items() if part.within_factor] == ["water", "attributes", "location"]


def test_what_a_driver_shares_with_the_location_is_not_counted_for_the_driver(truth: pd.DataFrame) -> None:
    location_alone = weighted_sum(truth, {"location": 1.0})
    has_pool = (truth["pool_effect"] > 0).to_numpy()
    assert location_alone[has_pool].mean() > location_alone[~has_pool].mean() + 0.01

    pool = recovered_parts(truth, location_alone, repeats=100)[0]

    assert pool.part == "pool"
    assert pool.recovered == pytest.approx(0.0, abs=1e-9)


def test_the_interval_is_as_wide_as_least_squares_says(truth: pd.DataFrame) -> None:
    noise = np.random.default_rng(6).normal(0.0, 0.07, len(truth))
    estimates = weighted_sum(truth, dict.fromkeys(part_columns(), 1.0)) + noise
    parts = recovered_parts(truth, estimates, repeats=2000, seed=3)
    table = np.column_stack([np.ones(len(truth)), *(truth[name] for name in part_columns().values())])
    fitted = table @ np.linalg.lstsq(table, estimates, rcond=None)[0]
    variance = ((estimates - fitted) ** 2).sum() / (len(truth) - table.shape[1])
    deviations = np.sqrt(variance * np.diag(np.linalg.inv(table.T @ table)))[1:]

    for part, deviation in zip(parts, deviations, strict=True):
        assert part.low < part.recovered < part.high
        assert part.high - part.low == pytest.approx(2 * 1.96 * deviation, rel=0.25)


def test_the_same_seed_gives_the_same_interval_however_the_draws_are_cut(
    truth: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates = truth["water_effect"] + np.random.default_rng(7).normal(0.0, 0.05, len(truth))
    whole = recovered_parts(truth, estimates, repeats=50, seed=2)
    monkeypatch.setattr("housevis.pipeline.planted._ELEMENTS_AT_ONCE", 7 * len(truth))
    cut = recovered_parts(truth, estimates, repeats=50, seed=2)

    for one, other in zip(whole, cut, strict=True):
        assert one.low == pytest.approx(other.low, abs=1e-12)
        assert one.high == pytest.approx(other.high, abs=1e-12)


def test_a_part_that_moved_no_price_is_left_out(truth: pd.DataFrame) -> None:
    still = truth.assign(market_level=0.0, pool_effect=0.0)
    parts = recovered_parts(still, weighted_sum(still, {"water": 1.0}), repeats=100)

    assert [part.part for part in parts] == ["water", "canopy", "arterial", "attributes", "location"]


def test_too_few_houses_are_refused(truth: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="cannot tell 7 parts"):
        recovered_parts(truth[:8], np.arange(8.0))
    with pytest.raises(ModelError, match="3 estimates of 600 houses"):
        recovered_parts(truth, np.zeros(3))


def test_evaluate_reports_what_the_estimates_of_later_sales_give_back(town: Any) -> None:
    figures = town.run.metrics()["town"]
    estimates = pd.read_parquet(town.run.estimates)
    later = estimates[estimates["sample"] == "later sale"]
    houses = SampleMarket(300, 1).houses().set_index("id").loc[later["house_id"]]
    expected = [part.to_dict() for part in recovered_parts(houses, np.log(later["estimate"]), repeats=200)]

    assert [part["part"] for part in figures["recovered"]] == [*DRIVERS, *LEVELS]
    for found, part in zip(figures["recovered"], expected, strict=True):
        assert found == pytest.approx(part)
        assert np.isfinite([found["low"], found["high"]]).all()
    assert [part["part"] for part in figures["recovered_by_ceiling"]] == [*DRIVERS, *LEVELS]
    water = figures["recovered"][1]
    assert f"water {water['recovered']:.2f}" in town.out
