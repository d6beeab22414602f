"""Whitened principal components of pooled features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch

_SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True)
class WhitenedComponents:
    """The linear map ``(x - mean) @ projection`` to components of variance 1.

    Attributes:
        mean: Of the raw features `(K,)`.
        projection: Standardising, rotating and whitening in one `(K, R)`.
        variance: Of each component before whitening `(R,)`, descending; the
            standardised channels have variance 1 each.
    """

    mean: np.ndarray
    projection: np.ndarray
    variance: np.ndarray

    @property
    def count(self) -> int:
        """`R`, the number of components."""
        return len(self.variance)

    def transform(self, features: np.ndarray) -> torch.Tensor:
        """Raw features `(n, K)` to components `(n, R)`, float32."""
        projection = self.projection.astype(np.float32)
        return torch.from_numpy((features - self.mean.astype(np.float32)) @ projection)


def whitened_components(features: np.ndarray, count: int) -> WhitenedComponents:
    """Find the principal components of standardised features.

    Args:
        features: `(n, K)`; a channel that never changes gets no weight.
        count: How many to keep at most; those without variance are left out.

    Returns:
        The map, with at least one component.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    changes = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), 1e-12)
    scale = np.where(changes, 1 / np.where(changes, deviation, 1.0), 0.0)
    standard = (features - mean) * scale
    count = min(count, *standard.shape)
    wide = standard.shape[0] < standard.shape[1]
    square = (standard @ standard.T if wide else standard.T @ standard) / len(standard)
    first = len(square) - count
    variance, vectors = scipy.linalg.eigh(square, subset_by_index=[first, len(square) - 1])
    variance, vectors = variance[::-1], vectors[:, ::-1]
    kept = max(1, int((variance > _SMALLEST_VARIANCE * max(variance[0], 1e-12)).sum()))
    variance, vectors = np.maximum(variance[:kept], 1e-12), vectors[:, :kept]
    axes = standard.T @ vectors / np.sqrt(variance * len(standard)) if wide else vectors
    sign = np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
    return WhitenedComponents(mean, scale[:, None] * axes * sign / np.sqrt(variance), variance)
