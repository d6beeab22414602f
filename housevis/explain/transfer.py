"""Explain a house by the weights of its nearest neighbour (C section 3.3).

One look-up in the grad-weight database and one weighted sum per house, no
back-propagation: the neighbour lends its channel weights, the map is made
from the feature map of the house that is explained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.explain.database import GradWeightDatabase
from housevis.explain.gradweights import keep_top_channels
from housevis.explain.heatmap import Status, is_flat
from housevis.explain.neighbours import IndexKind, neighbour_index

Lender = Literal["nearest", "random", "mean"]
"""Whose weights a house gets.

``nearest``: those of the nearest training house (C section 3.3). ``random``:
those of any training house. ``mean``: the mean weights of all of them. The
last two are what the first has to beat.
"""

NO_NEIGHBOUR = -1
"""Row of the neighbour where there is none."""


@dataclass(frozen=True, eq=False)
class Transferred:
    """Heat maps of a batch of houses, with where their weights came from.

    Attributes:
        heats: float32 ``(n, h, w)``, at least 0 and finite; all 0 where there is no neighbour.
        neighbours: int64 ``(n,)``, rows of the database; -1 = none, or all of them.
        neighbour_house_ids: ``n`` ids; None = none. In a compressed database
            the training house that is nearest to the centre.
        statuses: ``n`` times ``"ok"``, ``"flat"`` or ``"no neighbour"``.
    """

    heats: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    neighbour_house_ids: tuple[str | None, ...]
    statuses: tuple[Status, ...]


class Transfer:
    """A grad-weight database with an index over its embeddings.

    Houses of the database that have nothing to lend are never neighbours:
    those without a valid pair, and those whose weights are all zero.

    Args:
        database: The grad-weights of the houses that may lend them.
        lender: Whose weights a house gets.
        index: How the nearest house is looked up.
        seed: Of the draws of the lender ``"random"``, which go on from one
            batch to the next.

    Raises:
        ModelError: There is no such lender or index.
    """

    def __init__(
        self,
        database: GradWeightDatabase,
        *,
        lender: Lender = "nearest",
        index: IndexKind = "auto",
        seed: int = 1,
    ) -> None:
        lenders_known = get_args(Lender)
        if lender not in lenders_known:
            raise ModelError(
                f"there is no lender {lender!r}", remedy=f"Choose one of {', '.join(lenders_known)}."
            )
        self.database = database
        self.lender = lender
        self._rows = lending_rows(database)
        vectors = database.embeddings
        if len(self._rows) < len(database):
            vectors = vectors[self._rows]
        self._index = neighbour_index(vectors, index)
        self._generator = np.random.default_rng(seed)
        self._mean = mean_weights(database, self._rows) if lender == "mean" else None
        lenders = [database.house_ids[row] for row in self._rows]
        self._code = {house_id: code for code, house_id in enumerate(dict.fromkeys(lenders))}
        self._codes = np.array([self._code[house_id] for house_id in lenders], dtype=np.int64)
        self._most_rows_of_a_house = max(Counter(lenders).values(), default=0)
        self._by_house = np.argsort(self._codes, kind="stable")
        self._rows_of_house = np.bincount(self._codes, minlength=len(self._code))
        self._first_of_house = np.cumsum(self._rows_of_house) - self._rows_of_house

    def nearest(
        self, embeddings: NDArray[np.floating], exclude_house_ids: Sequence[str | None] | None = None
    ) -> NDArray[np.int64]:
        """The nearest house that may lend its weights, by Euclidean distance.

        Args:
            embeddings: ``(n, D)``.
            exclude_house_ids: For each of the `n` houses an id that must not
                be its neighbour, mostly its own; None excludes nothing.

        Returns:
            Rows of the database int64 ``(n,)``; -1 where there is none, or
            where the embedding is not finite.

        Raises:
            ModelError: The shapes do not fit.
        """
        queries, excluded = self._checked(embeddings, exclude_house_ids)
        if len(queries) == 0 or len(self._rows) == 0:
            return np.full(len(queries), NO_NEIGHBOUR, dtype=np.int64)
        finite = _finite(queries)
        asked = np.where(finite[:, None], queries, np.float32(0))
        if self.database.about.normalised:
            asked = asked / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)
        wanted = 1 + (self._most_rows_of_a_house if (excluded >= 0).any() else 0)
        found = self._index.search(asked, min(wanted, len(self._rows)))
        allowed = (self._codes[found] != excluded[:, None]) & (found >= 0)
        first = np.take_along_axis(found, allowed.argmax(axis=1)[:, None], axis=1)[:, 0]
        return np.where(allowed.any(axis=1) & finite, self._rows[first], NO_NEIGHBOUR)

    def random(
        self, embeddings: NDArray[np.floating], exclude_house_ids: Sequence[str | None] | None = None
    ) -> NDArray[np.int64]:
        """Any house that may lend its weights, each as likely as the other.

        Args:
            embeddings: ``(n, D)``.
            exclude_house_ids: See :meth:`nearest`.

        Returns:
            Rows of the database int64 ``(n,)``; -1 where there is none, or
            where the embedding is not finite.

        Raises:
            ModelError: The shapes do not fit.
        """
        queries, excluded = self._checked(embeddings, exclude_house_ids)
        draws = self._generator.random(len(queries))
        if len(self._rows) == 0:
            return np.full(len(queries), NO_NEIGHBOUR, dtype=np.int64)
        own = np.where(excluded >= 0, self._rows_of_house[excluded], 0)
        others = len(self._rows) - own
        place = (draws * others).astype(np.int64)
        place += np.where(place >= self._first_of_house[excluded], own, 0)
        rows = self._rows[self._by_house[np.minimum(place, len(self._rows) - 1)]]
        return np.where((others > 0) & _finite(queries), rows, NO_NEIGHBOUR)

    def _checked(
        self, embeddings: NDArray[np.floating], exclude_house_ids: Sequence[str | None] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Queries ``(n, D)``, and the number of the house that each excludes; -1 = none."""
        queries = np.ascontiguousarray(embeddings, dtype=np.float32)
        dimension = self.database.embeddings.shape[1]
        if queries.ndim != 2 or queries.shape[1] != dimension:
            raise ModelError(
                f"the embeddings have the shape {queries.shape}, but the grad-weight database "
                f"is of dimension {dimension}",
                remedy="Use the siamese of the same run.",
            )
        if exclude_house_ids is None:
            return queries, np.full(len(queries), -1, dtype=np.int64)
        if len(exclude_house_ids) != len(queries):
            raise ModelError(
                f"there are {len(exclude_house_ids)} houses to exclude for {len(queries)} embeddings"
            )
        codes = [-1 if house_id is None else self._code.get(house_id, -1) for house_id in exclude_house_ids]
        return queries, np.array(codes, dtype=np.int64)

    def explain(
        self,
        maps: NDArray[np.floating],
        embeddings: NDArray[np.floating],
        exclude_house_ids: Sequence[str | None] | None = None,
    ) -> Transferred:
        """Heat maps ``ReLU(sum_k alpha_k A_k)`` with the lender's weights (C eq. 4).

        Args:
            maps: Feature maps of the houses to explain, ``(n, K, h, w)``.
            embeddings: Their embeddings, ``(n, D)``.
            exclude_house_ids: Ids that must not be the neighbour, see :meth:`nearest`.

        Returns:
            The heat maps. A house without a neighbour, or with an embedding
            that is not finite, gets a map of zeros and ``"no neighbour"``; a
            map without positive heat, the same in every cell, or made from a
            feature map that is not finite, is ``"flat"``.

        Raises:
            ModelError: The shapes do not fit.
        """
        channels_in_all = self.database.about.channels_in_all
        if maps.ndim != 4 or maps.shape[1] != channels_in_all or len(maps) != len(embeddings):
            raise ModelError(
                f"the feature maps are {maps.shape}, not ({len(embeddings)}, {channels_in_all}, h, w)",
                remedy="Use the backbone of the same run.",
            )
        neighbours, lent = self._lenders(embeddings, exclude_house_ids)
        heats = np.zeros((len(maps), *maps.shape[2:]), dtype=np.float32)
        houses = np.flatnonzero(lent)
        if len(houses):
            heats[houses] = top_channel_map(maps, houses, *self._weights(neighbours[houses]))
        broken = ~np.isfinite(heats).all(axis=(1, 2))
        heats[broken] = 0
        flat = is_flat(heats)
        statuses: list[Status] = [
            "no neighbour" if not has else "flat" if is_empty else "ok"
            for has, is_empty in zip(lent, flat, strict=True)
        ]
        return Transferred(
            heats=heats,
            neighbours=neighbours,
            neighbour_house_ids=tuple(
                self.database.house_ids[row] if row >= 0 else None for row in neighbours
            ),
            statuses=tuple(statuses),
        )

    def _lenders(
        self, embeddings: NDArray[np.floating], exclude_house_ids: Sequence[str | None] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of the lenders, -1 = none or all, and which houses get weights."""
        if self._mean is None:
            look_up = self.nearest if self.lender == "nearest" else self.random
            rows = look_up(embeddings, exclude_house_ids)
            return rows, rows >= 0
        queries, _ = self._checked(embeddings, exclude_house_ids)
        able = _finite(queries) & (len(self._rows) > 0)
        return np.full(len(queries), NO_NEIGHBOUR, dtype=np.int64), able

    def _weights(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        """Channels and weights ``(n, M)`` that the lenders lend."""
        if self._mean is None:
            return self.database.channels[rows], self.database.weights_of(rows)
        channels, weights = self._mean
        shape = (len(rows), len(channels))
        return np.broadcast_to(channels, shape), np.broadcast_to(weights, shape)


def lending_rows(database: GradWeightDatabase) -> NDArray[np.intp]:
    """Rows of the houses that have something to lend: a valid pair, and weights that are not all zero."""
    return np.flatnonzero((database.pairs > 0) & (database.scales > 0))


def mean_weights(
    database: GradWeightDatabase, rows: NDArray[np.intp]
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """The mean grad-weights of some houses, their highest channels kept; a channel not stored counts as 0.

    Args:
        database: The grad-weights.
        rows: Which houses.

    Returns:
        Channels and weights ``(M,)``.
    """
    sums = summed_weights(database, rows, np.zeros(len(rows), dtype=np.intp), 1)
    means = sums / max(len(rows), 1)
    channels, relative, scale = keep_top_channels(means, min(database.top_channels, means.shape[1]))
    return channels[0], relative[0].astype(np.float32) * scale


def summed_weights(
    database: GradWeightDatabase, rows: NDArray[np.intp], groups: NDArray[np.intp], count: int
) -> NDArray[np.float64]:
    """Sums of grad-weights by group, a channel that is not stored counting as 0.

    Args:
        database: The grad-weights.
        rows: Which houses, ``(r,)``.
        groups: The group of each, from 0, ``(r,)``.
        count: Groups, `C`.

    Returns:
        float64 ``(C, K)``.
    """
    channels_in_all = database.about.channels_in_all
    places = groups[:, None] * channels_in_all + database.channels[rows]
    weights = database.weights_of(rows).ravel()
    sums = np.bincount(places.ravel(), weights=weights, minlength=count * channels_in_all)
    return sums.reshape(count, channels_in_all).astype(np.float64)


def _finite(queries: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which embeddings ``(n, D)`` hold nothing but numbers."""
    return np.asarray(np.isfinite(queries).all(axis=1))


def top_channel_map(
    maps: NDArray[np.floating],
    houses: NDArray[np.integer],
    channels: NDArray[np.integer],
    weights: NDArray[np.floating],
) -> NDArray[np.float32]:
    """C eq. 4 over few channels per house: ``ReLU(sum_m alpha_m A_{k_m})``.

    Args:
        maps: Feature maps ``(n, K, h, w)``.
        houses: Which of them, ``(r,)``.
        channels: Channel numbers ``(r, M)``.
        weights: Grad-weights ``(r, M)``.

    Returns:
        float32 ``(r, h, w)``, at least 0.
    """
    height, width = maps.shape[2:]
    chosen = maps[houses[:, None], channels].reshape(*channels.shape, height * width)
    heat = np.asarray(weights, dtype=np.float32)[:, None, :] @ chosen.astype(np.float32, copy=False)
    return np.maximum(heat[:, 0], 0).reshape(-1, height, width)
