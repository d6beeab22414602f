"""The data of the map as script files: a light table first, details in chunks on demand.

A page opened from disk may not fetch files, but it may add script elements.
So ``data/houses.js`` holds the columns that the first view needs, and
``data/details-<k>.js`` the rest of :data:`CHUNK_SIZE` sales each, and
``data/overlays-<k>.js`` what is laid over their pictures. Sales are
ordered along a space-filling curve, so one chunk covers one part of town.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.parsing import SQUARE_METRES
from housevis.explain.under_heat import UnderHeat
from housevis.pricing.confidence import GRADES
from housevis.views.atlas_colours import colour_modes, picture_effects
from housevis.views.atlas_overlays import overlay_legends
from housevis.views.data import SAMPLES, AtlasData, AtlasPictures
from housevis.views.heat import MapScales
from housevis.views.pictures import Picture
from housevis.views.words import ATTRIBUTE_LABELS, COVER_LABELS, label, script_json

CHUNK_SIZE = 32
"""Sales per chunk of details."""

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


def first_view(
    data: AtlasData, records: pd.DataFrame, scales: MapScales, has_base_map: bool = False
) -> dict[str, Any]:
    """The content of ``houses.js``: settings of the page and one column per fact.

    Args:
        data: The atlas.
        records: Its records in the order of the page.
        scales: Those of the overlays.
        has_base_map: Whether the map has a base map.
    """
    latitude = records["latitude"].to_numpy(dtype=float)
    longitude = records["longitude"].to_numpy(dtype=float)
    days = (pd.to_datetime(records["sale_date"]) - pd.Timestamp(1970, 1, 1)).dt.days
    addresses = [_text_or_none(value) for value in records["address"]]
    samples = records["sample"].tolist()
    pictures = data.pictures
    effects = [round(value) if math.isfinite(value) else None for value in picture_effects(records)]
    grades = [_grade(value) for value in records.get("confidence", pd.Series([None] * len(records)))]
    return {
        "runId": data.run_id,
        "currency": data.currency,
        "areaUnit": data.area_unit,
        "squareMetres": SQUARE_METRES[data.area_unit],
        "interval": data.interval,
        "pictures": None
        if pictures is None
        else {
            "attribution": pictures.attribution,
            "baseMap": has_base_map,
            "legends": overlay_legends(pictures, scales),
            "underNotes": list(pictures.under_notes),
            "sameWeights": pictures.same_weights,
        },
        "housePage": data.house_page,
        "parcels": None if data.parcels is None else {"attribution": data.parcels.attribution},
        "modes": colour_modes(data, records),
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
        "bedrooms": _known_or_none([_number_or_none(value) for value in records["bedrooms"]]),
        "effect": _known_or_none(effects),
        "grades": list(GRADES),
        "confidence": _known_or_none(grades),
        "samples": list(SAMPLES),
        "sample": "".join(str(SAMPLES.index(sample)) for sample in samples),
    }


def chunk_script(receiver: str, number: int, content: Any) -> str:
    """The text of a chunk's file: a call of ``housevis.<receiver>``."""
    return f"housevis.{receiver}({number},{script_json(content)});\n"


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
            "reasons": [
                part for part in (_text_or_none(record.get("confidence_reasons")) or "").split("; ") if part
            ],
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
    row_of = {house_id: row for row, house_id in enumerate(records["house_id"].astype(str))}
    for source, record in zip(order, records.to_dict("records"), strict=True):
        neighbour = None if data.same_weights else _text_or_none(record["neighbour_house_id"])
        picture = pictures.get(str(record["house_id"]))
        yield {
            "status": record["status"] if picture is not None else "no imagery",
            "valueStatus": _text_or_none(record.get("value_status")) if picture is not None else "no imagery",
            "neighbour": neighbour,
            "neighbourRow": row_of.get(neighbour) if neighbour is not None else None,
            "picture": _picture(picture, data.attribution) if picture is not None else None,
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


def _grade(value: Any) -> int | None:
    """The place of a confidence grade among :data:`GRADES`."""
    return GRADES.index(value) if value in GRADES else None


def _known_or_none(values: list[Any]) -> list[Any] | None:
    """A column, or None where nothing is known of any house."""
    return values if any(value is not None for value in values) else None


def _number_or_none(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 2)
