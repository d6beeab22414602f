"""One tile over HTTP: timeouts, retries, and the moment when a server is given up."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import unquote, unquote_plus, urljoin

import mercantile
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from data_pipeline.addresses import tile_url
from data_pipeline.blanks import FLAT, KNOWN, says_blank
from data_pipeline.connecting import USER_AGENT, HostConnections, origin_of
from data_pipeline.decoding import why_no_picture
from data_pipeline.limiter import HostLimiter
from data_pipeline.pictures import picture_status
from data_pipeline.provider_records import Provider
from data_pipeline.server_health import NO_PROXY, NOT_SECURE, ServerHealth

__all__ = ["USER_AGENT", "Answer", "Downloader", "RetryRules", "Validators"]

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, *range(520, 531)})
_NO_IMAGERY = frozenset({204, 404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_AT_MOST = 3
_UNCHANGED = 304
_TOO_MANY = 429
_CHUNK = 65_536
_LONGEST_MARK = 256


@dataclass(frozen=True)
class RetryRules:
    """How patient a fetch is. All times in seconds.

    Attributes:
        attempts: Requests per tile at most; answers 429 do not count.
        connect_timeout: Until the server takes the connection.
        read_timeout: Between two pieces of an answer.
        deadline: For one tile with all its retries, waiting for the rate
            limiter left out.
        backoff: Wait before the second attempt; doubled for each further one,
            with jitter. Also the pause after a 429 without ``Retry-After``.
        longest_wait: The longest ``Retry-After`` that is obeyed by waiting.
        silence: A server that has answered before is given up after this
            time without any answer.
        refusal: A server is given up after this time of nothing but 429.
        most_bytes: Larger answers are no tiles.
    """

    attempts: int = 6
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    deadline: float = 90.0
    backoff: float = 0.5
    longest_wait: float = 60.0
    silence: float = 15.0
    refusal: float = 300.0
    most_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class Validators:
    """What the manifest knows of a tile that is asked for again: SHA-256 and the server's two marks."""

    sha256: str | None
    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of a conditional request."""
        marks = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in marks.items() if value}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one tile: a row of the manifest, and `data` where there is a picture to store.

    Attributes:
        tile: The tile.
        status: As in the manifest, or ``unchanged`` where the tile was asked
            for again and is the same.
        format: Of the picture, as in MBTiles.
        data: The picture; None for a blank one.
        http_status: Of the last answer, None without one.
        attempts: Requests that were sent for it.
        error: Why it failed, or why it is blank.
        sha256: Of the body.
        size: Bytes of the body.
        etag: As the server sent it.
        last_modified: As the server sent it.
    """

    tile: mercantile.Tile
    status: str
    format: str | None = None
    data: bytes | None = None
    http_status: int | None = None
    attempts: int = 0
    error: str | None = None
    sha256: str | None = None
    size: int = 0
    etag: str | None = None
    last_modified: str | None = None


