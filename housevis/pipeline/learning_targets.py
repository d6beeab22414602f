"""What the feature learners learn from: the price, and what the attributes leave unexplained of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.core.errors import ConfigError
from housevis.pricing.attributes import LOCATION, model_table
from housevis.pricing.model import HousePriceModel
from housevis.vision.cross_fitting import FoldTargets
from housevis.vision.pairs import Places, sale_places

PRICE = "price"
RESIDUAL = "residual"
RESIDUAL_WITHOUT_LOCATION = "residual-without-location"

_FEWEST_FOLDS = 3
_FEWEST_SALES = 2


def whole_target(
    name: str, sales: pd.DataFrame, folds: NDArray[np.int64], config: Config
) -> NDArray[np.float64]:
    """What a learner of all these sales learns from ``(n,)``, in log units.

    A residual is that of a model of the attributes alone, fitted on the other
    folds.

    Args:
        name: ``price``, ``residual`` or ``residual-without-location``.
        sales: Sale frame, n rows.
        folds: Fold of each sale ``(n,)``.
        config: Attributes and boosting.
    """
    log_price = np.log(sales["price"].to_numpy(np.float64))
    if name == PRICE:
        return log_price
    residual = np.empty(len(sales))
    for number in np.unique(folds):
        held_out = folds == number
        residual[held_out] = _unexplained(name, sales, ~held_out, held_out, config)
    return residual


def fold_targets(
    name: str, sales: pd.DataFrame, folds: NDArray[np.int64], config: Config, penalty: float
) -> FoldTargets:
    """What the learner of all sales learns from, and what each learner that does not see a fold.

    The learner that does not see fold `f` takes the residual of a sale of
    fold `g` from a model that was fitted without both: a model that has seen
    the prices of fold `f` would tell the learner of them through the
    residuals of its neighbours.

    Args:
        name: ``price``, ``residual`` or ``residual-without-location``.
        sales: Sale frame, n rows.
        folds: Fold of each sale ``(n,)``.
        config: Attributes and boosting.
        penalty: L2 penalty of the learners.

    Raises:
        ConfigError: A residual needs three folds at least.
    """
    whole = whole_target(name, sales, folds, config)
    numbers = np.unique(folds)
    if name == PRICE:
        return FoldTargets(whole, np.repeat(whole[None], len(numbers), axis=0), penalty)
    if len(numbers) < _FEWEST_FOLDS:
        raise ConfigError(
            f"cross-fitted features of a {name} need at least {_FEWEST_FOLDS} folds",
            where="pricing.folds",
            remedy=f"Set folds = {_FEWEST_FOLDS} or more in [pricing].",
        )
    by_fold = np.full((len(numbers), len(sales)), np.nan)
    for first, second in combinations(range(len(numbers)), 2):
        in_first, in_second = folds == numbers[first], folds == numbers[second]
        either = in_first | in_second
        unexplained = np.full(len(sales), np.nan)
        unexplained[either] = _unexplained(name, sales, ~either, either, config)
        by_fold[first, in_second] = unexplained[in_second]
        by_fold[second, in_first] = unexplained[in_first]
    return FoldTargets(whole, by_fold, penalty)


def places_of(sales: pd.DataFrame, config: Config) -> Places | None:
    """Where sales lie in place, time and size, if pairs are drawn near."""
    if config.siamese.pair_sampling != "near":
        return None
    days = (sales["sale_date"] - pd.Timestamp(2000, 1, 1)) / pd.Timedelta(days=1)
    return sale_places(
        sales["latitude"].to_numpy(np.float64),
        sales["longitude"].to_numpy(np.float64),
        days.to_numpy(np.float64),
        sales["area_m2"].to_numpy(np.float64),
    )


def _unexplained(
    name: str,
    sales: pd.DataFrame,
    known: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    config: Config,
) -> NDArray[np.float64]:
    """Log price of some sales, less what a model of the attributes says that was fitted on others."""
    section = config.pricing.model_copy(update={"boosters": 1})
    attributes = list(config.pricing.attributes)
    if name == RESIDUAL_WITHOUT_LOCATION:
        section = section.model_copy(update={"comparables": 0})
        attributes = [attribute for attribute in attributes if attribute not in LOCATION]
    prices = sales["price"].to_numpy(np.float64)
    log_price = np.log(prices[judged])
    if not attributes:
        return log_price - np.median(np.log(prices[known]))
    model = HousePriceModel.from_section(section, attributes, seed=config.seed)
    model.set_params(minimum_sales=_FEWEST_SALES)
    model.fit(_table(sales, known, attributes), prices[known])
    return log_price - np.log(model.predict(_table(sales, judged, attributes)))


def _table(sales: pd.DataFrame, rows: NDArray[np.bool_], attributes: Sequence[str]) -> pd.DataFrame:
    chosen = sales[rows].reset_index(drop=True)
    return model_table(chosen, attributes, np.empty((len(chosen), 0), dtype=np.float32))
