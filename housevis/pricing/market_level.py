"""The market's level over time, learned from sales and carried beyond the last of them.

The log level is the sum of a constant, a trend whose slope wanders and fades,
small shocks and a yearly season: the structural time-series model with a
damped slope (Harvey 1989, ch. 2; Gardner and McKenzie 1985), written in
continuous time as a Gaussian process, so that gaps and uneven days need no care:

    cov(s, t) = c^2 + v^2/2 (h(s) + h(t) - h(s - t)) + q^2/2 (|s| + |t| - |s - t|)
                + a^2 cos(2 pi (s - t) / 12)
    h(d) = 2 tau^2 (|d|/tau - 1 + exp(-|d|/tau))

in months. The slope has the standard deviation `v` and is forgotten with the
time `tau`; `q` is the shock of a month and `a` the height of the season. No
setting is chosen by hand or by one best fit: the posterior is averaged over a
grid of settings, each weighted by the likelihood of the sales. A steady trend
is thus carried forward, a trend that could be noise is shrunk to zero, and a
market that has turned moves the weight to slopes that are soon forgotten.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CONSTANT: Final = 1.0
"""Prior standard deviation of the level as a whole: wide, as values are centred before."""

_SLOPES: Final = (0.0, 0.002, 0.005, 0.01, 0.02)
"""Standard deviations of the slope, log units a month."""
_MEMORIES: Final = (3.0, 12.0, 48.0, 192.0)
"""Times after which a slope is forgotten, months."""
_SHOCKS: Final = (0.0, 0.004, 0.012)
"""Standard deviations of what a month adds to the level, log units."""
_SEASONS: Final = (0.0, 0.02)
"""Standard deviations of the yearly season's two coefficients, log units."""

_WINSOR: Final = 1.5
"""Residuals count up to so many robust standard deviations (Huber 1964)."""
_ROBUST_PASSES: Final = 6
_LEAST_NOISE: Final = 1e-4


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
        result = np.bincount(self.later, weighted, len(self.times))
        if self.earlier is not None:
            result -= np.bincount(self.earlier, weighted, len(self.times))
        return result


@dataclass(frozen=True)
class Level:
    """Posterior of the level at Q times, relative to time 0.

    Attributes:
        mean: Log units ``(Q,)``.
        deviation: Standard deviation ``(Q,)`` of the difference to time 0.
        noise: Standard deviation of one sale around the level (of a pair of
            sales for pairs), robust, log units.
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
    """
    model = _Model(observations)
    centre = float(np.median(observations.values)) if observations.earlier is None else 0.0
    values = observations.values - centre
    level = np.zeros(len(observations.times))
    noise = _LEAST_NOISE
    for _ in range(_ROBUST_PASSES):
        pseudo, noise = _winsorised(values, observations.expected(level), observations.spread)
        level = model.posterior(pseudo, noise, observations.times)[0]
    pseudo, noise = _winsorised(values, observations.expected(level), observations.spread)
    mean, deviation = model.posterior(pseudo, noise, times, relative=True)
    return Level(mean, deviation, noise)


def _winsorised(values: Array, expected: Array, spread: Array) -> tuple[Array, float]:
    """Values whose plain mean is the Huber estimate of the level, and the deviation of their noise."""
    residual = (values - expected) / spread
    scale = max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), _LEAST_NOISE)
    clipped = np.clip(residual / scale, -_WINSOR, _WINSOR)
    inside = max(float(np.mean(np.abs(residual) < _WINSOR * scale)), 0.5)
    noise = scale * float(np.sqrt(np.mean(clipped**2))) / inside
    return expected + spread * scale * clipped / inside, max(noise, _LEAST_NOISE)


class _Model:
    """The average over the grid of settings, for one design."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self._precision = observations.precision()
        self._prior = _covariances(observations.times, observations.times)

    def posterior(
        self, values: Array, noise: float, times: Array, *, relative: bool = False
    ) -> tuple[Array, Array]:
        """Mean and standard deviation ``(Q,)`` at `times`; `relative` to time 0."""
        precision = self._precision / noise**2
        response = self._observations.response(values) / noise**2
        system = np.eye(len(precision)) + precision @ self._prior
        alpha = np.linalg.solve(system, np.broadcast_to(response[:, None], (*system.shape[:2], 1)))[..., 0]
        fit = np.einsum("gk,k->g", np.einsum("gkl,gl->gk", self._prior, alpha), response)
        evidence = 0.5 * (fit - np.linalg.slogdet(system)[1])
        weight = np.exp(evidence - evidence.max())
        weight /= weight.sum()

        origin = np.zeros(1)
        cross = _covariances(times, self._observations.times)
        own = _variances(times)
        if relative:
            own = _variances(times, of_difference_to_zero=True)
            cross = cross - _covariances(origin, self._observations.times)
        means = np.einsum("gqk,gk->gq", cross, alpha)
        explained = np.linalg.solve(system, precision @ cross.transpose(0, 2, 1))
        variances = np.maximum(own - np.einsum("gqk,gkq->gq", cross, explained), 0.0)
        mean = weight @ means
        return mean, np.sqrt(weight @ (variances + (means - mean) ** 2))


def _grid() -> Array:
    """Settings ``(G, 4)``: slope, memory, shock, season. A slope of 0 needs one memory only."""
    return np.array(
        [
            (slope, memory, shock, season)
            for slope, memory, shock, season in itertools.product(_SLOPES, _MEMORIES, _SHOCKS, _SEASONS)
            if slope or memory == _MEMORIES[0]
        ]
    )


_SETTINGS: Final = _grid()


def _moved(distance: Array) -> tuple[Array, Array]:
    """Variance ``(G, ...)`` of the level's move over a distance in months, and the season's cosine."""
    slope, memory, shock, _ = (column.reshape(-1, *([1] * distance.ndim)) for column in _SETTINGS.T)
    span = np.abs(distance) / memory
    trend = 2.0 * (slope * memory) ** 2 * (span + np.expm1(-span))
    return trend + shock**2 * np.abs(distance), np.cos(2.0 * np.pi * distance / 12.0)


def _covariances(first: Array, second: Array) -> Array:
    """Prior covariance of the level ``(G, len(first), len(second))``."""
    across, cosine = _moved(first[:, None] - second[None, :])
    from_first, _ = _moved(first)
    from_second, _ = _moved(second)
    season = _SETTINGS[:, 3, None, None] ** 2 * cosine
    return _CONSTANT**2 + 0.5 * (from_first[:, :, None] + from_second[:, None, :] - across) + season


def _variances(times: Array, *, of_difference_to_zero: bool = False) -> Array:
    """Prior variance ``(G, Q)`` of the level, or of its difference to time 0."""
    moved, cosine = _moved(times)
    season = _SETTINGS[:, 3, None] ** 2
    if of_difference_to_zero:
        return moved + 2.0 * season * (1.0 - cosine)
    return _CONSTANT**2 + moved + season
