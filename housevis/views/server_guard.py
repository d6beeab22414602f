"""What every request passes before it reaches a page or the API."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from housevis.views.server_metrics import LOGGER, Metrics

SIGN_IN: Final = "/sign-in"
COOKIE: Final = "housevis-session"


def content_policy(scripts: Sequence[str] = ()) -> str:
    """What a browser may load for a page: nothing from elsewhere, and no script that stands in it.

    Args:
        scripts: SHA-256, in base64, of the scripts in the page that may run all the same.
    """
    allowed = "".join(f" 'sha256-{digest}'" for digest in scripts)
    return (
        f"default-src 'none'; script-src 'self'{allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


HEADERS: Final = {
    "content-security-policy": content_policy(),
    "cache-control": "private, no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of every answer."""

_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_CLIENTS_KNOWN: Final = 10_000
_MOST_DROPPED: Final = 16 * 2**20
_QUIET_SECONDS: Final = 0.25
_COSTS: Final = {"page": 0.25, "look": 1.0, "work": 10.0}


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    Attributes:
        requests_per_second: Looks at the API that one address may take for long; a page file costs a
            quarter of one, an estimate or a what-if ten.
        burst: How many of them at once.
        head_bytes: Longest address and headers of a request.
        body_bytes: Longest body of a request.
        body_seconds: How long a client may take to send it.
        estimates: Estimates and what-ifs that are worked on or wait at the same time.
    """

    requests_per_second: float = 100.0
    burst: float = 600.0
    head_bytes: int = 32_768
    body_bytes: int = 65_536
    body_seconds: float = 10.0
    estimates: int = 8


class Allowance:
    """A token bucket per client address; the addresses stay in memory only.

    Args:
        limits: Rate and burst.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float, now: float) -> float:
        """Take from a client's allowance.

        Returns:
            0 if there was enough; else the seconds after which there will be.
        """
        rate, burst = self._limits.requests_per_second, max(self._limits.burst, cost)
        left, before = self._left.pop(client, (burst, now))
        left = min(burst, left + (now - before) * rate)
        wait = 0.0 if left >= cost else (cost - left) / rate
        self._left[client] = (left if wait else left - cost, now)
        while len(self._left) > _CLIENTS_KNOWN:
            self._left.popitem(last=False)
        return wait


async def _drop(receive: Receive) -> None:
    """Read on for a while and keep nothing: who sends first and reads then gets to read the refusal."""
    dropped = 0
    with suppress(TimeoutError):
        while dropped < _MOST_DROPPED:
            message = await asyncio.wait_for(receive(), _QUIET_SECONDS)
            dropped += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def session_of(token: str) -> str:
    """The value of the cookie of a browser that has signed in."""
    return hmac.new(token.encode(), b"housevis session", hashlib.sha256).hexdigest()


class Guard:
    """Checks host, token, rate and body; adds headers; counts and logs.

    Args:
        app: What it guards.
        metrics: Where it counts.
        limits: What a client may ask for.
        token: What a client has to show; None asks for none and answers to this machine's names only.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: Limits, token: str | None = None) -> None:
        self._app, self._metrics, self._limits, self._token = app, metrics, limits, token
        self._allowance = Allowance(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, size = 500, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                names = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in names)]
            size += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight += 1
        try:
            await self._passed(scope, receive, send_with_headers)
        finally:
            self._metrics.in_flight -= 1
            seconds = time.perf_counter() - started
            method, route = _known_method(scope["method"]), route_of(scope)
            self._metrics.count(method, route, status, seconds)
            fields = {"method": method, "route": route, "status": status, "bytes": size}
            LOGGER.info("request", extra={"fields": {**fields, "milliseconds": round(seconds * 1000, 2)}})

    async def _passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        if self._token is None and _host(headers.get("host", "")) not in _LOCAL_NAMES:
            await self._refuse(
                send, 400, "foreign host", "This server answers to the names of this machine only."
            )
            return
        length = len(scope["raw_path"]) + len(scope["query_string"])
        length += sum(len(name) + len(value) for name, value in scope["headers"])
        if length > self._limits.head_bytes:
            most = self._limits.head_bytes // 1024
            text = f"Address and headers of a request hold at most {most} KiB together."
            await self._refuse(send, 431, "long head", text, {"connection": "close"})
            return
        client = scope["client"][0] if scope.get("client") else ""
        wait = self._allowance.take(client, _COSTS[_kind(scope)], time.monotonic())
        if wait:
            after = {"retry-after": str(max(1, round(wait)))}
            await self._refuse(send, 429, "rate", "Too many requests; wait a little.", after)
            return
        if self._token is not None and path != SIGN_IN and not self._knows(headers):
            await self._ask_for_token(scope, send, headers)
            return
        try:
            body = await asyncio.wait_for(self._body(receive, headers), self._limits.body_seconds)
        except TimeoutError:
            close = {"connection": "close"}
            await self._refuse(send, 408, "slow body", "The request came too slowly; send it at once.", close)
            return
        if body is None:
            most = self._limits.body_bytes // 1024
            text = f"A request holds at most {most} KiB; pictures are not taken."
            await self._refuse(send, 413, "large body", text, {"connection": "close"})
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _body(self, receive: Receive, headers: MutableMapping[str, str]) -> bytes | None:
        """The body of a request; None where it is too long."""
        declared = headers.get("content-length", "0")
        body = bytearray()
        too_long = declared.isdecimal() and int(declared) > self._limits.body_bytes
        while not too_long:
            message = await receive()
            body += message.get("body", b"")
            too_long = len(body) > self._limits.body_bytes
            if not message.get("more_body", False):
                return None if too_long else bytes(body)
        if "expect" not in headers:
            await _drop(receive)
        return None

    def _knows(self, headers: MutableMapping[str, str]) -> bool:
        """Whether a client has shown the token, by header or by the cookie of a sign-in."""
        assert self._token is not None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        bearer = shown.strip() if kind.lower() == "bearer" else ""
        right = hmac.compare_digest(bearer.encode(), self._token.encode())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            morsel = None
        session = morsel.value if morsel is not None else ""
        return hmac.compare_digest(session.encode(), session_of(self._token).encode()) or right

    async def _ask_for_token(self, scope: Scope, send: Send, headers: MutableMapping[str, str]) -> None:
        if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
            self._metrics.refuse("no token")
            location = [(b"location", SIGN_IN.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 303, "headers": location})
            await send({"type": "http.response.body", "body": b""})
            return
        text = "Show the token of this server: Authorization: Bearer TOKEN."
        await self._refuse(send, 401, "no token", text, {"www-authenticate": "Bearer"})

    async def _refuse(
        self, send: Send, status: int, reason: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        self._metrics.refuse(reason)
        LOGGER.warning("refused", extra={"fields": {"reason": reason, "status": status}})
        body = json.dumps({"detail": text}).encode()
        named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        pairs = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The route of an answered request as it is declared, so that no id and no place stands in a log."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) and path:
        return path
    given = str(scope.get("path", ""))
    return "pages" if given.startswith(("/atlas/", "/runs/", "/houses/")) else "unmatched"


def _kind(scope: Scope) -> str:
    if scope["method"] == "POST":
        return "work"
    return "look" if "/api/" in scope["path"] or scope["path"].startswith("/tiles/") else "page"


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].lower()
