"""The classes of land cover, and what a vector file knows of buildings and roads."""

from __future__ import annotations

from typing import Final, Literal, get_args

LandCover = Literal["roof", "road", "tree", "lawn", "water", "pool", "bare"]
"""What covers the ground, seen from above.

``road`` is all paving: streets, drives, paths, car parks and the cars on them.
``lawn`` is all low green, ``tree`` what has a crown, hedges too. ``pool`` is a
basin, ``water`` any other water. ``bare`` is the rest: soil, sand, sheets.
"""

LAND_COVERS: Final[tuple[LandCover, ...]] = get_args(LandCover)
"""Class number -> class."""
