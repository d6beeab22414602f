"""Price drivers over many sales: their means over all, by area and over time.

The signed mean says which way a driver moves the estimates of a group, the
mean absolute one how far, whatever the way. Both stand in log units, which
add up exactly and depend on nothing else, and in currency by the log-mean
rule, which depends on the base price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.pricing.sale_groups import Grouping

Array = NDArray[np.float64]

ALL: Final = "all"
"""What the rows over all sales are grouped by."""

COLUMNS: Final = {
    "by": "what the sales are grouped by; `all` over all of them",
    "group": "the group",
    "position": "where the group stands in the order to print them; -1 for all sales",
    "sales": "sales of the group",
    "driver": "the driver",
    "mean_log": "mean effect on the estimate, log units, with its sign",
    "mean_absolute_log": "mean size of the effect, log units",
    "mean_amount": "mean effect, currency by the log-mean rule, with its sign; depends on the base",
    "mean_absolute_amount": "mean size of the effect, currency by the log-mean rule; depends on the base",
    "mean_absolute_share": "mean size of the effect in currency as a share of the estimate, a fraction",
}
"""Columns of :func:`drivers_by_group` and what they mean."""


@dataclass(frozen=True)
class SaleDrivers:
    """What moved the estimates of n sales.

    Attributes:
        names: Names of the G drivers.
        logs: Their effects ``(n, G)``, log units.
        amounts: Their effects ``(n, G)``, currency.
        estimate: The estimates ``(n,)``, currency.

    Raises:
        ModelError: The shapes do not fit each other.
    """

    names: tuple[str, ...]
    logs: Array
    amounts: Array
    estimate: Array

    def __post_init__(self) -> None:
        shape = (len(self.estimate), len(self.names))
        if self.logs.shape != shape or self.amounts.shape != shape:
            raise ModelError(
                f"effects of shapes {self.logs.shape} and {self.amounts.shape} do not fit "
                f"{shape[0]} sales and {shape[1]} drivers",
                remedy="Give one row per sale and one column per driver.",
            )

    def of(self, names: Sequence[str]) -> tuple[Array, Array]:
        """The effects ``(n,)`` of some drivers together, log units and currency."""
        columns = [self.names.index(name) for name in names]
        return self.logs[:, columns].sum(axis=1), self.amounts[:, columns].sum(axis=1)


def drivers_by_group(drivers: SaleDrivers, groupings: Sequence[Grouping]) -> pd.DataFrame:
    """Means of every driver, over all sales and in every group.

    Args:
        drivers: Effects of n sales, at least one.
        groupings: How to group them.

    Returns:
        One row per group and driver, :data:`COLUMNS`, first those of all sales.
    """
    everything = np.arange(len(drivers.estimate))
    rows = _rows(drivers, ALL, "all sales", -1, everything)
    for grouping in groupings:
        for position, name in enumerate(grouping.names):
            members = np.flatnonzero(grouping.group == position)
            if len(members):
                rows += _rows(drivers, grouping.by, name, position, members)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    drivers: SaleDrivers, by: str, group: str, position: int, members: NDArray[np.int64]
) -> list[dict[str, Any]]:
    logs, amounts = drivers.logs[members], drivers.amounts[members]
    shares = np.abs(amounts) / drivers.estimate[members, None]
    means = {
        "mean_log": logs.mean(axis=0),
        "mean_absolute_log": np.abs(logs).mean(axis=0),
        "mean_amount": amounts.mean(axis=0),
        "mean_absolute_amount": np.abs(amounts).mean(axis=0),
        "mean_absolute_share": shares.mean(axis=0),
    }
    known = {"by": by, "group": group, "position": position, "sales": len(members)}
    return [
        known | {"driver": name} | {mean: float(values[column]) for mean, values in means.items()}
        for column, name in enumerate(drivers.names)
    ]
