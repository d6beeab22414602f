"""Lorenz curves: how the value of a market is shared out, by prices and by estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.pricing.metrics import gini_in_order

Array = NDArray[np.float64]

POINTS = 100
"""Steps of a curve from no house to all houses."""


def lorenz_curves(estimate: Array, price: Array, points: int = POINTS) -> pd.DataFrame:
    """The share of all value that the cheapest houses hold, by sale price and by estimate.

    Both curves order the houses by their sale price, so that they are
    comparable house by house: where estimates rise less than prices do, their
    curve lies above that of the prices.

    Args:
        estimate: Estimates ``(n,)``, currency.
        price: Sale prices ``(n,)``, currency.
        points: Steps from no house to all.

    Returns:
        ``points + 1`` rows, ``houses``, ``prices`` and ``estimates``: shares
        from 0 to 1.

    Raises:
        ModelError: There are no sales.
    """
    if not len(price) or len(price) != len(estimate):
        raise ModelError("a Lorenz curve needs at least one sale, with a price and an estimate each")
    order = np.argsort(price, kind="stable")
    houses = np.linspace(0, 1, points + 1)
    reached = np.linspace(0, 1, len(price) + 1)
    curves = {"houses": houses}
    for name, values in (("prices", price), ("estimates", estimate)):
        whole = np.concatenate([[0.0], np.cumsum(values[order])])
        curves[name] = np.interp(houses, reached, whole / whole[-1])
    return pd.DataFrame(curves)


def gini(values: Array, by: Array | None = None) -> float:
    """Gini coefficient: 0 where all values are alike, towards 1 where one holds all.

    Args:
        values: Values ``(n,)``, above 0.
        by: What to order them by ``(n,)``; None orders them by themselves.
            Ordered by prices, that of the estimates divided by that of the
            prices is the modified Kakwani index (MKI).

    Raises:
        ModelError: There are no values.
    """
    if not len(values):
        raise ModelError("a Gini coefficient needs at least one value")
    order = np.argsort(values if by is None else by, kind="stable")
    return float(gini_in_order(values[order]))
