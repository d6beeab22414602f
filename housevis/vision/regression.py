"""Direct regression of the target through the embedding: ridge regressions in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

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

    Products are summed once for all lessons: those of the channels, or those
    of the houses where there are fewer houses than channels.

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
    fewer_houses = len(standard) < standard.shape[1]
    equations: _Equations = (
        _HouseEquations(standard) if fewer_houses else _ChannelEquations(standard, lessons)
    )
    learners: dict[int, FeatureLearner] = {}
    for positions in by_rows.values():
        rows = torch.from_numpy(np.flatnonzero(lessons[positions[0]].rows))
        known = torch.stack([torch.from_numpy(lessons[p].target)[rows] for p in positions], dim=1)
        middles = known.mean(dim=0)
        mean = standard[rows].sum(dim=0, dtype=torch.float64) / len(rows)
        penalties = [lessons[p].penalty for p in positions]
        weights = equations.weights(rows, mean, known - middles, penalties)
        for position, weight, middle in zip(positions, weights.T, middles, strict=True):
            learners[position] = _learner(weight, middle - weight @ mean, dimension)
    return [learners[position] for position in range(len(lessons))]


class _Equations(Protocol):
    def weights(
        self, rows: torch.Tensor, mean: torch.Tensor, targets: torch.Tensor, penalties: Sequence[float]
    ) -> torch.Tensor:
        """Weights float64 `(K, lessons)` of lessons with the same rows.

        Args:
            rows: Positions of the houses `(m,)`.
            mean: Their mean features `(K,)`.
            targets: Their targets with mean 0 `(m, lessons)`.
            penalties: Of each lesson.
        """
        ...


class _ChannelEquations:
    """``(X^T X + penalty) w = X^T y``; a fold's training rows are what is left without the fold."""

    def __init__(self, standard: torch.Tensor, lessons: Sequence[Lesson]) -> None:
        self._standard = standard
        self._taught = torch.from_numpy(np.any([lesson.rows for lesson in lessons], axis=0))
        self._total = self._products(torch.nonzero(self._taught)[:, 0])

    def weights(
        self, rows: torch.Tensor, mean: torch.Tensor, targets: torch.Tensor, penalties: Sequence[float]
    ) -> torch.Tensor:
        """See :class:`_Equations`."""
        left_out = self._taught.clone()
        left_out[rows] = False
        products = self._total - self._products(torch.nonzero(left_out)[:, 0])
        products -= len(rows) * torch.outer(mean, mean)
        sides = torch.zeros(len(mean), targets.shape[1], dtype=torch.float64)
        for part, wanted in zip(rows.split(_CHUNK), targets.split(_CHUNK), strict=True):
            sides += (self._standard[part].double() - mean).T @ wanted
        return _solve(products, sides, penalties, len(rows))

    def _products(self, rows: torch.Tensor) -> torch.Tensor:
        channels = self._standard.shape[1]
        total = torch.zeros(channels, channels, dtype=torch.float64)
        for part in rows.split(_CHUNK):
            chunk = self._standard[part]
            total += chunk.T @ chunk
        return total


class _HouseEquations:
    """``w = X^T a`` with ``(X X^T + penalty) a = y``."""

    def __init__(self, standard: torch.Tensor) -> None:
        self._standard = standard.double()
        self._products = self._standard @ self._standard.T

    def weights(
        self, rows: torch.Tensor, mean: torch.Tensor, targets: torch.Tensor, penalties: Sequence[float]
    ) -> torch.Tensor:
        """See :class:`_Equations`."""
        products = self._products[rows][:, rows]
        products = products - products.mean(dim=0) - products.mean(dim=1, keepdim=True) + products.mean()
        shares = _solve(products, targets, penalties, len(rows))
        return self._standard[rows].T @ shares - torch.outer(mean, shares.sum(dim=0))


def _solve(
    products: torch.Tensor, sides: torch.Tensor, penalties: Sequence[float], houses: int
) -> torch.Tensor:
    """Solutions of ``(products + penalty) x = side`` for every side `(k, lessons)` and its penalty."""
    solved = torch.empty_like(sides)
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
        solved[:, columns] = torch.cholesky_solve(sides[:, columns], factor)
    return solved


def _learner(weight: torch.Tensor, constant: torch.Tensor, dimension: int) -> PriceRegression:
    learner = PriceRegression(len(weight), dimension)
    with torch.no_grad():
        learner.embedding.weight.copy_(weight.expand(dimension, -1))
        learner.embedding.bias.fill_(float(constant))
        learner.head.weight.fill_(1 / dimension)
        learner.head.bias.zero_()
    return learner
