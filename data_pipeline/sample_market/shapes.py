"""What the town is drawn from: flat shapes and trees, in town pixels."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_pipeline.land_cover import LandCover
from data_pipeline.sample_market.geometry import Points

Colour = tuple[int, int, int]

GROUND, LAWN, ROAD, KERB, MARKING, SHORE, WATER, YARD, POOL, CAR = range(10)
"""Layers below the cast shadows, from the bottom up."""
ROOF, RIDGE, FITTING = range(20, 23)
"""Layers above the cast shadows."""

LAYER_COVERS: dict[int, LandCover] = {
    GROUND: "lawn",
    LAWN: "lawn",
    ROAD: "road",
    KERB: "road",
    MARKING: "road",
    SHORE: "bare",
    WATER: "water",
    YARD: "road",
    POOL: "pool",
    CAR: "road",
    ROOF: "roof",
    RIDGE: "roof",
    FITTING: "roof",
}
"""What a shape of a layer covers the ground with, unless it says otherwise."""


@dataclass(slots=True)
class Shape:
    """A filled polygon, or a line if `width` is not 0.

    Attributes:
        layer: When it is drawn; higher comes later.
        points: Corners (n, 2) in town pixels.
        colour: RGB.
        width: Width of the line in pixels, 0 for a polygon.
        driver: The price driver it belongs to, or an empty text.
        cover: What it covers the ground with; None is what its layer mostly is.
    """

    layer: int
    points: Points
    colour: Colour
    width: float = 0.0
    driver: str = ""
    cover: LandCover | None = None


@dataclass(slots=True)
class Tree:
    """One crown: centre in town pixels, radius in pixels, and which of the drawn crowns it shows."""

    x: int
    y: int
    radius: int
    variant: int


def _boxes(polygons: list[Points], widths: list[float]) -> Points:
    """Left, top, right, bottom (n, 4) of polygons, each widened by its line width."""
    if not polygons:
        return np.zeros((0, 4))
    starts = np.cumsum([0, *(len(points) for points in polygons[:-1])])
    corners = np.concatenate(polygons)
    margin = np.array(widths)[:, None]
    low = np.minimum.reduceat(corners, starts) - margin
    return np.concatenate([low, np.maximum.reduceat(corners, starts) + margin], axis=1)


@dataclass
class Scene:
    """Everything that one block, or one house, adds to the picture."""

    shapes: list[Shape] = field(default_factory=list)
    shadows: list[Points] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    _boxes: tuple[Points, Points] | None = field(default=None, repr=False)

    def add(
        self,
        layer: int,
        points: Points,
        colour: Colour,
        width: float = 0.0,
        driver: str = "",
        cover: LandCover | None = None,
    ) -> None:
        """Add one shape."""
        self.shapes.append(Shape(layer, points, colour, width, driver, cover))

    def near(self, left: float, top: float, right: float, bottom: float) -> tuple[list[Shape], list[Points]]:
        """The shapes and shadows that may touch a box of town pixels."""
        if self._boxes is None:
            widths = [shape.width for shape in self.shapes]
            self._boxes = (
                _boxes([shape.points for shape in self.shapes], widths),
                _boxes(self.shadows, [0.0] * len(self.shadows)),
            )
        shapes, shadows = (
            np.flatnonzero(
                (boxes[:, 0] <= right)
                & (boxes[:, 1] <= bottom)
                & (boxes[:, 2] >= left)
                & (boxes[:, 3] >= top)
            )
            for boxes in self._boxes
        )
        return [self.shapes[number] for number in shapes], [self.shadows[number] for number in shadows]

    def extend(self, other: Scene) -> None:
        """Add everything of another scene."""
        self.shapes += other.shapes
        self.shadows += other.shadows
        self.trees += other.trees


SUN = (0.45, 0.89)
"""Where the light comes from: x east, y south, length 1."""
SHADOW_LENGTH = 1.05
"""Length of a shadow per height."""


def cast_shadow(footprint: Points, height: float) -> list[Points]:
    """Polygons that together are the shadow of a convex block of `height` pixels."""
    shift = np.array([-SUN[0], -SUN[1]]) * height * SHADOW_LENGTH
    moved = footprint + shift
    polygons = [moved]
    for number in range(len(footprint)):
        following = (number + 1) % len(footprint)
        polygons.append(np.array([footprint[number], footprint[following], moved[following], moved[number]]))
    return polygons


def moved(points: Points, x: float, y: float) -> Points:
    """The points (n, 2) moved by (x, y) pixels."""
    return points + np.array([x, y])


def shade(colour: Iterable[float], factor: float) -> Colour:
    """The colour made lighter or darker."""
    red, green, blue = (max(0, min(255, round(value * factor))) for value in colour)
    return red, green, blue


def vary(stream: random.Random, colour: Iterable[float], spread: float = 6.0) -> Colour:
    """The colour with a random change of brightness and hue."""
    light = stream.gauss(0.0, spread)
    red, green, blue = (
        max(0, min(255, round(value + light + stream.gauss(0.0, spread * 0.4)))) for value in colour
    )
    return red, green, blue


def blob(stream: random.Random, half_width: float, half_depth: float, roughness: float, corners: int) -> Any:
    """Points (corners, 2) around (0, 0) of a rounded, irregular outline."""
    waves = [
        (stream.gauss(0.0, roughness / number), number, stream.uniform(0.0, 6.28)) for number in (1, 2, 3, 5)
    ]
    points = []
    for corner in range(corners):
        angle = 2.0 * math.pi * corner / corners
        swell = 1.0 + sum(size * math.sin(number * angle + phase) for size, number, phase in waves)
        # A superellipse: long sides stay nearly straight, ends are round.
        along = math.copysign(abs(math.cos(angle)) ** 0.6, math.cos(angle))
        across = math.copysign(abs(math.sin(angle)) ** 0.6, math.sin(angle))
        points.append((along * half_width * min(swell, 1.08), across * half_depth * min(swell, 1.12)))
    return np.array(points)
