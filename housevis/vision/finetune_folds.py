"""Cross-fitted scores: every sold picture judged by a network that never saw it, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class FoldScores:
    """What one network says of all pictures.

    Attributes:
        scores: `(n, T)`.
        learned: True for the pictures that it learned from `(n,)`.
        judges: True for the pictures whose scores are taken from it `(n,)`.
    """

    scores: Scores
    learned: NDArray[np.bool_]
    judges: NDArray[np.bool_]


def cross_fitted_scores(folds: Sequence[FoldScores], everything: FoldScores) -> Scores:
    """Put the scores of several networks on one scale, each picture's by the network that judges it.

    A network is surer of the pictures it learned from: their scores are
    spread wider. The scores of a fold's network are taken to mean 0 and
    spread 1 over the pictures it did *not* learn from and judges. The
    network of all pictures has seen all there are, so that its own spread is
    multiplied by the ratio found in the folds, held-out to learned; no later
    picture is looked at for it.

    Args:
        folds: Networks that each learned from the other folds.
        everything: The network that learned from all folds.

    Returns:
        `(n, T)`, NaN where no network judges a picture.

    Raises:
        ModelError: Fewer than two folds, or a fold judges or learned from
            fewer than two pictures, or one it learned from.
    """
    if len(folds) < 2:
        raise ModelError("cross-fitting needs at least two folds", remedy="Give --folds 2 or more.")
    aligned = np.full(everything.scores.shape, np.nan, dtype=np.float32)
    ratios, shifts = [], []
    for fold in folds:
        if (fold.learned & fold.judges).any():
            raise ModelError(
                "a network would judge pictures that it learned from",
                remedy="Keep sales of one picture in one fold.",
            )
        mean, spread = _scale(fold.scores[fold.judges])
        learned_mean, learned_spread = _scale(fold.scores[fold.learned])
        ratios.append(spread / learned_spread)
        shifts.append((mean - learned_mean) / learned_spread)
        aligned[fold.judges] = (fold.scores[fold.judges] - mean) / spread
    mean, spread = _scale(everything.scores[everything.learned])
    mean = mean + np.mean(shifts, axis=0) * spread
    spread = np.mean(ratios, axis=0) * spread
    judged = everything.judges
    aligned[judged] = (everything.scores[judged] - mean) / spread
    return aligned


def _scale(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(scores) < 2:
        raise ModelError("a fold holds fewer than two pictures", remedy="Lower --folds, or give more sales.")
    spread = scores.std(axis=0, dtype=np.float64)
    return scores.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0)
