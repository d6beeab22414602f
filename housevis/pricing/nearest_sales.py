"""The nearest sales of other houses: a search on the sphere that knows which sales are of one house."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from housevis.core.earth import MEAN_EARTH_RADIUS
from housevis.core.errors import ModelError
from housevis.pricing.attributes import LOCATION

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_CHUNK_ENTRIES: Final = 600_000
"""Neighbours that are held at once: bounds the memory, whatever the number of houses."""

_MARGIN: Final = 16
"""Sales looked at beyond those wanted, as some may be of the house itself."""

_FURTHEST_LOOK: Final = 1_024
"""Sales looked at beyond those wanted at most, where very many are of the house itself."""


class Neighbours(NamedTuple):
    """The nearest sales of n houses, the nearest first.

    Attributes:
        rows: Rows of the houses that were asked about, ``(n,)``.
        sales: Fitted sales ``(n, k)``; -1 where there is none left.
        metres: Great-circle distances ``(n, k)``; infinite where there is
            none left.
    """

    rows: Indices
    sales: Indices
    metres: Array


def positions(houses: pd.DataFrame) -> Array:
    """Places ``(n, 3)`` on the unit sphere.

    Straight lines between them order houses as great circles do, anywhere
    on Earth, so that a search tree of three dimensions needs no map
    projection.

    Raises:
        ModelError: A coordinate is missing.
    """
    for name in LOCATION:
        if name not in houses.columns:
            raise ModelError(
                f"comparable sales need the column {name!r}, which is not given",
                remedy="Give the coordinates of every house, degrees in EPSG:4326.",
            )
    latitude = np.radians(houses["latitude"].to_numpy(dtype="float64", na_value=np.nan))
    longitude = np.radians(houses["longitude"].to_numpy(dtype="float64", na_value=np.nan))
    missing = int((~(np.isfinite(latitude) & np.isfinite(longitude))).sum())
    if missing:
        raise ModelError(
            f"{missing} of {len(houses)} houses have no coordinates, so nothing is near them",
            remedy="Leave these houses out; `ingest` rejects them.",
        )
    across = np.cos(latitude)
    return np.column_stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)])


def twin_keys(houses: pd.DataFrame, attributes: pd.DataFrame) -> NDArray[np.uint64]:
    """Keys ``(n,)`` that are equal where the place and all attributes are, two missing values among them.

    Args:
        houses: Frame with coordinates, n rows.
        attributes: Encoded attributes, n rows.
    """
    columns = [houses[name].to_numpy(dtype="float64") for name in LOCATION]
    columns += [attributes[name].to_numpy() for name in attributes.columns]
    table = pd.DataFrame({number: column + 0.0 for number, column in enumerate(columns)})
    return np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)


def same_house_groups(house_ids: NDArray[np.object_], twins: NDArray[np.uint64]) -> Indices:
    """Number the houses behind n sales, so that no house is told from itself.

    Two sales are of one house if they share the house id or the twin key:
    the same place and the same attributes under another id, as where a house
    was listed twice. What shares a house with a third sale shares it with
    each other.

    Args:
        house_ids: House ids ``(n,)``; None where it is not known.
        twins: Keys ``(n,)``, see :func:`twin_keys`.

    Returns:
        House numbers ``(n,)`` from 0.
    """
    count = len(twins)
    by_twin = pd.factorize(twins)[0]
    by_id, known = pd.factorize(house_ids)
    unknown = by_id < 0
    by_id[unknown] = len(known) + np.arange(int(unknown.sum()))
    sales = np.tile(np.arange(count), 2)
    shared = np.concatenate([count + by_id, 2 * count + by_twin])
    links = coo_array((np.ones(2 * count, dtype=np.int8), (sales, shared)), shape=(3 * count, 3 * count))
    labels = connected_components(links, directed=False)[1][:count]
    return np.asarray(pd.factorize(labels)[0], dtype=np.int64)


class NearestSales:
    """A search tree over the fitted sales.

    Args:
        places: Places of the N sales ``(N, 3)`` on the unit sphere.
        houses: House numbers of the sales ``(N,)``.
    """

    def __init__(self, places: Array, houses: Indices) -> None:
        self.places = places
        self.houses = houses
        self._tree = cKDTree(places)

    def numbered(self, houses: Indices) -> NearestSales:
        """The same sales with other house numbers ``(N,)``."""
        same = copy.copy(self)
        same.houses = houses
        return same

    def search(self, places: Array, houses: Indices, count: int) -> Iterator[Neighbours]:
        """Find the nearest sales of other houses, chunk by chunk.

        Args:
            places: Places ``(n, 3)`` of the houses asked about.
            houses: Numbers of the fitted houses ``(n, m)`` whose sales are
                its own and left out; -1 for none.
            count: k, how many to find for each. Of a house of which more
                than 1,024 nearest sales are its own, fewer are found.

        Yields:
            Neighbours of consecutive houses.
        """
        size = max(1, _CHUNK_ENTRIES // max(count, 1))
        for start in range(0, len(places), size):
            rows = np.arange(start, min(start + size, len(places)))
            yield self._nearest(rows, places, houses, count)

    def _nearest(self, rows: Indices, places: Array, houses: Indices, count: int) -> Neighbours:
        sales = np.full((len(rows), count), -1, dtype=np.int64)
        metres = np.full((len(rows), count), np.inf)
        pending = np.arange(len(rows))
        margin = _MARGIN
        while len(pending):
            look = min(count + margin, len(self.places))
            final = look == len(self.places) or margin >= _FURTHEST_LOOK
            short = []
            step = max(1, _CHUNK_ENTRIES // look)
            for start in range(0, len(pending), step):
                part = pending[start : start + step]
                asked = rows[part]
                found, chord = self._others(places[asked], houses[asked], look, count)
                sales[part, : found.shape[1]] = found
                metres[part, : found.shape[1]] = 2 * MEAN_EARTH_RADIUS * np.arcsin(np.minimum(chord / 2, 1))
                short.append(part[(found < 0).any(axis=1)])
            metres[sales < 0] = np.inf
            pending = np.empty(0, dtype=np.int64) if final else np.concatenate(short)
            margin *= 4
        return Neighbours(rows, sales, metres)

    def _others(self, places: Array, houses: Indices, look: int, count: int) -> tuple[Indices, Array]:
        """The first `count` of `look` nearest sales that are of other houses; -1 where there are fewer."""
        chord, found = self._tree.query(places, k=list(range(1, look + 1)))
        own = (self.houses[found][:, :, None] == houses[:, None, :]).any(axis=2)
        order = np.argsort(own, axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(found, order, axis=1)
        found[np.take_along_axis(own, order, axis=1)] = -1
        return found, np.take_along_axis(chord, order, axis=1)
