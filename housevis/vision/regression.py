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
_BLOCK: Final = 512
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
        mean = torch.zeros(standard.shape[1], dtype=torch.float64)
        for part in rows.split(_CHUNK):
            mean += standard[part].sum(dim=0, dtype=torch.float64) / len(rows)
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
    """``(X^T X + penalty) w = X^T y``; a fold's training rows are what is left without the fold.

    The products are symmetric, and nothing above their diagonal is computed or read.
    """

    def __init__(self, standard: torch.Tensor, lessons: Sequence[Lesson]) -> None:
        self._standard = standard
        self._taught = torch.from_numpy(np.any([lesson.rows for lesson in lessons], axis=0))
        channels = standard.shape[1]
        self._total = torch.zeros(channels, channels, dtype=torch.float64)
        self._add_products(self._total, self._taught, 1)

    def weights(
        self, rows: torch.Tensor, mean: torch.Tensor, targets: torch.Tensor, penalties: Sequence[float]
    ) -> torch.Tensor:
        """See :class:`_Equations`."""
        left_out = self._taught.clone()
        left_out[rows] = False
        products = self._total.clone()
        self._add_products(products, left_out, -1)
        products.addr_(mean, mean, alpha=-len(rows))
        sides = torch.zeros(len(mean), targets.shape[1], dtype=torch.float64)
        for part, wanted in zip(rows.split(_BLOCK), targets.split(_BLOCK), strict=True):
            sides += self._standard[part].double().sub_(mean).T @ wanted
        return _solve(products, sides, penalties, len(rows))

    def _add_products(self, total: torch.Tensor, houses: torch.Tensor, sign: int) -> None:
        for part in torch.nonzero(houses)[:, 0].split(_CHUNK):
            chunk = self._standard[part]
            for start in range(0, len(total), _BLOCK):
                block, end = slice(start, start + _BLOCK), start + _BLOCK
                total[block, :end].add_(chunk[:, block].T @ chunk[:, :end], alpha=sign)


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
    """Solutions of ``(products + penalty) x = side`` for every side `(k, lessons)` and its penalty.

    Args:
        products: `(k, k)`, read up to the diagonal; overwritten, as a copy of it may be 128 MiB.
        sides: `(k, lessons)`.
        penalties: Of each side.
        houses: How many were summed.
    """
    solved = torch.empty_like(sides)
    different = list(dict.fromkeys(penalties))
    for penalty in different:
        columns = [column for column, own in enumerate(penalties) if own == penalty]
        solved[:, columns] = _solve_in_place(
            products if penalty == different[-1] else products.clone(),
            sides[:, columns],
            max(penalty, _LEAST_PENALTY * houses),
        )
    return solved


def _solve_in_place(equations: torch.Tensor, sides: torch.Tensor, penalty: float) -> torch.Tensor:
    equations.diagonal().add_(penalty)
    failed = torch.zeros((), dtype=torch.int32)
    torch.linalg.cholesky_ex(equations.mT, upper=True, out=(equations.mT, failed))
    if failed:
        raise ModelError(
            "the regression on the pooled features has no solution",
            remedy='Set penalty = "auto", or a larger one, in [siamese].',
        )
    half_way = torch.linalg.solve_triangular(equations, sides, upper=False)
    return torch.linalg.solve_triangular(equations.mT, half_way, upper=True)


def _learner(weight: torch.Tensor, constant: torch.Tensor, dimension: int) -> PriceRegression:
    learner = PriceRegression(len(weight), dimension)
    with torch.no_grad():
        learner.embedding.weight.copy_(weight.expand(dimension, -1))
        learner.embedding.bias.fill_(float(constant))
        learner.head.weight.fill_(1 / dimension)
        learner.head.bias.zero_()
    return learner
