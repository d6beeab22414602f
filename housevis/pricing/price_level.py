"""The level of prices by month, with its interval: what is left when the houses are accounted for."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.pricing.drivers import log_mean

Array = NDArray[np.float64]

_QUANTILE: Final = 1.959964
FEWEST_SALES: Final = 5
"""Months with fewer sales have no interval."""


def log_contribution(amount: Array, estimate: Array, base: Array) -> Array:
    """A driver's amounts back in log units: the log-mean rule of :mod:`housevis.pricing.drivers` undone.

    Args:
        amount: Amounts of one driver ``(n,)``, currency.
        estimate: Estimates ``(n,)``, currency.
        base: Base prices ``(n,)``, currency.
    """
    return np.asarray(amount / log_mean(base, np.log(estimate / base)))


def price_level(
    dates: pd.Series[pd.Timestamp], price: Array, estimate: Array, time_log: Array | None = None
) -> pd.DataFrame:
    """Mean log price less what the houses explain, by month, relative to the last month.

    Args:
        dates: Sale dates ``(n,)``.
        price: Sale prices ``(n,)``, currency.
        estimate: Out-of-sample estimates ``(n,)``, currency.
        time_log: What the date of the sale contributes to each estimate, log
            units ``(n,)``; it is given back to the market. None where the
            estimates know no time.

    Returns:
        Columns ``date`` (first day of the month), ``sales``, ``level``,
        ``low`` and ``high``: log units, the last month 0; the interval is
        95 % by the normal distribution, of the month's own mean alone.
    """
    left = np.log(price) - np.log(estimate) + (0.0 if time_log is None else time_log)
    months = pd.to_datetime(dates).dt.to_period("M").dt.to_timestamp().to_numpy()
    grouped = pd.DataFrame({"date": months, "left": left}).groupby("date")["left"]
    table = grouped.agg(["size", "mean", "std"]).reset_index()
    table.columns = pd.Index(["date", "sales", "level", "spread"])
    level = table["level"] - table["level"].iloc[-1]
    reach = _QUANTILE * table["spread"] / np.sqrt(table["sales"])
    reach = reach.where(table["sales"] >= FEWEST_SALES)
    return pd.DataFrame(
        {
            "date": table["date"],
            "sales": table["sales"].astype("int64"),
            "level": level,
            "low": level - reach,
            "high": level + reach,
        }
    )
