"""A linear model of the log price, whose rest the boosting learns.

Trees cut a straight line into steps, and with few sales into few. A ridge
regression takes what is straight, in the features or in their logarithms, so
that the trees are left with what is not.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError

Array = NDArray[np.float64]

_PENALTY: Final = 10.0
_DIGITS: Final = 10
"""Decimals of a coefficient: beyond them stands only the order in which the processor added."""


class LinearBase:
    """Ridge regression on F features and the logarithms of their sizes.

    A feature beyond the range of the training sales counts as one at its
    end, and a missing one as an average one.

    Args:
        lowest: Smallest values ``(F,)`` of the training sales.
        highest: Largest values ``(F,)``.
        means: Means ``(2 F,)`` of the features, then of their logarithms.
        coefficients: Log units per unit ``(2 F,)``.
        intercept: Mean target of the training sales, log units.
    """

    def __init__(
        self, lowest: Array, highest: Array, means: Array, coefficients: Array, intercept: float
    ) -> None:
        self._lowest = lowest
        self._highest = highest
        self._means = means
        self._coefficients = coefficients
        self._intercept = intercept

    @classmethod
    def fit(cls, table: Array, target: Array) -> LinearBase:
        """Fit the regression.

        Args:
            table: Features ``(n, F)``, NaN where missing.
            target: Targets ``(n,)``, log units.
        """
        known = np.isfinite(table)
        lowest = np.where(known, table, np.inf).min(axis=0)
        highest = np.where(known, table, -np.inf).max(axis=0)
        empty = ~known.any(axis=0)
        lowest[empty], highest[empty] = 0.0, 0.0
        columns = _with_logarithms(table, lowest, highest)
        there = np.isfinite(columns)
        means = np.where(there, columns, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        centred = np.where(there, columns - means, 0.0)
        scale = np.sqrt((centred**2).mean(axis=0))
        scale[scale < 1e-9 * np.maximum(np.abs(means), 1.0)] = np.inf
        standard = centred / scale
        intercept = float(target.mean())
        system = standard.T @ standard + _PENALTY * np.eye(standard.shape[1])
        weights = np.linalg.solve(system, standard.T @ (target - intercept))
        coefficients = np.round(weights, _DIGITS) / scale
        return cls(lowest, highest, means, coefficients, intercept)

    def predict(self, table: Array) -> Array:
        """Predictions ``(n,)`` from features ``(n, F)``, log units; the same for a house in any selection."""
        return np.asarray(self.contributions(np.ascontiguousarray(table)).sum(axis=1))

    def contributions(self, table: Array) -> Array:
        """What each feature adds ``(n, F + 1)``, log units, the mean target last; rows sum to the prediction.

        These are the exact Shapley values of a linear model.
        """
        columns = _with_logarithms(table, self._lowest, self._highest)
        parts = np.where(np.isfinite(columns), (columns - self._means) * self._coefficients, 0.0)
        count = table.shape[1]
        return np.column_stack([parts[:, :count] + parts[:, count:], np.full(len(table), self._intercept)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values, for :meth:`from_dict`."""
        return {
            "lowest": self._lowest.tolist(),
            "highest": self._highest.tolist(),
            "means": self._means.tolist(),
            "coefficients": self._coefficients.tolist(),
            "intercept": self._intercept,
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> LinearBase:
        """The regression that :meth:`to_dict` wrote, digit for digit.

        Raises:
            ModelError: The facts are not those of a linear base.
        """
        try:
            lowest, highest, means, coefficients = (
                np.asarray(facts[name], dtype="float64")
                for name in ("lowest", "highest", "means", "coefficients")
            )
            if not len(lowest) == len(highest) == len(means) / 2 == len(coefficients) / 2:
                raise ValueError
            return cls(lowest, highest, means, coefficients, float(facts["intercept"]))
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "this is no linear base, or it is damaged", remedy="Run `train` again."
            ) from None


def _with_logarithms(table: Array, lowest: Array, highest: Array) -> Array:
    """Features within their range, then the logarithms of their sizes, ``(n, 2 F)``."""
    inside = np.clip(table, lowest, highest)
    return np.hstack([inside, np.log1p(np.abs(inside))])
