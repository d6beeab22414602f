"""Cross-fitted visual features: every house described by a learner that never saw its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.lessons import Features, Lesson, StoredRows, check_houses
from housevis.vision.objectives import Objective, fit_learners
from housevis.vision.pairs import Places
from housevis.vision.siamese import FeatureLearner, embed_all

LEAST_STANDARD_ERRORS: Final = 2.0
"""How far above 0 the correlation of held-out scores with their targets must lie, in its standard errors."""


@dataclass(frozen=True, eq=False)
class FoldTargets:
    """What is learned from, for the learner of all houses and for those of the folds.

    A price is the same for all of them. A residual is not: what a model left
    unexplained that was fitted on other folds depends on the prices of those,
    so that a learner that must not see a fold needs residuals of models that
    have not seen it either.

    Attributes:
        whole: For the learner of all houses `(n,)`.
        by_fold: A row for each fold number in ascending order, for the
            learner that does not see that fold `(F, n)`; not read there.
        penalty: L2 penalty, see :func:`housevis.vision.objectives.fit_learner`.
    """

    whole: NDArray[np.float64]
    by_fold: NDArray[np.float64]
    penalty: float

    def only(self, houses: NDArray[np.bool_], folds: NDArray[np.integer]) -> FoldTargets:
        """The targets of some houses, in those folds that have any of them.

        Args:
            houses: Which houses, bool `(n,)`.
            folds: Fold number of every house `(n,)`.
        """
        kept = np.isin(np.unique(folds), folds[houses])
        return FoldTargets(self.whole[houses], self.by_fold[kept][:, houses], self.penalty)


def cross_fitted_features(
    objective: Objective,
    features: Features,
    target: NDArray[np.floating],
    folds: NDArray[np.integer],
    section: SiameseSection,
    seed: int,
    *,
    penalty: float,
    places: Places | None = None,
) -> NDArray[np.float32]:
    """Visual features of every house by a learner trained on the other folds.

    Args:
        objective: What is learned, as in :func:`fit_learner`.
        features: Pooled features `(n, K)`.
        target: What is learned from `(n,)`, or `(F, n)` as in
            :attr:`FoldTargets.by_fold`.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_learner`.
        seed: Same seed, same result.
        penalty: As in :func:`fit_learner`.
        places: As in :func:`fit_learner`.

    Returns:
        Out-of-fold features `(n, D)` float32.

    Raises:
        ModelError: As in :func:`fit_learner`, or fewer than two folds.
    """
    by_fold = np.asarray(target, dtype=np.float64)
    if by_fold.ndim == 1:
        by_fold = np.repeat(by_fold[None], len(np.unique(folds)), axis=0)
    pooled, lessons = _fold_lessons(features, by_fold, folds, seed, penalty)
    learners = fit_learners(objective, pooled, lessons, section, seed, places=places)
    return _held_out_features([[learner] for learner in learners], pooled, folds)


def fit_and_cross_fit(
    objective: Objective,
    features: Features,
    targets: Sequence[FoldTargets],
    folds: NDArray[np.integer],
    section: SiameseSection,
    seed: int,
    *,
    places: Places | None = None,
    fingerprint: str = "",
) -> tuple[list[FeatureLearner], NDArray[np.float32]]:
    """A learner of all houses for each target, and features of learners that have not seen the house.

    All learners of all folds start from the same weights, so that the `D`
    dimensions mean the same in each of them and in the learner of all houses.
    There is no alignment afterwards: it would look at the prices of the
    houses that are held out.

    **A learner that has found nothing is silenced**: where the scores of the
    held-out houses do not go with their targets by at least
    :data:`LEAST_STANDARD_ERRORS`, the pictures say nothing about that target,
    and its features are 0 everywhere. Noise would cost a booster accuracy.

    Args:
        objective: What is learned, as in :func:`fit_learner`.
        features: Pooled features `(n, K)`.
        targets: What is learned from, `T` of them.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_learner`.
        seed: Same seed, same result.
        places: As in :func:`fit_learner`.
        fingerprint: The backbone's.

    Returns:
        `T` learners of all houses, and the out-of-fold features
        `(n, T * D)` float32.

    Raises:
        ModelError: As in :func:`cross_fitted_features`.
    """
    lessons: list[Lesson] = []
    for target in targets:
        pooled, by_others = _fold_lessons(features, target.by_fold, folds, seed, target.penalty)
        whole = Lesson(target.whole, np.ones(len(folds), dtype=bool), seed, target.penalty)
        lessons += [whole, *by_others]
    learners = fit_learners(objective, pooled, lessons, section, seed, places=places, fingerprint=fingerprint)
    size = len(learners) // len(targets)
    of_all = learners[::size]
    of_folds = [learners[position::size] for position in range(1, size)]
    found = _held_out_features(of_folds, pooled, folds)
    sides = np.split(found, np.cumsum([learner.dimension for learner in of_all])[:-1], axis=1)
    for learner, target, held_out in zip(of_all, targets, sides, strict=True):
        if not says_something(held_out @ learner.direction().detach().numpy(), target.whole):
            learner.silence()
            held_out[:] = 0
    return of_all, found


def says_something(scores: NDArray[np.floating], target: NDArray[np.floating]) -> bool:
    """Whether scores go with a target by more than chance.

    Args:
        scores: Scores by learners that have not seen the house `(n,)`.
        target: What they were to learn `(n,)`.
    """
    if len(scores) < 3 or np.ptp(scores) == 0:
        return False
    correlation = float(np.corrcoef(scores, target)[0, 1])
    return correlation * np.sqrt(len(scores)) > LEAST_STANDARD_ERRORS


def _fold_lessons(
    features: Features,
    by_fold: NDArray[np.float64],
    folds: NDArray[np.integer],
    seed: int,
    penalty: float,
) -> tuple[NDArray[np.float32] | StoredRows, list[Lesson]]:
    numbers = np.unique(folds)
    if len(numbers) < 2 or len(folds) != len(features):
        raise ModelError(
            "cross-fitting needs at least two folds, and a fold number for every house",
            remedy="Set pricing.folds to 2 or more.",
        )
    if by_fold.shape != (len(numbers), len(features)):
        raise ModelError(
            f"targets of shape {by_fold.shape} do not belong to {len(features)} houses in "
            f"{len(numbers)} folds",
            remedy="Hand over one target per house, or one per fold and house.",
        )
    pooled, _ = check_houses(features, by_fold[0])
    return pooled, [
        Lesson(by_fold[position], folds != number, seed + 1 + position, penalty)
        for position, number in enumerate(numbers)
    ]


def _held_out_features(
    learners: Sequence[Sequence[FeatureLearner]],
    pooled: NDArray[np.float32] | StoredRows,
    folds: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Features of every fold by the learners that have not seen it: `(n, sum of D)`."""
    found = np.empty((len(pooled), sum(each.dimension for each in learners[0])), dtype=np.float32)
    for of_fold, number in zip(learners, np.unique(folds), strict=True):
        held_out = folds == number
        found[held_out] = embed_all(of_fold, pooled[held_out])
    return found
