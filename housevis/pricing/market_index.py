"""The market index: by how much prices move with the day of the sale, carried to any later day.

Trees cannot extrapolate a month number: an estimate for next spring is given
last autumn's level. So the boosting is fitted on the log price less the level
at its sale date, and an estimate adds the level at the valuation date.

| kind | what the level is learned from |
|---|---|
| `hedonic` | log prices less what a linear model with splines, location cells and months explains |
| `repeat-sales` | pairs of sales of the same house, no attributes (Bailey, Muth and Nourse 1963) |
| `rolling-residual` | log prices less cross-fitted predictions of a boosting on the attributes without time |

How the level is smoothed and carried forward is in :mod:`housevis.pricing.market_level`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing.index_values import hedonic_log_values, rolling_residual_log_values
from housevis.pricing.market_level import Observations, learn_level

Array = NDArray[np.float64]
IndexKind = Literal["hedonic", "repeat-sales", "rolling-residual"]
KINDS: Final[tuple[IndexKind, ...]] = get_args(IndexKind)

DAYS_PER_MONTH: Final = 365.25 / 12.0
MINIMUM_PAIRS: Final = 50
"""Fewest pairs of sales of the same house that a repeat-sales index is learned from."""
SHORTEST_HOLDING: Final = 183
"""Days: houses resold sooner have mostly been rebuilt, and are left out of the pairs."""
CARRIED_MONTHS: Final = 24
"""So far the level is carried beyond the last sale; after that it stays."""

_SHORTEST_PERIOD: Final = 7.0
_MOST_PERIODS: Final = 90
_QUANTILE: Final = 1.959964
"""Of the normal distribution, for a two-sided 95 % interval."""


class MarketIndex:
    """Log level of the market by day, relative to the last day of the fitted sales.

    Learned by :meth:`fit` from values, or by :func:`fit_market_index` from a
    sale frame. In a model::

        index = fit_market_index("rolling-residual", earlier, attributes, section, seed=seed)
        target = log_price - index.level(earlier["sale_date"])      # sale_month is no attribute then
        estimate = np.exp(boosted + index.level(valuation_dates))

    Args:
        kind: What the level was learned from.
        first_day: First day of the fitted sales.
        last_day: Last day of the fitted sales; the level is 0 there.
        sales: Sales it was learned from.
        pairs: Pairs of sales it was learned from; 0 but for ``repeat-sales``.
        noise: Standard deviation of one value around the level, log units.
        days: Knots ``(K,)``, days from `last_day`, rising.
        levels: Log level ``(K,)`` at the knots.
        deviations: Standard deviation ``(K,)`` of the levels.
    """

    def __init__(
        self,
        kind: IndexKind,
        first_day: pd.Timestamp,
        last_day: pd.Timestamp,
        *,
        sales: int,
        pairs: int,
        noise: float,
        days: ArrayLike,
        levels: ArrayLike,
        deviations: ArrayLike,
    ) -> None:
        self.kind = kind
        self.first_day = first_day
        self.last_day = last_day
        self.sales = sales
        self.pairs = pairs
        self.noise = noise
        self._days = np.asarray(days, dtype="float64")
        self._levels = np.asarray(levels, dtype="float64")
        self._deviations = np.asarray(deviations, dtype="float64")

    @classmethod
    def fit(
        cls,
        sale_dates: pd.Series[Any] | ArrayLike,
        log_values: ArrayLike,
        *,
        kind: IndexKind,
        houses: pd.Series[Any] | ArrayLike | None = None,
    ) -> MarketIndex:
        """Learn the level from values whose change with time is the market's.

        Args:
            sale_dates: Dates of n sales, in any order.
            log_values: ``(n,)``, log price, or log price less what attributes
                explain.
            kind: What the values are; ``repeat-sales`` compares each house
                with itself.
            houses: House ids ``(n,)``, needed for ``repeat-sales``.

        Returns:
            The index.

        Raises:
            ModelError: There is no sale, a date or value is missing, the kind
                is unknown, or there are too few pairs for ``repeat-sales``.
        """
        _check_kind(kind)
        dates = _dates(sale_dates).normalize()
        values = np.asarray(log_values, dtype="float64")
        _check_values(dates, values)
        first_day, last_day = dates.min(), dates.max()
        days = _days_between(dates, last_day)
        if kind == "repeat-sales":
            if houses is None:
                raise ModelError("a repeat-sales index needs house ids", remedy="Give each sale's house.")
            observations = _pairs(days, values, np.asarray(houses))
        else:
            times, position = _periods(days)
            observations = Observations(times, position, None, values, np.ones(len(values)))
        knots = _knots(float(days.min()))
        level = learn_level(observations, knots / DAYS_PER_MONTH)
        return cls(
            kind,
            first_day,
            last_day,
            sales=len(values),
            pairs=0 if observations.earlier is None else len(observations.values),
            noise=level.noise,
            days=knots,
            levels=level.mean,
            deviations=level.deviation,
        )

    def level(self, dates: pd.Series[Any] | ArrayLike) -> Array:
        """Log level ``(n,)`` at the dates, 0 on the last day of the fitted sales.

        Beyond that day the level is carried forward for 24 months and then
        stays; before the first day it is that of the first day.

        Args:
            dates: n dates, also times within a day.

        Raises:
            ModelError: A date is missing.
        """
        return np.interp(_days_between(_dates(dates), self.last_day), self._days, self._levels)

    def standard_error(self, dates: pd.Series[Any] | ArrayLike) -> Array:
        """Standard deviation ``(n,)`` of :meth:`level`, log units; 0 on the last day."""
        return np.interp(_days_between(_dates(dates), self.last_day), self._days, self._deviations)

    def table(self, months_ahead: int = 6) -> pd.DataFrame:
        """The level by month with a 95 % interval, from the first sale to some months after the last.

        Args:
            months_ahead: Months after the last day of the fitted sales.

        Returns:
            Columns ``date`` (the last day of the fitted sales and the days
            that lie whole months from it), ``level``, ``low``, ``high`` in
            log units relative to that day. Rows after
            :attr:`last_day` are carried.
        """
        back = 0
        while self.last_day - pd.DateOffset(months=back + 1) >= self.first_day:
            back += 1
        dates = pd.DatetimeIndex(
            [self.last_day + pd.DateOffset(months=month) for month in range(-back, months_ahead + 1)]
        )
        level, reach = self.level(dates), _QUANTILE * self.standard_error(dates)
        return pd.DataFrame({"date": dates, "level": level, "low": level - reach, "high": level + reach})

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values, for :meth:`from_dict`."""
        return {
            "kind": self.kind,
            "first_day": f"{self.first_day:%Y-%m-%d}",
            "last_day": f"{self.last_day:%Y-%m-%d}",
            "sales": self.sales,
            "pairs": self.pairs,
            "noise": self.noise,
            "days": self._days.tolist(),
            "levels": self._levels.tolist(),
            "deviations": self._deviations.tolist(),
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> MarketIndex:
        """The index that :meth:`to_dict` wrote, level for level.

        Raises:
            ModelError: The facts are not those of a market index.
        """
        try:
            _check_kind(facts["kind"])
            days, levels, deviations = (
                np.asarray(facts[name], dtype="float64") for name in ("days", "levels", "deviations")
            )
            first_day, last_day = (pd.Timestamp(facts[name]) for name in ("first_day", "last_day"))
            fitting = days.shape == levels.shape == deviations.shape and days.ndim == 1
            if not (len(days) and fitting and np.all(np.diff(days) > 0) and first_day <= last_day):
                raise ValueError
            return cls(
                facts["kind"],
                first_day,
                last_day,
                sales=int(facts["sales"]),
                pairs=int(facts["pairs"]),
                noise=float(facts["noise"]),
                days=days,
                levels=levels,
                deviations=deviations,
            )
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "this is no market index, or it is damaged", remedy="Run `train` again."
            ) from None


