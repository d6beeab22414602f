"""The prior of the market's level, and the level learned from plain observations."""

from __future__ import annotations

import numpy as np
import pytest

from housevis.pricing.market_level import Observations, learn_level
from housevis.pricing.market_prior import ALL_SETTINGS, UNTURNED_SETTINGS

ZERO = np.zeros(1)


def test_the_prior_weights_sum_to_one_and_no_setting_prefers_a_direction() -> None:
    assert ALL_SETTINGS.weight.sum() == pytest.approx(1.0)
    assert (ALL_SETTINGS.weight > 0).all()
    assert UNTURNED_SETTINGS.weight.sum() == pytest.approx(0.8)


def test_every_covariance_is_one() -> None:
    times = np.array([-30.0, -17.5, -12.0, -3.25, -0.5, 0.0, 2.0, 14.0])
    covariances = ALL_SETTINGS.covariances(times, times)
    assert covariances.shape == (len(ALL_SETTINGS), 8, 8)
    assert np.allclose(covariances, covariances.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(covariances).min() > -1e-9


def test_the_variance_of_a_change_follows_from_the_covariances() -> None:
    times = np.array([-20.0, -1.0, 0.0, 3.0])
    whole = ALL_SETTINGS.covariances(times, times)
    own = np.diagonal(whole, axis1=1, axis2=2)
    with_zero = ALL_SETTINGS.covariances(times, ZERO)[:, :, 0]
    at_zero = ALL_SETTINGS.covariances(ZERO, ZERO)[:, :, 0]
    assert np.allclose(ALL_SETTINGS.change_variances(times), own - 2 * with_zero + at_zero, atol=1e-12)


def plain(times: np.ndarray, position: np.ndarray, values: np.ndarray) -> Observations:
    return Observations(times, position, None, values, np.ones(len(values)))


def test_the_level_is_the_average_of_gaussian_conditioning_in_every_setting() -> None:
    random = np.random.default_rng(5)
    times = np.array([-9.0, -6.0, -2.0, -0.5])
    position = np.repeat(np.arange(4), 30)
    values = np.array([0.0, 0.02, 0.05, 0.04])[position] + random.uniform(-0.02, 0.02, 120)
    ahead = np.array([-4.0, 1.0, 3.0])
    found = learn_level(plain(times, position, values), ahead)

    # Uniform noise within the limits is hardly winsorised, so plain conditioning comes near.
    centred = values - np.median(values)
    known = ALL_SETTINGS.covariances(times[position], times[position])
    known += found.noise**2 * np.eye(120)
    cross = ALL_SETTINGS.covariances(ahead, times[position]) - ALL_SETTINGS.covariances(ZERO, times[position])
    solved = np.linalg.solve(known, np.broadcast_to(centred[:, None], (len(known), 120, 1)))[..., 0]
    log_weight = np.log(ALL_SETTINGS.weight)
    log_weight = log_weight - 0.5 * (solved @ centred + np.linalg.slogdet(known)[1])
    weight = np.exp(log_weight - log_weight.max())
    expected = weight @ np.einsum("gqn,gn->gq", cross, solved) / weight.sum()
    assert found.mean == pytest.approx(expected, abs=2e-3)


def test_pairs_tell_the_change_between_their_times() -> None:
    random = np.random.default_rng(6)
    times = np.linspace(-24.0, 0.0, 25)
    earlier = random.integers(0, 12, 3000)
    later = earlier + random.integers(6, 13, 3000)
    values = 0.01 * (times[later] - times[earlier]) + random.normal(0, 0.05, 3000)
    level = learn_level(Observations(times, later, earlier, values, np.ones(3000)), np.array([-12.0, 3.0]))
    assert level.mean == pytest.approx([-0.12, 0.03], abs=0.015)


def test_wild_values_count_little() -> None:
    random = np.random.default_rng(7)
    times = np.linspace(-12.0, 0.0, 13)
    position = random.integers(0, 13, 2600)
    values = random.normal(0, 0.05, 2600)
    clean = learn_level(plain(times, position, values), np.array([-12.0, 3.0])).mean
    values[position == 12] += np.where(random.random((position == 12).sum()) < 0.1, 5.0, 0.0)
    wild = learn_level(plain(times, position, values), np.array([-12.0, 3.0])).mean
    assert np.abs(clean).max() < 0.02
    assert np.abs(wild - clean).max() < 0.05


def test_values_without_any_noise_are_taken() -> None:
    times = np.array([-2.0, -1.0, 0.0])
    level = learn_level(plain(times, np.array([0, 1, 2]), np.zeros(3)), times)
    assert level.mean == pytest.approx([0, 0, 0], abs=1e-9)
