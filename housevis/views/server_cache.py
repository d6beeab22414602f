"""Answers that are kept for a while, and the marks by which a browser knows them again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from fastapi import Request, Response

_MOST_BYTES: Final = 64 * 2**20


class KeptAnswers:
    """The latest answers, up to 64 MiB of them; those not asked for longest go first."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer under a key, made where it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made)
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


def mark_of(*parts: object) -> str:
    """An ETag that names some content by what decides it."""
    return f'"{hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'


def is_known(request: Request, mark: str) -> bool:
    """Whether the client says that it has this content (``If-None-Match``)."""
    given = request.headers.get("if-none-match", "")
    marks = {part.strip().removeprefix("W/") for part in given.split(",")}
    return mark in marks or "*" in marks


def marked(request: Request, mark: str, body: Callable[[], bytes], media_type: str) -> Response:
    """The content under its mark, or 304 to a client that has it; it is made only where it is sent."""
    if is_known(request, mark):
        return Response(status_code=304, headers={"etag": mark})
    return Response(body(), media_type=media_type, headers={"etag": mark})
