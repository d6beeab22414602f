"""HTTP connections that wait for nobody for ever, and say why they end."""

from __future__ import annotations

import asyncio
import http
import json
import sys
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from housevis.views.server_metrics import LOGGER

HEADER_SECONDS: Final = 10.0
"""How long a client may take for the head of a request."""

READING_SECONDS: Final = 30.0
"""How long a client may leave an answer unread."""

MOST_CONNECTIONS: Final = 1_000
"""Connections that are open at the same time; who comes later is told to come again."""

_SLOW: Final = "The request came too slowly; send it at once."
_INVALID: Final = "This is no valid HTTP request: write it as RFC 9112 says, with one Host header."
_LONG_HEAD: Final = "The head of the request is too long; ask with a shorter address and fewer headers."
_FULL: Final = "Too many connections are open; ask again in a few seconds."


class PatientProtocol(H11Protocol):
    """uvicorn's own protocol, with limits for clients, each with its reason.

    A client that takes too long for the head of a request is answered 408 and
    cut off; one that does not read its answer is cut off; what is no HTTP is
    answered 400, a head without end 431, and a connection too many 503. How
    long a body may take is watched by
    :class:`housevis.views.server_guard.Guard`.
    """

    header_seconds: float = HEADER_SECONDS
    reading_seconds: float = READING_SECONDS
    most_connections: int = MOST_CONNECTIONS

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self.app = _refuse_connection
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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Say what is wrong with what is no request; called where h11 has found that it is none."""
        problem = sys.exc_info()[1]
        if getattr(problem, "error_status_hint", 400) == 431:
            self._answer(431, "long head", _LONG_HEAD)
        else:
            self._answer(400, "no HTTP", _INVALID)

    def _refuse(self) -> None:
        self._head = None
        self._answer(408, "slow head", _SLOW)

    def _answer(self, status: int, reason: str, text: str) -> None:
        """Write a refusal past the application, where no other answer has begun, and close."""
        if self.transport.is_closing():
            return
        LOGGER.warning("refused", extra={"fields": {"reason": reason, "status": status}})
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps({"detail": text}).encode()
            lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", "content-type: application/json"]
            lines += ["x-content-type-options: nosniff", "connection: close", f"content-length: {len(body)}"]
            self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()

    def _abort(self) -> None:
        LOGGER.warning("refused", extra={"fields": {"reason": "unread answer"}})
        self.transport.abort()


async def _refuse_connection(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a connection too many."""
    LOGGER.warning("refused", extra={"fields": {"reason": "connections", "status": 503}})
    body = json.dumps({"detail": _FULL}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers |= {"retry-after": "5", "x-content-type-options": "nosniff"}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 503, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
