"""Is this a whole picture, and is there anything on it?

Every picture is checked as far as its format allows: PNG has checksums, of
JPEG and WebP the whole stream of data is decoded by a decoder that reports
what does not fit. The decoders work without Python's global lock.
"""

from __future__ import annotations

import io
import zlib
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from data_pipeline.webp import is_whole_webp

_BLANK_DEVIATION = 1.0
_SMALL = {"jpg": 6144, "webp": 4096, "png": 32_768}
"""Bytes of a 256 x 256 picture above which it cannot be of one colour."""

_SMALL_OTHER = 4096
_SMALL_PIXELS = 65_536
_PNG_START = b"\x89PNG\r\n\x1a\n"
_BAD_PICTURE = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    Picture.DecompressionBombError,
)
FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
"""Pillow's name of a format -> the name in MBTiles."""


class Judgement(NamedTuple):
    """`status` is ``ok`` or ``blank``, `format` ``png``, ``jpg``, ``webp`` or Pillow's own name."""

    status: str
    format: str


def picture_status(data: bytes) -> Judgement | None:
    """Judge the bytes of a tile.

    A picture of one flat colour compresses to almost nothing, so only of small
    files the colours are looked at.

    Args:
        data: The bytes as fetched.

    Returns:
        Status and format, or None if this is no whole picture: cut, changed
        on the way, or something else altogether.
    """
    kind = _kind(data)
    if kind == "jpg":
        whole = _is_whole_jpeg(data)
    elif kind == "png":
        whole = _is_whole_png(data)
    else:
        whole = kind != "webp" or is_whole_webp(data)
    if not whole:
        return None
    if kind and len(data) > _SMALL[kind] and not _is_large(data, kind):
        return Judgement("ok", kind)
    try:
        with Picture.open(io.BytesIO(data)) as picture:
            kind = FORMATS.get(picture.format or "", (picture.format or "").lower())
            small = _SMALL.get(kind, _SMALL_OTHER) * max(1.0, picture.width * picture.height / _SMALL_PIXELS)
            if len(data) > small and kind in _SMALL:
                return Judgement("ok", kind)
            deviation = np.asarray(picture.convert("RGB"), dtype=np.float32).std(axis=(0, 1)).max()
    except _BAD_PICTURE:
        return None
    return Judgement("blank" if deviation < _BLANK_DEVIATION else "ok", kind)


def _kind(data: bytes) -> str | None:
    if data[:3] == b"\xff\xd8\xff":
        return "jpg"
    if data[:8] == _PNG_START:
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _is_large(data: bytes, kind: str) -> bool:
    """Whether a picture has more than 256 x 256 pixels, where that is quick to see; else no matter."""
    if kind == "png":
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") > _SMALL_PIXELS
    return len(data) <= 4 * _SMALL[kind]


def _is_whole_jpeg(data: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8)
    except ValueError:
        return False
    return True


def _is_whole_png(data: bytes) -> bool:
    """Whether all chunks are there with the right checksums."""
    place, end, view = 8, len(data), memoryview(data)
    while place + 12 <= end:
        size = int.from_bytes(view[place : place + 4], "big")
        after = place + 8 + size
        if after + 4 > end:
            return False
        if zlib.crc32(view[place + 4 : after]) != int.from_bytes(view[after : after + 4], "big"):
            return False
        if view[place + 4 : place + 8] == b"IEND":
            return True
        place = after + 4
    return False
