"""Direct regression of the target through the embedding: ridge regressions in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from housevis.core.errors import ModelError
from housevis.vision.lessons import Lesson
from housevis.vision.siamese import FeatureLearner, PriceRegression

_CHUNK: Final = 2048
_LEAST_PENALTY: Final = 1e-6
"""Per house; keeps the equations solvable where channels repeat each other and the penalty is 0."""


def fit_regressions(
    standard: torch.Tensor, lessons: Sequence[Lesson], dimension: int
) -> list[FeatureLearner]:
    """Fit a :class:`PriceRegression` for each lesson.

    Two linear layers without anything between them are one linear
    regression, so the squared error with its penalty has its minimum in
    closed form. Every dimension of the embedding then is the predicted
    target, and the head averages them.

    The products of the channels are summed once; those of a fold's training
    rows are what is left without the fold.

    Args:
        standard: Standardised features float32 `(n, K)`.
        lessons: Targets, rows and penalties.
        dimension: `D`.

    Raises:
        ModelError: The equations have no solution.
    """
    by_rows: dict[bytes, list[int]] = {}
    for position, lesson in enumerate(lessons):
        by_rows.setdefault(lesson.rows.tobytes(), []).append(position)
    taught = np.any([lesson.rows for lesson in lessons], axis=0)
    total = _products(standard, taught)
    learners: dict[int, FeatureLearner] = {}
    for positions in by_rows.values():
        same_rows = [lessons[position] for position in positions]
        rows = same_rows[0].rows
        left_out = taught & ~rows
        products = total - _products(standard, left_out) if left_out.any() else total.clone()
        mean = _mean(standard, rows)
        products -= int(rows.sum()) * torch.outer(mean, mean)
        sides, middles = _right_sides(standard, mean, same_rows)
        weights = _solve(products, sides, [lesson.penalty for lesson in same_rows], int(rows.sum()))
        for position, weight, middle in zip(positions, weights, middles, strict=True):
            learners[position] = _learner(weight, middle - weight @ mean, dimension)
    return [learners[position] for position in range(len(lessons))]


def _products(standard: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Sums of products of channels over some houses, float64 `(K, K)`."""
    total = torch.zeros(standard.shape[1], standard.shape[1], dtype=torch.float64)
    for part in torch.from_numpy(np.flatnonzero(rows)).split(_CHUNK):
        chunk = standard[part]
        total += chunk.T @ chunk
    return total


def _mean(standard: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    return standard[torch.from_numpy(rows)].sum(dim=0, dtype=torch.float64) / int(rows.sum())


def _right_sides(
    standard: torch.Tensor, mean: torch.Tensor, lessons: Sequence[Lesson]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Products of channels and targets `(K, lessons)` of lessons with the same rows, and mean targets."""
    rows = torch.from_numpy(np.flatnonzero(lessons[0].rows))
    known = torch.stack([torch.from_numpy(lesson.target)[rows] for lesson in lessons], dim=1)
    middles = known.mean(dim=0)
    sides = torch.zeros(standard.shape[1], len(lessons), dtype=torch.float64)
    for part, targets in zip(rows.split(_CHUNK), (known - middles).split(_CHUNK), strict=True):
        sides += (standard[part].double() - mean).T @ targets
    return sides, middles


def _solve(
    products: torch.Tensor, sides: torch.Tensor, penalties: Sequence[float], houses: int
) -> list[torch.Tensor]:
    """Weights float64 `(K,)` for every right side and its penalty."""
    weights: dict[int, torch.Tensor] = {}
    for penalty in dict.fromkeys(penalties):
        columns = [column for column, own in enumerate(penalties) if own == penalty]
        equations = products.clone()
        equations.diagonal().add_(max(penalty, _LEAST_PENALTY * houses))
        factor, failed = torch.linalg.cholesky_ex(equations)
        if failed:
            raise ModelError(
                "the regression on the pooled features has no solution",
                remedy='Set penalty = "auto", or a larger one, in [siamese].',
            )
        solved = torch.cholesky_solve(sides[:, columns], factor)
        weights |= dict(zip(columns, solved.T, strict=True))
    return [weights[column] for column in range(len(penalties))]


def _learner(weight: torch.Tensor, constant: torch.Tensor, dimension: int) -> PriceRegression:
    learner = PriceRegression(len(weight), dimension)
    with torch.no_grad():
        learner.embedding.weight.copy_(weight.expand(dimension, -1))
        learner.embedding.bias.fill_(float(constant))
        learner.head.weight.fill_(1 / dimension)
        learner.head.bias.zero_()
    return learner
