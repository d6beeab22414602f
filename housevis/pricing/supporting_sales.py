"""The sales that support an estimate: those that the model treats as alike, and those that look alike.

An appraiser shows the sales that an estimate rests on. A model has such sales
too: the training sales that fall into the same leaves of its trees
(:mod:`housevis.pricing.leaf_likeness`). Candidates for a house are the nearest
training sales by place and the nearest by picture. They are ranked by

``leaf share * exp(-|difference of the linear base| / 0.25)``
``+ 0.1 picture likeness + 0.1 exp(-metres / (3 b))``

with `b` the distance of the 10th nearest sale. The second factor is there
because the trees know only what the linear base leaves; it is 1 where a model
has none. Picture and place decide between sales that the model treats as
equally alike. The weights were chosen on cross-fitted earlier sales of King
County, where the median of six adjusted prices comes nearest to the price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.earth import MEAN_EARTH_RADIUS
from housevis.core.errors import ModelError
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.boosted import Boosted
from housevis.pricing.leaf_likeness import LeafLikeness
from housevis.pricing.model import MARKET, HousePriceModel
from housevis.pricing.nearest_sales import (
    NearestSales,
    positions,
    same_house_groups,
    twin_keys,
)
from housevis.pricing.price_dates import PriceDates
from housevis.pricing.sale_table import KnownSales
from housevis.pricing.supporting_words import reasons

Array = NDArray[np.float64]

COMPARABLES: Final = 6
"""Comparable sales of a house."""

COLUMNS: Final = (
    "house_id", "sale_id", "rank", "comparable_house_id", "comparable_sale_id", "sale_date", "price",
    "adjusted_price", "metres", "leaf_likeness", "picture_likeness", "why",
)  # fmt: skip
"""Columns of a table of comparables, see :meth:`SupportingSales.of`."""

NEAR: Final = 200
"""Candidates by place."""

ALIKE: Final = 60
"""Candidates by picture."""

_BASE_SCALE: Final = 0.25
_PICTURE_WEIGHT: Final = 0.1
_PLACE_WEIGHT: Final = 0.1
_PLACE_SCALE: Final = 3.0
_BANDWIDTH_RANK: Final = 10
_CHUNK: Final = 512
_COMPARED: Final = 8_000_000
"""Pairs of pictures that are compared at once: bounds the memory, whatever the number of sales."""


@dataclass(frozen=True, eq=False)
class Houses:
    """Houses as a model sees them.

    Attributes:
        sales: Sale frame, n rows: ``sale_id, house_id``, coordinates,
            ``sale_date`` (the valuation date), the attributes, and of
            training sales the ``price``.
        features: What the model takes of them, see
            :func:`housevis.pricing.attributes.model_table`, n rows; or what it has read of that.
        pictures: Places of their pictures ``(n, P)``, see
            :class:`housevis.pricing.picture_likeness.PictureSpace`; NaN rows
            where there is none, ``(n, 0)`` where the model uses none.
        picture_keys: Identity of each picture's content ``(n,)``, empty where unknown.
    """

    sales: pd.DataFrame
    features: pd.DataFrame | KnownSales
    pictures: NDArray[np.float32]
    picture_keys: NDArray[np.str_]


class SupportingSales:
    """The training sales of a model, to be asked which of them support an estimate.

    Args:
        model: The fitted model.
        training: The sales it was fitted on, with the visual features that it was fitted on.
        num_threads: Most threads to use; the result does not depend on them.

    Raises:
        ModelError: The rows do not fit each other, or a coordinate is missing.
    """

    def __init__(self, model: HousePriceModel, training: Houses, *, num_threads: int = 1) -> None:
        self._model = model
        self._training = training
        _check(training)
        attributes = [name for name in model.attributes_ if name not in {*LOCATION, MARKET}]
        self._attributes = attributes
        self._twins = twin_keys(training.sales, encode(training.sales, attributes))
        self._house_ids = _ids(training.sales)
        places = positions(training.sales)
        unnumbered = np.full(len(places), -1, dtype=np.int64)
        features, pictured = model.boosted_features(training.features)
        self._sides: dict[bool, _Side] = {}
        if model.with_picture_ is not None and pictured.any():
            rows = np.flatnonzero(pictured)
            search = NearestSales(places[rows], unnumbered[rows])
            self._sides[True] = _Side(model, model.with_picture_, features[rows], rows, search, num_threads)
        if model.without_picture_ is not None:
            plain = features[:, : features.shape[1] - len(model.visual_names)]
            rows = np.arange(len(plain))
            search = NearestSales(places, unnumbered)
            self._sides[False] = _Side(model, model.without_picture_, plain, rows, search, num_threads)

    def of(self, houses: Houses, count: int = COMPARABLES) -> pd.DataFrame:
        """The comparable sales of n houses.

        Never a sale of the house itself, nor of a twin: the same place and
        the same attributes under another id. Of each other house one sale at
        most. A house with a picture is compared with sales that have one,
        because only they have been through the same trees.

        Args:
            houses: The houses.
            count: How many of each.

        Returns:
            Columns :data:`COLUMNS`, the best comparable of a house first
            (``rank`` 1). ``adjusted_price`` is at the house's own
            ``sale_date``; ``picture_likeness`` is from 0 to 1, NaN where one
            of the two has no picture.

        Raises:
            ModelError: The rows do not fit each other, or a coordinate is missing.
        """
        _check(houses)
        features, pictured = self._model.boosted_features(houses.features)
        groups = self._groups(houses)
        parts = []
        for with_picture, side in self._sides.items():
            rows = np.flatnonzero(pictured == with_picture)
            if not len(rows):
                continue
            width = features.shape[1] - (0 if with_picture else len(self._model.visual_names))
            search = side.search.numbered(groups[0][side.rows])
            step = max(1, min(_CHUNK, _COMPARED // len(side.rows)))
            for start in range(0, len(rows), step):
                some = rows[start : start + step]
                own = groups[1][some]
                parts.append(self._compared(side, search, houses, some, features[some, :width], own, count))
        if not parts:
            return pd.DataFrame({name: [] for name in COLUMNS})
        table = pd.concat(parts, ignore_index=True)
        return table.sort_values(["row", "rank"], kind="stable").drop(columns="row").reset_index(drop=True)

    def _groups(self, houses: Houses) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the houses behind the training sales ``(N,)`` and of those asked about ``(n,)``."""
        ids = np.concatenate([self._house_ids, _ids(houses.sales)])
        twins = twin_keys(houses.sales, encode(houses.sales, self._attributes))
        groups = same_house_groups(ids, np.concatenate([self._twins, twins]))
        known = len(self._house_ids)
        return groups[:known], groups[known:]

    def _compared(
        self,
        side: _Side,
        search: NearestSales,
        houses: Houses,
        rows: NDArray[np.int64],
        features: Array,
        own: NDArray[np.int64],
        count: int,
    ) -> pd.DataFrame:
        """Comparables of some houses of one side."""
        known = search.houses
        places = positions(houses.sales.iloc[rows])
        near = next(search.search(places, own[:, None], NEAR))
        pictures = self._training.pictures[side.rows]
        likeness = _products(houses.pictures[rows], pictures)
        if likeness.size:
            likeness[known[None, :] == own[:, None]] = -np.inf
        candidates = np.hstack([near.sales, _largest(likeness, ALIKE)])
        there = candidates >= 0
        chord = np.linalg.norm(places[:, None, :] - search.places[candidates], axis=2)
        metres = 2 * MEAN_EARTH_RADIUS * np.arcsin(np.minimum(chord / 2, 1))
        alike = np.clip(np.take_along_axis(likeness, candidates, axis=1), 0, 1) if likeness.size else None
        leaf = side.leaf.share(side.leaf.leaves(features), candidates)
        tenth = np.where(np.isfinite(near.metres), near.metres, 0)[:, :_BANDWIDTH_RANK].max(axis=1)
        score = leaf * side.base_likeness(features, candidates)
        score += _PLACE_WEIGHT * np.exp(-metres / np.maximum(_PLACE_SCALE * tenth, 1.0)[:, None])
        if alike is not None:
            score += _PICTURE_WEIGHT * np.nan_to_num(alike)
        best = _best(np.where(there, score, -np.inf), candidates, known, count)
        asked = np.repeat(np.arange(len(rows)), [len(one) for one in best])
        chosen = np.concatenate(best) if len(asked) else np.empty(0, dtype=np.int64)
        sale = side.rows[candidates[asked, chosen]]
        found = self._training.sales.iloc[sale].reset_index(drop=True)
        house = houses.sales.iloc[rows[asked]].reset_index(drop=True)
        change = side.dates.level(house["sale_date"]) - side.dates.level(found["sale_date"])
        table = pd.DataFrame(
            {
                "row": rows[asked],
                "house_id": house["house_id"],
                "sale_id": house.get("sale_id"),
                "rank": np.concatenate([np.arange(1, len(one) + 1) for one in best]),
                "comparable_house_id": found["house_id"],
                "comparable_sale_id": found["sale_id"],
                "sale_date": found["sale_date"],
                "price": found["price"].astype(float),
                "adjusted_price": found["price"].astype(float) * np.exp(change),
                "metres": metres[asked, chosen],
                "leaf_likeness": leaf[asked, chosen].astype(float),
                "picture_likeness": np.nan if alike is None else alike[asked, chosen].astype(float),
            }
        )
        keys = houses.picture_keys[rows[asked]]
        shared = (keys != "") & (keys == self._training.picture_keys[sale])
        return table.assign(why=reasons(table, house, found, shared))


