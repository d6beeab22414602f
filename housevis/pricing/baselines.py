"""What simple methods make of a house: the yardsticks beside the run's model.

They know the same sales as the model they stand beside, and no attribute more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.pricing.attributes import LOCATION, encode, model_table, visual_names
from housevis.pricing.linear_base import LinearBase
from housevis.pricing.market_index import MarketIndex
from housevis.pricing.model import MARKET, HousePriceModel
from housevis.pricing.nearest_sales import NearestSales, positions

Array = NDArray[np.float64]

MEAN_PRICE: Final = "mean price"
NEAREST_COMPARABLES: Final = "nearest comparables"
LINEAR_HEDONIC: Final = "linear hedonic"

NEIGHBOURS: Final = 10
"""Nearest sales whose median is the estimate by comparables."""
SALES_PER_AREA: Final = 50
"""Fewest sales in an area of the linear hedonic, where there are as many."""

_AREA: Final = "area_m2"


def cheap_baselines(
    taught: pd.DataFrame,
    judged: pd.DataFrame,
    attributes: Sequence[str],
    index: MarketIndex | None = None,
) -> dict[str, Array]:
    """Estimates by the methods that take no boosting.

    Args:
        taught: Sale frame of the sales that are known, n rows.
        judged: Sale frame of the houses to estimate, m rows; their prices are not read.
        attributes: The attributes that the model knows.
        index: A market index fitted on the same sales, which brings prices to
            the day of valuation; None takes prices as they are.

    Returns:
        Method -> estimates ``(m,)``, currency.

    Raises:
        ConfigError: An attribute is unknown or not numeric.
        ModelError: A coordinate is missing.
    """
    price = taught["price"].to_numpy(np.float64)
    return {
        MEAN_PRICE: np.full(len(judged), price.mean()),
        NEAREST_COMPARABLES: nearest_comparables(taught, judged, attributes, index),
        LINEAR_HEDONIC: linear_hedonic(taught, judged, attributes, index),
    }


def nearest_comparables(
    taught: pd.DataFrame,
    judged: pd.DataFrame,
    attributes: Sequence[str],
    index: MarketIndex | None = None,
) -> Array:
    """Median price per area of the nearest sales of other houses, times the house's own area.

    A house without an area, or with attributes that know none, gets the
    median price of the nearest sales.

    Args:
        taught: Sale frame of the known sales.
        judged: Sale frame of m houses.
        attributes: The attributes that the model knows.
        index: As in :func:`cheap_baselines`.

    Returns:
        Estimates ``(m,)``, currency.
    """
    price = taught["price"].to_numpy(np.float64) / np.exp(_level(index, taught))
    estimate = _median_of_nearest(taught, judged, price)
    if _AREA in attributes:
        area, own = taught[_AREA].to_numpy(np.float64), judged[_AREA].to_numpy(np.float64)
        known, asked = area > 0, own > 0
        if known.any() and asked.any():
            per_area = _median_of_nearest(taught[known], judged[asked], price[known] / area[known])
            estimate[asked] = per_area * own[asked]
    return estimate * np.exp(_level(index, judged))


def linear_hedonic(
    taught: pd.DataFrame,
    judged: pd.DataFrame,
    attributes: Sequence[str],
    index: MarketIndex | None = None,
) -> Array:
    """Ridge regression of the log price on the attributes, their logarithms and one dummy per area.

    Areas are rectangles of about equally many sales, see :func:`areas`.
    Coordinates are attributes too, where the model knows them.

    Args:
        taught: Sale frame of the known sales.
        judged: Sale frame of m houses.
        attributes: The attributes that the model knows.
        index: As in :func:`cheap_baselines`.

    Returns:
        Estimates ``(m,)``, currency.
    """
    named = [name for name in attributes if index is None or name != MARKET]
    columns = [encode(table, named).to_numpy() for table in (taught, judged)]
    if set(LOCATION) <= set(attributes):
        parallel = float(np.cos(np.radians(taught["latitude"].median())))
        of_taught, of_judged = areas(_places(taught, parallel), _places(judged, parallel), SALES_PER_AREA)
        numbers = np.arange(of_taught.max() + 1)
        columns = [
            np.hstack([table, (area[:, None] == numbers).astype(np.float64)])
            for table, area in zip(columns, (of_taught, of_judged), strict=True)
        ]
    target = np.log(taught["price"].to_numpy(np.float64)) - _level(index, taught)
    fitted = LinearBase.fit(columns[0], target)
    return np.asarray(np.exp(fitted.predict(columns[1]) + _level(index, judged)))


def pictures_only(
    price: Array,
    visual_taught: NDArray[np.float32],
    visual_judged: NDArray[np.float32],
    section: PricingSection,
    *,
    seed: int,
) -> Array:
    """The boosting on visual features alone.

    Args:
        price: Prices ``(n,)`` of the known sales.
        visual_taught: Visual features ``(n, D)``, NaN where there is no picture.
        visual_judged: Visual features ``(m, D)``; a house without a picture gets the median price.
        section: Settings of the boosting.
        seed: Its seed.

    Returns:
        Estimates ``(m,)``, currency.

    Raises:
        ModelError: Too few sales with a picture.
    """
    model = HousePriceModel.from_section(section, (), visual_names(visual_taught.shape[1]), seed=seed)
    model.fit(model_table(_rows(len(visual_taught)), (), visual_taught), price)
    return model.predict(model_table(_rows(len(visual_judged)), (), visual_judged))


def areas(taught: Array, judged: Array, fewest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut the land into rectangles of about equally many known sales.

    The known sales are halved at their median, across the longer side, as
    long as each half keeps `fewest`.

    Args:
        taught: Places ``(n, 2)`` of the known sales, of equal units.
        judged: Places ``(m, 2)`` of the houses to sort in.
        fewest: Fewest known sales in an area, where there are as many.

    Returns:
        Numbers of the areas, ``(n,)`` and ``(m,)``, from 0.
    """
    found = np.zeros(len(taught), dtype=np.int64), np.zeros(len(judged), dtype=np.int64)
    pending = [(np.arange(len(taught)), np.arange(len(judged)))]
    number = 0
    while pending:
        rows, asked = pending.pop()
        inside = taught[rows]
        side = int(np.ptp(inside, axis=0).argmax()) if len(rows) else 0
        middle = float(np.median(inside[:, side])) if len(rows) else 0.0
        below = inside[:, side] <= middle
        if min(int(below.sum()), int((~below).sum())) < fewest:
            found[0][rows], found[1][asked] = number, number
            number += 1
            continue
        asked_below = judged[asked, side] <= middle
        pending += [(rows[~below], asked[~asked_below]), (rows[below], asked[asked_below])]
    return found


