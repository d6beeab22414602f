"""The feature learners, fitted on pooled features: the three of the paper (C section 4), and one more.

Those of the paper are a linear embedding ``K x D``; they differ in what it is
trained for:

- ``rank``: which of two houses is dearer (:class:`RankSiamese`);
- ``price``: the target itself (:class:`PriceRegression`);
- ``log-ratio-triplet``: how far apart houses are in the target
  (:class:`LogRatioTriplet`; Kim, Seo, Laptev, Cho, Kwak, Deep Metric Learning
  Beyond Binary Supervision, CVPR 2019).

``kernel`` learns the target itself as ``price`` does, from likeness to other
houses instead of single channels (:class:`KernelRegression`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.kernel_fitting import fit_kernel_regressions
from housevis.vision.lessons import Features, Lesson, Standardisation, check_houses, parts, readable
from housevis.vision.pairs import Places
from housevis.vision.regression import fit_regressions
from housevis.vision.siamese import FeatureLearner
from housevis.vision.stepwise import LogRatioTraining, RankTraining, fit_in_steps

Objective = Literal["rank", "price", "kernel", "log-ratio-triplet"]
OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
PAIRED: Final[tuple[Objective, ...]] = ("rank", "log-ratio-triplet")
"""Learners that are trained on pairs of houses."""


def fit_learner(
    objective: Objective,
    features: Features,
    target: NDArray[np.floating],
    section: SiameseSection,
    seed: int,
    *,
    penalty: float,
    places: Places | None = None,
    fingerprint: str = "",
) -> FeatureLearner:
    """Fit one feature learner on all houses that are given.

    A town has fewer houses than a backbone has channels, so that a learner
    would learn them by heart. Each therefore carries an L2 penalty that fades
    as houses are added, in standardised channels; mean and deviation are
    folded into the embedding afterwards. With `W` the embedding and `V` the
    head the penalty is

    - ``penalty / (2 n) (|W|^2 + |V|^2)`` for ``rank``,
    - ``penalty / (2 n) |V W|^2`` for ``price``, whose two layers are one
      ridge regression and fitted as such,
    - ``penalty / (2 n) |W|^2`` per variance of the embedding for
      ``log-ratio-triplet``, whose loss does not change with the scale,
    - ``penalty / 2`` times the squared norm of the function for ``kernel``,
      added to the likeness of a house to itself, which is 1.

    The gradient of ``rank`` with respect to `f` always lies along
    ``V_1 - V_0``, so all rows of `W` learn one and the same direction of the
    channels: the `D` visual features of a house are one number at `D` scales.
    The same holds for ``price``. What else they hold in ``rank`` is their
    random start, which is small to keep that noise away from the boosting;
    each of them has the deviation 1 over the houses given.

    Args:
        objective: What is learned.
        features: Pooled features of the training houses `(n, K)`.
        target: What is learned from `(n,)`: for ``rank`` anything that orders
            the houses, else mostly the logarithm of the price.
        section: Dimension, pairs, epochs, learning rate, how pairs are drawn.
        seed: Same seed, same result.
        penalty: L2 penalty, at least 0;
            :func:`housevis.vision.penalty.choose_penalty` finds one.
        places: Where the sales lie in place, time and size `(n, 4)`, needed
            for near pairs, see :func:`housevis.vision.pairs.sale_places`.
        fingerprint: The backbone's, kept with the weights.

    Returns:
        The learner, in evaluation mode.

    Raises:
        ModelError: Fewer than two houses with different targets, lengths that
            differ, or values that are not finite.
    """
    pooled, learned = check_houses(features, target)
    lesson = Lesson(learned, np.ones(len(learned), dtype=bool), seed, penalty)
    return fit_learners(objective, pooled, [lesson], section, seed, places=places, fingerprint=fingerprint)[0]


def fit_learners(
    objective: Objective,
    features: Features,
    lessons: Sequence[Lesson],
    section: SiameseSection,
    seed: int,
    *,
    places: Places | None = None,
    fingerprint: str = "",
) -> list[FeatureLearner]:
    """Fit several learners on the same features at once, see :func:`fit_learner`.

    Reading the features is what training costs, and learners that are
    trained together read them once. All start from the same weights, so that
    their dimensions mean the same: for that no house's target is looked at.
    Features are standardised by all the houses given, targets are read in
    the rows of each lesson alone.

    Args:
        objective: What is learned.
        features: Pooled features `(n, K)`, finite.
        lessons: Targets, rows and penalties.
        section: As in :func:`fit_learner`.
        seed: Seed of the common start.
        places: As in :func:`fit_learner`, of all `n` houses.
        fingerprint: The backbone's.

    Returns:
        A learner for each lesson, in evaluation mode.

    Raises:
        ModelError: As in :func:`fit_learner`.
    """
    if section.pair_sampling == "near" and objective in PAIRED and places is None:
        raise ModelError(
            "near pairs need to know where the sales lie in place, time and size",
            remedy='Hand over the places, or set pair_sampling = "uniform" in [siamese].',
        )
    features = readable(features)
    for lesson in lessons:
        lesson.check()
    standardisation = Standardisation(features)
    near = places if section.pair_sampling == "near" else None
    standard = partial(standardisation.apply, features)
    learners: Sequence[FeatureLearner]
    with one_thread():
        match objective:
            case "rank":
                learners = fit_in_steps(RankTraining, standard(), lessons, section, seed, near)
            case "log-ratio-triplet":
                learners = fit_in_steps(LogRatioTraining, standard(), lessons, section, seed, near)
            case "price":
                learners = fit_regressions(standard(), lessons, section.feature_dimension)
            case "kernel":
                learners = fit_kernel_regressions(
                    lambda: map(standardisation.apply, parts(features)), lessons, section.feature_dimension
                )
    for learner in learners:
        standardisation.fold_into(learner)
        learner.fingerprint = fingerprint
    return [learner.eval() for learner in learners]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sum in one order: several threads round differently from run to run, and boosting magnifies that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
