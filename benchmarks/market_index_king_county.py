"""The market index on King County: which kind, and what it is worth on later sales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from king_county import read_king_county
from numpy.typing import NDArray

from housevis.core.errors import ListingsError, ModelError
from housevis.pricing import metrics
from housevis.pricing.market_index import KINDS
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import split_by_date

METHODS: Final = ("month", "no time", *KINDS)
FORWARD_SHARES: Final = (0.4, 0.55, 0.7, 0.85)
"""Shares of the earlier sales that a forward split learns from; the rest of the earlier sales is judged."""


SETS: Final = ("five", "all")


def measure_king_county(attribute_set: str) -> dict[str, Any] | None:
    """Forward splits inside the earlier sales, then the later sales by month; None without the data.

    Args:
        attribute_set: ``five``, those of the paper, or ``all``.
    """
    try:
        market = read_king_county()
    except ListingsError:
        return None
    sales, is_earlier, cutoff = market.sales, market.is_earlier, market.cutoff
    later, earlier = sales[~is_earlier], sales[is_earlier]
    attributes = market.sets[attribute_set]
    return {
        "attributes": attribute_set,
        "cutoff": f"{cutoff:%Y-%m-%d}",
        "earlier_sales": len(earlier),
        "later_sales": len(later),
        "forward_shares": list(FORWARD_SHARES),
        "methods": [{"method": method, **_measure(earlier, later, attributes, method)} for method in METHODS],
    }


def _measure(
    earlier: pd.DataFrame, later: pd.DataFrame, attributes: Sequence[str], method: str
) -> dict[str, Any]:
    try:
        forward, prices = [], []
        for share in FORWARD_SHARES:
            is_known, _ = split_by_date(earlier["sale_date"], share)
            known, judged = earlier[is_known], earlier[~is_known]
            forward.append(_estimates(known, judged, attributes, method))
            prices.append(judged["price"].to_numpy())
        estimate = _estimates(earlier, later, attributes, method)
    except ModelError as refusal:
        return {"refused": str(refusal)}
    price = later["price"].to_numpy()
    month = later["sale_date"].dt.strftime("%Y-%m").to_numpy()
    return {
        "forward": _figures(np.concatenate(forward), np.concatenate(prices)),
        "later": _figures(estimate, price),
        "months": [
            {"month": str(one), **_figures(estimate[month == one], price[month == one])}
            for one in np.unique(month)
        ],
    }


def _estimates(
    known: pd.DataFrame, judged: pd.DataFrame, attributes: Sequence[str], method: str
) -> NDArray[np.float64]:
    known = known[~known["house_id"].isin(judged["house_id"])]
    if method == "no time":
        attributes = [name for name in attributes if name != "sale_month"]
    index = method if method in KINDS else "none"
    model = HousePriceModel(attributes=attributes, market_index=index, num_threads=1)
    return np.asarray(model.fit(known, known["price"]).predict(judged))


def _figures(estimate: NDArray[np.float64], price: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "sales": len(price),
        "share": float(metrics.pe(estimate, price)),
        "mdape": float(metrics.mdape(estimate, price)),
        "median_ratio": float(metrics.median_ratio(estimate, price)),
    }
