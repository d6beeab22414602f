from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import linregress

from housevis.core.errors import ModelError
from housevis.pricing import metrics

prices = arrays(np.float64, st.integers(2, 40), elements=st.floats(1e3, 1e7))


@given(prices, st.integers(0, 99))
def test_pe_grows_with_the_tolerance(price, seed) -> None:
    estimate = price * np.exp(np.random.default_rng(seed).normal(0, 0.2, len(price)))
    assert (
        metrics.pe(estimate, price, 5) <= metrics.pe(estimate, price, 10) <= metrics.pe(estimate, price, 20)
    )


@given(prices)
def test_perfect_estimates(price) -> None:
    assert metrics.pe(price, price, 5) == 1
    assert metrics.mdape(price, price) == metrics.mape(price, price) == metrics.rmse(price, price) == 0
    assert metrics.median_ratio(price, price) == 1
    assert metrics.cod(price, price) == 0
    assert metrics.prd(price, price) == pytest.approx(1)
    assert metrics.prb(price, price) == 0


@given(prices, st.floats(0.5, 2), st.integers(0, 99))
def test_uniformity_does_not_depend_on_the_level(price, level, seed) -> None:
    estimate = price * np.exp(np.random.default_rng(seed).normal(0, 0.2, len(price)))
    for measure in (metrics.cod, metrics.prd, metrics.prb):
        assert measure(estimate * level, price) == pytest.approx(measure(estimate, price), rel=1e-6, abs=1e-8)
    assert metrics.median_ratio(estimate * level, price) == pytest.approx(
        level * metrics.median_ratio(estimate, price)
    )


def test_figures_worked_by_hand() -> None:
    estimate, price = np.array([90.0, 200, 440]), np.array([100.0, 200, 400])
    assert list(metrics.ratio(estimate, price)) == pytest.approx([0.9, 1.0, 1.1])
    assert metrics.pe(estimate, price, 10) == 1
    assert metrics.pe(estimate, price, 5) == pytest.approx(1 / 3)
    assert metrics.mdape(estimate, price) == pytest.approx(0.1)
    assert metrics.median_ratio(estimate, price) == 1
    assert metrics.cod(estimate, price) == pytest.approx(100 * 0.2 / 3)
    assert metrics.prd(estimate, price) == pytest.approx(1 / (730 / 700))
    assert metrics.mape(estimate, price) == pytest.approx(0.2 / 3)
    assert metrics.rmse(estimate, price) == pytest.approx(np.sqrt(1700 / 3))
    # The mean price is 700 / 3, its squared errors sum up to 140,000 / 3.
    assert metrics.r2(estimate, price) == pytest.approx(1 - 1700 / (140_000 / 3))
    # Gini in the order of price: 2 (90 + 400 + 1320) / (3 * 730) - 4/3 over 2 (100 + 400 + 1200) / 2100 - 4/3
    assert metrics.mki(estimate, price) == pytest.approx((3620 / 2190 - 4 / 3) / (3400 / 2100 - 4 / 3))


def test_prb_is_the_regression_slope_of_the_standard() -> None:
    random = np.random.default_rng(4)
    price = np.exp(random.normal(13, 0.5, 300))
    estimate = price**0.9 * np.exp(random.normal(1.3, 0.1, 300))
    ratios = estimate / price
    middle = np.median(ratios)
    proxy = np.log(0.5 * estimate / middle + 0.5 * price) / np.log(2)
    slope = linregress(proxy, (ratios - middle) / middle).slope
    assert metrics.prb(estimate, price) == pytest.approx(slope)
    assert slope < -0.05
    assert metrics.prd(estimate, price) > 1.01
    assert metrics.mki(estimate, price) < 0.95


def test_every_statistic_takes_a_stack_of_draws() -> None:
    random = np.random.default_rng(5)
    price = random.uniform(1, 9, (4, 50))
    estimate = price * random.uniform(0.8, 1.2, (4, 50))
    for statistic in metrics.STATISTICS.values():
        one_by_one = [float(statistic(estimate[row], price[row])) for row in range(4)]
        assert statistic(estimate, price) == pytest.approx(one_by_one)


def test_bootstrap_of_a_share_is_binomial() -> None:
    price = np.full(400, 100.0)
    estimate = np.where(np.arange(400) < 200, 100.0, 150.0)
    figure = metrics.bootstrap({"pe10": metrics.pe}, estimate, price, repeats=4000, seed=2)["pe10"]
    assert figure.estimate == 0.5
    assert (figure.low, figure.high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.004)
    again = metrics.bootstrap({"pe10": metrics.pe}, estimate, price, repeats=4000, seed=2)["pe10"]
    assert figure == again


def test_ratio_study_names_every_figure_and_says_what_is_undefined() -> None:
    price = np.array([100.0, 100.0])
    study = metrics.ratio_study(np.array([100.0, 120.0]), price, repeats=50)
    assert list(study) == ["n", *metrics.STATISTICS]
    assert study["n"] == 2
    assert study["mki"] is None
    assert study["r2"] is None
    assert study["pe10"]["low"] <= study["pe10"]["estimate"] <= study["pe10"]["high"]


