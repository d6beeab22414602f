"""How strongly the ranker is held back: its L2 penalty, chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from housevis.core.config import SiameseSection
from housevis.core.progress import progress_bar
from housevis.vision.siamese import fit_rank_siamese, rank_accuracy

PENALTIES: Final = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
"""The penalties that are tried."""


@dataclass(frozen=True)
class PenaltyChoice:
    """A penalty and why it was taken.

    Attributes:
        penalty: The strongest one whose rank accuracy lies within one
            standard error of the best.
        rank_accuracy: Penalty -> mean rank accuracy on held-out folds.
        standard_error: Of the best mean, over the folds.
    """

    penalty: float
    rank_accuracy: dict[float, float]
    standard_error: float


def choose_penalty(
    features: np.ndarray, prices: np.ndarray, folds: np.ndarray, section: SiameseSection, seed: int
) -> PenaltyChoice:
    """Choose the penalty by cross-validation, with the one-standard-error rule.

    The booster trusts the visual features of the very sales that the ranker
    was fitted on, so of penalties that rank about equally well the strongest
    is the best: it learns the fewest houses by heart.

    Args:
        features: Pooled features of the training houses `(n, K)`.
        prices: Their prices `(n,)`.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_rank_siamese`.
        seed: Same seed, same choice.

    Returns:
        The choice.

    Raises:
        ModelError: As in :func:`fit_rank_siamese`.
    """
    numbers = np.unique(folds)
    accuracy = np.empty((len(PENALTIES), len(numbers)))
    with progress_bar("penalty of the ranker", accuracy.size) as bar:
        for column, number in enumerate(numbers):
            held_out = folds == number
            for row, penalty in enumerate(PENALTIES):
                ranker = fit_rank_siamese(
                    features[~held_out], prices[~held_out], section, seed, penalty=penalty
                )
                scores = ranker.score(features[held_out])
                accuracy[row, column] = rank_accuracy(scores, prices[held_out], seed=seed)
                bar.advance()
    means = accuracy.mean(axis=1)
    best = int(means.argmax())
    standard_error = float(accuracy[best].std(ddof=1) / np.sqrt(len(numbers)))
    chosen = max(row for row in range(len(PENALTIES)) if means[row] >= means[best] - standard_error)
    return PenaltyChoice(PENALTIES[chosen], dict(zip(PENALTIES, means.tolist(), strict=True)), standard_error)
