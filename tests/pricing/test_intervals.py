from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from housevis.core.errors import ModelError
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode
from housevis.pricing.intervals import (
    Calibration,
    calibrate,
    conformal_quantile,
    covered_share,
    mean_log_width,
)
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds, split_by_date


def noisy_estimates(count: int, seed: int, *, uneven: bool):
    """Estimates whose log error is 0.05 wide, or grows from 0.02 to 0.3 along `x`."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame({"x": random.uniform(0, 1, count), "y": random.uniform(0, 1, count)})
    spread = 0.02 + 0.28 * features["x"].to_numpy() if uneven else np.full(count, 0.05)
    estimate = np.exp(random.normal(13, 0.3, count))
    return features, estimate, estimate * np.exp(random.normal(0, spread))


@given(arrays(np.float64, st.integers(10, 60), elements=st.floats(0, 1), unique=True), st.floats(0.5, 0.9))
def test_the_quantile_is_the_smallest_score_that_covers_enough(scores, coverage) -> None:
    quantile = conformal_quantile(scores, coverage)
    n = len(scores)
    assert quantile in scores
    assert (scores <= quantile).sum() >= (n + 1) * coverage - 1e-6
    assert (scores < quantile).sum() < (n + 1) * coverage


@given(st.integers(9, 200), st.sampled_from([0.5, 0.8, 0.9]))
def test_a_coverage_that_falls_on_a_whole_number_takes_that_score(count, coverage) -> None:
    if count < coverage / (1 - coverage):
        return
    rank = -(-round((count + 1) * coverage * 10) // 10)
    assert conformal_quantile(np.arange(1.0, count + 1), coverage) == rank


def test_too_few_sales_for_the_coverage() -> None:
    assert conformal_quantile(np.arange(9.0), 0.9) == 8
    with pytest.raises(ModelError, match="8 sales are too few for intervals that hold 90% of the prices"):
        conformal_quantile(np.arange(8.0), 0.9)


@pytest.mark.parametrize("uneven", [False, True])
def test_new_sales_are_covered_at_the_nominal_share(uneven) -> None:
    calibration = calibrate(*noisy_estimates(2000, 1, uneven=uneven), 0.9)
    assert bool(calibration.difficulty) == uneven
    features, estimate, price = noisy_estimates(4000, 2, uneven=uneven)
    low, high = calibration.interval(estimate, features)
    assert covered_share(low, high, price) == pytest.approx(0.9, abs=0.02)
    if uneven:
        hard = features["x"].to_numpy() > 0.8
        assert covered_share(low[hard], high[hard], price[hard]) == pytest.approx(0.9, abs=0.04)
        width = np.log(high / low)
        assert width[hard].mean() > 3 * width[features["x"].to_numpy() < 0.2].mean()


def test_an_adaptive_interval_is_kept_because_it_is_narrower() -> None:
    features, estimate, price = noisy_estimates(2000, 1, uneven=True)
    low, high = calibrate(features, estimate, price, 0.9).interval(estimate, features)
    plain = 2 * conformal_quantile(np.abs(np.log(price / estimate)), 0.9)
    assert mean_log_width(low, high) < plain


@pytest.mark.parametrize("uneven", [False, True])
def test_a_saved_calibration_gives_the_same_intervals(tmp_path, uneven) -> None:
    features, estimate, price = noisy_estimates(1500, 1, uneven=uneven)
    calibration = calibrate(features, estimate, price, 0.8)
    calibration.save(tmp_path)
    loaded = Calibration.load(tmp_path)
    for ours, theirs in zip(
        calibration.interval(estimate, features), loaded.interval(estimate, features), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert (loaded.coverage, loaded.residuals) == (0.8, 1500)
    assert (tmp_path / "difficulty.txt").exists() == uneven


def test_a_missing_feature_or_file_is_an_error(tmp_path) -> None:
    features, estimate, price = noisy_estimates(1500, 1, uneven=True)
    calibration = calibrate(features, estimate, price, 0.9)
    with pytest.raises(ModelError, match="needs the feature 'x'"):
        calibration.interval(estimate, features[["y"]])
    with pytest.raises(ModelError, match="there is no calibration here"):
        Calibration.load(tmp_path)


@pytest.mark.shared
def test_king_county_coverage_on_later_sales(king_county, settings) -> None:
    attributes = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
    earlier, _ = split_by_date(king_county["sale_date"], 0.6)
    table, price = encode(king_county, attributes), king_county["price"].to_numpy()
    folds = grouped_folds(king_county["house_id"][earlier], 3, 1)
    known = np.empty(int(earlier.sum()))
    for fold in range(3):
        others = HousePriceModel.from_section(settings, attributes).fit(
            table[earlier][folds != fold], price[earlier][folds != fold]
        )
        known[folds == fold] = others.predict(table[earlier][folds == fold])
    calibration = calibrate(table[earlier], known, price[earlier], 0.9)
    model = HousePriceModel.from_section(settings, attributes).fit(table[earlier], price[earlier])
    later = table[~earlier]
    low, high = calibration.interval(model.predict(later), later)
    assert calibration.difficulty
    assert covered_share(low, high, price[~earlier]) == pytest.approx(0.9, abs=0.02)
