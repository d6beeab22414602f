"""The size of the Earth, for distances between houses. Map tiles have a radius of their own."""

from __future__ import annotations

from typing import Final

MEAN_EARTH_RADIUS: Final = 6_371_008.8
"""Metres."""

METRES_PER_DEGREE: Final = 111_195.0
"""Of latitude, on a sphere of the mean radius, to the metre."""

KILOMETRES_PER_DEGREE: Final = METRES_PER_DEGREE / 1000
