"""The market's level over time, learned from sales and carried beyond the last of them.

No setting of :mod:`housevis.pricing.market_prior` is chosen by hand or by one
best fit: the level is the average over all of them, each weighted by the
likelihood of the sales. A steady trend is thus carried forward, a trend that
could be noise or season is shrunk to zero, and when a market has turned, the
weight moves to settings with a turn as soon as the sales show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.pricing.market_prior import ALL_SETTINGS, UNTURNED_SETTINGS, Settings

Array = NDArray[np.float64]

_WINSOR: Final = 1.5
"""Residuals count up to so many robust standard deviations (Huber 1964)."""
_ROBUST_PASSES: Final = 5
_LEAST_NOISE: Final = 1e-4
_LEAST_WEIGHT: Final = 1e-4
"""Settings that weigh less than this part of the best one are left out of the average."""


@dataclass(frozen=True)
class Observations:
    """What n observations say about the level at K times.

    Attributes:
        times: Months ``(K,)``, 0 at the last sale and negative before.
        later: Position in `times` ``(n,)`` of each observation.
        earlier: Position ``(n,)`` of the level that is subtracted, for pairs
            of sales; None where an observation is of one sale.
        values: Log values ``(n,)``.
        spread: Standard deviation ``(n,)`` of each observation's noise,
            relative to the others.
    """

    times: Array
    later: NDArray[np.int64]
    earlier: NDArray[np.int64] | None
    values: Array
    spread: Array

    def expected(self, level: Array) -> Array:
        """What the observations would be without noise, given the level ``(K,)`` at the times."""
        return level[self.later] if self.earlier is None else level[self.later] - level[self.earlier]

    def precision(self) -> Array:
        """``X'WX`` ``(K, K)`` of the design, for noise of `spread`."""
        count, weight = len(self.times), 1.0 / self.spread**2
        result = np.zeros((count, count))
        np.add.at(result, (self.later, self.later), weight)
        if self.earlier is not None:
            np.add.at(result, (self.earlier, self.earlier), weight)
            np.add.at(result, (self.later, self.earlier), -weight)
            np.add.at(result, (self.earlier, self.later), -weight)
        return result

    def response(self, values: Array) -> Array:
        """``X'Wy`` ``(K,)`` of the design."""
        weighted = values / self.spread**2
        result: Array = np.bincount(self.later, weighted, len(self.times)).astype(np.float64)
        if self.earlier is not None:
            result -= np.bincount(self.earlier, weighted, len(self.times))
        return result


@dataclass(frozen=True)
class Level:
    """The level at Q times, relative to time 0.

    Attributes:
        mean: Log units ``(Q,)``.
        deviation: Standard deviation ``(Q,)`` of the difference to time 0.
        noise: Standard deviation of one observation around the level,
            robust, log units.
    """

    mean: Array
    deviation: Array
    noise: float


def learn_level(observations: Observations, times: Array) -> Level:
    """Learn the level and say what it is at some times, also beyond the last sale.

    Sales far from the level (gifts, ruins, typing errors) are winsorised at
    1.5 robust standard deviations.

    Args:
        observations: At least one.
        times: Months ``(Q,)`` from the last sale, in any order.

    Returns:
        The level at `times`.
    """
    precision = observations.precision()
    centre = float(np.median(observations.values)) if observations.earlier is None else 0.0
    values = observations.values - centre
    expected = np.zeros(len(values))
    prior = UNTURNED_SETTINGS.covariances(observations.times, observations.times)
    for _ in range(_ROBUST_PASSES):
        pseudo, noise = _winsorised(values, expected, observations.spread)
        posterior = _Posterior(UNTURNED_SETTINGS, prior, observations, precision, pseudo, noise)
        expected = observations.expected(posterior.mean_at_observations())
    pseudo, noise = _winsorised(values, expected, observations.spread)
    prior = ALL_SETTINGS.covariances(observations.times, observations.times)
    posterior = _Posterior(ALL_SETTINGS, prior, observations, precision, pseudo, noise)
    mean, deviation = posterior.change_since_zero(times)
    return Level(mean, deviation, noise)


def _winsorised(values: Array, expected: Array, spread: Array) -> tuple[Array, float]:
    """Values whose plain mean is the Huber estimate of the level, and the deviation of their noise."""
    residual = (values - expected) / spread
    scale = max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), _LEAST_NOISE)
    clipped = np.clip(residual / scale, -_WINSOR, _WINSOR)
    inside = max(float(np.mean(np.abs(residual) < _WINSOR * scale)), 0.5)
    noise = scale * float(np.sqrt(np.mean(clipped**2))) / inside
    return expected + spread * scale * clipped / inside, max(noise, _LEAST_NOISE)


class _Posterior:
    """The level given the observations, for each of G settings and averaged over them."""

    def __init__(
        self,
        settings: Settings,
        prior: Array,
        observations: Observations,
        precision: Array,
        values: Array,
        noise: float,
    ) -> None:
        self._times = observations.times
        self._precision = precision / noise**2
        response = observations.response(values) / noise**2
        system = np.eye(len(response)) + self._precision @ prior
        columns = np.broadcast_to(response[:, None], (len(settings), len(response), 1))
        alpha = np.linalg.solve(system, columns)[..., 0]
        fitted = np.einsum("gkl,gl->gk", prior, alpha)
        evidence = 0.5 * (fitted @ response - np.linalg.slogdet(system)[1]) + np.log(settings.weight)
        weight = np.exp(evidence - evidence.max())
        kept = weight >= _LEAST_WEIGHT
        self._settings = settings.only(kept)
        self._weight = weight[kept] / weight[kept].sum()
        self._system, self._alpha, self._fitted = system[kept], alpha[kept], fitted[kept]

    def mean_at_observations(self) -> Array:
        """Mean ``(K,)`` of the level at the times of the observations."""
        return np.asarray(self._weight @ self._fitted)

    def change_since_zero(self, times: Array) -> tuple[Array, Array]:
        """Mean and standard deviation ``(Q,)`` of the level's difference to time 0."""
        cross = self._settings.covariances(times, self._times)
        cross = cross - self._settings.covariances(np.zeros(1), self._times)
        means = np.einsum("gqk,gk->gq", cross, self._alpha)
        gain = np.linalg.solve(self._system, np.broadcast_to(self._precision, self._system.shape))
        explained = np.einsum("gqk,gqk->gq", cross @ gain, cross)
        unexplained = self._settings.change_variances(times) - explained
        mean = self._weight @ means
        variance = self._weight @ (np.maximum(unexplained, 0.0) + (means - mean) ** 2)
        return mean, np.sqrt(variance)
