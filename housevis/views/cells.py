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

_BIN_BITS: Final = 8
_BINS: Final = (1 << _BIN_BITS) - 1
"""Bins of known values; the next number stands for values that are not known."""

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
        return Cells(
            self.count[rows],
            self.latitude[rows],
            self.longitude[rows],
            self.price[rows],
            self.error[rows],
            self.effect[rows],
            {name: counts[rows] for name, counts in self.classes.items()},
        )


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
        self._counted = tuple(name for name in COLOURED if name in limits)
        self._values = {name: _Binned(values[name], limits.get(name, ())) for name in COLOURED}

    def gather(self, rows: NDArray[np.int64], count: NDArray[np.int64]) -> Cells:
        """What some houses are together.

        Args:
            rows: The houses ``(n,)``, those of one cell after the other.
            count: How many each cell has ``(m,)``, none of them 0.
        """
        starts = np.cumsum(count) - count
        found = {name: value.gathered(rows, count) for name, value in self._values.items()}
        return Cells(
            count,
            _means(self._latitude[rows], starts, count),
            _means(self._longitude[rows], starts, count),
            found["price"][0],
            found["error"][0],
            found["effect"][0],
            {name: found[name][1] for name in self._counted},
        )


class _Binned:
    """One column with the rank and the bin of each of its values.

    Bins hold about as many houses each, and none lies across the limit of a
    class. So the houses of a cell by bin say its classes at once, and in which
    bin its median lies: only the houses of that bin have to be sorted.

    Args:
        values: The column ``(n,)``, NaN where it is not known.
        limits: Limits of its classes.
    """

    def __init__(self, values: NDArray[np.float64], limits: Sequence[float]) -> None:
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        self._rank = np.empty(len(values), dtype=np.int32)
        self._rank[order] = np.arange(len(values), dtype=np.int32)
        known = self._sorted[np.isfinite(self._sorted)]
        parts = _BINS - len(limits)
        quantiles = known[np.arange(1, parts) * len(known) // parts] if len(known) else known
        edges = np.unique(np.concatenate([quantiles, np.asarray(limits, dtype=np.float64)]))
        number = np.searchsorted(edges, values, side="right")
        self._bin = np.where(np.isfinite(values), number, _BINS).astype(np.uint8)
        self._first_bins = np.r_[0, np.searchsorted(edges, limits) + 1].astype(np.int64)
        class_of = np.searchsorted(self._first_bins, np.arange(_BINS), side="right") - 1
        self._class_of_bin = np.r_[class_of, len(limits) + 1]

    def gathered(
        self, rows: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Median of every cell ``(m,)``, and its houses by class ``(m, classes + 1)``.

        Of an even number of houses the median is the mean of the middle two.
        """
        if len(rows) <= _BINS * len(count):
            return self._by_sorting(rows, count)
        return self._by_bins(rows, count)

    def _by_sorting(
        self, rows: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        group = np.repeat(np.arange(len(count)), count)
        bins = self._bin[rows]
        width = len(self._first_bins) + 1
        classes = np.bincount(group * width + self._class_of_bin[bins], minlength=len(count) * width)
        known = bins < _BINS
        group = group[known]
        keys = np.sort((group << 32) | self._rank[rows[known]])
        there = np.bincount(group, minlength=len(count))
        first = np.cumsum(there) - there
        medians = self._middle(keys, first + (there - 1) // 2, first + there // 2, there > 0)
        return medians, classes.astype(np.int32).reshape(len(count), width)

    def _by_bins(
        self, rows: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        bins = self._bin[rows]
        shelf = np.repeat(np.arange(len(count)) << _BIN_BITS, count)
        by_bin = np.bincount(shelf + bins, minlength=len(count) << _BIN_BITS).reshape(len(count), -1)
        classes = np.add.reduceat(by_bin[:, :_BINS], self._first_bins, axis=1)
        upto = np.cumsum(by_bin[:, :_BINS], axis=1)
        there = upto[:, -1]
        lower, upper = (there - 1) // 2, there // 2
        low_bin, high_bin = ((upto <= place[:, None]).sum(axis=1) for place in (lower, upper))
        high_bin = np.where(there > 0, high_bin, 0)
        near = np.repeat(low_bin.astype(np.uint8), count) == bins
        near |= np.repeat(high_bin.astype(np.uint8), count) == bins
        keys = np.sort(((shelf[near] >> _BIN_BITS) << 32) | self._rank[rows[near]])
        cells = np.arange(len(count))
        in_low = by_bin[cells, low_bin]
        before = upto[cells, low_bin] - in_low
        kept = in_low + np.where(high_bin > low_bin, by_bin[cells, high_bin], 0)
        first = np.cumsum(kept) - kept - before
        medians = self._middle(keys, first + lower, first + upper, there > 0)
        return medians, np.c_[classes, by_bin[:, _BINS]].astype(np.int32)

    def _middle(
        self,
        keys: NDArray[np.int64],
        lower: NDArray[np.int64],
        upper: NDArray[np.int64],
        there: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Means of the values whose ranks stand at two places of the keys; NaN for cells that have none."""
        result = np.full(len(there), np.nan)
        below, above = (self._sorted[keys[place[there]] & 0xFFFFFFFF] for place in (lower, upper))
        result[there] = (below + above) / 2
        return result


def _means(
    values: NDArray[np.float64], starts: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.add.reduceat(values, starts) / count if len(starts) else np.empty(0)
