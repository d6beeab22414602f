"""The gallery: one row per picture, one column per method, scores beneath (C Fig. 3, 5 and 9)."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from housevis.core.errors import DataError
from housevis.core.storage import write_file
from housevis.explain.heatmap import Heatmap, heat_to_png, shared_scale
from housevis.views.heat import DRAWN_STATUSES
from housevis.views.words import ICON, money

JPEG_QUALITY: Final = 82
LENDER_PIXELS: Final = 112
"""Pixels per side of the small picture of a house that lent its weights."""

_PIXELS_PER_CELL: Final = 6
_ROWS: Final = ("upper", "", "lower")
_COLUMNS: Final = ("left", "", "right")
_LEGEND_STEPS: Final = 128

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, eq=False)
class GalleryPicture:
    """A picture as the page shows it.

    Attributes:
        pixels: uint8 ``(H, W, 3)``.
        attribution: Whose imagery it is.
        mark: The house in the picture, as fractions of width and height; None marks nothing.
        box: Left, top, right, bottom of the true object as fractions; None draws none.
        metres: Width of the picture on the ground; None where it is not known.
    """

    pixels: NDArray[np.uint8]
    attribution: str
    mark: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    metres: float | None = None


@dataclass(frozen=True, eq=False)
class GalleryCell:
    """One method's map of one picture.

    Attributes:
        heatmap: The map, with its status.
        scores: Score -> its value; what cannot be scored is absent.
        lender: Who lent the weights, a key of the gallery's lenders; None where nobody did.
    """

    heatmap: Heatmap
    scores: Mapping[str, float] = field(default_factory=dict)
    lender: str | None = None


@dataclass(frozen=True, eq=False)
class GalleryRow:
    """One picture with its maps.

    Attributes:
        name: The row's name, a house's id.
        facts: Names and values that stand below the picture.
        picture: The picture.
        cells: One per method, in their order.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    picture: GalleryPicture
    cells: Sequence[GalleryCell]


@dataclass(frozen=True)
class GalleryMethod:
    """A column.

    Attributes:
        title: The method's name.
        says: What its maps show, one sentence.
        signed: Whether its maps have a sign.
        unit: ``"attention"``, or the currency of a signed map.
        caution: What a reader must know before the maps are believed; may be empty.
    """

    title: str
    says: str
    signed: bool = False
    unit: str = "attention"
    caution: str = ""


@dataclass(frozen=True)
class GalleryScore:
    """A line beneath every map.

    Attributes:
        key: Its key in the cells.
        name: Its name.
        meaning: What it says, one plain sentence.
        better: Which way is better.
        style: ``"percent"`` for a share, ``"plain"`` for a number from -1 to 1.
        reference: What stands beside its mean, for example the score of an even map; may be empty.
    """

    key: str
    name: str
    meaning: str
    better: Better
    style: Literal["percent", "plain"] = "plain"
    reference: str = ""

    def text(self, value: float) -> str:
        """A value of this score as words."""
        written = f"{100 * value:.1f} %" if self.style == "percent" else f"{value:.2f}"
        if not float(written.split()[0]):
            written = written.lstrip("-")
        return written.replace("-", "−")


@dataclass(frozen=True)
class GalleryData:
    """What a gallery shows.

    Attributes:
        title: Heading of the page.
        meta: The line above it: for whom, which run.
        lead: What the reader looks at, in sentences.
        subject: What a row is, in the singular: ``"house"`` or ``"picture"``.
        methods: The columns.
        scores: The lines beneath the maps.
        rows: The rows.
        lenders: House id -> picture of those that lent weights.
        notice: Something that must not be overlooked, or empty.
    """

    title: str
    meta: str
    lead: Sequence[str]
    subject: str
    methods: Sequence[GalleryMethod]
    scores: Sequence[GalleryScore]
    rows: Sequence[GalleryRow]
    lenders: Mapping[str, GalleryPicture] = field(default_factory=dict)
    notice: str = ""


def build_gallery(data: GalleryData, path: Path) -> int:
    """Write the gallery as one HTML file that needs nothing beside it.

    Args:
        data: What to show.
        path: The file; its folder is made if it is not there.

    Returns:
        The size of the file in bytes.

    Raises:
        DataError: There is no row or no method, or a row has another number of
            maps than there are methods.
    """
    page = render_gallery(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, page)


