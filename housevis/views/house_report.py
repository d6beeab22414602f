"""The report of one house: two printed pages in one file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from housevis.core.storage import write_file
from housevis.explain.heatmap import heat_to_png
from housevis.pricing.supporting_words import distance_words
from housevis.views.data import Headline
from housevis.views.heat import legend_uri
from housevis.views.house_charts import locator_chart, range_chart, shortened, waterfall_chart
from housevis.views.house_words import taken_words
from housevis.views.words import ATTRIBUTE_LABELS, ICON, ground_unit, isolated, label, money, percent

JPEG_QUALITY: Final = 86
SMALL: Final = 150
"""Pixels per side of the picture of a comparable."""

MOST_DRIVERS: Final = 9
"""Drivers that are drawn; the smaller ones are drawn together."""

_PIXELS_PER_CELL: Final = 6
_LEGEND_STEPS: Final = 121
_PICTURE: Final = "picture"


@dataclass(frozen=True, eq=False)
class HousePhoto:
    """A picture of a house.

    Attributes:
        pixels: uint8 ``(H, W, 3)``.
        house: Position of the house as fractions of width and height.
        metres: Width of the picture on the ground.
        attribution: Whose imagery it is.
        missing_tiles: Tiles that were missing and filled by reflection.
    """

    pixels: NDArray[np.uint8]
    house: tuple[float, float]
    metres: float
    attribution: str
    missing_tiles: int = 0


@dataclass(frozen=True, eq=False)
class HouseMap:
    """A map over the picture of the house.

    Attributes:
        values: ``(h, w)``: attention, or currency per cell.
        scale: The value of the strongest colour, the same for all houses of the run.
        note: Why there is nothing to be drawn; empty where the map is drawn.
    """

    values: NDArray[np.floating[Any]]
    scale: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class HousePictures:
    """What is shown of the picture of the house.

    Attributes:
        photo: The picture; None where there is no imagery.
        value: The value map, currency per cell.
        surroundings: What the pictures of the neighbourhood add, currency; 0 where they do not count.
        attention: The attention map.
        attention_note: How to read it, a sentence.
        under: What is under the heat: class, share of the attention or None, share of the picture, amount
            or None.
        under_notes: Sentences beside it.
        credit: Whose imagery it is.
        rights: By what right it is used; None where the provider's terms allow it.
        taken: When the imagery was taken, or None.
    """

    photo: HousePhoto | None
    value: HouseMap | None
    surroundings: float
    attention: HouseMap | None
    attention_note: str
    under: Sequence[Sequence[Any]]
    under_notes: Sequence[str]
    credit: str
    rights: str | None
    taken: date | None = None


@dataclass(frozen=True, eq=False)
class HouseComparable:
    """A sale that supports the estimate, see :mod:`housevis.pricing.supporting_sales`."""

    rank: int
    house_id: str
    address: str | None
    place: tuple[float, float]
    sale_date: pd.Timestamp
    price: float
    adjusted_price: float
    metres: float
    why: str
    photo: HousePhoto | None = None


@dataclass(frozen=True, eq=False)
class HouseReportData:
    """What the report of a house shows.

    Attributes:
        market: The market's name.
        run_id: The run.
        created: When the run was made.
        house_id: The house.
        address: Its address, or None.
        place: Latitude and longitude, degrees.
        facts: Names and values of its attributes.
        currency: ISO 4217 code.
        area_unit: ``"m2"`` or ``"ft2"``.
        valuation_date: The day that the estimate is of.
        estimate: Currency.
        low: Lower end of the range.
        high: Upper end of it.
        interval: Nominal coverage of the range.
        price: Price of the sale.
        sample: ``"later sale"`` or ``"cross-fitted"``.
        base: What the drivers start from.
        drivers: Attribute and amount; with the base they add up to the estimate.
        without_picture: The estimate from the attributes alone.
        used_picture: Whether the picture took part in the estimate.
        headline: How good the run's estimates are, or None.
        confidence: ``"high"``, ``"medium"`` or ``"low"``; None in runs without grades.
        confidence_reasons: Why it is not higher.
        pictures: None in a run without pictures.
        comparables: The best first; None in a run that keeps none.
        adjustment: How their prices are adjusted, a sentence.
        around: Places ``(m, 2)`` of other sales, for the little map.
        notice: A sentence that must not be overlooked, or None.
    """

    market: str
    run_id: str
    created: str
    house_id: str
    address: str | None
    place: tuple[float, float]
    facts: Sequence[tuple[str, str]]
    currency: str
    area_unit: str
    valuation_date: pd.Timestamp
    estimate: float
    low: float
    high: float
    interval: float
    price: float
    sample: str
    base: float
    drivers: Sequence[tuple[str, float]]
    without_picture: float
    used_picture: bool
    headline: Headline | None
    confidence: str | None = None
    confidence_reasons: Sequence[str] = ()
    pictures: HousePictures | None = None
    comparables: Sequence[HouseComparable] | None = None
    adjustment: str = ""
    around: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    notice: str | None = None


def build_house_report(data: HouseReportData, path: Path) -> int:
    """Write the report as one HTML file.

    Args:
        data: What to show.
        path: The file; its folder is made if it is not there.

    Returns:
        The size of the file in bytes.
    """
    page = render_house_report(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, page)


def render_house_report(data: HouseReportData) -> str:
    """The report as text; see :func:`build_house_report`."""
    environment = Environment(
        loader=PackageLoader("housevis.views"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        percent=percent,
        money=money,
        shortened=shortened,
        isolated=isolated,
        share=_share,
        distance=distance_words,
    )
    style = (files("housevis.views") / "static" / "house_report.css").read_text(encoding="utf-8")
    comparables = data.comparables or ()
    adjusted = [one.adjusted_price for one in comparables]
    photo = data.pictures.photo if data.pictures else None
    shown = data.drivers if data.used_picture else [each for each in data.drivers if each[0] != _PICTURE]
    drivers = driver_steps(shown)
    value = _value_map(data, photo) if photo else None
    row = min(27.0, (240.0 if photo else 420.0) / (len(drivers) + 2))
    pointer = " ▸ value map" if value is not None and value["uri"] else ""
    return environment.get_template("house_report.html.jinja").render(
        data=data,
        icon=ICON,
        style=Markup(style),  # noqa: S704
        error=data.estimate / data.price - 1,
        range_drawing=range_chart(data.estimate, data.low, data.high, data.price, adjusted, data.currency),
        waterfall=waterfall_chart(data.base, drivers, data.estimate, data.currency, pointer=pointer, row=row),
        photo=_photo(photo) if photo else None,
        taken=taken_words(data.pictures.taken, data.valuation_date) if data.pictures and photo else "",
        value=value,
        attention=_attention(data.pictures) if data.pictures and photo else None,
        picture_amount=sum(amount for name, amount in data.drivers if name == _PICTURE),
        comparables=[_comparable(one, data.valuation_date) for one in comparables],
        middle=float(np.median(adjusted)) if adjusted else None,
        locator=locator_chart(
            data.place,
            [one.place for one in comparables],
            data.around,
            **({} if photo else {"width": 700.0, "height": 330.0}),
        )
        if comparables
        else None,
        some_after=any(one.sale_date > data.valuation_date for one in comparables),
    )


def driver_steps(drivers: Sequence[tuple[str, float]]) -> list[tuple[str, float, bool]]:
    """Drivers with their names in words, the largest first, the smallest ones together.

    Args:
        drivers: Attribute and amount.

    Returns:
        Name, amount, and whether it is the picture's; the picture is always named.
    """
    amounts: dict[tuple[str, bool], float] = {}
    for name, amount in drivers:
        key = (label(name, ATTRIBUTE_LABELS), name == _PICTURE)
        amounts[key] = amounts.get(key, 0.0) + float(amount)
    ordered = sorted(amounts, key=lambda key: -abs(amounts[key]))
    named = ordered if len(ordered) <= MOST_DRIVERS else ordered[: MOST_DRIVERS - 1]
    named = [*named, *(key for key in ordered if key[1] and key not in named)]
    rest = [key for key in ordered if key not in named]
    steps = [(key[0], amounts[key], key[1]) for key in named]
    if rest:
        steps.append((f"{len(rest)} smaller drivers", sum(amounts[key] for key in rest), False))
    return steps


def _share(share: float) -> str:
    """A share in whole percent; of what is there but little, so much."""
    return "< 1 %" if 0 < share < 0.005 else percent(share, 0)


def _photo(photo: HousePhoto) -> dict[str, Any]:
    x, y = photo.house
    return {
        "uri": _jpeg(photo.pixels),
        "mark": f"left:{100 * x:.2f}%;top:{100 * y:.2f}%",
        "metres": photo.metres,
        "missing": photo.missing_tiles,
    }


def _value_map(data: HouseReportData, photo: HousePhoto) -> dict[str, Any] | None:
    """The overlay of the value map, with its legend in currency per area of ground."""
    pictures = data.pictures
    if pictures is None or pictures.value is None:
        return None
    found = pictures.value
    if found.note:
        return {"uri": None, "note": found.note}
    height, width = found.values.shape
    cell = photo.metres / width * (photo.metres * photo.pixels.shape[0] / photo.pixels.shape[1] / height)
    strip = np.linspace(-1, 1, _LEGEND_STEPS, dtype=np.float32)[None, :]
    size, ground = ground_unit(data.area_unit)
    end = money(found.scale * size / cell, data.currency, digits=2)
    return {
        "uri": _png(heat_to_png(found.values, found.scale, pixels_per_cell=_PIXELS_PER_CELL, signed=True)),
        "legend": _png(heat_to_png(strip, 1.0, pixels_per_cell=1, signed=True)),
        "ends": (f"−{end}", "0", f"+{end}"),
        "ground": ground,
        "note": "",
    }


def _attention(pictures: HousePictures) -> dict[str, Any] | None:
    found = pictures.attention
    if found is None:
        return None
    if found.note:
        return {"uri": None, "note": found.note}
    return {
        "uri": _png(heat_to_png(found.values, found.scale, pixels_per_cell=4 * _PIXELS_PER_CELL)),
        "legend": legend_uri(),
        "note": "",
    }


def _comparable(one: HouseComparable, valuation_date: pd.Timestamp) -> dict[str, Any]:
    mark = ""
    if one.photo is not None:
        mark = f"left:{100 * one.photo.house[0]:.2f}%;top:{100 * one.photo.house[1]:.2f}%"
    change = one.adjusted_price / one.price - 1
    return {
        "row": one,
        "photo": _jpeg(one.photo.pixels, SMALL) if one.photo is not None else None,
        "mark": mark,
        "after": one.sale_date > valuation_date,
        "change": _signed_percent(change) if math.isfinite(change) else "",
    }


def _jpeg(pixels: NDArray[np.uint8], side: int | None = None) -> str:
    picture = Image.fromarray(pixels).convert("RGB")
    if side is not None:
        picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _png(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _signed_percent(share: float) -> str:
    shown = round(100 * share, 1)
    return f"{shown:+.1f} %".replace("-", "−") if shown else "0.0 %"
