"""The heat map of one house, and how a set of them is drawn.

A heat map is drawn with a scale that is fixed for a whole set of houses. A
scale per picture (min-max) would stretch a map that says nothing until it
looks like one that says much. Heat has a long tail (the hottest cell of the
middle house has about a seventh of the scale), so colours follow its square
root: the same for all houses, and faint heat is seen to be faint, not absent.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError

Status = Literal["ok", "flat", "no neighbour", "negligible"]
"""What a heat map is worth.

``ok``: it shows where. ``flat``: it is the same everywhere, or has no heat.
``no neighbour``: no house of the database could lend its weights.
``negligible``: it shows where, but of an amount too small to matter.
"""

Array = NDArray[np.float32]

PIXELS_PER_CELL = 8
"""Pixels drawn per cell of the feature map: 7 x 7 becomes 56 x 56, smooth when a browser enlarges it."""

_LEVELS = 64
_HIGHEST_OPACITY = 0.8
_FLAT_SPREAD = 1e-5

_COLOURS = np.array(
    [
        (57, 38, 158),
        (138, 22, 152),
        (192, 4, 138),
        (232, 35, 119),
        (254, 83, 101),
        (255, 132, 98),
        (255, 171, 108),
        (255, 206, 126),
        (255, 242, 85),
    ],
    dtype=np.float64,
)
"""sRGB from cold to hot; CIE lightness rises evenly from 26 to 94, so the order suits any colour vision."""


_LOWERS = np.array(
    [(238, 238, 238), (198, 208, 239), (154, 179, 240), (100, 152, 240), (5, 125, 230), (5, 99, 184)],
    dtype=np.float64,
)
_RAISES = np.array(
    [(238, 238, 238), (235, 202, 182), (227, 167, 129), (214, 132, 77), (193, 100, 30), (161, 74, 1)],
    dtype=np.float64,
)
"""sRGB away from zero, blue below it and orange above; both fall from the CIE lightness 94 to about 42."""

_SENTENCES: dict[Status, str] = {
    "ok": "",
    "flat": "The method points nowhere in this picture: its heat is the same in every cell.",
    "no neighbour": "No house of the database could lend its weights, so there is no map.",
    "negligible": "The amount is too small to matter; where it lies means little.",
}
_NOT_FINITE = "There is no map: a number on the way to it is not finite."


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where in the picture of one house an explanation points.

    Attributes:
        values: float32 ``(h, w)``, row 0 in the north; signed where the
            method is signed. Always finite.
        unit: ``"attention"`` or a currency code.
        bounds: West, south, east, north in degrees (EPSG:4326).
        method: Name of the method, for example ``"grad-weight transfer"``.
        status: What the map is worth, see :data:`Status`.
        signed: Whether negative values mean something; they are drawn in
            blue then, and as no heat otherwise.
        note: The status as a sentence; empty where the map is ``"ok"``.

    Raises:
        ModelError: The values are no finite two-dimensional array.
    """

    values: Array
    unit: str
    bounds: tuple[float, float, float, float]
    method: str
    status: Status = "ok"
    signed: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        if values.ndim != 2 or values.size == 0:
            raise ModelError(f"a heat map is an array (h, w), but this one has the shape {values.shape}")
        if not np.isfinite(values).all():
            raise ModelError("a heat map holds a value that is no finite number")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "note", self.note or _SENTENCES[self.status])

    def to_rgba(self, scale: float, *, pixels_per_cell: int = PIXELS_PER_CELL) -> NDArray[np.uint8]:
        """Colour the map; see :func:`heat_to_rgba`."""
        return heat_to_rgba(self.values, scale, pixels_per_cell=pixels_per_cell, signed=self.signed)

    def to_png(self, scale: float, *, pixels_per_cell: int = PIXELS_PER_CELL) -> bytes:
        """Draw the map as a PNG with transparency; see :func:`heat_to_png`."""
        return heat_to_png(self.values, scale, pixels_per_cell=pixels_per_cell, signed=self.signed)

    @property
    def caption(self) -> str:
        """What the map shows, in words for below it: association, never cause."""
        if self.signed:
            shown = (
                f"{self.method}, {self.unit}: what is orange goes with a higher estimate, blue with a lower"
            )
        else:
            shown = f"{self.method}: the hotter a place, the more it weighs in what the model computes"
        return f"{shown}. This is association, not cause.{' ' if self.note else ''}{self.note}"


