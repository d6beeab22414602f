"""Sales that look unlike the market around them: flagged with reasons, never dropped.

After the published rules of Cook County's sales validation: a sale is compared
with the sales of its area in its month and the eleven months before, by the
logarithm of its price and of its price per square metre. More than two
standard deviations from the mean is a *price reason*. What else speaks against
a sale counts only beside a price reason. A flag changes no estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.resales import NONE, previous_positions

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

OUTLIER_RULES = "1"
"""Version of the rules, stored with every sale."""

REASONS = (
    *("high_price", "low_price", "high_price_per_area", "low_price_per_area"),
    *("price_swing_up", "price_swing_down", "short_ownership"),
)
"""All codes, in the order in which they are given to a sale; the first four are the price reasons."""

MOST_REASONS = 3

DEVIATIONS = 2.0
"""Standard deviations of the group, on the logarithm."""

WINDOW_MONTHS = 12
"""The month of the sale and the eleven before it."""

SMALLEST_GROUP = 30
"""A group of fewer sales judges nobody."""

AREA_SALES = 500
"""Sales in an area, about."""

SWING = float(np.log(2.0))
"""A price twice, or half, that of the house's sale before, on the logarithm."""

SWING_YEARS = 5
"""Over more years than this, a price may well have doubled."""

SHORT_DAYS = 365
"""A house that was sold again within so many days was perhaps bought to be sold."""


@dataclass(frozen=True)
class _Groups:
    """Sums over area and month, accumulated over the months: (areas, months + 1)."""

    count: Floats
    total: Floats
    squares: Floats


def flag_outliers(sales: pd.DataFrame) -> pd.DataFrame:
    """Give every sale its reasons.

    Args:
        sales: A sale frame.

    Returns:
        The frame with `outlier_reasons`, a list of at most three codes of
        :data:`REASONS` (empty: not flagged), and `outlier_rules`.
    """
    reasons = np.empty(len(sales), dtype=object)
    reasons[:] = [[]] * len(sales)
    if len(sales):
        against = _against(sales)
        price_reason = against[:, :4].any(axis=1)
        for position in np.flatnonzero(price_reason):
            codes = [REASONS[place] for place in np.flatnonzero(against[position])]
            reasons[position] = codes[:MOST_REASONS]
    rules = pd.array([OUTLIER_RULES], dtype="str").take(np.zeros(len(sales), dtype=np.int64))
    return sales.assign(outlier_reasons=reasons, outlier_rules=rules)


def areas_of_equal_sales(latitude: Floats, longitude: Floats, per_area: int = AREA_SALES) -> Integers:
    """Cut a market into areas of about as many sales each: strips from south to north, cut from west to east.

    Args:
        latitude: (n,) degrees.
        longitude: (n,) degrees.
        per_area: Sales in an area, about.

    Returns:
        A number for each sale's area, (n,).
    """
    size = len(latitude)
    strips = max(1, round(float(np.sqrt(size / per_area))))
    strip = _ranks(latitude, np.zeros(size, dtype=np.int64)) * strips // max(size, 1)
    sizes = np.bincount(strip, minlength=strips)
    return strip * strips + _ranks(longitude, strip) * strips // np.maximum(sizes[strip], 1)


def _against(sales: pd.DataFrame) -> Flags:
    """Which of :data:`REASONS` speak against which sale, (n, 7)."""
    latitude, longitude, price, area_m2 = (
        sales[name].to_numpy(dtype=np.float64) for name in ("latitude", "longitude", "price", "area_m2")
    )
    day = sales["sale_date"].to_numpy().astype("datetime64[D]")
    month = _without_long_gaps(day.astype("datetime64[M]").astype(np.int64))
    area = areas_of_equal_sales(latitude, longitude)
    log_price = np.log(price)
    log_price_per_area = np.full(len(sales), np.nan)
    measured = area_m2 > 0
    log_price_per_area[measured] = log_price[measured] - np.log(area_m2[measured])
    against = np.zeros((len(sales), len(REASONS)), dtype=bool)
    for place, values in ((0, log_price), (2, log_price_per_area)):
        deviation = _deviations(values, area, month)
        against[:, place] = deviation > DEVIATIONS
        against[:, place + 1] = deviation < -DEVIATIONS
    house = pd.factorize(sales["house_id"])[0]
    before = previous_positions(house, day)
    resold = before != NONE
    days = (day - day[before]).astype(np.int64)
    change = np.where(resold & (days <= SWING_YEARS * 365.25), log_price - log_price[before], 0.0)
    against[:, 4] = change > SWING
    against[:, 5] = change < -SWING
    against[:, 6] = resold & (days < SHORT_DAYS)
    return against


def _deviations(values: Floats, area: Integers, month: Integers) -> Floats:
    """How many standard deviations each value is from the mean of its group; 0 where none judges it."""
    there = np.isfinite(values)
    if not there.any():
        return np.zeros(len(values))
    centred = values - np.mean(values[there])
    shape = (int(area.max()) + 1, int(month.max()) + 1)
    groups = _Groups(
        *(
            _accumulated(weights, area[there], month[there], shape)
            for weights in (np.ones(int(there.sum())), centred[there], centred[there] ** 2)
        )
    )
    last, first = month + 1, np.maximum(month + 1 - WINDOW_MONTHS, 0)
    count, total, squares = (
        table[area, last] - table[area, first] for table in (groups.count, groups.total, groups.squares)
    )
    judged = there & (count >= SMALLEST_GROUP)
    enough = np.where(judged, count, 2.0)
    mean = np.where(judged, total / enough, 0.0)
    variance = np.where(judged, (squares - enough * mean**2) / (enough - 1), 0.0)
    judged &= variance > 1e-9
    return np.where(judged, (centred - mean) / np.sqrt(np.where(judged, variance, 1.0)), 0.0)


def _accumulated(weights: Floats, area: Integers, month: Integers, shape: tuple[int, int]) -> Floats:
    sums = np.bincount(area * shape[1] + month, weights=weights, minlength=shape[0] * shape[1])
    table = np.zeros((shape[0], shape[1] + 1))
    np.cumsum(sums.reshape(shape), axis=1, out=table[:, 1:])
    return table


def _without_long_gaps(month: Integers) -> Integers:
    """Months counted from 0; a gap as long as the window is made no longer, as nothing sees across it."""
    there, place = np.unique(month, return_inverse=True)
    steps = np.minimum(np.diff(there, prepend=there[:1]), WINDOW_MONTHS)
    return np.cumsum(steps)[place]


def _ranks(values: Floats, group: Integers) -> Integers:
    """The place of each value in the order of its group, from 0; equal values by their position."""
    order = np.lexsort((values, group))
    ranks = np.empty(len(values), dtype=np.int64)
    sizes = np.bincount(group)
    begins = np.cumsum(sizes) - sizes
    ranks[order] = np.arange(len(values)) - begins[group[order]]
    return ranks
