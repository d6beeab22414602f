"""What a market index is learned from: log prices less what the attributes explain, time left out.

Both ways are cross-fitted: what is taken off a sale comes from a model that
has not seen its house, so that no sale explains itself away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from sklearn.tree import DecisionTreeRegressor

from housevis.core.config_sections import PricingSection
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.boosters import fit_booster, raw_prediction
from housevis.pricing.splits import grouped_folds

Array = NDArray[np.float64]

FEWEST_SALES: Final = 20
"""With fewer sales nothing is known of the attributes, and log prices stay as they are."""

_KNOTS: Final = 5
_SALES_PER_CELL: Final = 20
_MOST_CELLS: Final = 300
_PENALTY: Final = 1.0
_ROBUST_PASSES: Final = 4
_WINSOR: Final = 1.5


def hedonic_log_values(sales: pd.DataFrame, attributes: Sequence[str], *, folds: int, seed: int) -> Array:
    """Log prices less attributes and location, in a linear model with a level for each month.

    Attributes enter as splines, the place also as cells that hold about 20
    sales or more. The months take part in the fit, so that no attribute
    takes the market's movement upon itself; only attributes are taken off.

    Args:
        sales: Sale frame, n rows.
        attributes: Names of the attributes, without ``sale_month``.
        folds: Folds of the cross-fitting, fewer where there are fewer houses.
        seed: Seed of the folds.

    Returns:
        Log values ``(n,)``.
    """
    table = encode(sales, attributes).to_numpy()
    located = [attributes.index(name) for name in LOCATION if name in attributes]
    month = pd.DatetimeIndex(sales["sale_date"]).to_period("M").astype("str").to_numpy()
    log_price = np.log(sales["price"].to_numpy(dtype="float64"))

    def fit(rows: NDArray[np.bool_]) -> Callable[[Array], Array]:
        model = _Hedonic(located)
        model.fit(table[rows], month[rows], log_price[rows])
        return model.explained

    return _cross_fitted(sales, table, log_price, fit, folds, seed)


def rolling_residual_log_values(
    sales: pd.DataFrame,
    attributes: Sequence[str],
    section: PricingSection,
    *,
    seed: int,
    num_threads: int = 1,
) -> Array:
    """Log prices less the predictions of a boosting on the attributes without time.

    Args:
        sales: Sale frame, n rows.
        attributes: Names of the attributes, without ``sale_month``.
        section: Objective, rounds, learning rate, leaves and folds.
        seed: Seed of the folds and of the boosting.
        num_threads: Most threads to use.

    Returns:
        Log values ``(n,)``.
    """
    table = encode(sales, attributes).to_numpy()
    log_price = np.log(sales["price"].to_numpy(dtype="float64"))

    def fit(rows: NDArray[np.bool_]) -> Callable[[Array], Array]:
        booster = fit_booster(section, table[rows], log_price[rows], seed, num_threads)
        return lambda rest: raw_prediction(booster, rest, num_threads)

    return _cross_fitted(sales, table, log_price, fit, section.folds, seed)


def _cross_fitted(
    sales: pd.DataFrame,
    table: Array,
    log_price: Array,
    fit: Callable[[NDArray[np.bool_]], Callable[[Array], Array]],
    folds: int,
    seed: int,
) -> Array:
    """Log prices less the predictions of models fitted on the other folds of houses."""
    houses = sales["house_id"]
    folds = min(folds, int(houses.nunique()))
    if folds < 2 or len(sales) < FEWEST_SALES or not table.shape[1]:
        return log_price - np.median(log_price)
    fold = grouped_folds(houses, folds, seed)
    result = np.empty(len(log_price))
    for number in range(folds):
        held_out = fold == number
        result[held_out] = log_price[held_out] - fit(~held_out)(table[held_out])
    return result


class _Hedonic:
    """Ridge regression of the log price on splines, location cells and months, robust to outliers."""

    def __init__(self, located: Sequence[int]) -> None:
        self._located = list(located)

    def fit(self, table: Array, month: NDArray[np.str_], log_price: Array) -> None:
        known = np.isfinite(table)
        self._typical = np.array(
            [
                np.median(column[here]) if here.any() else 0.0
                for column, here in zip(table.T, known.T, strict=True)
            ]
        )
        filled = self._filled(table)
        self._splines = SplineTransformer(
            n_knots=_KNOTS, degree=3, knots="quantile", extrapolation="linear", include_bias=False
        ).fit(filled)
        self._cells: DecisionTreeRegressor | None = None
        if self._located:
            tree = DecisionTreeRegressor(
                min_samples_leaf=_SALES_PER_CELL, max_leaf_nodes=_MOST_CELLS, random_state=0
            )
            self._cells = tree.fit(filled[:, self._located], log_price)
            leaves = tree.apply(filled[:, self._located])[:, None]
            self._leaves = OneHotEncoder(handle_unknown="ignore").fit(leaves)
        attributes = self._design(table)
        months = OneHotEncoder().fit_transform(month[:, None])
        design = sparse.hstack([attributes, 10.0 * months], format="csr")
        centre = float(np.median(log_price))
        gram = np.asarray((design.T @ design).todense()) + _PENALTY * np.eye(design.shape[1])
        factor = cho_factor(gram)
        target = log_price - centre
        for _ in range(_ROBUST_PASSES):
            coefficients = cho_solve(factor, design.T @ target)
            expected = design @ coefficients
            residual = log_price - centre - expected
            limit = _WINSOR * max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
            target = expected + np.clip(residual, -limit, limit)
        self._coefficients = coefficients[: attributes.shape[1]]

    def explained(self, table: Array) -> Array:
        """What the attributes explain of the log price ``(n,)``, up to a constant of the fold."""
        return np.asarray(self._design(table) @ self._coefficients)

    def _filled(self, table: Array) -> Array:
        return np.where(np.isfinite(table), table, self._typical)

    def _design(self, table: Array) -> sparse.csr_matrix:
        filled = self._filled(table)
        parts = [
            sparse.csr_matrix(self._splines.transform(filled)),
            sparse.csr_matrix((~np.isfinite(table)).astype("float64")),
        ]
        if self._cells is not None:
            parts.append(self._leaves.transform(self._cells.apply(filled[:, self._located])[:, None]))
        return sparse.hstack(parts, format="csr")
