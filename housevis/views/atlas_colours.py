"""What the houses of the map are coloured by: classes, their limits and their colours.

The colours suit any colour vision: prices run from dark to light, and what has
a sign runs from blue over grey to orange, as on the value maps.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.views.data import AtlasData

PRICE_COLOURS: Final = ("#482677", "#3b528b", "#2c728e", "#21918c", "#3fbc73", "#a0da39", "#fde725")
"""From the lowest to the highest price; CIE lightness rises throughout."""

SIGNED_COLOURS: Final = ("#1f5fa8", "#8fbfe3", "#dcdcd6", "#f7b267", "#b5510a")
"""From far below zero to far above it."""

ERROR_LIMITS: Final = (-0.2, -0.1, 0.1, 0.2)
"""Limits between the classes of the estimate's error, as shares of the price."""

PICTURE_DRIVER: Final = "picture"

_EFFECT_QUANTILES: Final = (0.5, 0.85)


def price_limits(prices: np.ndarray) -> list[float]:
    """Limits between the price classes: quantiles rounded to two digits, ascending, distinct."""
    limits: list[float] = []
    classes = len(PRICE_COLOURS)
    for quantile in np.quantile(prices, np.arange(1, classes) / classes):
        limit = _rounded(float(quantile), 2)
        if not limits or limit > limits[-1]:
            limits.append(limit)
    return limits


def effect_limits(effects: np.ndarray) -> list[float]:
    """Limits between the classes of the picture's effect: the same below zero as above it.

    Args:
        effects: Amounts in the currency; NaN where there is no picture.

    Returns:
        Four limits, ascending; two where the effects hardly differ in size,
        none where there is no effect at all.
    """
    sizes = np.abs(effects[np.isfinite(effects)])
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return []
    outer = sorted({_rounded(float(size), 1) for size in np.quantile(sizes, _EFFECT_QUANTILES)})
    return [-limit for limit in reversed(outer)] + outer


def picture_effects(records: pd.DataFrame) -> np.ndarray:
    """What the picture adds to each estimate, in the currency ``(n,)``; NaN where it is no driver."""
    return np.array(
        [
            next((float(amount) for name, amount in drivers if name == PICTURE_DRIVER), math.nan)
            for drivers in records["drivers"]
        ]
    )


def colour_modes(data: AtlasData, records: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Mode -> the limits between its classes, ascending, and one colour more than there are limits.

    Args:
        data: The atlas; without pictures there is no mode ``effect``.
        records: Its records.
    """
    prices = price_limits(records["price"].to_numpy(dtype=float))
    modes = {
        "price": {"limits": prices, "colours": _spread(PRICE_COLOURS, len(prices) + 1)},
        "error": {"limits": list(ERROR_LIMITS), "colours": list(SIGNED_COLOURS)},
    }
    if data.pictures is not None:
        limits = effect_limits(picture_effects(records))
        if limits:
            modes["effect"] = {"limits": limits, "colours": _spread(SIGNED_COLOURS, len(limits) + 1)}
    return modes


def _spread(colours: tuple[str, ...], classes: int) -> list[str]:
    """As many colours as there are classes, evenly over all of them."""
    if classes == 1:
        return [colours[len(colours) // 2]]
    return [colours[round(index * (len(colours) - 1) / (classes - 1))] for index in range(classes)]


def _rounded(amount: float, digits: int) -> float:
    step = 10.0 ** (math.floor(math.log10(amount)) + 1 - digits)
    return round(round(amount / step) * step, 6)
