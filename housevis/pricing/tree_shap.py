"""Exact TreeSHAP of many houses at once: the values of LightGBM's ``pred_contrib``, many times faster.

What a leaf adds to a feature's Shapley value depends only on which of the
features on its path the house follows, and few such patterns occur. So each
leaf has a table with one row per pattern, and a house takes one row of each
leaf's table. (The game is that of Lundberg, Erion, Lee, Consistent
Individualized Feature Attribution for Tree Ensembles, 2018, algorithm 2: an
absent feature follows both branches, each by its share of the training sales.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Final

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from housevis.core.errors import ModelError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

FEWEST_ROWS: Final = 500
"""For fewer houses LightGBM's own way is faster: tables are made for every leaf, whatever their number."""

_ROWS_AT_ONCE: Final = 65_536
_MOST_BITS: Final = 10
"""A leaf with more features on its path has a table of the patterns that occur, not of all."""

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2
_ZERO: Final = 1e-35
"""What LightGBM takes for zero."""


def contributions_of(booster: lightgbm.Booster, table: Array) -> Array:
    """Exact Shapley values of a booster's predictions.

    Args:
        booster: A fitted booster of numeric features with constant leaves.
        table: Features ``(n, F)``, NaN where missing.

    Returns:
        ``(n, F + 1)``, the base last; a row sums to the prediction, and equals
        ``booster.predict(table, pred_contrib=True)`` up to rounding.

    Raises:
        ModelError: The booster splits on categories or has linear leaves.
    """
    features = booster.num_feature()
    columns = np.ascontiguousarray(np.asarray(table, dtype="float64").T)
    found = np.zeros((columns.shape[1], features + 1))
    for tree in _trees(booster.model_to_string()):
        found[:, -1] += tree.base
        if len(tree.feature):
            for start in range(0, len(found), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                found[part, :-1] += _tree_contributions(tree, columns[:, part], features)
    return found


@dataclass(frozen=True)
class _Leaf:
    """One leaf: its value, and what its path asks of each feature on it.

    Attributes:
        value: Log units.
        features: The d features on the path.
        shares: Share of the training sales that go on ``(d,)``, all splits of a feature together.
        steps: The splits of each feature, as node number, and whether the path goes left there.
    """

    value: float
    features: Integers
    shares: Array
    steps: tuple[tuple[tuple[int, bool], ...], ...]


@dataclass(frozen=True)
class _Tree:
    """One tree of M splits; `feature`, `threshold` and `kind` (LightGBM's decision type) are ``(M,)``."""

    feature: Integers
    threshold: Array
    kind: Integers
    leaves: tuple[_Leaf, ...]
    base: float


def _trees(text: str) -> Iterator[_Tree]:
    """The trees of a booster's text."""
    for part in text.split("\nTree=")[1:]:
        fields = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        if int(fields["num_cat"]) or int(fields.get("is_linear", 0)):
            raise ModelError(
                "contributions are reckoned for numeric features and constant leaves only",
                remedy="Fit the booster without categories and without linear trees.",
            )
        values = np.array(fields["leaf_value"].split(), dtype="float64")
        if len(values) == 1:
            nothing = np.empty(0, dtype=np.int64)
            yield _Tree(nothing, np.empty(0), nothing, (), float(values[0]))
            continue
        integers = {
            name: np.array(fields[name].split(), dtype=np.int64)
            for name in (
                "split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count",
            )
        }  # fmt: skip
        counts = integers["leaf_count"]
        yield _Tree(
            integers["split_feature"],
            np.array(fields["threshold"].split(), dtype="float64"),
            integers["decision_type"],
            tuple(sorted(_leaves(values, integers), key=lambda leaf: len(leaf.features))),
            float(values @ (counts / integers["internal_count"][0])),
        )


def _leaves(values: Array, tree: dict[str, Integers]) -> Iterator[_Leaf]:
    """Walk from the root to each leaf; below 0 a child is a leaf, counted from -1."""
    pending: list[tuple[int, tuple[tuple[int, bool, float], ...]]] = [(0, ())]
    while pending:
        node, path = pending.pop()
        if node < 0:
            yield _leaf(float(values[~node]), path, tree["split_feature"])
            continue
        for side, left in ((tree["left_child"], True), (tree["right_child"], False)):
            child = int(side[node])
            count = tree["leaf_count"][~child] if child < 0 else tree["internal_count"][child]
            pending.append((child, (*path, (node, left, float(count / tree["internal_count"][node])))))


def _leaf(value: float, path: tuple[tuple[int, bool, float], ...], split_feature: Integers) -> _Leaf:
    share: dict[int, float] = {}
    steps: dict[int, list[tuple[int, bool]]] = {}
    for node, left, part in path:
        feature = int(split_feature[node])
        share[feature] = share.get(feature, 1.0) * part
        steps.setdefault(feature, []).append((node, left))
    return _Leaf(
        value,
        np.array(list(share), dtype=np.int64),
        np.array(list(share.values())),
        tuple(tuple(some) for some in steps.values()),
    )


def _tree_contributions(tree: _Tree, columns: Array, features: int) -> Array:
    """Shapley values ``(n, F)`` of one tree, of features ``(F, n)``."""
    goes = _goes_left(tree, columns)
    sides = (~goes, goes)
    count = columns.shape[1]
    rows = np.empty((len(tree.leaves), count), dtype=np.int32)
    tables: list[Array] = []
    number = offset = 0
    for bits, some in groupby(tree.leaves, key=lambda leaf: len(leaf.features)):
        leaves = list(some)
        codes = [_codes(leaf, sides, count) for leaf in leaves]
        if bits <= _MOST_BITS and 1 << bits <= max(count // 4, 32):
            tables.append(_leaf_tables(leaves, _every_pattern(bits), features))
            starts = [position << bits for position in range(len(leaves))]
        else:
            starts = []
            for position, leaf in enumerate(leaves):
                seen, codes[position] = np.unique(codes[position], return_inverse=True)
                starts.append(sum(map(len, tables[len(tables) - position :])))
                tables.append(_leaf_tables([leaf], _patterns(seen, bits), features))
        for start, code in zip(starts, codes, strict=True):
            np.add(code, offset + start, out=rows[number], casting="unsafe")
            number += 1
        offset = sum(map(len, tables))
    picks = np.ascontiguousarray(rows.T).ravel()
    ends = np.arange(0, len(picks) + 1, len(tree.leaves), dtype=np.int32)
    taken = csr_array((np.ones(len(picks)), picks, ends), shape=(count, offset))
    return np.asarray(taken @ np.concatenate(tables))


def _goes_left(tree: _Tree, columns: Array) -> Bools:
    """Whether n houses go left at each split ``(M, n)``, by LightGBM's rules for missing values."""
    missing = (tree.kind >> _MISSING_SHIFT) & 3
    default = (tree.kind & _DEFAULT_LEFT) > 0
    goes = np.empty((len(tree.feature), columns.shape[1]), dtype=np.bool_)
    for node, feature in enumerate(tree.feature):
        values = columns[feature]
        unknown = np.isnan(values)
        np.less_equal(values, tree.threshold[node], out=goes[node])
        if missing[node] == _MISSING_IS_NAN:
            goes[node][unknown] = default[node]
            continue
        goes[node][unknown] = tree.threshold[node] >= 0
        if missing[node] == _MISSING_IS_ZERO:
            goes[node][unknown | (np.abs(values) <= _ZERO)] = default[node]
    return goes


def _codes(leaf: _Leaf, sides: tuple[Bools, Bools], count: int) -> Integers | NDArray[np.int32]:
    """Which features on a leaf's path n houses follow ``(n,)``, the first feature in the lowest bit."""
    code = np.zeros(count, dtype=np.int32 if len(leaf.features) < 31 else np.int64)
    for bit, steps in enumerate(leaf.steps):
        follows = sides[steps[0][1]][steps[0][0]]
        for node, left in steps[1:]:
            follows = follows & sides[left][node]
        code += np.multiply(follows, code.dtype.type(1 << bit))
    return code


def _leaf_tables(leaves: Sequence[_Leaf], patterns: Bools, features: int) -> Array:
    """What m leaves with d features on their path add to F features ``(m P, F)``, for P patterns ``(d, P)``.

    With `o` whether a feature is followed and `z` the share that goes on
    where it is absent, feature j gets ``value (o_j - z_j)`` times the
    integral over t from 0 to 1 of ``prod (o_k t + z_k (1 - t))``, k other
    than j: Shapley's weights are the integrals of ``t^s (1 - t)^(d-1-s)``.
    The integrand is a polynomial below degree d, so that d / 2 points of
    Gauss and Legendre give it exactly; no term is below 0 and none cancels.
    """
    shares = np.array([leaf.shares for leaf in leaves])
    values = np.array([leaf.value for leaf in leaves])
    where = np.array([leaf.features for leaf in leaves])
    points, weights = _gauss_legendre((len(patterns) + 1) // 2)
    followed = patterns[None, :, None, :] * points[:, None]
    factors = (shares[:, :, None] * (1 - points))[..., None] + followed
    others = factors.prod(axis=1)[:, None] / factors
    others *= weights[:, None]
    effects = others.sum(axis=2)
    effects *= values[:, None, None] * (patterns - shares[:, :, None])
    table = np.zeros((len(leaves), patterns.shape[1], features))
    table[np.arange(len(leaves))[:, None], :, where] = effects
    return table.reshape(-1, features)


@cache
def _every_pattern(bits: int) -> Bools:
    return _patterns(np.arange(1 << bits), bits)


def _patterns(codes: Integers | NDArray[np.int32], bits: int) -> Bools:
    """Which features are followed ``(bits, P)``, of codes ``(P,)``."""
    return (codes >> np.arange(bits)[:, None]) & 1 == 1


@cache
def _gauss_legendre(count: int) -> tuple[Array, Array]:
    points, weights = np.polynomial.legendre.leggauss(count)
    return (points + 1) / 2, weights / 2
