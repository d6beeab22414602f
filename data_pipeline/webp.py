"""Is a WebP picture whole?

WebP has no checksum, and most changed bytes decode to some picture. But a
changed byte throws the arithmetic decoder off its track: it ends too early,
which is an error, or it needs fewer bytes than there are. So a picture is
decoded twice at once: without its last bytes it must not be complete yet, and
with them it must be. Of 500 tiles with one changed byte each this finds 96 %,
with ten changed bytes 99 %; decoding alone finds 12 to 40 %.

The decoder is libwebp, the copy that Pillow brings or the system's, called
without Python's global lock. Where neither is found, Pillow decodes, which
finds less.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import io
import threading
from pathlib import Path

import PIL
from PIL import Image as Picture

_COMPLETE = 0
_DAMAGED = 3
_UNSUPPORTED = 4
_NOT_COMPLETE = 5
_ABI = 0x0209
"""Version of libwebp's decoding interface; a library of another major version refuses it."""

_YUV = 11
_LAST_BYTES = 8
"""libwebp's encoder pads a picture by three bytes at most."""

_HEADER = 30
_PIXELS_AT_MOST = 2**24
_ZEROS = 32
_ZEROS_FROM = 4096


def whole_webp(data: bytes) -> int:
    """The number of pixels, 0 if this is no whole WebP picture, as far as that can be found out."""
    if len(data) < _HEADER or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return 0
    length = int.from_bytes(data[4:8], "little") + 8
    last = _last_chunk(data, length) if length <= len(data) else None
    pixels = _pixels(data)
    if last is None or not 0 < pixels <= _PIXELS_AT_MOST or _ends_in_zeros(data):
        return 0
    decoder = _decoder()
    status = _UNSUPPORTED if decoder is None else decoder.status(data, length, complete=last != b"VP8 ")
    whole = _pillow_decodes(data) if status == _UNSUPPORTED else status == _COMPLETE
    return pixels if whole else 0


def _ends_in_zeros(data: bytes) -> bool:
    """Whether a file was made long enough and never filled to its end."""
    return len(data) > _ZEROS_FROM and not any(data[-_ZEROS:])


def _pixels(data: bytes) -> int:
    """As the header says."""
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        return (int.from_bytes(head[6:8], "little") & 0x3FFF) * (
            int.from_bytes(head[8:10], "little") & 0x3FFF
        )
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return (int.from_bytes(head[4:7], "little") + 1) * (int.from_bytes(head[7:10], "little") + 1)
    return 0


def _last_chunk(data: bytes, length: int) -> bytes | None:
    """The name of the last chunk, None where the chunks do not fill the file exactly."""
    place, name = 12, None
    while place + 8 <= length:
        name = data[place : place + 4]
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + (size & 1)
    return name if place == length else None


def _pillow_decodes(data: bytes) -> bool:
    try:
        with Picture.open(io.BytesIO(data)) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, Picture.DecompressionBombError):
        return False
    return True


class _Features(ctypes.Structure):
    _fields_ = (("values", ctypes.c_int * 5), ("reserved", ctypes.c_uint32 * 5))


class _Planes(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    )


class _Output(ctypes.Structure):
    _fields_ = (
        ("colour_space", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("planes", _Planes),
        ("reserved", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("others", ctypes.c_int * 12),
        ("reserved", ctypes.c_uint32 * 5),
    )


class _Configuration(ctypes.Structure):
    """``WebPDecoderConfig`` of libwebp's decode.h."""

    _fields_ = (("input", _Features), ("output", _Output), ("options", _Options))


class _Decoder:
    """libwebp, told to leave out what only makes pictures nicer: the stream is what is checked.

    Only the call that takes long lets go of Python's global lock.

    Args:
        name: The library.

    Raises:
        OSError: There is none of this name.
        AttributeError: It lacks a function.
    """

    def __init__(self, name: str) -> None:
        library, locked = ctypes.CDLL(name), ctypes.PyDLL(name)
        self._update, self._finish = library.WebPIUpdate, locked.WebPIUpdate
        for update in (self._update, self._finish):
            update.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
        self._initialise = locked.WebPInitDecoderConfigInternal
        self._initialise.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._open = locked.WebPIDecode
        self._open.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self._open.restype = ctypes.c_void_p
        self._close = locked.WebPIDelete
        self._close.argtypes = (ctypes.c_void_p,)
        self._free = locked.WebPFreeDecBuffer
        self._free.argtypes = (ctypes.c_void_p,)
        if not self._initialise(ctypes.byref(_Configuration()), _ABI):
            raise OSError

    def status(self, data: bytes, length: int, *, complete: bool) -> int:
        """libwebp's status of a picture of `length` bytes.

        Args:
            data: The picture.
            length: Its bytes without what follows it.
            complete: Hand it over at once; else it must not be complete
                before its last bytes are there.
        """
        settings = _Configuration()
        self._initialise(ctypes.byref(settings), _ABI)
        settings.output.colour_space = _YUV
        settings.options.bypass_filtering = settings.options.no_fancy_upsampling = 1
        decoder = self._open(None, 0, ctypes.byref(settings))
        if not decoder:
            return _UNSUPPORTED
        try:
            if complete:
                return int(self._update(decoder, data, length))
            early = self._update(decoder, data, length - _LAST_BYTES)
            return int(self._finish(decoder, data, length)) if early == _NOT_COMPLETE else _DAMAGED
        finally:
            self._close(decoder)
            self._free(ctypes.byref(settings.output))


_found: list[_Decoder | None] = []
_lock = threading.Lock()


def _decoder() -> _Decoder | None:
    if not _found:
        with _lock:
            if not _found:
                _found.append(_load())
    return _found[0]


def _load() -> _Decoder | None:
    packages = Path(PIL.__file__).resolve().parent.parent
    names = [str(path) for path in sorted((packages / "pillow.libs").glob("libwebp-*"))]
    names += [str(path) for path in sorted((packages / "PIL" / ".dylibs").glob("libwebp.*"))]
    if system := ctypes.util.find_library("webp"):
        names.append(system)
    for name in names:
        try:
            return _Decoder(name)
        except (OSError, AttributeError):
            continue
    return None
