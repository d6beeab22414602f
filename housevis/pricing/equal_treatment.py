"""What PRD, PRB and MKI come to where dear and cheap houses are treated alike.

A sale price holds chance that no estimate can know: the same house sells for
more one day and less the next. Among sales that went dear by chance the ratio
is low, so that PRD rises above 1, PRB falls below 0 and MKI below 1 although
no house is treated worse. In a group of like houses, where chance is a large
part of what prices differ by, the figures leave the IAAO's ranges by that
alone. Exchanging the errors among the sales of a group shows how far: it
keeps the estimates and the errors and takes away any bond between the two.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.pricing import metrics
from housevis.pricing.metrics import Interval, Statistic

Array = NDArray[np.float64]

VERTICAL: Final[dict[str, Statistic]] = {"prd": metrics.prd, "prb": metrics.prb, "mki": metrics.mki}
"""The figures that compare dear with cheap houses."""

_AT_ONCE: Final = 1_000_000


def if_treated_alike(
    estimate: Array, price: Array, *, repeats: int = 200, seed: int = 1, level: float = 0.95
) -> dict[str, Interval]:
    """The vertical figures when the errors are exchanged among the sales.

    Args:
        estimate: Estimates ``(n,)``, currency.
        price: Sale prices ``(n,)``, currency, above zero.
        repeats: Number of exchanges.
        seed: Seed of the exchanges.
        level: Share of the exchanges inside the interval.

    Returns:
        Name -> mean over the exchanges, and the interval that holds `level`
        of them. A figure inside it tells nothing of unequal treatment.
    """
    error = price / estimate
    generator = np.random.default_rng(seed)
    draws: dict[str, list[Array]] = {name: [] for name in VERTICAL}
    at_once = max(1, _AT_ONCE // len(error))
    for start in range(0, repeats, at_once):
        count = min(at_once, repeats - start)
        exchanged = generator.permuted(np.broadcast_to(error, (count, len(error))), axis=1)
        for name, statistic in VERTICAL.items():
            draws[name].append(statistic(np.broadcast_to(estimate, exchanged.shape), estimate * exchanged))
    return {name: _summary(np.concatenate(found), level) for name, found in draws.items()}


def _summary(draws: Array, level: float) -> Interval:
    if not np.isfinite(draws).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(draws.mean()), float(low), float(high))