def _median_of_nearest(taught: pd.DataFrame, judged: pd.DataFrame, value: Array) -> Array:
    """Median value ``(m,)`` of the nearest sales of other houses; that of all where there are none."""
    codes, distinct = pd.factorize(taught["house_id"])
    own = pd.Index(distinct).get_indexer(judged["house_id"])
    nearest = NearestSales(positions(taught), codes.astype(np.int64))
    count = min(NEIGHBOURS, len(taught))
    estimate = np.full(len(judged), float(np.median(value)))
    for found in nearest.search(positions(judged), own.astype(np.int64)[:, None], count):
        values = np.where(found.sales >= 0, value[found.sales], np.nan)
        some = np.isfinite(values).any(axis=1)
        estimate[found.rows[some]] = np.nanmedian(values[some], axis=1)
    return estimate


def _places(sales: pd.DataFrame, parallel: float) -> Array:
    """Places ``(n, 2)`` in degrees of latitude; `parallel` is the length of a degree of longitude in them."""
    latitude, longitude = (sales[name].to_numpy(np.float64) for name in LOCATION)
    return np.column_stack([latitude, parallel * longitude])


def _level(index: MarketIndex | None, sales: pd.DataFrame) -> Array:
    return np.zeros(len(sales)) if index is None else index.level(sales["sale_date"])


def _rows(count: int) -> pd.DataFrame:
    return pd.DataFrame(index=pd.RangeIndex(count))
