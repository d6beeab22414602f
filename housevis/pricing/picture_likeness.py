"""How alike the pictures of two houses are, from arrays of pooled features; no network is needed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COMPONENTS: Final = 64
"""Principal components that pictures are compared by."""

_GUIDES: Final = 1_000
"""Pictures that the components are found from at most."""

_SMALLEST: Final = 1e-12


class PictureSpace:
    """Pooled features less their mean, along their principal components.

    Args:
        mean: Mean pooled feature ``(K,)`` of the pictures it was fitted on.
        components: Directions ``(K, P)`` of their largest variance, orthonormal.
    """

    def __init__(self, mean: NDArray[np.float32], components: NDArray[np.float32]) -> None:
        self.mean = mean
        self.components = components

    @classmethod
    def fit(cls, pooled: NDArray[np.floating[Any]]) -> PictureSpace:
        """Find the directions.

        Args:
            pooled: Pooled features ``(N, K)``; rows with NaN have no picture and do not count.
        """
        rows = np.flatnonzero(np.isfinite(pooled).all(axis=1))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _GUIDES).astype(np.int64))] if len(rows) else rows
        seen = np.asarray(pooled[rows], dtype=np.float64)
        channels = pooled.shape[1]
        if not len(seen):
            return cls(np.zeros(channels, np.float32), np.zeros((channels, 0), np.float32))
        mean = seen.mean(axis=0)
        seen -= mean
        values, sides = np.linalg.eigh(seen @ seen.T)
        kept = np.argsort(-values, kind="stable")[:COMPONENTS]
        kept = kept[values[kept] > _SMALLEST * max(float(values.max()), 1.0)]
        components = seen.T @ (sides[:, kept] / np.sqrt(values[kept]))
        return cls(mean.astype(np.float32), components.astype(np.float32))

    def places(self, pooled: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Places of pictures ``(n, P)`` on the unit sphere, from pooled features ``(n, K)``; NaN rows stay.

        The product of two is their likeness: 1 for the same picture, about 0
        for two drawn at random.
        """
        found = (np.asarray(pooled, dtype=np.float32) - self.mean) @ self.components
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(length, _SMALLEST), dtype=np.float32)
