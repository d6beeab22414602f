"""Ratio studies: how near estimates come to sale prices, as professionals print it.

A ratio is estimate / sale price. Every measure reduces the last axis, so a
whole bootstrap ``(repeats, n)`` goes through in one call. COD, PRD and PRB
follow the IAAO Standard on Ratio Studies, MKI its definition in Quintos
(2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Array, Array], Any]

IAAO_RANGES: Final[dict[str, tuple[float, float]]] = {
    "median_ratio": (0.90, 1.10),
    "cod": (5.0, 15.0),
    "prd": (0.98, 1.03),
    "prb": (-0.05, 0.05),
    "mki": (0.95, 1.05),
}
"""Ranges that the IAAO calls acceptable, bounds inclusive."""

FEWEST_SALES_JUDGED: Final = 30
"""A group of fewer sales gets figures but no verdict."""

_ELEMENTS_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval.

    Attributes:
        estimate: The figure on the data themselves.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    estimate: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The three numbers, for JSON."""
        return asdict(self)


def ratio(estimate: Array, price: Array) -> Array:
    """Estimate / sale price, element by element."""
    return estimate / price


def hit(estimate: Array, price: Array, percent: float = 10) -> NDArray[np.bool_]:
    """Whether ``|estimate - price| <= percent / 100 * price``, element by element."""
    return np.abs(estimate - price) <= percent / 100 * price


def pe(estimate: Array, price: Array, percent: float = 10) -> Any:
    """PE5, PE10, PE20: share of estimates within ±`percent` % of the sale price.

    PE10 is the "10 % maximum error accuracy" of C section 4.
    """
    return hit(estimate, price, percent).mean(axis=-1)


def mdape(estimate: Array, price: Array) -> Any:
    """MdAPE: median of ``|estimate - price| / price``, as a share (0.1 = 10 %)."""
    return np.median(np.abs(estimate / price - 1), axis=-1)


def mape(estimate: Array, price: Array) -> Any:
    """MAPE: mean of ``|estimate - price| / price``, as a share; a few far misses move it much."""
    return np.abs(estimate / price - 1).mean(axis=-1)


def rmse(estimate: Array, price: Array) -> Any:
    """RMSE: root of the mean squared error, in the currency; the dearest houses decide it."""
    return np.sqrt(((estimate - price) ** 2).mean(axis=-1))