def render_gallery(data: GalleryData) -> str:
    """The gallery as text; see :func:`build_gallery`."""
    if not data.rows or not data.methods:
        raise DataError("a gallery needs a row and a method")
    for row in data.rows:
        if len(row.cells) != len(data.methods):
            raise DataError(f"{row.name} has {len(row.cells)} maps for {len(data.methods)} methods")
    environment = Environment(
        loader=PackageLoader("housevis.views"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    static = files("housevis.views") / "static" / "gallery"
    style, script = (
        Markup((static / name).read_text(encoding="utf-8"))  # noqa: S704
        for name in ("gallery.css", "gallery.js")
    )
    scales = [_scale(data, column) for column in range(len(data.methods))]
    return environment.get_template("gallery.html.jinja").render(
        data=data,
        icon=ICON,
        style=style,
        script=script,
        methods=[
            {"method": method, "legend": _legend(data, column, scales[column])}
            for column, method in enumerate(data.methods)
        ],
        rows=[_row(data, row, scales) for row in data.rows],
        lenders={name: _jpeg_uri(picture, LENDER_PIXELS) for name, picture in data.lenders.items()},
        means=[_means(data, column) for column in range(len(data.methods))],
        arrows={"higher": "↑", "lower": "↓", "neither": ""},
    )


def place_in_words(row: int, column: int, height: int, width: int) -> str:
    """Where a cell of a map lies, in ninths of the picture: ``upper left`` or ``middle``."""
    words = [_ROWS[3 * row // height], _COLUMNS[3 * column // width]]
    return " ".join(word for word in words if word) or "middle"


def _scale(data: GalleryData, column: int) -> float:
    """The scale of one method's maps across all rows; refused maps do not count."""
    maps = [row.cells[column].heatmap for row in data.rows]
    drawn = [each.values.ravel() for each in maps if each.status in DRAWN_STATUSES]
    values = np.concatenate(drawn) if drawn else np.zeros(1, dtype=np.float32)
    return shared_scale(values[None, None], signed=data.methods[column].signed)


def _row(data: GalleryData, row: GalleryRow, scales: Sequence[float]) -> dict[str, Any]:
    return {
        "row": row,
        "picture": _jpeg_uri(row.picture),
        "mark": _percent_style(row.picture.mark, ("left", "top")),
        "box": _box_style(row.picture.box),
        "cells": [
            _cell(data, row, cell, method, scale)
            for cell, method, scale in zip(row.cells, data.methods, scales, strict=True)
        ],
    }


def _cell(
    data: GalleryData, row: GalleryRow, cell: GalleryCell, method: GalleryMethod, scale: float
) -> dict[str, Any]:
    heatmap = cell.heatmap
    drawn = heatmap.status in DRAWN_STATUSES
    return {
        "uri": _heat_uri(heatmap.values, scale, method.signed, _PIXELS_PER_CELL) if drawn else None,
        "alt": f"{method.title} over the picture of {data.subject} {row.name}: {_pointing(heatmap)}",
        "note": heatmap.note,
        "lender": cell.lender,
        "sum": _signed_money(float(heatmap.values.sum()), method.unit) if method.signed and drawn else "",
        "scores": [
            (
                score.name,
                score.better,
                score.text(cell.scores[score.key]) if score.key in cell.scores else "–",
            )
            for score in data.scores
        ],
    }


def _pointing(heatmap: Heatmap) -> str:
    """Where a map points, for readers who do not see it."""

    def place(position: np.intp) -> str:
        row, column = divmod(int(position), heatmap.values.shape[1])
        return place_in_words(row, column, *heatmap.values.shape)

    if not heatmap.signed:
        return f"hottest {_at(place(heatmap.values.argmax()))}."
    adds, takes = heatmap.values.argmax(), heatmap.values.argmin()
    words = [f"adds most {_at(place(adds))}"] if heatmap.values.max() > 0 else []
    words += [f"takes most {_at(place(takes))}"] if heatmap.values.min() < 0 else []
    return ", ".join(words) + "."


def _at(place: str) -> str:
    return {"upper": "at the top", "lower": "at the bottom"}.get(
        place, f"in the {place}" if place == "middle" else f"at the {place}"
    )


def _legend(data: GalleryData, column: int, scale: float) -> dict[str, Any]:
    """The colours of one method with what their ends mean."""
    method = data.methods[column]
    if not method.signed:
        steps = np.linspace(0, 1, _LEGEND_STEPS, dtype=np.float32)[None]
        return {"uri": _heat_uri(steps, 1.0, False, 1), "ends": ("none", "most"), "unit": ""}
    steps = np.linspace(-1, 1, _LEGEND_STEPS, dtype=np.float32)[None]
    end = money(scale, method.unit, digits=2)
    heatmap, picture = data.rows[0].cells[column].heatmap, data.rows[0].picture
    unit = "a cell"
    if picture.metres is not None:
        side = picture.metres / heatmap.values.shape[1]
        unit = f"a cell of {side:.0f} × {side:.0f} m"
    return {"uri": _heat_uri(steps, 1.0, True, 1), "ends": (f"−{end}", "0", f"+{end}"), "unit": unit}


def _means(data: GalleryData, column: int) -> list[dict[str, Any]]:
    """The mean of every score of one method, and of how many rows."""
    found = []
    for score in data.scores:
        values = [row.cells[column].scores.get(score.key) for row in data.rows]
        known = [value for value in values if value is not None]
        mean = score.text(float(np.mean(known))) if known else "–"
        found.append({"score": score, "mean": mean, "count": len(known)})
    return found


def _signed_money(amount: float, currency: str) -> str:
    text = money(amount, currency, digits=3)
    return f"+{text}" if amount > 0 else text


def _percent_style(place: tuple[float, ...] | None, names: Sequence[str]) -> str:
    if place is None:
        return ""
    return ";".join(f"{name}:{100 * value:.2f}%" for name, value in zip(names, place, strict=True))


def _box_style(box: tuple[float, float, float, float] | None) -> str:
    if box is None:
        return ""
    left, top, right, bottom = box
    return _percent_style((left, top, right - left, bottom - top), ("left", "top", "width", "height"))


def _heat_uri(values: NDArray[np.floating], scale: float, signed: bool, pixels_per_cell: int) -> str:
    png = heat_to_png(values, scale, pixels_per_cell=pixels_per_cell, signed=signed)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _jpeg_uri(picture: GalleryPicture, side: int | None = None) -> str:
    shown = Image.fromarray(picture.pixels)
    if side is not None:
        shown.thumbnail((side, side))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
