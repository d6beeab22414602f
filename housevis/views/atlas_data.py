"""The data of the map as script files: a light table first, details in chunks on demand.

A page opened from disk may not fetch files, but it may add script elements.
So ``data/houses.js`` holds the columns that the first view needs, and
``data/details-<k>.js`` the rest of :data:`CHUNK_SIZE` sales each. Sales are
ordered along a space-filling curve, so one chunk covers one part of town.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.land_cover import LAND_COVERS
from housevis.explain.under_heat import UnderHeat
from housevis.views.data import SAMPLES, AtlasData, AtlasPictures
from housevis.views.heat import DRAWN_STATUSES, heat_scale, heat_uri, legend_uri
from housevis.views.pictures import Picture
from housevis.views.words import ATTRIBUTE_LABELS, COVER_LABELS, label

CHUNK_SIZE = 32
"""Sales per chunk of details."""

PRICE_CLASSES = 7
"""Colours of the price legend; their limits are quantiles of the prices, rounded."""

MICRODEGREE = 1e-6

_LEAST_SHARE = 0.005


def spatial_order(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Indices that sort places along a Morton curve, so that neighbours stay together.

    Args:
        latitude: Degrees ``(n,)``.
        longitude: Degrees ``(n,)``.
    """
    code = np.zeros(len(latitude), dtype=np.int64)
    for shift, values in enumerate((longitude, latitude)):
        extent = float(np.ptp(values)) or 1.0
        cell = ((values - values.min()) / extent * 0xFFFF).astype(np.int64)
        for bit in range(16):
            code |= ((cell >> bit) & 1) << (2 * bit + shift)
    return np.argsort(code, kind="stable")


def price_limits(prices: np.ndarray) -> list[float]:
    """Limits between the price classes: quantiles rounded to two digits, ascending, distinct."""
    limits: list[float] = []
    for quantile in np.quantile(prices, np.arange(1, PRICE_CLASSES) / PRICE_CLASSES):
        step = 10.0 ** (math.floor(math.log10(quantile)) - 1)
        limit = round(float(quantile) / step) * step
        if not limits or limit > limits[-1]:
            limits.append(limit)
    return limits


def first_view(data: AtlasData, records: pd.DataFrame) -> dict[str, Any]:
    """The content of ``houses.js``: settings of the page and one column per fact.

    Args:
        data: The atlas.
        records: Its records in the order of the page.
    """
    latitude = records["latitude"].to_numpy(dtype=float)
    longitude = records["longitude"].to_numpy(dtype=float)
    days = (pd.to_datetime(records["sale_date"]) - pd.Timestamp(1970, 1, 1)).dt.days
    addresses = [_text_or_none(value) for value in records["address"]]
    samples = records["sample"].tolist()
    pictures = data.pictures
    return {
        "runId": data.run_id,
        "currency": data.currency,
        "areaUnit": data.area_unit,
        "interval": data.interval,
        "pictures": None
        if pictures is None
        else {
            "attribution": pictures.attribution,
            "baseMap": pictures.base_map,
            "heatScale": legend_uri(),
            "underNotes": list(pictures.under_notes),
            "sameWeights": pictures.same_weights,
        },
        "priceLimits": price_limits(records["price"].to_numpy(dtype=float)),
        "chunkSize": CHUNK_SIZE,
        "origin": [float(latitude.min()), float(longitude.min())],
        "unit": MICRODEGREE,
        "latitude": np.round((latitude - latitude.min()) / MICRODEGREE).astype(int).tolist(),
        "longitude": np.round((longitude - longitude.min()) / MICRODEGREE).astype(int).tolist(),
        "house": records["house_id"].astype(str).tolist(),
        "day": days.astype(int).tolist(),
        "price": records["price"].round().astype(int).tolist(),
        "estimate": records["estimate"].round().astype(int).tolist(),
        "address": addresses if any(addresses) else None,
        "samples": list(SAMPLES),
        "sample": "".join(str(SAMPLES.index(sample)) for sample in samples),
    }


