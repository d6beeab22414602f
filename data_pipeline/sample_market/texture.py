"""Tree crowns and the fine grain of an aerial photograph, made from noise."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from data_pipeline.sample_market.shapes import SUN

GRAIN_PERIOD = 512
PATCH_PERIOD = 2048
"""Pixels after which the two noise fields repeat."""

LEAVES = (
    (70, 92, 50),
    (62, 86, 46),
    (80, 102, 56),
    (54, 78, 44),
    (90, 106, 60),
    (66, 84, 56),
    (76, 88, 46),
    (58, 74, 48),
)


@lru_cache(maxsize=2)
def grain() -> NDArray[np.float32]:
    """Fine noise (512, 512), mean 0 and deviation 1, that tiles without a seam."""
    source = np.random.Generator(np.random.PCG64(11)).standard_normal((GRAIN_PERIOD, GRAIN_PERIOD))
    field = gaussian_filter(source, 0.7, mode="wrap") + 1.6 * gaussian_filter(source[::-1], 2.2, mode="wrap")
    return (field / field.std()).astype(np.float32)


@lru_cache(maxsize=2)
def patches() -> NDArray[np.float32]:
    """Coarse noise (2048, 2048), mean 0 and deviation 1, that tiles without a seam."""
    source = np.random.Generator(np.random.PCG64(12)).standard_normal((256, 256))
    coarse = gaussian_filter(source, 5.0, mode="wrap") * 5.0 + gaussian_filter(source.T, 1.2, mode="wrap")
    field = zoom(coarse, PATCH_PERIOD // 256, order=1, mode="grid-wrap", grid_mode=True)
    field = gaussian_filter(field, 3.0, mode="wrap")
    return (field / field.std()).astype(np.float32)


def window(field: NDArray[np.float32], left: int, top: int, width: int, height: int) -> NDArray[np.float32]:
    """The part (height, width) of a repeating field at any place in the town."""
    rows = np.arange(top, top + height) % field.shape[0]
    columns = np.arange(left, left + width) % field.shape[1]
    return field[rows[:, None], columns[None, :]]


@lru_cache(maxsize=1024)
def crown(radius: int, variant: int) -> tuple[Image.Image, Image.Image]:
    """A tree crown seen from above.

    Args:
        radius: Radius in pixels.
        variant: Which of the crowns; colour and outline follow from it.

    Returns:
        The RGB picture (2 radius + 3 pixels wide) and its opacity.
    """
    random = np.random.Generator(np.random.PCG64(1000 * variant + radius))
    size = 2 * radius + 3
    axis = np.arange(size) - (size - 1) / 2.0
    x, y = np.meshgrid(axis, axis)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    outline = np.full_like(distance, radius * 0.93)
    for number in (2, 3, 5, 8):
        outline += radius * random.normal(0.0, 0.05) * np.sin(number * angle + random.uniform(0.0, 6.28))
    opacity = np.clip((outline - distance) * 0.8 + 0.5, 0.0, 1.0)
    clumps = gaussian_filter(random.standard_normal((size, size)), max(0.8, radius / 7.0))
    clumps /= clumps.std() + 1e-6
    dome = np.clip((x * SUN[0] + y * SUN[1]) / radius, -1.0, 1.0)
    light = 0.94 + 0.26 * dome + 0.17 * clumps - 0.12 * (distance / radius) ** 3
    colour = np.array(LEAVES[variant % len(LEAVES)]) + random.normal(0.0, 5.0, 3)
    pixels = np.clip(light[..., None] * colour, 6.0, 255.0).astype(np.uint8)
    alpha = np.clip(opacity * 255.0, 0.0, 255.0).astype(np.uint8)
    return Image.fromarray(pixels), Image.fromarray(alpha)


@lru_cache(maxsize=64)
def crown_shadow(radius: int) -> Image.Image:
    """Opacity of the soft round shadow of a crown."""
    size = 2 * radius + 7
    axis = np.arange(size) - (size - 1) / 2.0
    distance = np.hypot(*np.meshgrid(axis, axis))
    return Image.fromarray((np.clip((radius - distance) / 3.0 + 0.5, 0.0, 1.0) * 120).astype(np.uint8))


def shadow_shift(radius: int) -> tuple[int, int]:
    """Pixels (x, y) from a crown to its shadow."""
    height = 3.0 + 0.75 * radius
    return math.floor(-SUN[0] * height), math.floor(-SUN[1] * height)
