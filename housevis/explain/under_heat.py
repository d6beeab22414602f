"""What is under the heat: attention and value by what covers the ground.

A map is spread over the cells of the land cover with the same weights that
draw it (:func:`housevis.explain.heatmap.interpolation_matrix`), scaled so that
every cell of the map keeps its whole amount: what the classes get adds up to
the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_pipeline.land_cover import LAND_COVERS
from housevis.core.errors import ModelError
from housevis.explain.heatmap import interpolation_matrix

SEEN_SHARE = 0.01
"""Share of a picture from which on a class counts as seen in it."""

Amounts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnderHeat:
    """What is under the heat of n houses, by class of the land cover.

    Attributes:
        areas: Share of the picture ``(n, 7)``; NaN rows where it is not known.
        attention: Share of the attention ``(n, 7)``; NaN rows where the
            attention map points nowhere.
        money: Currency ``(n, 7)``; NaN rows where the value map is refused.
            A row sums to what the map spreads over the picture.
    """

    areas: Amounts
    attention: Amounts
    money: Amounts

    @classmethod
    def unknown(cls, houses: int) -> UnderHeat:
        """Of houses whose land cover nobody looked at."""
        shape = (houses, len(LAND_COVERS))
        return cls(*(np.full(shape, np.nan) for _ in UNDER_HEAT))

    @classmethod
    def of(
        cls,
        covers: NDArray[np.uint8],
        heats: NDArray[np.floating],
        statuses: Sequence[str],
        values: NDArray[np.floating] | None = None,
        value_statuses: Sequence[str] = (),
    ) -> UnderHeat:
        """Measure n houses.

        Args:
            covers: Classes of the pictures' cells ``(n, H, W)``.
            heats: Attention maps ``(n, h, w)``; negative attention is none.
            statuses: Their statuses; only an ``"ok"`` map is measured.
            values: Value maps ``(n, h', w')``, currency; None where there are none.
            value_statuses: Their statuses.

        Raises:
            ModelError: The shapes do not fit.
        """
        heat = by_class(np.maximum(np.asarray(heats, dtype=np.float64), 0), covers)
        whole = heat.sum(axis=1)
        usable = (np.asarray(statuses, dtype=str) == "ok") & (whole > 0)
        attention = np.full(heat.shape, np.nan)
        attention[usable] = heat[usable] / whole[usable, None]
        money = np.full(heat.shape, np.nan)
        if values is not None:
            placed = np.asarray(value_statuses, dtype=str) == "ok"
            money[placed] = by_class(np.asarray(values)[placed], covers[placed])
        return cls(area_shares(covers), attention, money)

    def found(self, rows: NDArray[np.float64]) -> UnderHeat:
        """Houses by their rows ``(m,)``, of which NaN is a house of whom nothing is known."""
        known = np.isfinite(rows)
        result = UnderHeat.unknown(len(rows))
        chosen = self.rows(rows[known].astype(np.int64))
        for name in UNDER_HEAT:
            getattr(result, name)[known] = getattr(chosen, name)
        return result

    def rows(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> UnderHeat:
        """Some of the houses."""
        return UnderHeat(self.areas[chosen], self.attention[chosen], self.money[chosen])

    @classmethod
    def joined(cls, parts: Sequence[UnderHeat]) -> UnderHeat:
        """The houses of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in UNDER_HEAT))

    @cached_property
    def is_known(self) -> NDArray[np.bool_]:
        """Whose land cover was looked at ``(n,)``."""
        return np.asarray(np.isfinite(self.areas).all(axis=1))


UNDER_HEAT = ("areas", "attention", "money")
"""Names of the arrays of :class:`UnderHeat`."""


@dataclass(frozen=True)
class CoverSummary:
    """One class over a market; means are over the pictures that it is seen in.

    Attributes:
        cover: The class.
        houses: Pictures at least 1 % of which it covers.
        area: Mean share of those pictures that it covers; None where there are none.
        attention: Mean share of their attention.
        ratio: How much hotter than the picture it is: attention / area.
        money: Mean currency on it.
    """

    cover: str
    houses: int
    area: float | None
    attention: float | None
    ratio: float | None
    money: float | None


def summaries(under: UnderHeat) -> list[CoverSummary]:
    """Each class over a market, the one with the most attention for its area first."""
    found = []
    for number, cover in enumerate(LAND_COVERS):
        seen = under.is_known & (under.areas[:, number] >= SEEN_SHARE)
        attended = seen & np.isfinite(under.attention[:, number])
        area = _mean(under.areas[attended, number])
        attention = _mean(under.attention[attended, number])
        found.append(
            CoverSummary(
                cover=cover,
                houses=int(seen.sum()),
                area=_mean(under.areas[seen, number]),
                attention=attention,
                ratio=attention / area if attention is not None and area else None,
                money=_mean(under.money[seen, number]),
            )
        )
    return sorted(found, key=lambda row: -1.0 if row.ratio is None else row.ratio, reverse=True)


def area_shares(covers: NDArray[np.uint8]) -> Amounts:
    """Share of each class in each picture: ``(n, 7)`` from the classes of cells ``(n, H, W)``."""
    return _counted(covers, None) / float(covers.shape[1] * covers.shape[2])


def by_class(maps: NDArray[np.floating], covers: NDArray[np.uint8]) -> Amounts:
    """What of each map lies on each class.

    Args:
        maps: ``(n, h, w)``, with a sign or without.
        covers: Classes of the pictures' cells ``(n, H, W)``.

    Returns:
        ``(n, 7)``; a row sums to its map's sum.

    Raises:
        ModelError: The shapes do not fit.
    """
    if maps.ndim != 3 or covers.ndim != 3 or len(maps) != len(covers):
        raise ModelError(f"maps of the shape {maps.shape} and land cover of {covers.shape} do not fit")
    rows = _spread(maps.shape[1], covers.shape[1])
    columns = _spread(maps.shape[2], covers.shape[2])
    return _counted(covers, rows @ np.asarray(maps, dtype=np.float64) @ columns.T)


def _spread(cells: int, places: int) -> Amounts:
    """Interpolation whose columns sum to 1, so that each cell gives away what it has, no more."""
    matrix = np.asarray(interpolation_matrix(cells, places), dtype=np.float64)
    whole = matrix.sum(axis=0)
    if (whole == 0).any():
        raise ModelError(f"a map of {cells} cells a side is finer than the land cover with {places}")
    return matrix / whole


def _counted(covers: NDArray[np.uint8], weights: Amounts | None) -> Amounts:
    count, classes = len(covers), len(LAND_COVERS)
    place = covers.astype(np.int64) + classes * np.arange(count)[:, None, None]
    flat = None if weights is None else weights.ravel()
    return np.bincount(place.ravel(), flat, count * classes).reshape(count, classes).astype(np.float64)


def _mean(values: Amounts) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
