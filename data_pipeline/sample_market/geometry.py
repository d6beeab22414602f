"""Where the sample market's town lies, and how its straight plan becomes winding streets.

Two coordinate systems are used. The *plan* ``(u, v)`` is a straight grid of
blocks. *Town pixels* ``(x, y)`` are Web Mercator world pixels at zoom 18
(EPSG:3857, 256 px tiles) less :data:`TOWN_PIXEL`; x grows to the east and y
to the south. One town pixel is about 0.30 m on the ground.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Float64 array (n, 2): x to the east and y to the south."""

ZOOM = 18
"""The zoom whose pixels the town is drawn in."""
WORLD_PIXELS = 256 * 2**ZOOM
"""Width of the whole world in pixels at :data:`ZOOM`."""
TOWN_LATITUDE = 60.0
TOWN_LONGITUDE = -24.0
"""Middle of the town, degrees EPSG:4326: open sea, so it is taken for no real place."""


def world_pixel(latitude: Any, longitude: Any) -> tuple[Any, Any]:
    """World pixel (x, y) at zoom 18 of a place; floats or arrays, degrees EPSG:4326."""
    x = (np.asarray(longitude) + 180.0) / 360.0 * WORLD_PIXELS
    y = (1.0 - np.arcsinh(np.tan(np.radians(latitude))) / math.pi) / 2.0 * WORLD_PIXELS
    return x, y


def place_of(x: Any, y: Any) -> tuple[Any, Any]:
    """Latitude and longitude (degrees, EPSG:4326) of a world pixel at zoom 18."""
    longitude = np.asarray(x) / WORLD_PIXELS * 360.0 - 180.0
    latitude = np.degrees(np.arctan(np.sinh(math.pi * (1.0 - 2.0 * np.asarray(y) / WORLD_PIXELS))))
    return latitude, longitude


_centre_x, _centre_y = world_pixel(TOWN_LATITUDE, TOWN_LONGITUDE)
TOWN_PIXEL = (int(_centre_x) // 2048 * 2048, int(_centre_y) // 2048 * 2048)
"""World pixel (x, y) that town pixel (0, 0) stands for."""


class Warp:
    """The smooth deformation from the plan to town pixels: a turn and two slow waves per axis.

    Args:
        seed: The town's seed.
    """

    reach = 120.0
    """Largest shift by the waves, in pixels."""

    def __init__(self, seed: int) -> None:
        stream = random.Random(f"{seed}/warp")
        angle = stream.uniform(-0.45, 0.45)
        self._turn = np.array(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=np.float64
        )
        # One row per wave: amplitude, wave number across, wave number along, phase.
        self._waves_x = self._waves(stream)
        self._waves_y = self._waves(stream)

    @staticmethod
    def _waves(stream: random.Random) -> Points:
        waves = []
        for amplitude, length in ((52.0, 1750.0), (60.0, 3300.0)):
            number = 2.0 * math.pi / (length * stream.uniform(0.9, 1.15))
            waves.append((amplitude, number, number * stream.uniform(-0.3, 0.3), stream.uniform(0.0, 6.28)))
        return np.array(waves, dtype=np.float64)

    def __call__(self, points: Any) -> Points:
        """Town pixels (n, 2) of plan points (n, 2)."""
        plan = np.asarray(points, dtype=np.float64)
        u, v = plan[:, 0:1], plan[:, 1:2]
        wave_x, wave_y = self._waves_x, self._waves_y
        x = u[:, 0] + (wave_x[:, 0] * np.sin(v * wave_x[:, 1] + u * wave_x[:, 2] + wave_x[:, 3])).sum(1)
        y = v[:, 0] + (wave_y[:, 0] * np.sin(u * wave_y[:, 1] + v * wave_y[:, 2] + wave_y[:, 3])).sum(1)
        return np.stack([x, y], axis=1) @ self._turn

    def plan_bounds(self, left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        """Plan box (u from, v from, u to, v to) that surely covers a box of town pixels."""
        corners = np.array([(left, top), (right, top), (left, bottom), (right, bottom)]) @ self._turn.T
        low, high = corners.min(0) - self.reach, corners.max(0) + self.reach
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class Frame:
    """A house's own axes: `along` its street and `back` away from it, in pixels from its centre.

    Args:
        warp: The town's deformation.
        u: Plan coordinate of the centre along the street.
        v: Plan coordinate of the centre across it.
        back: +1 where the back yard lies towards growing v, else -1.
    """

    def __init__(self, warp: Warp, u: float, v: float, back: int) -> None:
        centre, ahead = warp([(u, v), (u + 8.0, v)])
        tangent = (ahead - centre) / float(np.hypot(*(ahead - centre)))
        self.centre: Points = centre
        self._axes = np.array([tangent, (-tangent[1] * back, tangent[0] * back)], dtype=np.float64)

    def __call__(self, points: Any) -> Points:
        """Town pixels (n, 2) of points (n, 2) given as (along, back)."""
        return np.asarray(points, dtype=np.float64) @ self._axes + self.centre

    def rectangle(self, along: float, back: float, width: float, depth: float) -> Points:
        """Corners (4, 2) of a rectangle around (along, back), `width` along the street."""
        half_width, half_depth = width / 2.0, depth / 2.0
        return self(
            [
                (along - half_width, back - half_depth),
                (along + half_width, back - half_depth),
                (along + half_width, back + half_depth),
                (along - half_width, back + half_depth),
            ]
        )