def heatmaps_of(
    heats: Any,
    bounds: NDArray[np.floating] | Sequence[float] | Sequence[Sequence[float]],
    *,
    unit: str,
    method: str,
    signed: bool = False,
    statuses: Sequence[Status] | None = None,
) -> list[Heatmap]:
    """What a method computed as heat maps, each with its status and a sentence.

    Args:
        heats: ``(N, h, w)``, an array or a tensor on any device.
        bounds: West, south, east, north in degrees, ``(N, 4)`` or ``(4,)`` for all.
        unit: ``"attention"`` or a currency code.
        method: Name of the method.
        signed: Whether negative values mean something.
        statuses: What is known already, ``N``; those that are not ``"ok"`` stay.

    Returns:
        ``N`` heat maps. One that holds a number which is not finite becomes
        0 and ``"flat"``; so does one that is the same everywhere or, unless
        signed, has no positive heat.

    Raises:
        ModelError: The shapes do not fit.
    """
    tensor = heats.detach().cpu() if hasattr(heats, "detach") else heats
    values = np.asarray(tensor, dtype=np.float32)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ModelError(f"heat maps are an array (N, h, w), but this one has the shape {values.shape}")
    places = np.asarray(bounds, dtype=np.float64)
    if places.shape not in ((4,), (len(values), 4)) or (
        statuses is not None and len(statuses) != len(values)
    ):
        raise ModelError(
            f"{len(values)} heat maps, bounds of the shape {places.shape} and "
            f"{len(values if statuses is None else statuses)} statuses do not fit"
        )
    finite = np.asarray(np.isfinite(values).all(axis=(1, 2)))
    values = np.where(finite[:, None, None], values, np.float32(0))
    flat = is_flat(values, signed=signed) if len(values) else finite
    found = []
    for row, place in enumerate(np.broadcast_to(places, (len(values), 4)).tolist()):
        status: Status = "ok" if statuses is None else statuses[row]
        if flat[row] and status == "ok":
            status = "flat"
        note = "" if finite[row] else _NOT_FINITE
        box = (place[0], place[1], place[2], place[3])
        found.append(Heatmap(values[row], unit, box, method, status, signed, note))
    return found


def shared_scale(heats: NDArray[np.floating], percentile: float = 99.0, *, signed: bool = False) -> float:
    """The heat that gets the hottest colour in every map of a set.

    Args:
        heats: ``(n, h, w)``, all maps that will be seen side by side.
        percentile: Percentile of the positive values that the scale ends at;
            below 100, so that one outlier does not fade all other houses.
        signed: Whether negative values count by their size; the scale then
            ends at the same distance from zero on both sides.

    Returns:
        The scale, above 0; 1.0 for a set without any heat.
    """
    values = np.abs(heats) if signed else np.asarray(heats)
    positive = values[values > 0]
    return float(np.percentile(positive, percentile)) if positive.size else 1.0


def is_flat(heats: NDArray[np.floating], *, signed: bool = False) -> NDArray[np.bool_]:
    """Which maps point nowhere: no positive heat, or the same heat in every cell.

    Args:
        heats: ``(n, h, w)``.
        signed: Whether negative heat points somewhere too.

    Returns:
        bool ``(n,)``.
    """
    highest, lowest = heats.max(axis=(1, 2)), heats.min(axis=(1, 2))
    if signed:
        return np.asarray(highest - lowest <= _FLAT_SPREAD * np.maximum(np.abs(highest), np.abs(lowest)))
    return np.asarray((highest <= 0) | (highest - lowest <= _FLAT_SPREAD * np.abs(highest)))


def upsample(heats: NDArray[np.floating], height: int, width: int) -> Array:
    """Enlarge maps bilinearly, cell centres on pixel centres, edges held.

    Args:
        heats: ``(..., h, w)``.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        float32 ``(..., height, width)``, the same as
        ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``.
    """
    rows = interpolation_matrix(heats.shape[-2], height)
    columns = interpolation_matrix(heats.shape[-1], width)
    return np.asarray(rows @ np.asarray(heats, dtype=np.float32) @ columns.T, dtype=np.float32)


@lru_cache(maxsize=32)
def interpolation_matrix(cells: int, pixels: int) -> Array:
    """The matrix that interpolates `cells` values linearly at `pixels` places.

    Returns:
        float32 ``(pixels, cells)``; every row sums to 1. Read-only, as it is shared.
    """
    places = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    left = np.minimum(np.floor(places).astype(int), max(cells - 2, 0))
    share = places - left
    matrix = np.zeros((pixels, cells), dtype=np.float32)
    matrix[np.arange(pixels), left] = 1 - share
    matrix[np.arange(pixels), np.minimum(left + 1, cells - 1)] += share
    matrix.flags.writeable = False
    return matrix


