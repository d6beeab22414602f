"""Attention maps as tiny PNG addresses inside the page's data, on one scale for all."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from housevis.explain.heatmap import heat_to_png, shared_scale

DRAWN_STATUSES = ("ok", "negligible")
"""Statuses whose map is drawn; all others are said in words."""

PIXELS_PER_CELL = 4
"""7 x 7 becomes 28 x 28 pixels: small in a file, and the browser smooths the rest."""


@dataclass(frozen=True)
class MapScales:
    """The values of the strongest colours of a run's maps.

    Attributes:
        attention: Of attention maps.
        value: Of value maps, currency per cell.
    """

    attention: float = 1.0
    value: float = 1.0


def drawn_scale(values: np.ndarray, statuses: np.ndarray, *, signed: bool = False) -> float:
    """The value of the strongest colour on every map of a run: the same on all pages and tiles.

    Args:
        values: All maps of the run, ``(n, h, w)``, in any order.
        statuses: ``(n,)`` texts; only maps that are drawn count.
        signed: Whether negative values mean something.
    """
    return shared_scale(values[np.isin(statuses, DRAWN_STATUSES)], signed=signed)


def heat_uri(values: np.ndarray, scale: float, *, pixels_per_cell: int = PIXELS_PER_CELL) -> str:
    """One map ``(h, w)`` as a PNG data address.

    Args:
        values: Attention; negative values are drawn as none.
        scale: The attention of the hottest colour, from :func:`drawn_scale`.
        pixels_per_cell: Pixels per side of a cell.
    """
    return png_uri(heat_to_png(values, scale, pixels_per_cell=pixels_per_cell))


def pixels_per_cell(values: np.ndarray) -> int:
    """So many that a map ``(h, w)`` is about 28 pixels wide, however fine its grid: browsers smooth it."""
    return max(1, min(PIXELS_PER_CELL, 28 // values.shape[0]))


def png_uri(png: bytes) -> str:
    """A PNG file as an address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def legend_uri() -> str:
    """The colours from no attention to the most as a PNG data address, one row high."""
    return heat_uri(np.linspace(0, 1, 64, dtype=np.float32)[None, :], 1.0, pixels_per_cell=1)
