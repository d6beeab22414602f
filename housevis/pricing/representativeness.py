"""Whether the houses with a picture are like those without."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

LARGE_DIFFERENCE: Final = 0.1
"""Standardised differences above it are usually called notable."""

FEWEST: Final = 2
_MEASURES: Final = ("price", "area_m2", "bedrooms", "bathrooms")


def compare_by_picture(sales: pd.DataFrame) -> pd.DataFrame:
    """Medians of the sales with and without a picture, and how far apart they are.

    Args:
        sales: ``used_picture`` and ``price`` (currency) of n sales and, where
            known, ``area_m2``, ``bedrooms``, ``bathrooms`` and ``sale_date``.

    Returns:
        One row per measure: ``measure``, ``with_sales`` and ``without_sales``
        (sales whose value is known), ``with_median`` and ``without_median``
        (dates as days since 1970), ``difference``: of the means in standard
        deviations, the root of the mean variance of both; NaN where a side
        has fewer than 2 values or nothing varies.
    """
    pictured = sales["used_picture"].to_numpy(bool)
    rows = []
    for name in (name for name in _MEASURES if name in sales):
        rows.append(_row(name, sales[name].to_numpy(np.float64, na_value=np.nan), pictured))
    if "sale_date" in sales:
        days = (pd.to_datetime(sales["sale_date"]) - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1)
        rows.append(_row("sale_date", days.to_numpy(np.float64), pictured))
    return pd.DataFrame(rows)


def _row(name: str, values: np.ndarray, pictured: np.ndarray) -> dict[str, Any]:
    sides = [values[side & np.isfinite(values)] for side in (pictured, ~pictured)]
    medians = [float(np.median(side)) if len(side) else float("nan") for side in sides]
    return {
        "measure": name,
        "with_sales": len(sides[0]),
        "without_sales": len(sides[1]),
        "with_median": medians[0],
        "without_median": medians[1],
        "difference": _standardised(*sides),
    }


def _standardised(first: np.ndarray, second: np.ndarray) -> float:
    if min(len(first), len(second)) < FEWEST:
        return float("nan")
    spread = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
    return float((first.mean() - second.mean()) / spread) if spread > 0 else float("nan")