class Downloader:
    """Fetches single tiles of one host, for any number of threads.

    Args:
        provider: Where the tiles come from.
        key: Access key for ``{key}`` in the address, filled in per request.
        limiter: Says when the next request may be sent.
        connections: The host's connections.
        rules: Timeouts and retries.
        health: Watches for a server that is to be given up.
        stop: Set to end the fetch.
    """

    def __init__(
        self,
        provider: Provider,
        key: str | None,
        limiter: HostLimiter,
        connections: HostConnections,
        rules: RetryRules,
        health: ServerHealth,
        stop: threading.Event,
    ) -> None:
        self._provider = provider
        self._key = key
        self._limiter = limiter
        self._connections = connections
        self._rules = rules
        self._health = health
        self._stop = stop
        self._known_blank = frozenset(provider.blank_sha256)

    def fetch(self, tile: mercantile.Tile, known: Validators | None = None) -> Answer | None:
        """Fetch one tile, with retries.

        The same damaged picture twice is not asked for a third time.

        Returns:
            The answer, or None if the fetch was stopped before there was one.
        """
        rules = self._rules
        url = tile_url(self._provider, tile, self._key)
        requests, tries, spent = 0, 0, 0.0
        damaged: str | None = None
        while True:
            sent = self._limiter.take(self._stop)
            if sent is None:
                return None
            requests += 1
            begin = time.monotonic()
            answer, wait = self._attempt(tile, url, requests, sent, begin + rules.deadline - spent, known)
            spent += time.monotonic() - begin
            if wait is None or self._stop.is_set():
                break
            if answer.sha256 is not None:
                if answer.sha256 == damaged:
                    break
                damaged = answer.sha256
            tries += answer.http_status != _TOO_MANY
            pause = 0.0
            if answer.http_status != _TOO_MANY:
                pause = rules.backoff * 2 ** (tries - 1) * random.uniform(0.5, 1.5)
            spent += pause
            if tries >= rules.attempts or spent > rules.deadline:
                break
            if pause and self._stop.wait(pause):
                return None
        if answer.status == "failed" and self._stop.is_set():
            return None
        self._health.judge(answer.status, answer.http_status, answer.error)
        return replace(answer, sha256=None, size=0) if answer.status == "failed" else answer

    def _attempt(
        self,
        tile: mercantile.Tile,
        url: str,
        attempt: int,
        sent: float,
        deadline: float,
        known: Validators | None,
    ) -> tuple[Answer, float | None]:
        """One request: the answer, and None where there is no point in another try."""

        def failed(error: str, code: int | None = None) -> Answer:
            return Answer(tile, "failed", http_status=code, attempts=attempt, error=error)

        response = None
        try:
            response = self._request(url, known)
            code = response.status
            if code == _TOO_MANY or (code == 503 and "Retry-After" in response.headers):
                self._drain(response)
                self._refused(response, sent)
                return failed(f"HTTP {code}", code), 0.0
            self._limiter.accepted(sent)
            self._health.heard()
            if code == _UNCHANGED and known is not None:
                self._drain(response)
                return Answer(tile, "unchanged", http_status=code, attempts=attempt), None
            if code in _NO_IMAGERY:
                self._drain(response)
                return Answer(tile, "missing", http_status=code, attempts=attempt), None
            if code != 200:
                self._drain(response)
                error = self._why_redirected(url, response) if code in _REDIRECTS else f"HTTP {code}"
                return failed(error, code), 0.0 if code in _RETRIED else None
            data = _body(response, deadline, self._rules.most_bytes)
            headers = response.headers
        except (ConnectTimeoutError, ReadTimeoutError):
            self._health.unheard("timed out")
            return failed("timed out"), 0.0
        except SSLError:
            self._health.unheard(NOT_SECURE)
            return failed(NOT_SECURE), 0.0
        except ProxyError:
            self._health.unheard(NO_PROXY)
            return failed(NO_PROXY), 0.0
        except NewConnectionError:
            self._health.unheard("no connection")
            return failed("no connection"), 0.0
        except ProtocolError:
            if response is None:
                self._health.unheard("no connection")
                return failed("no connection"), 0.0
            return failed("broken transfer", 200), 0.0
        except (HTTPError, OSError):
            return failed("broken transfer"), 0.0
        finally:
            if response is not None:
                response.release_conn()
        if data is None:
            return failed("too slow or too large", 200), 0.0
        return self._judged(tile, data, headers, attempt, known)

    def _judged(
        self,
        tile: mercantile.Tile,
        data: bytes,
        headers: Mapping[str, str],
        attempt: int,
        known: Validators | None,
    ) -> tuple[Answer, float | None]:
        digest = hashlib.sha256(data).hexdigest()
        answer = partial(
            Answer,
            tile,
            http_status=200,
            attempts=attempt,
            sha256=digest,
            size=len(data),
            etag=self._mark(headers.get("ETag")),
            last_modified=self._mark(headers.get("Last-Modified")),
        )
        blank = says_blank(headers, self._provider) or (KNOWN if digest in self._known_blank else None)
        if blank is None:
            if known is not None and known.sha256 == digest:
                return answer("unchanged"), None
            judged = picture_status(data)
            if judged is None:
                error = _not_whole(data, headers)
                return answer("failed", error=error), 0.0
            if judged.status == "ok":
                return answer("ok", format=judged.format, data=data), None
            blank = FLAT
        return answer("blank", error=blank), None

    def _mark(self, text: str | None) -> str | None:
        """A server's mark of a tile as it is kept: none that is no plain text, or that repeats the key."""
        if text is None or len(text) > _LONGEST_MARK or not (text.isascii() and text.isprintable()):
            return None
        readings = (text, unquote(text), unquote_plus(text))
        return None if self._key is not None and any(self._key in each for each in readings) else text

    def _request(self, url: str, known: Validators | None) -> BaseHTTPResponse:
        """Send it; redirects are followed on the same host only, so that no key goes elsewhere."""
        origin = origin_of(url)
        headers = None if known is None else known.headers()
        self._health.count_request()
        response = self._connections.get(url[len(origin) :], headers)
        for _ in range(_REDIRECTS_AT_MOST):
            target = _target(url, response)
            if target is None or origin_of(target) != origin:
                break
            self._drain(response)
            response.release_conn()
            if self._limiter.take(self._stop) is None:
                break
            self._health.count_request()
            response = self._connections.get(target[len(origin) :], headers)
            url = target
        return response

    @staticmethod
    def _why_redirected(url: str, response: BaseHTTPResponse) -> str:
        target = _target(url, response)
        if target is None:
            return f"HTTP {response.status} without an address to go to"
        return "too many redirects" if origin_of(target) == origin_of(url) else "redirected to another host"

    def _refused(self, response: BaseHTTPResponse, sent: float) -> None:
        asked = _seconds(response.headers.get("Retry-After"), response.headers.get("Date"))
        if asked is not None and asked > self._rules.longest_wait:
            self._health.give_up(
                f"the server asks to be left alone for {asked:.0f} s (HTTP {response.status})",
                "Run the command again later; what was fetched stays.",
            )
            return
        self._health.refused()
        self._limiter.refused(sent, asked)

    @staticmethod
    def _drain(response: BaseHTTPResponse) -> None:
        """Read a short body, so that the connection can be used again; leave a long one."""
        length = response.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) <= _CHUNK:
            response.read(_CHUNK)
        else:
            response.close()


