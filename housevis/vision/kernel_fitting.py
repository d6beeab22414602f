"""Kernel ridge regression on pooled features, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import ssyrk

from housevis.core.errors import ModelError
from housevis.vision.kernel import squared_distances
from housevis.vision.lessons import Lesson
from housevis.vision.siamese import KernelRegression

COMPONENTS: Final = 256
"""Principal components that likeness is measured in."""

GROUP: Final = 12_000
"""Houses that are taught together; the matrix of their likenesses takes 4 bytes for each pair of them."""

_TINY: Final = float(torch.finfo(torch.float32).tiny)
_MEDIAN_HOUSES: Final = 1000
_CHUNK: Final = 1024
_LEAST_PENALTY: Final = 1e-4
"""Keeps the equations solvable where two pictures are the same."""

Float32 = NDArray[np.float32]


def fit_kernel_regressions(
    standard: Callable[[], Iterable[torch.Tensor]], lessons: Sequence[Lesson], dimension: int
) -> list[KernelRegression]:
    """Fit a :class:`KernelRegression` for each lesson.

    Principal components and width come from the pictures of all houses given;
    no target is looked at for them. The width is the median squared distance
    between houses. Houses beyond :data:`GROUP` are dealt into groups whose
    regressions are averaged (Zhang, Duchi, Wainwright, Divide and Conquer
    Kernel Ridge Regression, JMLR 2015), so that memory stays bounded.

    Args:
        standard: Reads the standardised features float32 `(n, K)`, some rows
            after the other; called twice, so that they are never held at once.
        lessons: Targets, rows and penalties; a penalty is added to the
            likeness of a house to itself, which is 1.
        dimension: `D`; every one of them is the predicted target.

    Raises:
        ModelError: The equations have no solution.
    """
    axes = _principal_axes(standard(), len(lessons[0].rows))
    places = torch.cat([part @ axes.T for part in standard()])
    width = _width(places)
    by_rows: dict[tuple[bytes, float], list[int]] = {}
    for position, lesson in enumerate(lessons):
        by_rows.setdefault((lesson.rows.tobytes(), lesson.penalty), []).append(position)
    learners: dict[int, KernelRegression] = {}
    for positions in by_rows.values():
        first = lessons[positions[0]]
        rows = np.flatnonzero(first.rows)
        targets = np.stack([lessons[position].target[rows] for position in positions], axis=1)
        middles = targets.mean(axis=0)
        weights = _weights(places[rows], targets - middles, width, first.penalty, first.seed)
        for position, weight, middle in zip(positions, weights.T, middles, strict=True):
            learners[position] = _learner(axes, places[rows], width, weight, float(middle), dimension)
    return [learners[position] for position in range(len(lessons))]


def _principal_axes(parts: Iterable[torch.Tensor], houses: int) -> torch.Tensor:
    """The axes of largest variance `(P, K)`, of features with mean 0."""
    products = None
    few = []
    for part in parts:
        channels = part.shape[1]
        if houses < channels:
            few.append(part)
            continue
        if products is None:
            products = np.zeros((channels, channels), dtype=np.float32, order="F")
        products = ssyrk(1, part.numpy().T, beta=1, c=products, lower=1, overwrite_c=1)
    if products is not None:
        return _largest(products, min(COMPONENTS, len(products)))[1].T.contiguous()
    every = torch.cat(few)
    values, vectors = _largest((every @ every.T).numpy(), min(COMPONENTS, houses - 1))
    return (vectors.T @ every) / values.clamp(min=_TINY).sqrt()[:, None]


def _largest(products: Float32, kept: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `kept` largest eigenvalues of `(n, n)` products, and their vectors `(n, kept)`.

    The products are read on and below the diagonal, and overwritten.
    """
    size = len(products)
    values, vectors = scipy.linalg.eigh(
        products, subset_by_index=(size - kept, size - 1), overwrite_a=True, check_finite=False
    )
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _width(places: torch.Tensor) -> float:
    """The median squared distance between houses, above 0."""
    some = places[:: max(1, len(places) // _MEDIAN_HOUSES)]
    distances = squared_distances(some, some)
    others = ~torch.eye(len(some), dtype=torch.bool)
    return max(float(distances[others].median()), _TINY)


def _weights(
    places: torch.Tensor, targets: NDArray[np.float64], width: float, penalty: float, seed: int
) -> Float32:
    """Weights of the houses that teach `(m, lessons)`, the mean of the regressions of their groups."""
    number = -(-len(places) // GROUP)
    group = np.random.default_rng(seed).permutation(np.arange(len(places)) % number)
    weights = np.empty(targets.shape, dtype=np.float32)
    for members in (np.flatnonzero(group == position) for position in range(number)):
        matrix = _likenesses(places[members], width)
        matrix[np.diag_indices(len(members))] += max(penalty, _LEAST_PENALTY)
        try:
            factor = scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise ModelError(
                "the kernel regression on the pooled features has no solution",
                remedy="Set a larger penalty in [siamese], such as 0.3.",
            ) from None
        sides = targets[members].astype(np.float32)
        weights[members] = scipy.linalg.cho_solve(factor, sides, check_finite=False) / number
    return weights


def _likenesses(places: torch.Tensor, width: float) -> Float32:
    """Likeness of every house to every other `(m, m)`, laid out as the solver wants to overwrite it.

    It is filled on and below the diagonal, where the solver reads it.
    """
    matrix = np.zeros((len(places), len(places)), dtype=np.float32, order="F")
    for start in range(0, len(places), _CHUNK):
        columns = slice(start, start + _CHUNK)
        likeness = squared_distances(places[columns], places[start:]).div_(-width).exp_()
        matrix[start:, columns] = likeness.numpy().T
    return matrix


def _learner(
    axes: torch.Tensor, places: torch.Tensor, width: float, weight: Float32, constant: float, dimension: int
) -> KernelRegression:
    learner = KernelRegression(axes.shape[1], dimension, houses=len(places), components=len(axes))
    embedding = learner.embedding
    with torch.no_grad():
        embedding.projection.copy_(axes)
        embedding.landmarks.copy_(places)
        embedding.width.fill_(width)
        embedding.weight.copy_(torch.from_numpy(weight).expand(dimension, -1))
        embedding.bias.fill_(constant)
        learner.head.weight.fill_(1 / dimension)
        learner.head.bias.zero_()
    return learner
