"""How alike two houses are to the model itself: the share of its trees in which they end in the same leaf.

A tree asks questions of a house; two houses in one leaf gave the same
answers, and the tree cannot tell them apart. Over all trees of all boosters
the share of shared leaves is a likeness that knows which questions matter to
the price. Trees count by how far they move prices: the standard deviation of
what they add to the training sales. The last of a boosting move prices by
next to nothing, and whether two houses share one of their leaves says as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.pricing.boosted import Boosted

Array = NDArray[np.float64]

_ROWS: Final = 2_048
"""Houses whose leaves are asked for at once: LightGBM gives 8 bytes for each tree."""

_COMPARED: Final = 8_000_000
"""Leaves that are compared at once, bytes: bounds the memory, whatever the number of houses."""


class LeafLikeness:
    """The leaves of the training sales in every tree, and what each tree weighs.

    Args:
        boosted: One side of a fitted price model.
        features: What it sees of the N training sales ``(N, F)``.
        num_threads: Most threads to use; the result does not depend on them.

    Attributes:
        weights: What each tree weighs ``(T,)``; they sum to 1.

    Raises:
        ModelError: There is no training sale.
    """

    def __init__(self, boosted: Boosted, features: Array, *, num_threads: int = 1) -> None:
        if not len(features):
            raise ModelError("no sale is alike, as there is none", remedy="Give the training sales.")
        self._boosters = boosted.boosters
        self._threads = num_threads
        self._leaves = self.leaves(features)
        self.weights = _tree_weights(self._boosters, self._leaves)

    def leaves(self, features: Array) -> NDArray[np.uint16]:
        """The leaf of n houses in each tree ``(n, T)``, from features ``(n, F)``."""
        found = [_leaves(booster, features, self._threads) for booster in self._boosters]
        return np.concatenate(found, axis=1)

    def share(self, leaves: NDArray[np.uint16], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weighted share of the trees in which houses and their candidates end in the same leaf.

        Args:
            leaves: Leaves ``(n, T)`` of n houses, from :meth:`leaves`.
            candidates: Training sales ``(n, k)`` to compare each with; -1 for none.

        Returns:
            From 0 to 1, ``(n, k)``; 0 where there is no candidate.
        """
        count, asked = candidates.shape
        result = np.zeros((count, asked), dtype=np.float32)
        weights = self.weights.astype(np.float32)
        step = max(1, _COMPARED // max(1, asked * len(weights)))
        for start in range(0, count, step):
            some = slice(start, start + step)
            same = self._leaves[candidates[some]] == leaves[some, None, :]
            result[some] = same.astype(np.float32) @ weights
        result[candidates < 0] = 0
        return np.minimum(result, np.float32(1))


def _leaves(booster: lightgbm.Booster, features: Array, num_threads: int) -> NDArray[np.uint16]:
    parts = [
        np.asarray(booster.predict(features[start : start + _ROWS], pred_leaf=True, num_threads=num_threads))
        for start in range(0, len(features), _ROWS)
    ]
    if not parts:
        return np.empty((0, booster.num_trees()), dtype=np.uint16)
    return np.concatenate([part.reshape(len(part), -1).astype(np.uint16) for part in parts])


def _tree_weights(boosters: Sequence[lightgbm.Booster], leaves: NDArray[np.uint16]) -> Array:
    """Standard deviation of what each tree adds to the training sales, as shares of their sum ``(T,)``."""
    spreads: list[float] = []
    for booster in boosters:
        for tree in range(booster.num_trees()):
            found, counts = np.unique(leaves[:, len(spreads)], return_counts=True)
            outputs = np.array([booster.get_leaf_output(tree, int(leaf)) for leaf in found])
            mean = float(outputs @ counts) / len(leaves)
            spreads.append(float(np.sqrt(((outputs - mean) ** 2) @ counts / len(leaves))))
    total = sum(spreads)
    return np.array(spreads) / total if total > 0 else np.full(len(spreads), 1 / max(1, len(spreads)))
