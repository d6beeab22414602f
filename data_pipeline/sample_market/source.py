"""The town's tiles as image files, as a tile server or an archive takes them."""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from housevis.core.errors import UsageError

JPEG_QUALITY = 90


class Tiles(Protocol):
    """Anything that draws XYZ tiles."""

    def tile(self, z: int, x: int, y: int) -> NDArray[np.uint8] | None:
        """RGB (256, 256, 3), or None where there is none."""


class TileSource:
    """Encodes tiles when they are asked for.

    Args:
        tiles: Draws the tiles.
        format: ``jpg`` or ``png``.

    Attributes:
        format: The file format, without a dot.

    Raises:
        UsageError: If the format is another one.
    """

    def __init__(self, tiles: Tiles, format: str = "jpg") -> None:
        if format not in ("jpg", "png"):
            raise UsageError(f"tiles cannot be written as {format!r}", remedy="Choose jpg or png.")
        self._tiles = tiles
        self.format = format

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The file of one tile, or None where the town has none."""
        pixels = self._tiles.tile(z, x, y)
        if pixels is None:
            return None
        buffer = io.BytesIO()
        if self.format == "jpg":
            Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        else:
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
