"""Price drivers: contributions in log units turned into amounts of currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.pricing.attributes import LOCATION

PICTURE: Final = "picture"
"""The driver that sums all visual features."""

COMPARABLE_SALES: Final = "comparable sales"
"""The driver that sums all features of comparable sales."""


@dataclass(frozen=True)
class Drivers:
    """What moved each of n estimates away from the base price.

    ``base + amounts.sum(axis=1)`` is the estimate. The bars depend on the
    base, so show it beside them.

    Attributes:
        names: Names of the G drivers.
        amounts: Amounts ``(n, G)``, currency, signed.
        base: Base prices ``(n,)``, currency: what the model says of an
            average house of its training sales.
    """

    names: tuple[str, ...]
    amounts: NDArray[np.float64]
    base: NDArray[np.float64]

    @property
    def estimate(self) -> NDArray[np.float64]:
        """The estimates ``(n,)``, currency."""
        return self.base + self.amounts.sum(axis=1)

    def of(self, row: int) -> list[tuple[str, float]]:
        """Drivers of one house, the largest amount first whatever its sign."""
        amounts = self.amounts[row]
        order = np.argsort(-np.abs(amounts), kind="stable")
        return [(self.names[position], float(amounts[position])) for position in order]


def to_currency(
    contributions: NDArray[Any],
    base: NDArray[Any],
    names: Sequence[str],
    groups: dict[str, str] | None = None,
) -> Drivers:
    """Spread the price over its drivers by the log-mean rule.

    ``c_i = phi_i (P - B) / (ln P - ln B)`` with `P` the estimate, `B` the
    base price and ``phi_i`` in log units; ``c_i = phi_i P`` in the limit
    ``P = B``. Then ``B + sum c_i = P``.

    Args:
        contributions: ``phi``, log units, ``(n, F)``.
        base: ``ln B``, log units, ``(n,)``.
        names: Names of the F features.
        groups: Feature -> driver that it belongs to; a feature that is not
            named is a driver of its own. See :func:`driver_groups`.

    Returns:
        The drivers, in the order in which they first appear in `names`.

    Raises:
        ModelError: The shapes do not fit each other.
    """
    phi = np.asarray(contributions, dtype="float64")
    log_base = np.asarray(base, dtype="float64")
    if phi.ndim != 2 or phi.shape != (len(log_base), len(names)):
        raise ModelError(
            f"contributions of shape {phi.shape} do not fit {len(log_base)} houses and {len(names)} names",
            remedy="Give one row per house and one column per feature.",
        )
    log_rise = phi.sum(axis=1)
    base_price = np.exp(log_base)
    drivers, grouped = log_effects(phi, names, groups)
    return Drivers(drivers, grouped * log_mean(base_price, log_rise)[:, None], base_price)


def log_mean(base: NDArray[np.float64], log_rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Currency per log unit ``(n,)``: ``(P - B) / (ln P - ln B)``, `B` in the limit ``P = B``.

    Args:
        base: Base prices `B` ``(n,)``, currency.
        log_rise: ``ln P - ln B`` ``(n,)``.
    """
    flat = np.abs(log_rise) < 1e-12
    return np.asarray(base * np.where(flat, 1.0, np.expm1(log_rise) / np.where(flat, 1.0, log_rise)))


def log_effects(
    contributions: NDArray[Any], names: Sequence[str], groups: dict[str, str] | None = None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Effects of the drivers in log units: the sums of the Shapley values of their features.

    Args:
        contributions: ``phi``, log units, ``(n, F)``.
        names: Names of the F features.
        groups: As for :func:`to_currency`.

    Returns:
        Names of the G drivers, in the order in which they first appear in
        `names`, and their effects ``(n, G)``.
    """
    driver_of = groups or {}
    drivers = tuple(dict.fromkeys(driver_of.get(name, name) for name in names))
    membership = np.zeros((len(names), len(drivers)))
    for row, name in enumerate(names):
        membership[row, drivers.index(driver_of.get(name, name))] = 1
    return drivers, np.asarray(contributions, dtype="float64") @ membership


def driver_groups(visual_names: Sequence[str], comparable_names: Sequence[str] = ()) -> dict[str, str]:
    """Sum features that a reader knows as one thing.

    Args:
        visual_names: Names of the visual features: the driver "picture".
        comparable_names: Names of the features of
            :class:`housevis.pricing.comparables.ComparableSales`: the driver
            "comparable sales".

    Returns:
        Feature -> driver; latitude and longitude are "location".
    """
    return (
        dict.fromkeys(visual_names, PICTURE)
        | dict.fromkeys(comparable_names, COMPARABLE_SALES)
        | dict.fromkeys(LOCATION, "location")
    )
