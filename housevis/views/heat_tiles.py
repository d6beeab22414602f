"""Maps of many houses as georeferenced tiles, for QGIS and any web map."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import DataError, UsageError
from housevis.explain.heatmap import heat_to_png

TILE_SIDE: Final = 256
SHALLOWEST: Final = 14
"""Above it maps are smaller than a few pixels, and a tile is empty."""

DEEPEST: Final = 22
_MOST_MAPS: Final = 400
"""Maps on one tile at most; of more, evenly drawn ones."""


class HeatTiles:
    """Attention maps or value maps, to be drawn tile by tile.

    Where maps overlap, a pixel shows their mean: two houses that share a
    picture say one thing about one place.

    Args:
        values: float32 ``(n, h, w)``, row 0 in the north.
        bounds: West, south, east, north of each map ``(n, 4)``, EPSG:4326.
        scale: The value of the strongest colour on every tile.
        signed: Whether negative values mean something.

    Raises:
        DataError: The shapes do not fit.
    """

    def __init__(
        self, values: NDArray[np.float32], bounds: NDArray[np.float64], scale: float, *, signed: bool = False
    ) -> None:
        if values.ndim != 3 or bounds.shape != (len(values), 4):
            raise DataError(
                f"maps of shape {values.shape} do not fit bounds of shape {bounds.shape}", where="HeatTiles"
            )
        self._values, self._scale, self._signed = values, scale, signed
        left, right = bounds[:, 0] / 360 + 0.5, bounds[:, 2] / 360 + 0.5
        self._edges = np.column_stack([left, _down(bounds[:, 3]), right, _down(bounds[:, 1])])
        self._empty = heat_to_png(np.zeros((1, 1), np.float32), 1.0, pixels_per_cell=TILE_SIDE)

    def __len__(self) -> int:
        return len(self._values)

    def png(self, zoom: int, x: int, y: int) -> bytes:
        """One tile of 256 x 256 pixels, transparent where there is no map.

        Args:
            zoom: Zoom of the tile; above :data:`SHALLOWEST` it is empty.
            x: Its column.
            y: Its row, from the north (XYZ).

        Raises:
            UsageError: There is no such tile.
        """
        if not 0 <= zoom <= DEEPEST or not (0 <= x < 1 << zoom and 0 <= y < 1 << zoom):
            raise UsageError(
                "there is no such tile",
                where="tiles",
                remedy=f"Zooms go from 0 to {DEEPEST}, columns and rows from 0 to 2^zoom - 1.",
            )
        values = self._drawn(zoom, x, y) if zoom >= SHALLOWEST else None
        if values is None:
            return self._empty
        return heat_to_png(values, self._scale, pixels_per_cell=1, signed=self._signed)

    def _drawn(self, zoom: int, x: int, y: int) -> NDArray[np.float32] | None:
        """Values at the middles of the pixels, 0 without a map; None where there is none at all."""
        size = 1 << zoom
        left, top, right, bottom = self._edges.T * size - np.array([[x], [y], [x], [y]])
        rows = np.flatnonzero((left < 1) & (right > 0) & (top < 1) & (bottom > 0))
        if not len(rows):
            return None
        if len(rows) > _MOST_MAPS:
            rows = rows[np.linspace(0, len(rows) - 1, _MOST_MAPS).astype(int)]
        total = np.zeros((TILE_SIDE, TILE_SIDE), np.float32)
        count = np.zeros((TILE_SIDE, TILE_SIDE), np.float32)
        height, width = self._values.shape[1:]
        for row in rows.tolist():
            columns, across = _weights(left[row], right[row], width)
            lines, along = _weights(top[row], bottom[row], height)
            total[lines, columns] += along @ self._values[row] @ across.T
            count[lines, columns] += 1
        return np.asarray(total / np.maximum(count, 1), dtype=np.float32)


def _weights(start: float, end: float, cells: int) -> tuple[slice, NDArray[np.float32]]:
    """The pixels whose middle lies between two edges of a tile, and their weights of a map's cells.

    Args:
        start: First edge, 0 to 1 across the tile.
        end: Last edge.
        cells: Cells between the edges.

    Returns:
        The pixels, m of them, and ``(m, cells)``: linear between the middles of the cells, edges held.
    """
    first = max(int(np.ceil(start * TILE_SIDE - 0.5)), 0)
    last = min(int(np.ceil(end * TILE_SIDE - 0.5)), TILE_SIDE)
    middles = (np.arange(first, max(last, first)) + 0.5) / TILE_SIDE
    places = np.clip((middles - start) / (end - start) * cells - 0.5, 0, cells - 1)
    lower = np.minimum(np.floor(places).astype(int), max(cells - 2, 0))
    share = (places - lower).astype(np.float32)
    weights = np.zeros((len(places), cells), np.float32)
    rows = np.arange(len(places))
    weights[rows, lower] += 1 - share
    weights[rows, np.minimum(lower + 1, cells - 1)] += share
    return slice(first, max(last, first)), weights


def _down(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Web Mercator from the north, 0 to 1 over the whole map."""
    north = np.radians(np.clip(latitude, -85.0511, 85.0511))
    return 0.5 - np.log(np.tan(np.pi / 4 + north / 2)) / (2 * np.pi)
