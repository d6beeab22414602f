"""Prices at another date, by what the model itself knows of the market."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.pricing.attributes import encode
from housevis.pricing.boosted import Boosted
from housevis.pricing.market_index import MarketIndex
from housevis.pricing.model import MARKET

Array = NDArray[np.float64]

_PREDICTIONS: Final = 60_000
_MOST_SALES: Final = 300


class PriceDates:
    """The log level of prices by date.

    With a market index the level is the index. Where the month of sale is an
    attribute instead, it is the mean prediction of the model for some of its
    training sales, had all been sold in that month. Where neither is known,
    prices stay as they were.

    Args:
        index: The model's market index, or None.
        months: Months since January 2000, ascending; of no effect with an index.
        levels: Log level in these months.
    """

    def __init__(self, index: MarketIndex | None, months: Array, levels: Array) -> None:
        self._index = index
        self._months = months
        self._levels = levels

    @classmethod
    def of(
        cls, index: MarketIndex | None, attributes: tuple[str, ...], boosted: Boosted, features: Array
    ) -> PriceDates:
        """What one side of a model knows of the market.

        Args:
            index: Its market index, or None.
            attributes: Names of its attributes.
            boosted: The side.
            features: What it sees of its training sales ``(N, F)``.
        """
        nothing = np.empty(0)
        if index is not None or MARKET not in attributes:
            return cls(index, nothing, nothing)
        column = attributes.index(MARKET)
        seen = features[np.isfinite(features[:, column]), column]
        if not len(seen):
            return cls(None, nothing, nothing)
        months = np.arange(seen.min(), seen.max() + 1)
        count = min(_MOST_SALES, len(features), max(1, _PREDICTIONS // len(months)))
        chosen = features[np.linspace(0, len(features) - 1, count).astype(np.int64)]
        table = np.tile(chosen, (len(months), 1))
        table[:, column] = np.repeat(months, count)
        return cls(None, months, boosted.predict(table, 1).reshape(len(months), count).mean(axis=1))

    def level(self, dates: pd.Series[Any] | pd.DatetimeIndex) -> Array:
        """Log level ``(n,)`` at n dates; before the first month and after the last it stays."""
        if self._index is not None:
            return self._index.level(dates)
        if not len(self._months):
            return np.zeros(len(dates))
        months = encode(pd.DataFrame({"sale_date": dates}), [MARKET])[MARKET].to_numpy()
        return np.interp(months, self._months, self._levels)


def adjustment_words(market_index: str, attributes: tuple[str, ...] | list[str]) -> str:
    """How prices are adjusted, one plain sentence.

    Args:
        market_index: The setting ``pricing.market_index``.
        attributes: The attributes of the model.
    """
    if MARKET not in attributes:
        return "Prices are not adjusted to the valuation date: the model knows no time."
    if market_index != "none":
        return "Prices are adjusted to the valuation date by the model's own market index."
    return (
        "Prices are adjusted to the valuation date by what the month of sale does to the model's own "
        "estimates, on average over its sales."
    )
