"""The houses whose estimate the picture moved the most: their pictures, with the value map over them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from housevis.explain.heatmap import heat_to_png, shared_scale

if TYPE_CHECKING:
    from data_pipeline.frames import HouseImage

SIDE: Final = 224
"""Pixels of a picture in the report."""

WEBP_QUALITY: Final = 72
_LEGEND_STEPS: Final = 121


@dataclass(frozen=True)
class MovedPicture:
    """A picture of the report.

    Attributes:
        photo: The aerial picture as a data address.
        overlay: The value map as a data address; None where there is none.
        why: Why there is no value map, or "".
        house: Position of the house as fractions of width and height.
    """

    photo: str
    overlay: str | None
    why: str
    house: tuple[float, float]


@dataclass(frozen=True)
class MovedPictures:
    """The pictures of all houses shown, on one scale.

    Attributes:
        pictures: Sale id -> picture.
        legend: The colours from the most taken off to the most added, as a data address; "" without maps.
        most: Currency per m² of ground at the ends of the legend.
        attribution: Whose imagery it is.
    """

    pictures: dict[str, MovedPicture]
    legend: str
    most: float
    attribution: str


def moved_pictures(
    images: dict[str, HouseImage], values: dict[str, NDArray[np.floating]], attribution: str
) -> MovedPictures:
    """Draw the pictures and the value maps on one scale.

    Args:
        images: Sale id -> the house's picture.
        values: Sale id -> value map ``(h, w)``, currency per cell; sales without one are absent.
        attribution: Whose imagery it is.
    """
    density = {
        sale: np.asarray(values[sale], np.float64) / _cell_area(image, values[sale])
        for sale, image in images.items()
        if sale in values
    }
    drawn = {sale: each for sale, each in density.items() if np.abs(each).max() > 0}
    scale = _shared(list(drawn.values())) if drawn else 1.0
    pictures = {}
    for sale, image in images.items():
        height, width = image.pixels.shape[:2]
        overlay = _png(heat_to_png(drawn[sale], scale, signed=True)) if sale in drawn else None
        why = "" if overlay else "the picture's effect is too small to be placed"
        x, y = image.house_pixel
        pictures[sale] = MovedPicture(_webp(image.pixels), overlay, why, (x / width, y / height))
    legend = ""
    if drawn:
        strip = np.linspace(-1, 1, _LEGEND_STEPS, dtype=np.float32)[None, :]
        legend = _png(heat_to_png(strip, 1.0, pixels_per_cell=1, signed=True))
    return MovedPictures(pictures, legend, scale, attribution)


def _shared(maps: list[NDArray[np.float64]]) -> float:
    return shared_scale(np.concatenate([each.ravel() for each in maps])[None, None], signed=True)


def _cell_area(image: HouseImage, values: NDArray[np.floating]) -> float:
    """Square metres of ground under one cell of a value map."""
    height, width = image.pixels.shape[:2]
    rows, columns = values.shape
    return image.metres_per_pixel**2 * (height / rows) * (width / columns)


def _webp(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    picture = Image.fromarray(pixels).convert("RGB")
    if max(picture.size) != SIDE:
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _png(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
