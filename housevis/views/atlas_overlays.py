"""The overlays of the map: attention and value of each house as pictures with their place on the ground.

They lie in script files of their own, ``data/overlays-<k>.js``, in the same
order and number as the details. A page loads one when a house is opened, or
when the map is near enough to show the overlays of all houses in view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.explain.heatmap import heat_to_png, shared_scale
from housevis.views.data import AtlasData, AtlasPictures
from housevis.views.heat import DRAWN_STATUSES, heat_scale, heat_uri, legend_uri, pixels_per_cell, png_uri
from housevis.views.pictures import Picture

LEGEND_STEPS: Final = 127
"""Colours in the legend of the value map."""

_METRES_PER_DEGREE: Final = 111_195.0


def value_scale(pictures: AtlasPictures, records: pd.DataFrame) -> float:
    """The amount per cell that gets the strongest colour on every value map; 1 where there is none.

    Args:
        pictures: The pictures, with value maps.
        records: The records in the order of those maps.
    """
    if pictures.values is None:
        return 1.0
    drawn = records["value_status"].isin(DRAWN_STATUSES).to_numpy()
    return shared_scale(pictures.values[drawn], signed=True)


def value_legend(pictures: AtlasPictures, scale: float) -> dict[str, Any] | None:
    """The colours of the value map, and the amount per m² of ground that the strongest stands for.

    Returns:
        ``uri`` and ``perSquareMetre`` (in the currency); None without value maps.
    """
    if pictures.values is None:
        return None
    known = pictures.heat_bounds[np.ptp(pictures.heat_bounds, axis=1) > 0]
    west, south, east, north = np.median(known, axis=0) if len(known) else np.zeros(4)
    middle = math.cos(math.radians(float(south + north) / 2))
    ground = float((east - west) * middle * (north - south)) * _METRES_PER_DEGREE**2
    cell = ground / (pictures.values.shape[1] * pictures.values.shape[2])
    strip = np.linspace(-1, 1, LEGEND_STEPS, dtype=np.float32)[None, :]
    uri = png_uri(heat_to_png(strip, 1.0, pixels_per_cell=1, signed=True))
    return {"uri": uri, "perSquareMetre": float(f"{scale / cell:.6g}") if cell else None}


def overlay_legends(data: AtlasPictures, records: pd.DataFrame, order: np.ndarray) -> dict[str, Any]:
    """The legends of both overlays for the first view.

    Args:
        data: The pictures.
        records: The records in the order of the page.
        order: Indices of those records in the maps.
    """
    scale = value_scale(data, records.iloc[np.argsort(order)])
    return {"attention": legend_uri(), "value": value_legend(data, scale)}


def overlay_chunks(
    data: AtlasData, records: pd.DataFrame, order: np.ndarray, pictures: dict[str, Picture], size: int
) -> Iterator[list[dict[str, Any] | None]]:
    """The overlays of all sales, `size` to a list, in the order of the page.

    Args:
        data: The atlas; one without pictures has no overlays.
        records: Its records in the order of the page.
        order: Indices of those records in the maps and their bounds.
        pictures: House id -> picture; a house without one has no overlay.
        size: Sales per list.

    Yields:
        Per sale ``attention`` and ``value`` (PNG addresses, left out where the
        map is not drawn) and ``bounds``; None for a sale without any.
    """
    if data.pictures is None:
        return
    found: list[dict[str, Any] | None] = []
    for overlay in _overlays(data.pictures, records, order, pictures):
        found.append(overlay)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


def _overlays(
    data: AtlasPictures, records: pd.DataFrame, order: np.ndarray, pictures: dict[str, Picture]
) -> Iterator[dict[str, Any] | None]:
    statuses = records["status"].to_numpy()
    heat_limit = heat_scale(data.heat[order], statuses)
    value_limit = value_scale(data, records.iloc[np.argsort(order)])
    worth = records["value_status"].to_numpy() if data.values is not None else np.full(len(records), "")
    houses = records["house_id"].astype(str)
    for source, house_id, status, value in zip(order, houses, statuses, worth, strict=True):
        overlay: dict[str, Any] = {}
        if house_id in pictures and status in DRAWN_STATUSES:
            heat = data.heat[source]
            overlay["attention"] = heat_uri(heat, heat_limit, pixels_per_cell=pixels_per_cell(heat))
        if data.values is not None and house_id in pictures and value in DRAWN_STATUSES:
            worth_of = data.values[source]
            png = heat_to_png(worth_of, value_limit, pixels_per_cell=pixels_per_cell(worth_of), signed=True)
            overlay["value"] = png_uri(png)
        if overlay:
            overlay["bounds"] = [round(float(edge), 7) for edge in data.heat_bounds[source]]
        yield overlay or None