def detail_chunks(
    data: AtlasData, records: pd.DataFrame, order: np.ndarray, pictures: dict[str, Picture]
) -> list[list[dict[str, Any]]]:
    """The details of all sales, :data:`CHUNK_SIZE` to a list, in the order of the page.

    Args:
        data: The atlas.
        records: Its records in the order of the page.
        order: Indices of those records in the attention maps and their bounds.
        pictures: House id -> picture.
    """
    details = [
        {
            "low": round(record["low"]),
            "high": round(record["high"]),
            "model": str(record["model_id"]),
            "base": round(record["base"]),
            "drivers": driver_bars(record["drivers"]),
            "bedrooms": _number_or_none(record["bedrooms"]),
            "bathrooms": _number_or_none(record["bathrooms"]),
            "area": _number_or_none(record["area_m2"]),
        }
        for record in records.to_dict("records")
    ]
    if data.pictures is not None:
        shown = _picture_details(data.pictures, records, order, pictures)
        details = [{**detail, **more} for detail, more in zip(details, shown, strict=True)]
    return [details[start : start + CHUNK_SIZE] for start in range(0, len(details), CHUNK_SIZE)]


def _picture_details(
    data: AtlasPictures, records: pd.DataFrame, order: np.ndarray, pictures: dict[str, Picture]
) -> Iterator[dict[str, Any]]:
    """What the card of each sale shows of its picture."""
    scale = heat_scale(data.heat[order], records["status"].to_numpy())
    row_of = {house_id: row for row, house_id in enumerate(records["house_id"].astype(str))}
    for source, record in zip(order, records.to_dict("records"), strict=True):
        neighbour = None if data.same_weights else _text_or_none(record["neighbour_house_id"])
        picture = pictures.get(str(record["house_id"]))
        drawn = record["status"] in DRAWN_STATUSES and picture is not None
        yield {
            "status": record["status"] if picture is not None else "no imagery",
            "neighbour": neighbour,
            "neighbourRow": row_of.get(neighbour) if neighbour is not None else None,
            "picture": _picture(picture, data.attribution) if picture is not None else None,
            "heat": heat_uri(data.heat[source], scale) if drawn else None,
            "heatBounds": [round(float(edge), 7) for edge in data.heat_bounds[source]] if drawn else None,
            "under": under_rows(data.under, int(source)) if data.under is not None and picture else None,
        }


def under_rows(under: UnderHeat, row: int) -> list[list[Any]] | None:
    """What is under the heat of one house, the class with the most attention first.

    Args:
        under: What is known of all houses.
        row: The house.

    Returns:
        Per class: its name in words, share of the attention, share of the
        picture, amount in the currency; what was refused is None. Classes
        below half a percent of both shares are left out. None where nothing
        is known.
    """
    if not under.is_known[row]:
        return None
    shown = []
    for number, cover in enumerate(LAND_COVERS):
        attention, area, money = (
            float(part[row, number]) for part in (under.attention, under.areas, under.money)
        )
        if area >= _LEAST_SHARE or attention >= _LEAST_SHARE:
            share = round(attention, 3) if math.isfinite(attention) else None
            amount = round(money) if math.isfinite(money) else None
            shown.append([COVER_LABELS[cover], share, round(area, 3), amount])
    return sorted(shown, key=lambda line: -(line[2] if line[1] is None else line[1]))


def driver_bars(drivers: list[tuple[str, float]]) -> list[list[Any]]:
    """Drivers by label, those with one label added up, largest effect first.

    Args:
        drivers: ``(attribute name, amount in the currency)``.
    """
    amounts: dict[str, float] = {}
    for name, amount in drivers:
        words = label(name, ATTRIBUTE_LABELS)
        amounts[words] = amounts.get(words, 0.0) + float(amount)
    ordered = sorted(amounts.items(), key=lambda item: -abs(item[1]))
    return [[words, round(amount)] for words, amount in ordered]


def _picture(picture: Picture, attribution: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "file": picture.file,
        "bounds": [round(edge, 7) for edge in picture.bounds],
        "house": [round(part, 4) for part in picture.house],
    }
    if picture.missing_tiles:
        described["missingTiles"] = picture.missing_tiles
    if picture.attribution != attribution:
        described["attribution"] = picture.attribution
    return described


def _text_or_none(value: Any) -> str | None:
    return None if value is None or value is pd.NA or value != value else str(value)


def _number_or_none(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 2)
