"""The overlays of the map: attention and value of each house as pictures with their place on the ground.

They lie in script files of their own, ``data/overlays-<k>.js``, in the same
order and number as the details. A page loads one when a house is opened, or
when the map is near enough to show the overlays of all houses in view.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from data_pipeline.tiles import metres_across
from housevis.explain.heatmap import heat_to_png
from housevis.views.data import AtlasData, AtlasPictures
from housevis.views.heat import (
    DRAWN_STATUSES,
    MapScales,
    drawn_scale,
    heat_uri,
    legend_uri,
    pixels_per_cell,
    png_uri,
)
from housevis.views.pictures import Picture

LEGEND_STEPS: Final = 127
"""Colours in the legend of the value map."""


def value_legend(values: np.ndarray, bounds: np.ndarray, scale: float) -> dict[str, Any]:
    """The colours of the value map, and the amount per m² of ground that the strongest stands for.

    Args:
        values: The value maps ``(n, H, W)``.
        bounds: West, south, east, north of each ``(n, 4)``, EPSG:4326; zeros where there is none.
        scale: From :func:`housevis.views.heat.drawn_scale`.

    Returns:
        ``uri`` and ``perSquareMetre`` (in the currency).
    """
    known = bounds[np.ptp(bounds, axis=1) > 0]
    west, south, east, north = np.median(known, axis=0).tolist() if len(known) else [0.0] * 4
    across, down = metres_across((west, south, east, north))
    cell = across * down / (values.shape[1] * values.shape[2])
    strip = np.linspace(-1, 1, LEGEND_STEPS, dtype=np.float32)[None, :]
    uri = png_uri(heat_to_png(strip, 1.0, pixels_per_cell=1, signed=True))
    return {"uri": uri, "perSquareMetre": float(f"{scale / cell:.6g}") if cell else None}


def overlay_scales(data: AtlasPictures | None, records: pd.DataFrame, order: np.ndarray) -> MapScales:
    """The scales of both overlays; those of maps that are not there are 1.

    Args:
        data: The pictures, if there are any.
        records: The records in the order of the page.
        order: Indices of those records in the maps.
    """
    if data is None:
        return MapScales()
    attention = drawn_scale(data.heat[order], records["status"].to_numpy())
    if data.values is None:
        return MapScales(attention)
    worth = records["value_status"].to_numpy()
    return MapScales(attention, drawn_scale(data.values[order], worth, signed=True))


def overlay_legends(data: AtlasPictures, scales: MapScales) -> dict[str, Any]:
    """The legends of both overlays for the first view."""
    if data.values is None:
        return {"attention": legend_uri(), "value": None}
    return {"attention": legend_uri(), "value": value_legend(data.values, data.heat_bounds, scales.value)}


def overlay_chunks(
    data: AtlasData,
    records: pd.DataFrame,
    order: np.ndarray,
    pictures: dict[str, Picture],
    scales: MapScales,
    size: int,
) -> Iterator[list[dict[str, Any] | None]]:
    """The overlays of all sales, `size` to a list, in the order of the page.

    Args:
        data: The atlas; one without pictures has no overlays.
        records: Its records in the order of the page.
        order: Indices of those records in the maps and their bounds.
        pictures: House id -> picture; a house without one has no overlay.
        scales: From :func:`overlay_scales`.
        size: Sales per list.

    Yields:
        Per sale ``attention`` and ``value`` (PNG addresses, left out where the
        map is not drawn) and ``bounds``; None for a sale without any.
    """
    if data.pictures is None:
        return
    found: list[dict[str, Any] | None] = []
    for overlay in _overlays(data.pictures, records, order, pictures, scales):
        found.append(overlay)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


def _overlays(
    data: AtlasPictures,
    records: pd.DataFrame,
    order: np.ndarray,
    pictures: dict[str, Picture],
    scales: MapScales,
) -> Iterator[dict[str, Any] | None]:
    statuses = records["status"].to_numpy()
    worth = records["value_status"].to_numpy() if data.values is not None else np.full(len(records), "")
    houses = records["house_id"].astype(str)
    for source, house_id, status, value in zip(order, houses, statuses, worth, strict=True):
        overlay: dict[str, Any] = {}
        if house_id in pictures and status in DRAWN_STATUSES:
            heat = data.heat[source]
            overlay["attention"] = heat_uri(heat, scales.attention, pixels_per_cell=pixels_per_cell(heat))
        if data.values is not None and house_id in pictures and value in DRAWN_STATUSES:
            worth_of = data.values[source]
            png = heat_to_png(worth_of, scales.value, pixels_per_cell=pixels_per_cell(worth_of), signed=True)
            overlay["value"] = png_uri(png)
        if overlay:
            overlay["bounds"] = [round(float(edge), 7) for edge in data.heat_bounds[source]]
        yield overlay or None