class _Side:
    """The training sales that one side of the model was fitted on."""

    def __init__(
        self,
        model: HousePriceModel,
        boosted: Boosted,
        features: Array,
        rows: NDArray[np.int64],
        search: NearestSales,
        num_threads: int,
    ) -> None:
        self.rows, self.search = rows, search
        self.leaf = LeafLikeness(boosted, features, num_threads=num_threads)
        self.dates = PriceDates.of(model.market_index_, model.attributes_, boosted, features)
        self._base = boosted.base
        self._known = None if boosted.base is None else boosted.base.predict(features)

    def base_likeness(self, features: Array, candidates: NDArray[np.int64]) -> Array:
        """How alike houses and candidates are to the linear base ``(n, k)``: 1 is equal, 0 far apart."""
        if self._base is None or self._known is None:
            return np.ones(candidates.shape)
        difference = self._known[candidates] - self._base.predict(features)[:, None]
        return np.exp(-np.abs(difference) / _BASE_SCALE)


def _ids(sales: pd.DataFrame) -> NDArray[np.object_]:
    return sales["house_id"].astype(str).to_numpy(dtype=object)


def _check(houses: Houses) -> None:
    lengths = {len(part) for part in (houses.sales, houses.features, houses.pictures, houses.picture_keys)}
    if len(lengths) != 1:
        raise ModelError(
            f"tables of {', '.join(map(str, sorted(lengths)))} rows do not fit each other",
            remedy="Give one row per house.",
        )


