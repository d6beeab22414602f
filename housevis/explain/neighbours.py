"""Which stored embedding is nearest: exactly, or nearly and far faster in a big database (C section 3.3)."""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol, get_args

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from housevis.core.errors import ModelError

IndexKind = Literal["auto", "exact", "tree", "ivf-pq"]
"""How neighbours are looked up.

``exact``: every embedding is compared (FAISS). ``tree``: a k-d tree, exact
too, and far faster where an embedding is a few numbers. ``ivf-pq``: embeddings
are sorted into lists around centres and kept there as product codes of a few
bytes (FAISS); the nearest lists are read, and the best candidates compared by
their whole embeddings. ``auto``: the tree up to :data:`TREE_UP_TO` dimensions,
else exact up to :data:`EXACT_UP_TO` embeddings, else the lists.
"""

TREE_UP_TO: Final = 8
"""Dimensions up to which ``auto`` takes the tree."""

EXACT_UP_TO: Final = 200_000
"""Embeddings of more dimensions up to which ``auto`` compares all."""

_FEWEST_FOR_LISTS: Final = 10_000
_LISTS_READ: Final = 16
_CANDIDATES: Final = 64
_TAUGHT_BY: Final = 40
_ROUNDS: Final = 8
_ADDED: Final = 100_000
_CHUNK: Final = 1024


class NeighbourIndex(Protocol):
    """A look-up of stored embeddings ``(N, D)``."""

    def search(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows of the nearest ``(n, count)``, the nearest first; -1 where no more were found."""


def neighbour_index(embeddings: NDArray[np.float32], kind: IndexKind = "auto") -> NeighbourIndex:
    """Make a look-up.

    Args:
        embeddings: ``(N, D)``; kept, not copied, by ``ivf-pq``.
        kind: See :data:`IndexKind`. Fewer than 10,000 are always compared exactly.

    Raises:
        ModelError: There is no such kind.
    """
    kinds = get_args(IndexKind)
    if kind not in kinds:
        raise ModelError(f"there is no index {kind!r}", remedy=f"Choose one of {', '.join(kinds)}.")
    rows, dimension = embeddings.shape
    if kind == "auto":
        kind = "tree" if dimension <= TREE_UP_TO else "exact" if rows <= EXACT_UP_TO else "ivf-pq"
    if kind == "tree" and rows:
        return Tree(embeddings)
    if kind == "ivf-pq" and rows >= _FEWEST_FOR_LISTS:
        return CodedLists(embeddings)
    return Exact(embeddings)


class Exact:
    """Every embedding is compared."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        self._index = faiss.IndexFlatL2(embeddings.shape[1])
        self._index.add(np.ascontiguousarray(embeddings))

    def search(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See :class:`NeighbourIndex`."""
        return self._index.search(queries, count)[1]


class Tree:
    """A k-d tree."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        # Split in the middle, not at the median: many equal embeddings are then no burden.
        self._tree = KDTree(embeddings, balanced_tree=False)

    def search(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See :class:`NeighbourIndex`."""
        found = self._tree.query(queries, k=np.arange(1, count + 1))[1].astype(np.int64)
        return np.where(found < self._tree.n, found, -1)


class CodedLists:
    """Inverted lists of product codes; the candidates that they give are compared exactly."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        self._embeddings = embeddings
        rows, dimension = embeddings.shape
        lists = min(int(np.sqrt(rows)), rows // _TAUGHT_BY)
        index: Any = faiss.index_factory(dimension, f"IVF{lists},PQ{_parts(dimension)}x8np")
        index.cp.niter = index.pq.cp.niter = _ROUNDS
        chosen = np.linspace(0, rows - 1, min(rows, max(lists * _TAUGHT_BY, _FEWEST_FOR_LISTS)))
        index.train(np.ascontiguousarray(embeddings[chosen.astype(np.intp)]))
        for start in range(0, rows, _ADDED):
            index.add(np.ascontiguousarray(embeddings[start : start + _ADDED]))
        index.nprobe = _LISTS_READ
        self._index = index

    def search(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See :class:`NeighbourIndex`."""
        wanted = min(max(count, _CANDIDATES), len(self._embeddings))
        found = np.empty((len(queries), count), dtype=np.int64)
        for start in range(0, len(queries), _CHUNK):
            some = queries[start : start + _CHUNK]
            candidates = self._index.search(some, wanted)[1]
            distances = ((self._embeddings[candidates] - some[:, None]) ** 2).sum(axis=2)
            distances[candidates < 0] = np.inf
            order = np.argsort(distances, axis=1, kind="stable")[:, :count]
            best = np.take_along_axis(candidates, order, axis=1)
            short = (best < 0).any(axis=1)
            if short.any():
                best[short] = faiss.knn(some[short], self._embeddings, count)[1]
            found[start : start + _CHUNK] = best
        return found


def _parts(dimension: int) -> int:
    """Equal parts that the product code cuts an embedding into: at most 8, or one for every 4 numbers."""
    return max(parts for parts in range(1, max(8, dimension // 4) + 1) if dimension % parts == 0)
