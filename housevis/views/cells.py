"""Houses gathered in cells: how many, where, medians and shares of what they are coloured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLOURED: Final = ("price", "error", "effect")
"""What houses are coloured by: price, estimate / price - 1, and what the picture adds to the estimate."""

Limits = Mapping[str, Sequence[float]]
"""Of some of :data:`COLOURED` the limits between their classes, ascending."""

NO_LIMITS: Final[Limits] = {}


@dataclass(frozen=True, eq=False)
class Cells:
    """Houses gathered in m cells; medians are NaN where no house of a cell has the value.

    Attributes:
        count: Houses ``(m,)``.
        latitude: Their mean place ``(m,)``, degrees.
        longitude: ``(m,)``, degrees.
        price: Median price ``(m,)``, currency.
        error: Median of estimate / price - 1 ``(m,)``.
        effect: Median effect of the picture ``(m,)``, currency.
        classes: Value -> houses of each of its classes ``(m, classes + 1)``, last those without the value.
    """

    count: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    price: NDArray[np.float64]
    error: NDArray[np.float64]
    effect: NDArray[np.float64]
    classes: dict[str, NDArray[np.int32]] = field(default_factory=dict)

    def rows(self, rows: NDArray[np.int64]) -> Cells:
        """Some of the cells."""
        parts = (self.count, self.latitude, self.longitude, self.price, self.error, self.effect)
        return Cells(*(part[rows] for part in parts), {name: n[rows] for name, n in self.classes.items()})


class Gatherer:
    """Gathers houses in cells.

    Args:
        latitude: Of every house ``(n,)``, degrees.
        longitude: ``(n,)``, degrees.
        values: Each of :data:`COLOURED` -> its values ``(n,)``, NaN where it is not known.
        limits: The classes to be counted.
    """

    def __init__(
        self,
        latitude: NDArray[np.float64],
        longitude: NDArray[np.float64],
        values: Mapping[str, NDArray[np.float64]],
        limits: Limits,
    ) -> None:
        self._latitude, self._longitude = latitude, longitude
        self._ranked = [_Ranked(values[name]) for name in COLOURED]
        self._widths = {name: len(limits[name]) + 2 for name in COLOURED if name in limits}
        self._classes: dict[str, NDArray[np.uint8]] = {}
        for name, width in self._widths.items():
            number = np.searchsorted(np.asarray(limits[name], dtype=np.float64), values[name], side="right")
            self._classes[name] = np.where(np.isfinite(values[name]), number, width - 1).astype(np.uint8)

    def gather(self, rows: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> Cells:
        """What some houses are together.

        Args:
            rows: The houses ``(n,)``.
            group: The cell of each of them ``(n,)``, ascending from 0.
            groups: Number of cells, each with a house.
        """
        count = np.bincount(group, minlength=groups)
        return Cells(
            count,
            np.bincount(group, self._latitude[rows], groups) / count,
            np.bincount(group, self._longitude[rows], groups) / count,
            *(ranked.medians(rows, group, groups) for ranked in self._ranked),
            {
                name: np.bincount(group * width + self._classes[name][rows], minlength=groups * width)
                .astype(np.int32)
                .reshape(groups, width)
                for name, width in self._widths.items()
            },
        )


class _Ranked:
    """One column and the rank of each of its values, so that medians by group are one sort of integers."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        self._rank = np.empty(len(values), dtype=np.int32)
        self._rank[order] = np.arange(len(values), dtype=np.int32)
        self._known = int(np.isfinite(values).sum())

    def medians(self, rows: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
        """Median of every group ``(groups,)``; of an even number the mean of the middle two."""
        rank = self._rank[rows]
        if self._known < len(self._rank):
            known = rank < self._known
            rank, group = rank[known], group[known]
        keys = np.sort((group.astype(np.int64) << 32) | rank)
        count = np.bincount(group, minlength=groups)
        start = np.cumsum(count) - count
        there = count > 0
        result = np.full(groups, np.nan)
        lower, upper = (start + (count - 1) // 2)[there], (start + count // 2)[there]
        below, above = (self._sorted[keys[place] & 0xFFFFFFFF] for place in (lower, upper))
        result[there] = (below + above) / 2
        return result
