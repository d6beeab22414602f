"""Sales chasing: whether more estimates equal their sale price than an honest model's would.

An assessor who moves the estimates of sold houses to their prices makes a
ratio study look better than the estimates of all other houses are. The IAAO
compares sold with unsold houses. Where only sales are known, the share of
estimates that lie very near their price is set beside what the intervals
allow: a house whose price lies within ±w (log) with probability 0.9 has it
within ±1 % with a probability that depends on the form of the errors. It is
least for normal errors and most for double exponential ones; the errors of
price models lie between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from housevis.pricing import metrics
from housevis.pricing.metrics import Interval

Array = NDArray[np.float64]

BANDS: Final = (0.005, 0.01, 0.02)
"""Distances between estimate and price that are counted as very near, as shares of the price."""


@dataclass(frozen=True)
class Nearness:
    """How many estimates lie within a narrow band around their sale price.

    Attributes:
        band: Half width of the band, a share of the price.
        share: Share of sales inside, with its interval.
        smooth: The share that the price intervals let expect of normal errors.
        peaked: The same of double exponential errors; more than that is
            a sign of sales chasing.
    """

    band: float
    share: Interval
    smooth: float
    peaked: float


def nearness_to_prices(
    estimate: Array, price: Array, low: Array, high: Array, nominal: float
) -> list[Nearness]:
    """Compare the share of estimates very near their price with what the intervals allow.

    Args:
        estimate: Estimates ``(n,)``, currency.
        price: Sale prices ``(n,)``, currency.
        low: Lower ends of the price intervals ``(n,)``, currency.
        high: Upper ends ``(n,)``, currency.
        nominal: Share of prices that the intervals are to hold.

    Returns:
        One result per band of :data:`BANDS`.

    Raises:
        ModelError: There are no sales.
    """
    half_width = np.log(high / low) / 2
    return [
        Nearness(
            band,
            metrics.share_interval(metrics.hit(estimate, price, 100 * band)),
            *expected_shares(half_width, nominal, band),
        )
        for band in BANDS
    ]


def expected_shares(half_width: Array, nominal: float, band: float) -> tuple[float, float]:
    """Expected share of estimates within ±`band` of the price, for normal and double exponential errors.

    Args:
        half_width: Half widths ``(n,)`` of the intervals, log units.
        nominal: Share of prices inside the intervals.
        band: Half width of the band, a share of the price.
    """
    distance = np.full_like(half_width, np.inf)
    np.divide(np.log1p(band), half_width, out=distance, where=half_width > 0)
    smooth: Any = 2 * norm.cdf(norm.ppf((1 + nominal) / 2) * distance) - 1
    peaked = 1 - (1 - nominal) ** distance
    return float(smooth.mean()), float(peaked.mean())
