"""Draw a window of the town as pixels, and the drivers' masks from the same shapes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market.geometry import Points
from data_pipeline.sample_market.shapes import LAYER_COVERS, ROOF, Scene, Shape, Tree
from data_pipeline.sample_market.texture import (
    crown,
    crown_shadow,
    grain,
    patches,
    shadow_shift,
    window,
)

SCALE = 2
"""Shapes are drawn this much larger and then averaged, so that edges are smooth."""
SHADOW_STRENGTH = 0.52
SHADOW_TINT = (18, 26, 44)
MARGIN = 60
"""Pixels beyond a window from which a tree or shadow may still reach into it."""


def _corners(points: Points, left: int, top: int) -> list[tuple[float, ...]]:
    # Whole sub-pixels, so that a window drawn from another corner shows the same edges.
    placed = np.rint(points * SCALE).astype(np.int64) - (left * SCALE, top * SCALE)
    return [tuple(pair) for pair in placed.tolist()]


def _touches(points: Points, left: int, top: int, width: int, height: int, margin: float) -> bool:
    low, high = points.min(axis=0), points.max(axis=0)
    return bool(
        high[0] >= left - margin
        and high[1] >= top - margin
        and low[0] <= left + width + margin
        and low[1] <= top + height + margin
    )


def _draw(draw: ImageDraw.ImageDraw, shape: Shape, left: int, top: int, colour: object) -> None:
    corners = _corners(shape.points, left, top)
    if shape.width:
        draw.line(corners, fill=colour, width=round(shape.width * SCALE), joint="curve")  # type: ignore[arg-type]
    else:
        draw.polygon(corners, fill=colour)  # type: ignore[arg-type]


def paint(scenes: Iterable[Scene], left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
    """Draw a window of the town.

    Args:
        scenes: The blocks that may reach into the window.
        left: Town pixel of the window's left edge.
        top: Town pixel of its upper edge.
        width: Pixels.
        height: Pixels.

    Returns:
        RGB picture (height, width, 3).
    """
    scenes = list(scenes)
    box = (left, top, width, height)
    near = [scene.near(left, top, left + width, top + height) for scene in scenes]
    shapes = [shape for part, _ in near for shape in part]
    shapes.sort(key=lambda shape: shape.layer)
    size = (width * SCALE, height * SCALE)
    ground = Image.new("RGB", size, (112, 124, 78))
    draw = ImageDraw.Draw(ground)
    roofs = [shape for shape in shapes if shape.layer >= ROOF]
    for shape in shapes[: len(shapes) - len(roofs)]:
        _draw(draw, shape, left, top, shape.colour)
    shadow = Image.new("L", size, 0)
    draw_shadow = ImageDraw.Draw(shadow)
    for _, polygons in near:
        for polygon in polygons:
            draw_shadow.polygon(_corners(polygon, left, top), fill=255)
    ground.paste(SHADOW_TINT, (0, 0), shadow.point(lambda value: int(value * SHADOW_STRENGTH)))
    for shape in roofs:
        _draw(draw, shape, left, top, shape.colour)
    picture = ground.reduce(SCALE)
    water = _water_mask(shapes, *box)
    picture = _grain(picture, water, left, top)
    _plant(picture, (tree for scene in scenes for tree in scene.trees), *box)
    return np.asarray(picture)


def _water_mask(
    shapes: list[Shape], left: int, top: int, width: int, height: int
) -> NDArray[np.float32] | None:
    waters = [shape for shape in shapes if shape.driver == "water"]
    if not waters:
        return None
    layer = Image.new("L", (width * SCALE, height * SCALE), 0)
    draw = ImageDraw.Draw(layer)
    for shape in waters:
        _draw(draw, shape, left, top, 255)
    return np.asarray(layer.reduce(SCALE), dtype=np.float32) / 255.0


def _grain(picture: Image.Image, water: NDArray[np.float32] | None, left: int, top: int) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32)
    height, width = pixels.shape[:2]
    fine = window(grain(), left, top, width, height)
    coarse = window(patches(), left, top, width, height)
    green = np.clip((2.0 * pixels[..., 1] - pixels[..., 0] - pixels[..., 2]) / 36.0, 0.0, 1.0)
    if water is not None:
        green *= 1.0 - water
        ripple = window(grain().T, left * 1 + 100, top // 1, width, height)
        fine = fine * (1.0 - water) + 0.9 * ripple * water
    light = 1.0 + fine * (0.028 + 0.055 * green) + coarse * (0.012 + 0.038 * green)
    pixels = pixels * light[..., None]
    pixels[..., 0] += coarse * green * 4.0
    return Image.fromarray(np.clip(pixels, 0.0, 255.0).astype(np.uint8))


def _plant(picture: Image.Image, trees: Iterable[Tree], left: int, top: int, width: int, height: int) -> None:
    near = [
        tree
        for tree in trees
        if left - MARGIN <= tree.x <= left + width + MARGIN
        and top - MARGIN <= tree.y <= top + height + MARGIN
    ]
    near.sort(key=lambda tree: (tree.y, tree.x, tree.radius))
    for tree in near:
        shadow = crown_shadow(tree.radius)
        x, y = shadow_shift(tree.radius)
        half = shadow.width // 2
        picture.paste(SHADOW_TINT, (tree.x - left + x - half, tree.y - top + y - half), shadow)
    for tree in near:
        leaves, opacity = crown(tree.radius, tree.variant)
        half = leaves.width // 2
        picture.paste(leaves, (tree.x - left - half, tree.y - top - half), opacity)


def paint_cover(scenes: Iterable[Scene], left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
    """What covers the ground of a window: the same shapes in the same order, classes in place of colours.

    Args:
        scenes: The blocks that may reach into the window.
        left: Town pixel of the window's left edge.
        top: Town pixel of its upper edge.
        width: Pixels.
        height: Pixels.

    Returns:
        Number of the class in :data:`LAND_COVERS` (height, width): the one
        that covers most of a pixel. Shadows cover nothing.
    """
    scenes = list(scenes)
    number = {cover: place for place, cover in enumerate(LAND_COVERS)}
    shapes = [shape for scene in scenes for shape in scene.near(left, top, left + width, top + height)[0]]
    shapes.sort(key=lambda shape: shape.layer)
    layer = Image.new("L", (width * SCALE, height * SCALE), number["lawn"])
    draw = ImageDraw.Draw(layer)
    for shape in shapes:
        _draw(draw, shape, left, top, number[shape.cover or LAYER_COVERS[shape.layer]])
    fine = np.asarray(layer)
    parts = [fine[down::SCALE, across::SCALE] for down in range(SCALE) for across in range(SCALE)]
    # Of classes that cover a pixel alike, the small and rare one is taken: a pool before its rim.
    order = [number[cover] for cover in ("pool", "water", "roof", "road", "bare", "tree", "lawn")]
    covered = np.stack([sum((part == place).view(np.uint8) for part in parts) for place in order])
    cover = np.array(order, dtype=np.uint8)[covered.argmax(axis=0)]
    crowns = Image.new("L", (width, height), 0)
    _plant_crowns(crowns, (tree for scene in scenes for tree in scene.trees), left, top)
    return np.where(np.asarray(crowns) >= 128, np.uint8(number["tree"]), cover)


def _plant_crowns(layer: Image.Image, trees: Iterable[Tree], left: int, top: int) -> None:
    for tree in trees:
        _, opacity = crown(tree.radius, tree.variant)
        half = opacity.width // 2
        layer.paste(255, (tree.x - left - half, tree.y - top - half), opacity)


def shape_mask(shapes: Iterable[Shape], left: int, top: int, size: int) -> NDArray[np.bool_]:
    """Pixels (size, size) of a square window that the shapes cover by at least half."""
    layer = Image.new("L", (size * SCALE, size * SCALE), 0)
    draw = ImageDraw.Draw(layer)
    for shape in shapes:
        if _touches(shape.points, left, top, size, size, shape.width):
            _draw(draw, shape, left, top, 255)
    return np.asarray(layer.reduce(SCALE)) >= 128


def crown_mask(trees: Iterable[Tree], left: int, top: int, size: int) -> NDArray[np.bool_]:
    """Pixels (size, size) of a square window that the crowns cover by at least half."""
    layer = Image.new("L", (size, size), 0)
    _plant_crowns(layer, trees, left, top)
    return np.asarray(layer) >= 128
