"""Whether the confidence grades keep their word: how near the estimates of each grade came."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from housevis.pricing import metrics
from housevis.pricing.confidence import (
    FAR_FROM_SALES,
    FEW_SALES,
    GRADES,
    MOVED_BY_PICTURE,
    NO_PICTURE,
    NOT_KNOWN,
    OFTEN_MISSED,
    OLD_PICTURE,
    UNUSUAL,
)

REASON_KINDS: Final = (
    (NOT_KNOWN, "an attribute is not known"),
    (UNUSUAL, "an attribute is unusual"),
    (FAR_FROM_SALES, "few sales near"),
    (FEW_SALES, "few sales were learned from"),
    (NO_PICTURE, "no aerial picture"),
    (MOVED_BY_PICTURE, "the picture moves the estimate unusually far"),
    (OLD_PICTURE, "the picture is old"),
    (OFTEN_MISSED, "houses like it are often estimated far from their prices"),
)
"""What a reason holds -> its kind."""

_COLUMNS: Final = ["sales", "share", "pe10", "mdape", "covered", "width"]


def confidence_table(later: pd.DataFrame) -> pd.DataFrame:
    """Figures of the sales of each grade.

    Args:
        later: ``price, estimate, low, high, confidence`` of n sales.

    Returns:
        One row per grade that has sales: ``grade``, ``sales``, ``share`` of all, ``pe10``, ``mdape``,
        ``covered`` (prices inside their range) and ``width`` (mean of range / estimate), fractions.
    """
    rows = [
        (grade, *_figures(later[later["confidence"] == grade], len(later)))
        for grade in GRADES
        if (later["confidence"] == grade).any()
    ]
    return pd.DataFrame(rows, columns=["grade", *_COLUMNS])


def reasons_table(later: pd.DataFrame) -> pd.DataFrame:
    """Figures of the sales that have a reason for doubt, by its kind; a sale may have several.

    Args:
        later: As for :func:`confidence_table`, with ``confidence_reasons``.

    Returns:
        As there, with ``reason`` in place of ``grade``; the last row is of the sales without any.
    """
    said = later["confidence_reasons"]
    rows = []
    for text, kind in REASON_KINDS:
        having = later[said.str.contains(text, regex=False)]
        if len(having):
            rows.append((kind, *_figures(having, len(later))))
    without = later[said == ""]
    if len(without):
        rows.append(("none of these", *_figures(without, len(later))))
    return pd.DataFrame(rows, columns=["reason", *_COLUMNS])


def _figures(sales: pd.DataFrame, of: int) -> tuple[int, float, float, float, float, float]:
    price, estimate = sales["price"].to_numpy(np.float64), sales["estimate"].to_numpy(np.float64)
    low, high = sales["low"].to_numpy(np.float64), sales["high"].to_numpy(np.float64)
    return (
        len(sales),
        len(sales) / of,
        float(metrics.hit(estimate, price).mean()),
        float(np.median(np.abs(estimate / price - 1))),
        float(((low <= price) & (price <= high)).mean()),
        float(((high - low) / estimate).mean()),
    )