def r2(estimate: Array, price: Array) -> Any:
    """R2: 1 - squared errors of the estimates / squared errors of the mean price.

    In the currency, not in logs. Below 0 the mean price is the better
    estimate; NaN where all prices are equal.
    """
    errors = ((estimate - price) ** 2).sum(axis=-1)
    spread = ((price - price.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return 1 - np.divide(errors, spread, out=np.full_like(spread, np.nan), where=spread > 0)


def median_ratio(estimate: Array, price: Array) -> Any:
    """Median of estimate / price; 1 means that the level is right."""
    return np.median(estimate / price, axis=-1)


def cod(estimate: Array, price: Array) -> Any:
    """Coefficient of dispersion: ``100 * mean|r_i - m| / m``, `m` the median ratio.

    Uniformity: the mean distance of the ratios from their median, in percent
    of the median.
    """
    ratios = estimate / price
    middle = np.median(ratios, axis=-1, keepdims=True)
    return 100 * np.abs(ratios - middle).mean(axis=-1) / middle[..., 0]


def prd(estimate: Array, price: Array) -> Any:
    """Price-related differential: ``mean(r_i) / (sum estimate_i / sum price_i)``.

    Above 1 dear houses are under-estimated relative to cheap ones.
    """
    return (estimate / price).mean(axis=-1) / (estimate.sum(axis=-1) / price.sum(axis=-1))


def prb(estimate: Array, price: Array) -> Any:
    """Coefficient of price-related bias.

    The slope `b` of the least-squares line ``(r_i - m) / m = a + b * x_i``
    with ``x_i = log2((estimate_i / m + price_i) / 2)`` and `m` the median
    ratio: by how much ratios change, as a share, when the value doubles.
    Zero where all values are equal.
    """
    ratios = estimate / price
    middle = np.median(ratios, axis=-1, keepdims=True)
    y = ratios / middle - 1
    x = np.log2((estimate / middle + price) / 2)
    x = x - x.mean(axis=-1, keepdims=True)
    spread = (x * x).sum(axis=-1)
    slope = (x * y).sum(axis=-1)
    return np.divide(slope, spread, out=np.zeros_like(slope), where=spread > 0)


def mki(estimate: Array, price: Array) -> Any:
    """Modified Kakwani index: Gini of the estimates / Gini of the prices.

    Both are taken in the order of the prices. Below 1 estimates rise less
    than prices do. NaN where all prices are equal.
    """
    order = np.argsort(price, axis=-1, kind="stable")
    estimate_gini = gini_in_order(np.take_along_axis(estimate, order, axis=-1))
    price_gini = gini_in_order(np.take_along_axis(price, order, axis=-1))
    empty = np.full_like(price_gini, np.nan)
    return np.divide(estimate_gini, price_gini, out=empty, where=price_gini > 0)


def gini_in_order(ordered: Array) -> Array:
    """Gini coefficient of values in the order that they stand in, along the last axis."""
    n = ordered.shape[-1]
    ranks = np.arange(1, n + 1)
    return np.asarray(2 * (ordered * ranks).sum(axis=-1) / (n * ordered.sum(axis=-1)) - (n + 1) / n)


STATISTICS: Final[dict[str, Statistic]] = {
    "pe5": lambda estimate, price: pe(estimate, price, 5),
    "pe10": lambda estimate, price: pe(estimate, price, 10),
    "pe20": lambda estimate, price: pe(estimate, price, 20),
    "mdape": mdape,
    "median_ratio": median_ratio,
    "cod": cod,
    "prd": prd,
    "prb": prb,
    "mki": mki,
    "mape": mape,
    "rmse": rmse,
    "r2": r2,
}
"""The figures of a ratio study, in the order they are printed."""


def bootstrap(
    statistics: dict[str, Statistic],
    estimate: Array,
    price: Array,
    *,
    repeats: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile bootstrap over sales, the same draws for all statistics.

    Args:
        statistics: Name -> function of estimates and prices ``(..., n)``
            that reduces the last axis.
        estimate: Estimates ``(n,)``, currency.
        price: Sale prices ``(n,)``, currency, above zero.
        repeats: Number of draws of n sales with replacement.
        seed: Seed of the draws.
        level: Share of the draws inside the interval.

    Returns:
        Name -> figure with its interval.

    Raises:
        ModelError: There are no sales, or the two have different lengths.
    """
    estimate, price = _checked(estimate, price)
    # Draws in order of price make the sorting inside MKI almost free.
    by_price = np.argsort(price, kind="stable")
    estimate, price = estimate[by_price], price[by_price]
    n = len(price)
    generator = np.random.default_rng(seed)
    chunk = max(1, _ELEMENTS_AT_ONCE // n)
    draws: dict[str, list[Array]] = {name: [] for name in statistics}
    for start in range(0, repeats, chunk):
        index = generator.integers(0, n, size=(min(chunk, repeats - start), n), dtype=np.int32)
        index.sort(axis=-1)
        drawn_estimate, drawn_price = estimate[index], price[index]
        for name, statistic in statistics.items():
            draws[name].append(statistic(drawn_estimate, drawn_price))
    return {
        name: _interval(float(statistic(estimate, price)), np.concatenate(draws[name]), level)
        for name, statistic in statistics.items()
    }


def ratio_study(
    estimate: Array, price: Array, *, repeats: int = 2000, seed: int = 1
) -> dict[str, float | dict[str, float] | None]:
    """All figures of :data:`STATISTICS` with 95 % bootstrap intervals, for JSON.

    Args:
        estimate: Estimates ``(n,)``, currency.
        price: Sale prices ``(n,)``, currency, above zero.
        repeats: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        ``{"n": n, "pe5": {"estimate", "low", "high"}, …}``; shares and
        MdAPE and MAPE are fractions, COD is in percent, RMSE in the currency;
        None for a figure that these sales do not define (MKI and R2 where all
        prices are equal).

    Raises:
        ModelError: As for :func:`bootstrap`.
    """
    figures = bootstrap(STATISTICS, estimate, price, repeats=repeats, seed=seed)
    study: dict[str, float | dict[str, float] | None] = {"n": len(price)}
    for name, figure in figures.items():
        study[name] = figure.to_dict() if np.isfinite(figure.estimate) else None
    return study


def within_iaao_range(name: str, value: float, sales: int) -> bool | None:
    """Whether a figure lies in its range of :data:`IAAO_RANGES`, bounds inclusive.

    Args:
        name: Name of the figure, such as ``"cod"``.
        value: The figure.
        sales: Number of sales it was measured on.

    Returns:
        True or False; None for fewer than 30 sales, which are not judged,
        and for a figure that has no range.
    """
    if name not in IAAO_RANGES or sales < FEWEST_SALES_JUDGED:
        return None
    low, high = IAAO_RANGES[name]
    return low <= value <= high


def paired_bootstrap_difference(
    without_hit: NDArray[np.bool_],
    with_hit: NDArray[np.bool_],
    repeats: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Gain in the share of hits, with both methods judged on the same sales.

    A sale adds -1, 0 or 1 to the difference, so drawing n sales with
    replacement is one draw of a multinomial over these three values.

    Args:
        without_hit: Whether the first method came near enough, ``(n,)``.
        with_hit: The same for the second method, ``(n,)``.
        repeats: Number of draws.
        seed: Seed of the draws.
        level: Share of the draws inside the interval.

    Returns:
        ``share(with_hit) - share(without_hit)`` with its interval, as a
        fraction.

    Raises:
        ModelError: There are no sales, or the two have different lengths.
    """
    before, after = _checked(without_hit, with_hit)
    difference = after - before
    n = len(difference)
    shares = [float((difference == value).mean()) for value in (-1, 0, 1)]
    counts = np.random.default_rng(seed).multinomial(n, shares, size=repeats)
    return _interval(float(difference.mean()), (counts[:, 2] - counts[:, 0]) / n, level)


def share_interval(inside: NDArray[np.bool_], level: float = 0.95) -> Interval:
    """A share with its score (Wilson) interval, which has a width even where all or none are inside.

    Args:
        inside: Whether each sale counts ``(n,)``.
        level: Nominal coverage of the interval.

    Raises:
        ModelError: There are no sales.
    """
    n = len(_checked(inside, inside)[0])
    share, z = float(np.mean(inside)), NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def _checked(first: NDArray[Any], second: NDArray[Any]) -> tuple[Array, Array]:
    left, right = np.asarray(first, dtype="float64"), np.asarray(second, dtype="float64")
    if left.ndim != 1 or left.shape != right.shape or not len(left):
        raise ModelError(
            f"figures over sales need two lists of one length, not {left.shape} and {right.shape}",
            remedy="Give at least one sale, and one value per sale in both.",
        )
    return left, right


def _interval(estimate: float, draws: Array, level: float) -> Interval:
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
