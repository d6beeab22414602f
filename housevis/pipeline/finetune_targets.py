"""What a fine-tuned network learns to rank by: the price, and what attributes cannot explain of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.pipeline.learning_targets import PRICE, RESIDUAL, RESIDUAL_WITHOUT_LOCATION, whole_target
from housevis.pricing.splits import grouped_folds

TARGETS = (PRICE, RESIDUAL, RESIDUAL_WITHOUT_LOCATION)
"""The price; its residual on the attributes; its residual on the attributes other than location."""


def sale_targets(
    sales: pd.DataFrame, groups: NDArray[np.str_], names: Sequence[str], config: Config
) -> NDArray[np.float64]:
    """The targets of sales `(n, T)`, each with mean 0 and spread 1.

    A residual is taken from models that learned from other folds of the very
    sales given, so no price outside them has a part in it.

    Args:
        sales: The sales to learn from, n rows.
        groups: Sales of one group stay in one fold `(n,)`.
        names: Names of the targets, of `TARGETS`.
        config: Attributes, booster, folds, seed.
    """
    folds = grouped_folds(groups, config.pricing.folds, config.seed)
    columns = [whole_target(name, sales, folds, config) for name in names]
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