def fit_market_index(
    kind: IndexKind,
    sales: pd.DataFrame,
    attributes: Sequence[str],
    section: PricingSection | None = None,
    *,
    seed: int = 1,
    num_threads: int = 1,
) -> MarketIndex:
    """Learn a market index from sales.

    Args:
        kind: ``hedonic``, ``repeat-sales`` or ``rolling-residual``.
        sales: Sale frame, n rows, in any order: the sales that the model is
            fitted on and no later ones.
        attributes: Names of the attributes; ``sale_month`` among them is
            left out, and ``repeat-sales`` uses none.
        section: Objective, rounds, leaves and folds of ``rolling-residual``;
            None takes the defaults.
        seed: Seed of the folds and of the boosting.
        num_threads: Most threads to use; the result does not depend on them.

    Returns:
        The index.

    Raises:
        ModelError: As for :meth:`MarketIndex.fit`.
        ConfigError: An attribute is unknown.
    """
    _check_kind(kind)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_price = np.log(sales["price"].to_numpy(dtype="float64"))
    _check_values(_dates(sales["sale_date"]), log_price)
    timeless = [name for name in attributes if name != "sale_month"]
    if kind == "hedonic":
        log_price = hedonic_log_values(sales, timeless, folds=(section or PricingSection()).folds, seed=seed)
    elif kind == "rolling-residual":
        log_price = rolling_residual_log_values(
            sales, timeless, section or PricingSection(), seed=seed, num_threads=num_threads
        )
    return MarketIndex.fit(sales["sale_date"], log_price, kind=kind, houses=sales["house_id"])


