"""What feature learners are fitted on, checked and standardised."""

from __future__ import annotations

from dataclasses import dataclass
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


def check_houses(
    features: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features as float32 `(n, K)` and targets as float64 `(n,)`, fit to train on.

    Raises:
        ModelError: Lengths that differ, or a feature that is not finite.
    """
    pooled: NDArray[np.float32] = np.asarray(features, dtype=np.float32)
    learned: NDArray[np.float64] = np.asarray(target, dtype=np.float64)
    if pooled.ndim != 2 or learned.shape != (len(pooled),):
        raise ModelError(
            f"features of shape {pooled.shape} do not belong to prices of shape {learned.shape}",
            remedy="Hand over one row of features and one price per house.",
        )
    if not np.isfinite(pooled).all():
        raise ModelError("a feature is not finite", remedy="Leave such houses out.")
    return pooled, learned


class Standardisation:
    """Mean and deviation of every channel, and how they are folded into an embedding.

    Args:
        features: Pooled features float32 `(n, K)`.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._mean = features.mean(axis=0, dtype=np.float64)
        squares = np.zeros(features.shape[1])
        for start in range(0, len(features), _CHUNK):
            squares += ((features[start : start + _CHUNK] - self._mean) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / max(len(features), 1))
        constant = deviation <= 1e-6 * max(1.0, float(deviation.max(initial=0.0)))
        self._deviation = np.where(constant, np.inf, deviation)

    def apply(self, features: NDArray[np.float32]) -> torch.Tensor:
        """The features with mean 0 and deviation 1, constant channels 0: float32 `(n, K)`."""
        standard = np.empty_like(features)
        for start in range(0, len(features), _CHUNK):
            rows = slice(start, start + _CHUNK)
            standard[rows] = (features[rows] - self._mean) / self._deviation
        return torch.from_numpy(standard)

    def fold_into(self, learner: FeatureLearner) -> None:
        """Make an embedding of standardised features one of raw features."""
        weight = learner.embedding.weight.detach().double().numpy() / self._deviation
        bias = learner.embedding.bias.detach().double().numpy() - weight @ self._mean
        with torch.no_grad():
            learner.embedding.weight.copy_(torch.from_numpy(weight))
            learner.embedding.bias.copy_(torch.from_numpy(bias))
