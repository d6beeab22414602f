"""Weighted means and medians of rows, over the values that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def weighted_mean(values: Array, weights: Array) -> Array:
    """Means ``(n,)`` of the values ``(n, k)`` that are known; NaN where none has a weight."""
    known = np.isfinite(values)
    weight = np.where(known, weights, 0)
    total = weight.sum(axis=1)
    sums = (weight * np.where(known, values, 0)).sum(axis=1)
    return np.divide(sums, total, out=np.full(len(values), np.nan), where=total > 0)


def weighted_median(values: Array, weights: Array) -> Array:
    """Medians ``(n,)`` of the values ``(n, k)`` that are known; NaN where none has a weight.

    The median is where half of the weight is reached; where that falls
    exactly between two values, it is the mean of both.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    weight = np.where(np.isfinite(ordered), np.take_along_axis(weights, order, axis=1), 0)
    reached = np.cumsum(weight, axis=1)
    half = reached[:, -1:] / 2
    rows = np.arange(len(values))
    lower = ordered[rows, (reached >= half).argmax(axis=1)]
    upper = ordered[rows, (reached > half).argmax(axis=1)]
    return np.where(half[:, 0] > 0, (lower + upper) / 2, np.nan)
