"""Tiles as pixels: decoded once, and kept for a while, because neighbouring houses share them."""

from __future__ import annotations

import io
import threading
import warnings
from collections import OrderedDict
from typing import Protocol
from weakref import WeakKeyDictionary

import mercantile
import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from data_pipeline.tiles import TILE_PIXELS

Pixels = npt.NDArray[np.uint8]

_KEPT_BYTES = 96 * 2**20
MOST_PIXELS = 2**26
"""A larger picture is none: a server, or a file, could fill the memory with it."""

NO_PICTURE = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    Picture.DecompressionBombError,
)
"""What Pillow raises for bytes that are no whole picture."""

TOO_LARGE = f"a picture of more than {MOST_PIXELS / 1e6:.0f} million pixels"
"""Why such a picture is refused, as the manifest and the reports of a run say it."""

NOT_WHOLE = "not a whole picture"

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_DEEP = ("I", "I;16", "I;16L", "I;16B")
warnings.simplefilter("ignore", Picture.DecompressionBombWarning)


class LargePictureError(ValueError):
    """A picture of more than :data:`MOST_PIXELS`, by its header."""


class TileSource(Protocol):
    """Anything that hands out tiles: an archive, the sample market."""

    @property
    def format(self) -> str:
        """``png``, ``jpg`` or ``webp``."""

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The bytes of an XYZ tile, or None if there is none."""


def open_picture(data: bytes) -> Picture.Image:
    """Open a picture without decoding it; other formats are left to nobody's decoder.

    Raises:
        LargePictureError: It is larger than any picture of ours. Others of
            :data:`NO_PICTURE`: it is none.
    """
    try:
        picture = Picture.open(io.BytesIO(data), formats=_FORMATS)
    except Picture.DecompressionBombError:
        raise LargePictureError(TOO_LARGE) from None
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise LargePictureError(TOO_LARGE)
    return picture


def why_no_picture(data: bytes) -> str:
    """Why bytes are refused that :func:`data_pipeline.pictures.picture_status` finds no picture in."""
    try:
        open_picture(data).close()
    except LargePictureError:
        return TOO_LARGE
    except NO_PICTURE:
        pass
    return NOT_WHOLE


def in_colour(picture: Picture.Image) -> Picture.Image:
    """A picture as RGB of 8 bits; transparency is left out."""
    if picture.mode in _DEEP:
        return Picture.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "P":
        picture.load()
        picture.info.pop("transparency", None)
    return picture.convert("RGB")


def decode_tile(data: bytes, tile_size: int = TILE_PIXELS) -> Pixels | None:
    """Decode a picture.

    Args:
        data: PNG, JPEG, WebP or GIF.
        tile_size: Pixels per side of the result.

    Returns:
        uint8 (tile_size, tile_size, 3), RGB, resized if the picture has
        another size; None if the bytes are no picture.
    """
    try:
        with open_picture(data) as picture:
            colour = in_colour(picture)
    except NO_PICTURE:
        return None
    if colour.size != (tile_size, tile_size):
        colour = colour.resize((tile_size, tile_size), Picture.Resampling.BICUBIC)
    return np.asarray(colour)


def is_picture(data: bytes) -> bool:
    """Whether the bytes are a picture that can be decoded to its end."""
    try:
        with open_picture(data) as picture:
            picture.load()
    except NO_PICTURE:
        return False
    return True


def picture_width(data: bytes) -> int | None:
    """Pixels per row of a picture, from its header; None if the bytes are no picture."""
    try:
        with open_picture(data) as picture:
            return picture.width
    except NO_PICTURE:
        return None


def decoded_tile(source: TileSource, tile: mercantile.Tile, tile_size: int) -> Pixels | None:
    """A tile's pixels, as of :func:`decode_tile`; None where there is none or it is no picture.

    All threads that read a source share what is decoded of it; it is
    forgotten with the source. A tile that is not there is looked for again.
    """
    kept = _kept.get(source)
    if kept is None:
        kept = _kept.setdefault(source, _DecodedTiles())
    pixels = kept.get(tile)
    if pixels is None or len(pixels) != tile_size:
        data = source.read(tile.z, tile.x, tile.y)
        pixels = None if data is None else decode_tile(data, tile_size)
        if pixels is not None:
            kept.put(tile, pixels)
    return pixels


class _DecodedTiles:
    """The tiles used last, up to a number of bytes."""

    def __init__(self) -> None:
        self._tiles: OrderedDict[mercantile.Tile, Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, tile: mercantile.Tile) -> Pixels | None:
        with self._lock:
            pixels = self._tiles.get(tile)
            if pixels is not None:
                self._tiles.move_to_end(tile)
            return pixels

    def put(self, tile: mercantile.Tile, pixels: Pixels) -> None:
        with self._lock:
            earlier = self._tiles.pop(tile, None)
            self._bytes += pixels.nbytes - (0 if earlier is None else earlier.nbytes)
            self._tiles[tile] = pixels
            while self._bytes > _KEPT_BYTES and len(self._tiles) > 1:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes


_kept: WeakKeyDictionary[TileSource, _DecodedTiles] = WeakKeyDictionary()
