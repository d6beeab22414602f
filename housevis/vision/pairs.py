"""Which houses are compared: pairs drawn from the whole market, or from near places, times and sizes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from housevis.core.earth import KILOMETRES_PER_DEGREE
from housevis.core.errors import ModelError

KILOMETRES: Final = 1.0
DAYS: Final = 180.0
LOG_AREA: Final = 0.15
"""How far apart in place, in time and in the logarithm of the area counts as one step."""

PARTNERS: Final = 60
"""Nearest sales from which the partner of a near pair is drawn."""

Places = NDArray[np.float64]
"""Where sales lie in place, time and size ``(n, 4)``, from :func:`sale_places`."""


def sale_places(
    latitude: NDArray[np.floating],
    longitude: NDArray[np.floating],
    days: NDArray[np.floating],
    area: NDArray[np.floating],
) -> Places:
    """Where sales lie in place, time and size, in steps that count alike.

    A step is one kilometre, 180 days, or 15 % of the area.

    Args:
        latitude: Degrees ``(n,)``.
        longitude: Degrees ``(n,)``.
        days: Dates of the sales as days from any day ``(n,)``.
        area: Areas ``(n,)`` in any unit; where it is missing, the typical one.

    Returns:
        float64 ``(n, 4)``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.log(np.asarray(area, dtype=np.float64))
    known = np.isfinite(size)
    size = np.where(known, size, np.median(size[known]) if known.any() else 0.0)
    middle = np.cos(np.radians(np.mean(latitude))) if len(latitude) else 1.0
    return np.column_stack(
        [
            np.asarray(latitude) * KILOMETRES_PER_DEGREE / KILOMETRES,
            np.asarray(longitude) * KILOMETRES_PER_DEGREE * middle / KILOMETRES,
            np.asarray(days, dtype=np.float64) / DAYS,
            size / LOG_AREA,
        ]
    )


class PartnerSampler:
    """Draws houses with partners of another target.

    Args:
        target: What is learned from ``(n,)``.
        places: Where the sales lie ``(n, 4)``, which makes partners near;
            None draws them from all sales alike.

    Raises:
        ModelError: No two sales that may be drawn together differ in the target.
    """

    def __init__(self, target: NDArray[np.float64], places: Places | None = None) -> None:
        self._target = target
        self._near: NDArray[np.int32] | None = None
        if places is None:
            if len(target) < 2 or target.min() == target.max():
                raise _nothing_to_compare()
            return
        wanted = min(PARTNERS + 1, len(target))
        rows = cKDTree(places).query(places, k=np.arange(1, wanted + 1))[1].astype(np.int32)
        first = np.repeat(np.arange(len(target), dtype=np.int32), wanted)
        second = rows.ravel()
        different = target[first] != target[second]
        if not different.any():
            raise _nothing_to_compare()
        self._near = np.column_stack([first[different], second[different]])
        starts = np.searchsorted(self._near[:, 0], np.arange(len(target) + 1))
        self._first_of, self._partners_of = starts[:-1], np.diff(starts)

    def pairs(self, count: int, seed: int) -> NDArray[np.integer]:
        """Draw pairs of different target; the same seed draws the same.

        Returns:
            Positions ``(count, 2)``.
        """
        return self._draw(count, np.random.default_rng(seed), 2)

    def triplets(self, count: int, seed: int) -> NDArray[np.integer]:
        """Draw an anchor and two partners, each of another target than the anchor's.

        Returns:
            Positions ``(count, 3)``.
        """
        return self._draw(count, np.random.default_rng(seed), 3)

    def _draw(self, count: int, generator: np.random.Generator, members: int) -> NDArray[np.integer]:
        if self._near is not None:
            chosen = self._near[generator.integers(0, len(self._near), size=count)]
            anchors = chosen[:, 0]
            others = [
                self._near[self._first_of[anchors] + generator.integers(0, self._partners_of[anchors]), 1]
                for _ in range(members - 2)
            ]
            return np.column_stack([chosen, *others])
        found: list[NDArray[np.int64]] = []
        have = 0
        while have < count:
            drawn = generator.integers(0, len(self._target), size=(count, members))
            target = self._target[drawn]
            drawn = drawn[(target[:, 1:] != target[:, :1]).all(axis=1)]
            found.append(drawn)
            have += len(drawn)
        return np.concatenate(found)[:count]


def _nothing_to_compare() -> ModelError:
    return ModelError(
        "a ranker needs houses with different prices",
        remedy="There are fewer than two different prices among the training houses.",
    )
