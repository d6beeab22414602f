"""HTTP connections that wait for nobody for ever."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from housevis.views.server_metrics import LOGGER

HEADER_SECONDS: Final = 10.0
"""How long a client may take for the head of a request."""

READING_SECONDS: Final = 30.0
"""How long a client may leave an answer unread."""

_REASON: Final = json.dumps({"detail": "The request came too slowly; send it at once."}).encode()


class PatientProtocol(H11Protocol):
    """uvicorn's own protocol, with limits for clients that send or read very slowly.

    A client that takes too long for the head of a request is answered 408 and
    cut off; one that does not read its answer is cut off. How long a body may
    take is watched by :class:`housevis.views.server_guard.Guard`.
    """

    header_seconds: float = HEADER_SECONDS
    reading_seconds: float = READING_SECONDS

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take data; once the head of a request is whole, nobody waits for it."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._forget_head()
        elif (self.cycle is None or self.cycle.response_complete) and self._head is None:
            self._expect_head()

    def pause_writing(self) -> None:
        """Start to wait for the client to read."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.reading_seconds, self._abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._forget_head()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(self.header_seconds, self._refuse)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self) -> None:
        self._head = None
        if self.transport.is_closing():
            return
        LOGGER.warning("refused", extra={"fields": {"reason": "slow head", "status": 408}})
        head = (
            b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: " + str(len(_REASON)).encode() + b"\r\n\r\n"
        )
        self.transport.write(head + _REASON)
        self.transport.close()

    def _abort(self) -> None:
        LOGGER.warning("refused", extra={"fields": {"reason": "unread answer"}})
        self.transport.abort()
