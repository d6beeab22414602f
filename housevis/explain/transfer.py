"""Explain a house by the weights of its nearest neighbour (C section 3.3).

One look-up in the grad-weight database and one weighted sum per house, no
back-propagation: the neighbour lends its channel weights, the map is made
from the feature map of the house that is explained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.explain.database import GradWeightDatabase
from housevis.explain.heatmap import Status, is_flat

NO_NEIGHBOUR = -1
"""Row of the neighbour where there is none."""


@dataclass(frozen=True, eq=False)
class Transferred:
    """Heat maps of a batch of houses, with where their weights came from.

    Attributes:
        heats: float32 ``(n, h, w)``, at least 0 and finite; all 0 where there is no neighbour.
        neighbours: int64 ``(n,)``, rows of the database; -1 = none.
        neighbour_house_ids: ``n`` ids; None = none.
        statuses: ``n`` times ``"ok"``, ``"flat"`` or ``"no neighbour"``.
    """

    heats: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    neighbour_house_ids: tuple[str | None, ...]
    statuses: tuple[Status, ...]


class Transfer:
    """A grad-weight database with an exact index over its embeddings.

    Houses of the database that have nothing to lend are never neighbours:
    those without a valid pair, and those whose weights are all zero.

    Args:
        database: The grad-weights of the houses that may lend them.
    """

    def __init__(self, database: GradWeightDatabase) -> None:
        self.database = database
        self._rows = np.flatnonzero((database.pairs > 0) & (database.scales > 0))
        self._index = faiss.IndexFlatL2(database.embeddings.shape[1])
        self._index.add(np.ascontiguousarray(database.embeddings[self._rows]))
        lenders = [database.house_ids[row] for row in self._rows]
        self._code = {house_id: code for code, house_id in enumerate(dict.fromkeys(lenders))}
        self._codes = np.array([self._code[house_id] for house_id in lenders], dtype=np.int64)
        self._most_rows_of_a_house = max(Counter(lenders).values(), default=0)

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
        queries = np.ascontiguousarray(embeddings, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._index.d:
            raise ModelError(
                f"the embeddings have the shape {queries.shape}, but the grad-weight database "
                f"is of dimension {self._index.d}",
                remedy="Use the siamese of the same run.",
            )
        if exclude_house_ids is not None and len(exclude_house_ids) != len(queries):
            raise ModelError(
                f"there are {len(exclude_house_ids)} houses to exclude for {len(queries)} embeddings"
            )
        finite = np.asarray(np.isfinite(queries).all(axis=1))
        if len(queries) == 0 or len(self._rows) == 0:
            return np.full(len(queries), NO_NEIGHBOUR, dtype=np.int64)
        excluded = np.full(len(queries), -1, dtype=np.int64)
        if exclude_house_ids is not None:
            excluded[:] = [
                -1 if house_id is None else self._code.get(house_id, -1) for house_id in exclude_house_ids
            ]
        wanted = 1 + (self._most_rows_of_a_house if (excluded >= 0).any() else 0)
        _, found = self._index.search(
            np.where(finite[:, None], queries, np.float32(0)), min(wanted, len(self._rows))
        )
        allowed = (self._codes[found] != excluded[:, None]) & (found >= 0)
        first = np.take_along_axis(found, allowed.argmax(axis=1)[:, None], axis=1)[:, 0]
        return np.where(allowed.any(axis=1) & finite, self._rows[first], NO_NEIGHBOUR)

    def explain(
        self,
        maps: NDArray[np.floating],
        embeddings: NDArray[np.floating],
        exclude_house_ids: Sequence[str | None] | None = None,
    ) -> Transferred:
        """Heat maps ``ReLU(sum_k alpha_k A_k)`` with the neighbour's weights (C eq. 4).

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
        neighbours = self.nearest(embeddings, exclude_house_ids)
        lent = neighbours >= 0
        heats = np.zeros((len(maps), *maps.shape[2:]), dtype=np.float32)
        if lent.any():
            rows = neighbours[lent]
            heats[lent] = top_channel_map(
                maps, np.flatnonzero(lent), self.database.channels[rows], self.database.weights_of(rows)
            )
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
