"""What feature learners are fitted on, checked and standardised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.vision.siamese import FeatureLearner

_CHUNK: Final = 2048


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one learner is fitted on.

    Attributes:
        target: What is learned ``(n,)``; it is read in `rows` alone.
        rows: The houses to learn from, bool ``(n,)``.
        seed: Seed of the pairs.
        penalty: L2 penalty, at least 0.
    """

    target: NDArray[np.float64]
    rows: NDArray[np.bool_]
    seed: int
    penalty: float

    def check(self) -> None:
        """Refuse what nothing can be learned from.

        Raises:
            ModelError: Lengths that differ, a target that is not finite, or
                fewer than two different targets.
        """
        if self.target.shape != self.rows.shape:
            raise ModelError(
                f"targets of shape {self.target.shape} do not belong to rows of shape {self.rows.shape}",
                remedy="Hand over one target per house.",
            )
        known = self.target[self.rows]
        if not np.isfinite(known).all():
            raise ModelError("a price or a residual is not finite", remedy="Leave such houses out.")
        if len(np.unique(known)) < 2:
            raise ModelError(
                "a ranker needs houses with different prices",
                remedy="There are fewer than two different prices among the training houses.",
            )


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Pooled features in a file, read when they are asked for: they take no memory while a learner is fitted.

    Attributes:
        file: ``.npy`` file of float32 ``(N, K)``.
        rows: Positions in the file ``(n,)``.
    """

    file: Path
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """`n` and `K`."""
        return len(self.rows), np.load(self.file, mmap_mode="r").shape[1]

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Read some of the `n` rows; the file is mapped for so long only, as mapped pages count as held."""
        return np.asarray(np.load(self.file, mmap_mode="r")[self.rows[chosen]], dtype=np.float32)


Features = NDArray[np.floating] | StoredRows
"""Pooled features `(n, K)`, in memory or in a file."""


def readable(features: Features) -> NDArray[np.float32] | StoredRows:
    """Features whose rows are float32."""
    return features if isinstance(features, StoredRows) else np.asarray(features, dtype=np.float32)


def check_houses(
    features: Features, target: NDArray[np.floating]
) -> tuple[NDArray[np.float32] | StoredRows, NDArray[np.float64]]:
    """Features whose rows are float32 `(n, K)` and targets as float64 `(n,)`, fit to train on.

    Raises:
        ModelError: Lengths that differ, or a feature that is not finite.
    """
    pooled = readable(features)
    learned: NDArray[np.float64] = np.asarray(target, dtype=np.float64)
    if len(pooled.shape) != 2 or learned.shape != (len(pooled),):
        raise ModelError(
            f"features of shape {pooled.shape} do not belong to prices of shape {learned.shape}",
            remedy="Hand over one row of features and one price per house.",
        )
    if not all(np.isfinite(pooled[rows]).all() for rows in chunks(len(pooled))):
        raise ModelError("a feature is not finite", remedy="Leave such houses out.")
    return pooled, learned


def chunks(count: int) -> Iterator[slice]:
    """Rows `0` to `count`, a few thousand at a time."""
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def parts(features: NDArray[np.float32] | StoredRows) -> Iterator[NDArray[np.float32]]:
    """The features, a few thousand rows after the other."""
    return (features[rows] for rows in chunks(len(features)))


class Standardisation:
    """Mean and deviation of every channel, and how they are folded into an embedding.

    Args:
        features: Pooled features `(n, K)` whose rows are float32.
    """

    def __init__(self, features: NDArray[np.float32] | StoredRows) -> None:
        total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
        for rows in chunks(len(features)):
            summed = features[rows].astype(np.float64)
            summed[0] += total
            total = summed.sum(axis=0)
        self._mean = total / max(len(features), 1)
        for rows in chunks(len(features)):
            difference = features[rows] - self._mean
            squares += np.square(difference, out=difference).sum(axis=0)
        deviation = np.sqrt(squares / max(len(features), 1))
        constant = deviation <= 1e-6 * max(1.0, float(deviation.max(initial=0.0)))
        self._deviation = np.where(constant, np.inf, deviation)

    def apply(self, features: NDArray[np.float32] | StoredRows) -> torch.Tensor:
        """The features with mean 0 and deviation 1, constant channels 0: float32 `(n, K)`."""
        standard = np.empty(features.shape, dtype=np.float32)
        for rows in chunks(len(features)):
            difference = features[rows] - self._mean
            standard[rows] = np.divide(difference, self._deviation, out=difference)
        return torch.from_numpy(standard)

    def fold_into(self, learner: FeatureLearner) -> None:
        """Make an embedding of standardised features one of raw features."""
        learner.embedding.take_raw(torch.from_numpy(self._mean), torch.from_numpy(self._deviation))
