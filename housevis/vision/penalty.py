"""How strongly the ranker is held back: its L2 penalty, chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.config_sections import SiameseSection
from housevis.vision.lessons import Features, Lesson, check_houses
from housevis.vision.objectives import Objective, fit_learners
from housevis.vision.pairs import Places
from housevis.vision.siamese import rank_accuracy

PENALTIES: Final = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
"""The penalties that are tried."""

KERNEL_PENALTIES: Final = (0.1, 0.3, 1.0, 3.0)
"""Those that are tried for the kernel regression, whose penalty is in units of likeness."""


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
    objective: Objective,
    features: Features,
    target: NDArray[np.floating],
    folds: NDArray[np.integer],
    section: SiameseSection,
    seed: int,
    *,
    places: Places | None = None,
) -> PenaltyChoice:
    """Choose the penalty by cross-validation, with the one-standard-error rule.

    The booster trusts the visual features of the very sales that the ranker
    was fitted on, so of penalties that rank about equally well the strongest
    is the best: it learns the fewest houses by heart. The learners of all
    penalties and folds are trained together.

    Args:
        objective: What is learned, as in :func:`fit_learner`.
        features: Pooled features of the training houses `(n, K)`.
        target: What is learned from `(n,)`; rank accuracy is of its order.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_learner`.
        seed: Same seed, same choice.
        places: As in :func:`fit_learner`.

    Returns:
        The choice.

    Raises:
        ModelError: As in :func:`fit_learner`.
    """
    pooled, target = check_houses(features, target)
    numbers = np.unique(folds)
    training = [folds != number for number in numbers]
    penalties = KERNEL_PENALTIES if objective == "kernel" else PENALTIES
    lessons = [Lesson(target, rows, seed, penalty) for rows in training for penalty in penalties]
    learners = fit_learners(objective, pooled, lessons, section, seed, places=places)
    accuracy = np.empty((len(penalties), len(numbers)))
    for position, learner in enumerate(learners):
        column, row = divmod(position, len(penalties))
        held_out = ~training[column]
        scores = learner.score(pooled[held_out])
        accuracy[row, column] = rank_accuracy(scores, target[held_out], seed=seed)
    means = accuracy.mean(axis=1)
    best = int(means.argmax())
    standard_error = float(accuracy[best].std(ddof=1) / np.sqrt(len(numbers)))
    chosen = max(row for row in range(len(penalties)) if means[row] >= means[best] - standard_error)
    return PenaltyChoice(penalties[chosen], dict(zip(penalties, means.tolist(), strict=True)), standard_error)
