"""Is this a whole picture, and is there anything on it?"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

_BLANK_DEVIATION = 1.0
_SMALL = 4096
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

    A picture of one flat colour compresses to almost nothing, so only small
    files are decoded in full; of larger ones the header and the end are
    checked, which finds every transfer that was cut.

    Args:
        data: The bytes as fetched.

    Returns:
        Status and format, or None if this is no whole picture.
    """
    try:
        with Picture.open(io.BytesIO(data)) as picture:
            kind = FORMATS.get(picture.format or "", (picture.format or "").lower())
            if not _is_whole(data, kind):
                return None
            if len(data) > _SMALL:
                return Judgement("ok", kind)
            deviation = np.asarray(picture.convert("RGB"), dtype=np.float32).std(axis=(0, 1)).max()
    except _BAD_PICTURE:
        return None
    return Judgement("blank" if deviation < _BLANK_DEVIATION else "ok", kind)


def _is_whole(data: bytes, kind: str) -> bool:
    if kind == "jpg":
        return b"\xff\xd9" in data[-64:]
    if kind == "png":
        return b"IEND" in data[-64:]
    if kind == "webp":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return True
