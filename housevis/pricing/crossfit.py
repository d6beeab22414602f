"""Out-of-fold estimates: every sale judged by a model that did not see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import PricingSection
from housevis.pricing.model import HousePriceModel


@dataclass(frozen=True)
class OutOfFold:
    """Estimates of n sales, each by the model fitted on the other folds.

    Attributes:
        price: Estimates ``(n,)``, currency.
        used_picture: Whether the visual features took part, bool ``(n,)``.
        contributions: Log units ``(n, F + 1)``, the base last; see
            :meth:`HousePriceModel.contributions`.
    """

    price: NDArray[np.float64]
    used_picture: NDArray[np.bool_]
    contributions: NDArray[np.float64]


def cross_fit(
    features: Callable[[int], pd.DataFrame],
    price: pd.Series[Any] | NDArray[Any],
    folds: NDArray[np.int64],
    section: PricingSection,
    attributes: Sequence[str],
    visual_names: Sequence[str] = (),
    *,
    seed: int = 1,
    num_threads: int = 2,
) -> OutOfFold:
    """Estimate every sale by a model that was fitted without its fold.

    Args:
        features: Called with a fold number, gives the features of all n
            sales as they may be used for this fold: visual features must
            come from a ranker that did not see its sales.
        price: Sale prices ``(n,)``, currency.
        folds: Fold of each sale ``(n,)``, see
            :func:`housevis.pricing.splits.grouped_folds`.
        section: Settings of the boosting.
        attributes: Names of the attributes.
        visual_names: Names of the visual features.
        seed: Seed of the boosting.
        num_threads: Threads of the boosting.

    Returns:
        Estimates and contributions in the order of the sales.

    Raises:
        ModelError: As for :meth:`HousePriceModel.fit`.
    """
    prices = np.asarray(price, dtype="float64")
    estimate = np.empty(len(prices))
    used_picture = np.empty(len(prices), dtype=bool)
    contributions = np.empty((len(prices), len(attributes) + len(visual_names) + 1))
    for fold in np.unique(folds):
        held_out = folds == fold
        table = features(int(fold))
        model = HousePriceModel(section, attributes, visual_names, seed=seed, num_threads=num_threads)
        model.fit(table[~held_out], prices[~held_out])
        estimate[held_out], used_picture[held_out] = model.predict(table[held_out])
        contributions[held_out] = model.contributions(table[held_out])
    return OutOfFold(estimate, used_picture, contributions)
