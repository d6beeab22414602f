"""How much of what was planted in the sample market's prices the estimates give back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from data_pipeline.sample_market import DRIVERS
from housevis.core.errors import ModelError

LEVELS: Final = ("attributes", "location", "market")
"""The parts of a price that the listings tell: living area and rooms, place, and date of sale."""

FACTOR: Final = 1.5
"""A driver is recovered where the estimates give it back within this factor."""

_ELEMENTS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True)
class RecoveredPart:
    """What the estimates give back of one planted part of the log price.

    Attributes:
        part: A driver, or one of :data:`LEVELS`.
        recovered: Recovered / planted: 1 where the estimates hold the part
            in its full size, 0 where they do not know it.
        low: Lower end of the 95 % interval.
        high: Upper end.
        planted: Standard deviation of the part over these houses, in log price.
        houses: Houses whose price the part moved.
    """

    part: str
    recovered: float
    low: float
    high: float
    planted: float
    houses: int

    @property
    def within_factor(self) -> bool:
        """Right sign, and within a factor of 1.5 of what was planted."""
        return 1 / FACTOR <= self.recovered <= FACTOR

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"within_factor": self.within_factor}


def part_columns() -> dict[str, str]:
    """Part of the log price -> its column in the truth about a town's houses."""
    drivers = {driver: f"{driver}_effect" for driver in DRIVERS}
    return drivers | {level: f"{level}_level" for level in LEVELS}


def recovered_parts(
    truth: pd.DataFrame, log_estimates: ArrayLike, *, repeats: int = 2000, seed: int = 1
) -> list[RecoveredPart]:
    """Least squares of log estimates on the true parts of the log prices.

    The noise-free log price of a house is the plain sum of its parts, so the
    same regression on it gives every part the coefficient 1, and the
    coefficient of an estimate is recovered / planted. All parts are in one
    regression: what an estimate knows by a house's place or size counts for
    those, not for a driver that happens to lie there.

    Args:
        truth: Rows of ``SampleMarket.houses()``, one per estimate.
        log_estimates: Logs of the estimates ``(n,)``, out of sample.
        repeats: Bootstrap draws of houses for the interval.
        seed: Seed of the draws.

    Returns:
        One entry per part, drivers first; a part that moved none of these
        prices, or all of them alike, has none.

    Raises:
        ModelError: Another number of estimates than of houses, or too few to
            tell the parts from each other.
    """
    target = np.asarray(log_estimates, dtype=np.float64)
    columns = {part: truth[name].to_numpy(np.float64) for part, name in part_columns().items()}
    columns = {part: values for part, values in columns.items() if len(values) and np.ptp(values) > 0}
    if len(target) != len(truth) or len(target) <= len(columns) + 1:
        raise ModelError(
            f"{len(target)} estimates of {len(truth)} houses cannot tell {len(columns)} parts of "
            "a price apart",
            remedy="Set sample_market.houses to more houses.",
        )
    if not columns:
        return []
    parts = np.column_stack(list(columns.values()))
    found = _coefficients(parts, target)
    draws = np.concatenate(list(_bootstrap(parts, target, repeats, seed)))
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return [
        RecoveredPart(
            part,
            float(found[number]),
            float(low[number]),
            float(high[number]),
            planted=float(values.std()),
            houses=int((values != 0).sum()),
        )
        for number, (part, values) in enumerate(columns.items())
    ]


def _coefficients(parts: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.lstsq(parts - parts.mean(axis=0), target - target.mean(), rcond=None)[0]


def _bootstrap(
    parts: NDArray[np.float64], target: NDArray[np.float64], repeats: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Coefficients ``(some draws, P)`` of houses drawn with replacement, all draws in the end.

    A draw is how often it holds each house, so that the normal equations of
    many draws are one matrix product. A part that a draw holds no house of
    gets 0 there.
    """
    n, count = parts.shape
    scale = parts.std(axis=0)
    table = np.column_stack([np.ones(n), (parts - parts.mean(axis=0)) / scale, target - target.mean()])
    products = (table[:, :, None] * table[:, None, :]).reshape(n, -1)
    generator = np.random.default_rng(seed)
    at_once = max(1, _ELEMENTS_AT_ONCE // n)
    for start in range(0, repeats, at_once):
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=min(at_once, repeats - start))
        sums = (drawn @ products).reshape(len(drawn), count + 2, count + 2)
        inverse = np.linalg.pinv(sums[:, :-1, :-1], rcond=1e-10, hermitian=True)
        yield (inverse @ sums[:, :-1, -1:])[:, 1:, 0] / scale