def colour_table() -> NDArray[np.uint8]:
    """The colours from no heat to full heat, evenly spaced in the square root of the heat.

    Returns:
        uint8 RGBA ``(64, 4)``: transparent where there is no heat, at most
        80 % opaque, so that the picture below stays readable.
    """
    places = np.linspace(0, 1, _LEVELS)
    anchors = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(places, anchors, _COLOURS[:, channel]) for channel in range(3)]
    opacity = 255 * _HIGHEST_OPACITY * places**0.75
    return np.round(np.stack([*channels, opacity], axis=1)).astype(np.uint8)


def signed_colour_table() -> NDArray[np.uint8]:
    """The colours from the most negative over zero to the most positive heat.

    Returns:
        uint8 RGBA ``(127, 4)``, evenly spaced in the square root of the
        heat's size; the middle is zero and transparent, and both sides are
        equally opaque.
    """
    places = np.linspace(0, 1, _LEVELS)
    anchors = np.linspace(0, 1, len(_RAISES))
    opacity = 255 * _HIGHEST_OPACITY * places**0.75
    sides = [
        np.stack([*(np.interp(places, anchors, side[:, c]) for c in range(3)), opacity], axis=1)
        for side in (_LOWERS, _RAISES)
    ]
    return np.round(np.concatenate([sides[0][:0:-1], sides[1]])).astype(np.uint8)


def heat_to_rgba(
    values: NDArray[np.floating],
    scale: float,
    *,
    pixels_per_cell: int = PIXELS_PER_CELL,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Colour one map with a scale fixed for its set, by the square root of ``heat / scale``.

    Args:
        values: Heat ``(h, w)``; negative heat is drawn as none, unless signed.
        scale: The heat of the hottest colour, from :func:`shared_scale`.
        pixels_per_cell: Pixels per side of each cell, interpolated before colouring.
        signed: Whether to draw negative heat in the other colour.

    Returns:
        uint8 RGBA ``(h * pixels_per_cell, w * pixels_per_cell, 4)``.

    Raises:
        ModelError: The scale is not above 0.
    """
    table = signed_colour_table() if signed else colour_table()
    return table[_levels(values, scale, pixels_per_cell, signed)]


def heat_to_png(
    values: NDArray[np.floating],
    scale: float,
    *,
    pixels_per_cell: int = PIXELS_PER_CELL,
    signed: bool = False,
) -> bytes:
    """Draw one map as a small PNG that decodes to exactly :func:`heat_to_rgba`.

    The file holds a palette with transparency, a third of the size of plain RGBA.

    Args:
        values: Heat ``(h, w)``.
        scale: The heat of the hottest colour, from :func:`shared_scale`.
        pixels_per_cell: Pixels per side of each cell.
        signed: Whether to draw negative heat in the other colour.

    Raises:
        ModelError: The scale is not above 0.
    """
    levels = _levels(values, scale, pixels_per_cell, signed)
    height, width = levels.shape
    lines = np.zeros((height, 1 + width), dtype=np.uint8)
    lines[:, 1:] = levels
    head = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
    pixels = _png_chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + head + _palette(signed) + pixels + _png_chunk(b"IEND", b"")


@lru_cache(maxsize=2)
def _palette(signed: bool) -> bytes:
    """Colours and opacities of a table as a PNG file holds them."""
    table = signed_colour_table() if signed else colour_table()
    return _png_chunk(b"PLTE", table[:, :3].tobytes()) + _png_chunk(b"tRNS", table[:, 3].tobytes())


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _levels(
    values: NDArray[np.floating], scale: float, pixels_per_cell: int, signed: bool
) -> NDArray[np.uint8]:
    """Row of each pixel's colour in its table."""
    if not (np.isfinite(scale) and scale > 0):
        raise ModelError(
            f"a heat map cannot be drawn with the scale {scale}", remedy="Take it from shared_scale()."
        )
    height, width = values.shape
    fine = upsample(values, height * pixels_per_cell, width * pixels_per_cell)
    levels = np.round(np.sqrt(np.clip(np.abs(fine) / scale, 0, 1)) * (_LEVELS - 1))
    if signed:
        return np.asarray(_LEVELS - 1 + np.sign(fine) * levels).astype(np.uint8)
    return np.where(fine > 0, levels, 0).astype(np.uint8)