def test_paired_difference_agrees_with_drawing_sales_one_by_one() -> None:
    random = np.random.default_rng(6)
    without = random.random(500) < 0.5
    both = np.where(random.random(500) < 0.1, ~without, without)
    result = metrics.paired_bootstrap_difference(without, both, 20_000, 1)
    index = random.integers(0, 500, (20_000, 500))
    drawn = (both.astype(float) - without)[index].mean(axis=1)
    assert result.estimate == pytest.approx(both.mean() - without.mean())
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.003)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_difference_is_antisymmetric_and_zero_for_equals(hits) -> None:
    first, second = np.array(hits).T
    forward = metrics.paired_bootstrap_difference(first, second, 100, 1)
    backward = metrics.paired_bootstrap_difference(second, first, 100, 1)
    assert forward.estimate == pytest.approx(-backward.estimate)
    assert metrics.paired_bootstrap_difference(first, first, 100, 1) == metrics.Interval(0, 0, 0)


def test_lists_of_different_lengths_or_none_are_errors() -> None:
    with pytest.raises(ModelError, match="two lists of one length"):
        metrics.paired_bootstrap_difference(np.ones(3, bool), np.ones(4, bool), 10, 1)
    with pytest.raises(ModelError, match="at least one sale"):
        metrics.ratio_study(np.array([]), np.array([]))


def test_iaao_ranges_include_their_bounds_and_need_thirty_sales() -> None:
    assert metrics.within_iaao_range("cod", 15.0, 30) is True
    assert metrics.within_iaao_range("prb", -0.0501, 30) is False
    assert metrics.within_iaao_range("cod", 10.0, 29) is None
    assert metrics.within_iaao_range("pe10", 0.5, 100) is None


# -- against published examples and the package of an assessor ------------------------

TABLE_1_4 = [
    (87200, 138720), (38240, 59700), (96320, 146400), (68610, 99000), (32960, 47400), (50560, 70500),
    (61360, 78000), (47360, 60000), (56580, 69000), (47040, 55500), (136000, 154500), (98000, 109500),
    (56000, 60000), (159100, 168000), (128000, 124500), (132000, 127500), (160000, 150000),
]  # fmt: skip
"""Appraised values and sale prices of table 1-4 of the IAAO Standard on Ratio Studies (2013)."""

TABLE_D_2 = [
    (45000, 50000), (100000, 100000), (165000, 150000), (180000, 200000), (250000, 250000), (330000, 300000),
    (315000, 350000), (400000, 400000), (495000, 450000), (450000, 500000), (550000, 550000),
    (660000, 600000), (585000, 650000), (700000, 700000), (825000, 750000), (1875000, 2500000),
]  # fmt: skip
"""The same of table D-2."""


@pytest.mark.parametrize(
    ("table", "cod", "prd", "prb"),
    [(TABLE_1_4, 14.5, 0.98, 0.135), (TABLE_D_2, 7.8, 1.056, -0.011)],
)
def test_the_worked_examples_of_the_standard(table, cod, prd, prb) -> None:
    estimate, price = np.array(table, dtype=float).T
    assert metrics.cod(estimate, price) == pytest.approx(cod, abs=0.05)
    assert metrics.prd(estimate, price) == pytest.approx(prd, abs=0.005)
    assert metrics.prb(estimate, price) == pytest.approx(prb, abs=0.0005)


def test_the_figures_are_those_of_assesspy_on_its_own_sample() -> None:
    assesspy = pytest.importorskip("assesspy")
    sample = assesspy.ccao_sample()
    samples = [sample, *(part for _, part in sample.groupby("township_name") if len(part) >= 30)]
    assert len(samples) == 3
    for part in samples:
        estimate, price = part["estimate"].to_numpy(float), part["sale_price"].to_numpy(float)
        for name in ("cod", "prd", "prb", "mki"):
            ours = float(metrics.STATISTICS[name](estimate, price))
            assert ours == pytest.approx(getattr(assesspy, name)(estimate, price), rel=1e-9, abs=1e-12)
            told = getattr(assesspy, f"{name}_met")(ours)
            assert metrics.within_iaao_range(name, ours, len(part)) is bool(told)


def test_bootstrap_intervals_are_those_of_assesspy() -> None:
    assesspy = pytest.importorskip("assesspy")
    sample = assesspy.ccao_sample()
    estimate, price = sample["estimate"].to_numpy(float), sample["sale_price"].to_numpy(float)
    np.random.seed(1)
    ours = metrics.bootstrap({"cod": metrics.cod}, estimate, price, repeats=1000)["cod"]
    theirs = assesspy.cod_ci(sample["estimate"], sample["sale_price"], nboot=300)
    width = ours.high - ours.low
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.15 * width)


@given(st.integers(0, 60), st.integers(1, 60))
def test_the_interval_of_a_share_holds_it_and_has_a_width(count, of) -> None:
    inside = np.arange(of) < count
    share = metrics.share_interval(inside)
    assert 0 <= share.low <= share.estimate <= share.high <= 1
    assert share.high > share.low


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Newcombe (1998): 81 of 263.
    share = metrics.share_interval(np.arange(263) < 81)
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
