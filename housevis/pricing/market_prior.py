"""How a market may move: prior settings, and the covariance of the log level that each gives.

The log level is a constant, a trend, small shocks and a yearly season: the
structural time-series model with a damped slope (Harvey 1989, ch. 2; Gardner
and McKenzie 1985), in continuous time as a Gaussian process, so that gaps and
uneven days need no care. With times in months and 0 at the last sale:

    cov(s, t) = c^2 + v^2/2 (h(s) + h(t) - h(s - t)) + q^2/2 (|s| + |t| - |s - t|)
                + w^2 k(s) k(t) + a^2 cos(2 pi (s - t) / 12)
    h(d) = 2 m^2 (|d|/m - 1 + exp(-|d|/m))        k(t) = max(t - u, 0) - max(-u, 0)

The slope has the standard deviation `v` and is forgotten with the time `m`;
`q` is the shock of a month, `w` a change of the slope at the time `u`, and `a`
the height of the season. No market is assumed to rise or to fall: every part
has mean 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CONSTANT: Final = 1.0
"""Prior standard deviation of the level as a whole: wide, as values are centred before."""

_LASTING: Final = 240.0
"""Memory in months of a slope that is steady for as long as sales are collected."""
_TURNS: Final = (-0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -4.0, -5.0, -7.0, -10.0)
"""Months at which the slope may have changed, before the last sale."""
_SEASON: Final = 0.02
_SEASONAL_SHARE: Final = 0.5
"""Prior weight of a market with seasons."""


@dataclass(frozen=True)
class Settings:
    """G ways in which a market may move; each field ``(G,)``.

    Attributes:
        slope: Standard deviation of the slope, log units a month.
        memory: Time after which a slope is forgotten, months.
        shock: Standard deviation of what a month adds to the level.
        turn: Standard deviation of the slope's change, log units a month.
        since: Time of that change, months, below 0.
        season: Standard deviation of the season's two coefficients.
        weight: Prior weight; sums to 1.
    """

    slope: Array
    memory: Array
    shock: Array
    turn: Array
    since: Array
    season: Array
    weight: Array

    def __len__(self) -> int:
        return len(self.weight)

    def only(self, kept: NDArray[np.bool_]) -> Settings:
        """The settings where `kept` ``(G,)`` is true; their weights stay as they are."""
        return Settings(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))

    def covariances(self, first: Array, second: Array) -> Array:
        """Prior covariance ``(G, len(first), len(second))`` of the level."""
        across = first[:, None] - second[None, :]
        apart = self._moved(across.ravel()).reshape(len(self), *across.shape)
        shared = self._moved(first)[:, :, None] + self._moved(second)[:, None, :] - apart
        turned = self._turned(first)[:, :, None] * self._turned(second)[:, None, :]
        cosine = np.cos(2.0 * np.pi * across / 12.0)
        return _CONSTANT**2 + 0.5 * shared + turned + self.season[:, None, None] ** 2 * cosine

    def change_variances(self, times: Array) -> Array:
        """Prior variance ``(G, len(times))`` of the level's difference to time 0."""
        season = 2.0 * self.season[:, None] ** 2 * (1.0 - np.cos(2.0 * np.pi * times / 12.0))
        return self._moved(times) + self._turned(times) ** 2 + season

    def _moved(self, distance: Array) -> Array:
        """Variance ``(G, n)`` that slope and shocks move the level over distances in months."""
        memories, position = np.unique(self.memory, return_inverse=True)
        span = np.abs(distance) / memories[:, None]
        trend = 2.0 * memories[:, None] ** 2 * (span + np.expm1(-span))
        return self.slope[:, None] ** 2 * trend[position] + self.shock[:, None] ** 2 * np.abs(distance)

    def _turned(self, times: Array) -> Array:
        """The change of slope as a function ``(G, n)`` of time, 0 at time 0."""
        since = self.since[:, None]
        return self.turn[:, None] * (np.maximum(times - since, 0.0) - np.maximum(-since, 0.0))


def _family(
    weight: float,
    slopes: Sequence[float],
    memories: Sequence[float],
    shocks: Sequence[float],
    turns: Sequence[float] = (0.0,),
    times: Sequence[float] = (-1.0,),
) -> list[tuple[float, ...]]:
    """All combinations, with and without a season, that share a prior weight."""
    rows = list(itertools.product(slopes, memories, shocks, turns, times))
    shares = ((0.0, 1.0 - _SEASONAL_SHARE), (_SEASON, _SEASONAL_SHARE))
    return [(*row, season, weight * share / len(rows)) for season, share in shares for row in rows]


def _columns(*families: list[tuple[float, ...]]) -> Settings:
    return Settings(*np.array([row for family in families for row in family]).T)


_STEADY: Final = _family(0.7, (0.0005, 0.002, 0.006, 0.015), (_LASTING,), (0.0, 0.003))
_WANDERING: Final = _family(0.1, (0.005, 0.015), (6.0, 24.0), (0.001, 0.01))
_TURNED: Final = _family(0.2, (0.002, 0.012), (_LASTING,), (0.0, 0.003), (0.01, 0.03), _TURNS)

ALL_SETTINGS: Final = _columns(_STEADY, _WANDERING, _TURNED)
"""Steady markets (0.7 of the prior weight), wandering ones (0.1), and those that turned lately (0.2)."""
UNTURNED_SETTINGS: Final = _columns(_STEADY, _WANDERING)
"""Those that did not turn: enough to tell which sales are far from the level."""
