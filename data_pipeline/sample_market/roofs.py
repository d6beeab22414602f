"""Buildings seen from above: gable, hip, flat and L-shaped roofs, lit from one side."""

from __future__ import annotations

import random

import numpy as np

from data_pipeline.sample_market.geometry import Frame, Points
from data_pipeline.sample_market.shapes import (
    FITTING,
    RIDGE,
    ROOF,
    SUN,
    Colour,
    Scene,
    cast_shadow,
    moved,
    shade,
    vary,
)

PITCHED: tuple[Colour, ...] = (
    (150, 98, 78),
    (134, 84, 68),
    (118, 104, 92),
    (104, 106, 110),
    (88, 90, 96),
    (138, 132, 124),
    (126, 112, 96),
    (92, 104, 116),
    (98, 110, 92),
    (84, 138, 158),
)
FLAT: tuple[Colour, ...] = ((168, 168, 166), (140, 142, 144), (112, 114, 118), (186, 184, 178), (78, 88, 96))


def add_building(
    scene: Scene,
    frame: Frame,
    stream: random.Random,
    along: float,
    back: float,
    width: float,
    depth: float,
    height: float,
    roof: Colour | None = None,
    flat: bool = False,
) -> None:
    """Add one building to a scene: its roof, its fittings and its shadow.

    Args:
        scene: Where to add it.
        frame: The lot's axes.
        stream: Random numbers.
        along: Middle of the building along the street, pixels.
        back: Middle of the building away from the street, pixels.
        width: Size along the street, pixels.
        depth: Size across it, pixels.
        height: Height of the eaves, pixels (0.30 m).
        roof: RGB of the roof; None draws one.
        flat: Give it a flat roof whatever the dice say.
    """
    style = stream.random()
    if flat or (style < 0.12 and width > 30.0):
        _flat(scene, frame, stream, along, back, width, depth, height)
        return
    colour = roof or vary(stream, stream.choice(PITCHED), 7.0)
    hipped = style > 0.55
    _pitched(scene, frame.rectangle(along, back, width, depth), colour, height, hipped)
    if width > 40.0 and stream.random() < 0.5:
        wing = stream.uniform(0.36, 0.46) * width
        side = stream.choice((-1, 1))
        out = stream.uniform(8.0, 13.0)
        corner = frame.rectangle(along + side * (width - wing) / 2, back - out, wing, depth)
        _pitched(scene, np.roll(corner, 1, axis=0), colour, height, hipped)
    if width > 30.0 and stream.random() < 0.6:
        chimney = frame.rectangle(along + stream.uniform(-0.3, 0.3) * width, back + 3.0, 4.0, 4.0)
        scene.add(FITTING, chimney, vary(stream, (128, 104, 94), 10.0))
    if width > 40.0 and stream.random() < 0.14:
        panels = frame.rectangle(along - 2.0, back + depth / 4, width * 0.5, depth * 0.26)
        scene.add(FITTING, panels, (34, 44, 70))


def _light(direction: Points) -> float:
    """Brightness of a roof side that falls towards `direction`, a vector (2,)."""
    length = float(np.hypot(direction[0], direction[1])) or 1.0
    return 0.98 + 0.24 * float(direction[0] * SUN[0] + direction[1] * SUN[1]) / length


def _pitched(scene: Scene, corners: Points, colour: Colour, height: float, hipped: bool) -> None:
    """A ridge along the first side of `corners` (4, 2)."""
    first, second, third, fourth = corners
    across = fourth - first
    inset = 0.5 * float(np.hypot(*across)) / max(1.0, float(np.hypot(*(second - first))))
    inset = min(0.45, inset * 0.9) if hipped else 0.0
    start, end = (first + fourth) / 2, (second + third) / 2
    ridge_start = start + (end - start) * inset
    ridge_end = end + (start - end) * inset
    scene.add(ROOF, np.array([first, second, ridge_end, ridge_start]), shade(colour, _light(-across)))
    scene.add(ROOF, np.array([fourth, third, ridge_end, ridge_start]), shade(colour, _light(across)))
    if hipped:
        scene.add(ROOF, np.array([first, fourth, ridge_start]), shade(colour, _light(start - end)))
        scene.add(ROOF, np.array([second, third, ridge_end]), shade(colour, _light(end - start)))
    scene.add(RIDGE, np.array([ridge_start, ridge_end]), shade(colour, 1.18), 1.0)
    scene.shadows += cast_shadow(corners, height * (0.8 if hipped else 1.0))


def _flat(
    scene: Scene,
    frame: Frame,
    stream: random.Random,
    along: float,
    back: float,
    width: float,
    depth: float,
    height: float,
) -> None:
    colour = vary(stream, stream.choice(FLAT), 6.0)
    outline = frame.rectangle(along, back, width, depth)
    scene.add(ROOF, outline, shade(colour, 1.16))
    scene.add(ROOF, frame.rectangle(along, back, width - 4.0, depth - 4.0), colour)
    for _ in range(int(width * depth / 1200.0) + 1):
        spot = frame.rectangle(
            along + stream.uniform(-0.38, 0.38) * width,
            back + stream.uniform(-0.36, 0.36) * depth,
            stream.uniform(4.0, 9.0),
            stream.uniform(4.0, 8.0),
        )
        scene.add(FITTING, moved(spot, -1.5, -3.0), shade(colour, 0.62))
        scene.add(FITTING, spot, shade(colour, 1.12))
    scene.shadows += cast_shadow(outline, height)
