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
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from housevis.core.errors import ModelError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Codes = NDArray[np.signedinteger[Any]]

FEWEST_ROWS: Final = 500
"""For fewer houses LightGBM's own way is faster: tables are made for every leaf, whatever their number."""

MOST_FEATURES: Final = 62
"""Which features a house follows on a path is kept in the bits of one number."""

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
        booster: A fitted booster of numeric features, at most :data:`MOST_FEATURES`, with constant leaves.
        table: Features ``(n, F)``, NaN where missing.

    Returns:
        ``(n, F + 1)``, the base last; a row sums to the prediction, and equals
        ``booster.predict(table, pred_contrib=True)`` up to rounding.

    Raises:
        ModelError: The booster splits on categories or has linear leaves.
    """
    columns = np.ascontiguousarray(np.asarray(table, dtype="float64").T)
    found = np.zeros((columns.shape[1], booster.num_feature() + 1))
    for tree in _trees(booster.model_to_string()):
        for start in range(0, len(found), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            _add_contributions(tree, columns[:, part], found[part])
    return found


@dataclass(frozen=True)
class _Tree:
    """One tree of M splits; below 0 a child is a leaf, counted from -1.

    Attributes:
        feature: Feature that each split asks for ``(M,)``.
        threshold: Houses up to it go left ``(M,)``.
        kind: LightGBM's decision types ``(M,)``.
        children: Left and right child ``(2, M)``.
        shares: Share of the split's training sales that goes left and right ``(2, M)``.
        values: Values of the leaves, log units.
        base: Mean value over the training sales.
    """

    feature: Integers
    threshold: Array
    kind: Integers
    children: Integers
    shares: Array
    values: Array
    base: float


@dataclass(frozen=True)
class _Leaf:
    """One leaf, and which houses follow what its path asks.

    Attributes:
        value: Log units.
        features: The d features on the path.
        shares: Share of the training sales that go on, all splits of a feature together.
        code: For n houses which of the features they follow ``(n,)``, the first in the lowest bit.
    """

    value: float
    features: tuple[int, ...]
    shares: tuple[float, ...]
    code: Codes


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
            none, no_numbers = np.empty(0, dtype=np.int64), np.empty(0)
            yield _Tree(none, no_numbers, none, none, no_numbers, values, float(values[0]))
            continue
        integers = {
            name: np.array(fields[name].split(), dtype=np.int64)
            for name in (
                "split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count",
            )
        }  # fmt: skip
        leaves, splits = integers["leaf_count"], integers["internal_count"]
        children = np.array([integers["left_child"], integers["right_child"]])
        counts = np.where(children < 0, leaves[np.maximum(~children, 0)], splits[np.maximum(children, 0)])
        yield _Tree(
            integers["split_feature"],
            np.array(fields["threshold"].split(), dtype="float64"),
            integers["decision_type"],
            children,
            counts / splits,
            values,
            float(values @ (leaves / splits[0])),
        )


def _leaves(tree: _Tree, columns: Array) -> Iterator[_Leaf]:
    """Walk from the root to each leaf; what two leaves share of their paths is looked at once."""
    goes = _goes_left(tree, columns)
    sides = (goes, ~goes)
    code: Codes = np.zeros(columns.shape[1], dtype=np.int64 if len(columns) > 30 else np.int32)
    integer = code.dtype.type
    pending: list[tuple[int, tuple[int, ...], tuple[float, ...], Codes]] = [(0, (), (), code)]
    feature, children, shares = tree.feature.tolist(), tree.children.tolist(), tree.shares.tolist()
    while pending:
        node, path, parts, code = pending.pop()
        if node < 0:
            yield _Leaf(float(tree.values[~node]), path, parts, code)
            continue
        asked = feature[node]
        for side in (0, 1):
            child, part = children[side][node], shares[side][node]
            if asked in path:
                bit = path.index(asked)
                kept = np.multiply(sides[1 - side][node], integer(1 << bit))
                np.invert(kept, out=kept)
                kept &= code
                several = (*parts[:bit], parts[bit] * part, *parts[bit + 1 :])
                pending.append((child, path, several, kept))
            else:
                followed = np.multiply(sides[side][node], integer(1 << len(path)))
                followed += code
                pending.append((child, (*path, asked), (*parts, part), followed))


def _add_contributions(tree: _Tree, columns: Array, found: Array) -> None:
    """Add one tree's Shapley values, of features ``(F, n)``, to those found ``(n, F + 1)``."""
    found[:, -1] += tree.base
    if not len(tree.feature):
        return
    count = columns.shape[1]
    used = np.unique(tree.feature)
    column = {int(feature): position for position, feature in enumerate(used)}
    rows = np.empty((len(tree.values), count), dtype=np.int32)
    tables: list[Array] = []
    number = offset = 0
    leaves = sorted(_leaves(tree, columns), key=lambda leaf: len(leaf.features))
    for bits, some in groupby(leaves, key=lambda leaf: len(leaf.features)):
        group = list(some)
        where = np.array([[column[feature] for feature in leaf.features] for leaf in group])
        if bits <= _MOST_BITS and 1 << bits <= max(count // 4, 32):
            tables.append(_leaf_tables(group, where, _every_pattern(bits), len(used)))
            for leaf in group:
                np.add(leaf.code, offset, out=rows[number], casting="unsafe")
                number, offset = number + 1, offset + (1 << bits)
            continue
        for position, leaf in enumerate(group):
            seen, code = np.unique(leaf.code, return_inverse=True)
            tables.append(
                _leaf_tables([leaf], where[position : position + 1], _patterns(seen, bits), len(used))
            )
            np.add(code, offset, out=rows[number], casting="unsafe")
            number, offset = number + 1, offset + len(seen)
    picks = np.ascontiguousarray(rows.T).ravel()
    ends = np.arange(0, len(picks) + 1, len(rows), dtype=np.int32)
    taken = csr_array((np.ones(len(picks)), picks, ends), shape=(count, offset))
    found[:, used] += taken @ np.concatenate(tables)


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


def _leaf_tables(leaves: Sequence[_Leaf], where: Integers, patterns: Bools, features: int) -> Array:
    """What m leaves with d features on their path add to F features ``(m P, F)``, for P patterns ``(d, P)``.

    `where` says which of the F those on the path are ``(m, d)``.

    With `o` whether a feature is followed and `z` the share that goes on
    where it is absent, feature j gets ``value (o_j - z_j)`` times the
    integral over t from 0 to 1 of ``prod (o_k t + z_k (1 - t))``, k other
    than j: Shapley's weights are the integrals of ``t^s (1 - t)^(d-1-s)``.
    The integrand is a polynomial below degree d, so that d / 2 points of
    Gauss and Legendre give it exactly; no term is below 0 and none cancels.
    """
    shares = np.array([leaf.shares for leaf in leaves])
    values = np.array([leaf.value for leaf in leaves])
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


def _patterns(codes: Codes, bits: int) -> Bools:
    """Which features are followed ``(bits, P)``, of codes ``(P,)``."""
    return (codes >> np.arange(bits)[:, None]) & 1 == 1


@cache
def _gauss_legendre(count: int) -> tuple[Array, Array]:
    points, weights = np.polynomial.legendre.leggauss(count)
    return (points + 1) / 2, weights / 2
