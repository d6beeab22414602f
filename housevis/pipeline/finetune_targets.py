"""What a fine-tuned network learns to rank by: the price, and what attributes cannot explain of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.boosters import fit_booster, raw_prediction
from housevis.pricing.splits import grouped_folds

PRICE = "price"
RESIDUAL = "residual"
RESIDUAL_WITHOUT_LOCATION = "residual-without-location"
TARGETS = (PRICE, RESIDUAL, RESIDUAL_WITHOUT_LOCATION)
"""The price; its residual on the attributes; its residual on the attributes other than location."""

_THREADS = 1


def sale_targets(
    sales: pd.DataFrame, groups: NDArray[np.str_], names: Sequence[str], config: Config
) -> NDArray[np.float64]:
    """The targets of sales `(n, T)`, each with mean 0 and spread 1.

    A residual is taken from a booster that learned from other folds of the
    very sales given, so no price outside them has a part in it.

    Args:
        sales: The sales to learn from, n rows.
        groups: Sales of one group stay in one fold `(n,)`.
        names: Names of the targets, of `TARGETS`.
        config: Attributes, booster, folds, seed.
    """
    log_price = np.log(sales["price"].to_numpy(np.float64))
    columns = []
    for name in names:
        attributes = [
            attribute
            for attribute in config.pricing.attributes
            if name == RESIDUAL or attribute not in LOCATION
        ]
        if name == PRICE or not attributes:
            columns.append(log_price)
        else:
            columns.append(log_price - _out_of_fold(sales, log_price, groups, attributes, config))
    targets = np.stack(columns, axis=1)
    spread = targets.std(axis=0)
    return (targets - targets.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def picture_targets(
    targets: NDArray[np.float64], pictures: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The pictures of sales, each once, with the mean target of its sales.

    Args:
        targets: Of n sales `(n, T)`.
        pictures: The picture of each sale, a number `(n,)`.

    Returns:
        The pictures in ascending order `(m,)`, and their targets `(m, T)`.
    """
    distinct, position = np.unique(pictures, return_inverse=True)
    sums = np.zeros((len(distinct), targets.shape[1]))
    np.add.at(sums, position, targets)
    return distinct, sums / np.bincount(position)[:, None]


def _out_of_fold(
    sales: pd.DataFrame,
    log_price: NDArray[np.float64],
    groups: NDArray[np.str_],
    attributes: Sequence[str],
    config: Config,
) -> NDArray[np.float64]:
    table = encode(sales, attributes).to_numpy(np.float64)
    folds = grouped_folds(groups, config.pricing.folds, config.seed)
    predicted = np.empty(len(sales))
    for fold in range(config.pricing.folds):
        held_out = folds == fold
        booster = fit_booster(
            config.pricing, table[~held_out], log_price[~held_out], config.seed, num_threads=_THREADS
        )
        predicted[held_out] = raw_prediction(booster, table[held_out], _THREADS)
    return predicted