def _products(pictures: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Likeness ``(n, N)`` of pictures, NaN where there is none."""
    if not known.shape[1]:
        return np.empty((len(pictures), 0), dtype=np.float32)
    return np.asarray(pictures @ known.T, dtype=np.float32)


def _largest(likeness: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The columns of the largest values ``(n, count)``; -1 where there are fewer."""
    count = min(count, likeness.shape[1])
    if not count:
        return np.empty((len(likeness), 0), dtype=np.int64)
    order = np.nan_to_num(likeness, nan=-np.inf, neginf=-np.inf)
    found = np.argpartition(-order, count - 1, axis=1)[:, :count].astype(np.int64)
    found.sort(axis=1)
    return np.where(np.isfinite(np.take_along_axis(order, found, axis=1)), found, -1)


def _best(
    score: Array, candidates: NDArray[np.int64], houses: NDArray[np.int64], count: int
) -> list[NDArray[np.int64]]:
    """For each row the places of the best candidates, of each house one at most."""
    order = np.argsort(-score, axis=1, kind="stable")
    return [
        np.fromiter(_distinct(row, values, houses[sales], count), dtype=np.int64)
        for row, values, sales in zip(order, score, candidates, strict=True)
    ]


def _distinct(order: NDArray[np.int64], score: Array, houses: NDArray[np.int64], count: int) -> Iterator[int]:
    taken: set[int] = set()
    for place in order.tolist():
        if len(taken) == count or not np.isfinite(score[place]):
            return
        house = int(houses[place])
        if house not in taken:
            taken.add(house)
            yield place