def _check_kind(kind: object) -> None:
    if kind not in KINDS:
        raise ModelError(
            f"unknown kind of market index {kind!r}",
            where="pricing.market_index",
            remedy=f"Choose one of: {', '.join(KINDS)}.",
        )


def _check_values(dates: pd.DatetimeIndex, values: Array) -> None:
    if values.shape != (len(dates),):
        raise ModelError(
            f"{values.size} values do not fit {len(dates)} sales", remedy="Give one value per sale."
        )
    if not len(values):
        raise ModelError("a market index needs sales, and there are none", remedy="Give at least one sale.")
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise ModelError(
            f"{wrong} of {len(values)} sales have a price that is missing or not above zero",
            remedy="Leave these sales out; `ingest` rejects them.",
        )


def _dates(dates: pd.Series[Any] | ArrayLike) -> pd.DatetimeIndex:
    found = pd.DatetimeIndex(pd.to_datetime(np.atleast_1d(np.asarray(dates))))
    missing = int(np.isnat(found.to_numpy()).sum())
    if missing:
        raise ModelError(
            f"{missing} of {len(found)} dates are missing",
            remedy="A market index needs the day of every sale and of every valuation.",
        )
    return found


def _knots(first: float) -> Array:
    """Weekly days from the last sale: back to the `first`, and ahead as far as the level is carried."""
    back = np.linspace(first, 0.0, max(2, math.ceil(-first / _SHORTEST_PERIOD) + 1))
    ahead = np.arange(_SHORTEST_PERIOD, CARRIED_MONTHS * DAYS_PER_MONTH, _SHORTEST_PERIOD)
    return np.unique(np.concatenate([back, ahead]))


def _days_between(dates: pd.DatetimeIndex, last_day: pd.Timestamp) -> Array:
    return np.asarray((dates - last_day) / pd.Timedelta(days=1), dtype="float64")


def _periods(days: Array) -> tuple[Array, NDArray[np.int64]]:
    """Mean time ``(K,)`` in months of each period that has sales, and the period ``(n,)`` of each sale."""
    length = max(_SHORTEST_PERIOD, float(-days.min() + 1.0) / _MOST_PERIODS)
    _, position = np.unique(np.floor(-days / length).astype(np.int64), return_inverse=True)
    times = np.bincount(position, days) / np.bincount(position) / DAYS_PER_MONTH
    return times, position.astype(np.int64)


def _pairs(days: Array, values: Array, houses: NDArray[Any]) -> Observations:
    """Neighbouring sales of the same house; pairs held longer are noisier (Case and Shiller 1989)."""
    codes, _ = pd.factorize(houses, sort=True)
    order = np.lexsort((days, codes))
    earlier, later = order[:-1], order[1:]
    gap = days[later] - days[earlier]
    held = (codes[earlier] == codes[later]) & (gap >= SHORTEST_HOLDING) & (codes[later] >= 0)
    earlier, later, gap = earlier[held], later[held], gap[held]
    if len(gap) < MINIMUM_PAIRS:
        raise ModelError(
            f"a repeat-sales index needs {MINIMUM_PAIRS} houses sold twice at least {SHORTEST_HOLDING} days "
            f"apart, and these sales have {len(gap)}",
            where="pricing.market_index",
            remedy="Choose 'hedonic' or 'rolling-residual', or give sales of more years.",
        )
    times, position = _periods(days)
    change = values[later] - values[earlier]
    return Observations(times, position[later], position[earlier], change, _pair_spread(change, gap))


def _pair_spread(change: Array, gap: Array) -> Array:
    """Standard deviation ``(n,)`` of each pair: a line through absolute deviations over the holding time."""
    years = gap / 365.25
    rate = float(np.median(change / years))
    deviation = np.abs(change - rate * years)
    deviation = np.minimum(deviation, 4.0 * np.median(deviation))
    centred = years - years.mean()
    steepness = float(centred @ deviation) / max(float(centred @ centred), 1e-12)
    line = deviation.mean() + max(steepness, 0.0) * centred
    return np.maximum(line, 0.25 * deviation.mean() + 1e-9)