def _body(response: BaseHTTPResponse, deadline: float, most_bytes: int) -> bytes | None:
    """The whole body; None if it comes too slowly or is too large."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > most_bytes or time.monotonic() > deadline:
            response.close()
            return None
    promised = response.headers.get("Content-Length", "")
    if promised.isdigit() and "Content-Encoding" not in response.headers and int(promised) != size:
        raise ProtocolError("cut")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _target(url: str, response: BaseHTTPResponse) -> str | None:
    """Where a redirect leads; None if this is none, or leads nowhere."""
    place = response.headers.get("Location") if response.status in _REDIRECTS else None
    if place is None:
        return None
    try:
        target = urljoin(url, place)
        origin_of(target)
    except ValueError:
        return None
    return target


def _not_whole(data: bytes, headers: Mapping[str, str]) -> str:
    if not data:
        return "an empty answer"
    kind = headers.get("Content-Type", "").split(";")[0].strip().lower()
    start = data[:200].lstrip().lower()
    if kind.startswith("text/") or start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "a text, not a picture"
    return why_no_picture(data)


def _seconds(retry_after: str | None, date: str | None) -> float | None:
    """``Retry-After`` as seconds: a number, or an HTTP date by the server's own clock."""
    if not retry_after:
        return None
    text = retry_after.strip()
    try:
        return (
            max(0.0, min(float(text), 1e6)) if text[:1].isdigit() and "," not in text else _until(text, date)
        )
    except (ValueError, OverflowError):
        return None


def _until(moment: str, date: str | None) -> float:
    now = datetime.now(UTC)
    if date:
        try:
            now = _moment(date)
        except (ValueError, OverflowError):
            now = datetime.now(UTC)
    return min(max(0.0, (_moment(moment) - now).total_seconds()), 1e6)


def _moment(text: str) -> datetime:
    found = parsedate_to_datetime(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
