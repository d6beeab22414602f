"""Is this a whole picture, and is there anything on it?

Every picture is checked as far as its format allows: PNG has checksums, of
JPEG and WebP the whole stream of data is decoded by a decoder that reports
what does not fit. The decoders work without Python's global lock.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import simplejpeg
from PIL import ImageStat

from data_pipeline.decoding import MOST_PIXELS, NO_PICTURE, in_colour, open_picture
from data_pipeline.webp import whole_webp

_BLANK_DEVIATION = 1.0
_SMALL = {"jpg": 6144, "webp": 4096, "png": 32_768}
"""Bytes of a 256 x 256 picture above which it cannot be of one colour."""

_SMALL_PIXELS = 65_536
_PNG_START = b"\x89PNG\r\n\x1a\n"
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
    kind = picture_kind(data)
    if kind is not None:
        pixels = _CHECKS[kind](data)
        if not 0 < pixels <= MOST_PIXELS:
            return None
        if len(data) > _SMALL[kind] * max(1.0, pixels / _SMALL_PIXELS):
            return Judgement("ok", kind)
    try:
        with open_picture(data) as picture:
            kind = FORMATS.get(picture.format or "", (picture.format or "").lower())
            deviation = max(ImageStat.Stat(in_colour(picture)).stddev)
    except NO_PICTURE:
        return None
    return Judgement("blank" if deviation < _BLANK_DEVIATION else "ok", kind)


def picture_kind(data: bytes) -> str | None:
    """``jpg``, ``png`` or ``webp`` by how the bytes begin; None for anything else."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpg"
    if data[:8] == _PNG_START:
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _whole_jpeg(data: bytes) -> int:
    """The number of pixels, 0 if this is no whole JPEG; one that is too large is not decoded."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if int(height) * int(width) > MOST_PIXELS:
            return int(height) * int(width)
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8)
    except ValueError:
        return 0
    return int(height) * int(width)


def _whole_png(data: bytes) -> int:
    """The number of pixels, 0 unless all chunks are there with the right checksums."""
    place, end, view = 8, len(data), memoryview(data)
    while place + 12 <= end:
        size = int.from_bytes(view[place : place + 4], "big")
        after = place + 8 + size
        if after + 4 > end:
            return 0
        if zlib.crc32(view[place + 4 : after]) != int.from_bytes(view[after : after + 4], "big"):
            return 0
        if view[place + 4 : place + 8] == b"IEND":
            return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
        place = after + 4
    return 0


_CHECKS: dict[str, Callable[[bytes], int]] = {"jpg": _whole_jpeg, "png": _whole_png, "webp": whole_webp}
"""Pixels of a whole picture, 0 for anything else."""
