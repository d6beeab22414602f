"""One tile over HTTP: timeouts, retries, and the moment when a server is given up."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import mercantile
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, Timeout
from requests.utils import get_environ_proxies

from data_pipeline.limiter import TokenBucket
from data_pipeline.pictures import picture_status
from data_pipeline.providers import Provider, tile_url
from housevis.core.errors import ImageryError

USER_AGENT = "housevis/0.1 (aerial tiles, rate limited)"
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_IMAGERY = frozenset({204, 404, 410})
_CHUNK = 65_536


@dataclass(frozen=True)
class RetryRules:
    """How patient a fetch is. All times in seconds.

    Attributes:
        attempts: Requests per tile at most.
        connect_timeout: Until the server takes the connection.
        read_timeout: Between two pieces of an answer.
        deadline: For one tile with all its retries, waiting for the rate
            limiter left out.
        backoff: Wait before the second attempt; doubled for each further one,
            with jitter.
        longest_wait: The longest ``Retry-After`` that is obeyed by waiting.
        silence: A server that has answered before is given up after this
            time without any answer.
        most_bytes: Larger answers are no tiles.
    """

    attempts: int = 5
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    deadline: float = 90.0
    backoff: float = 0.5
    longest_wait: float = 60.0
    silence: float = 15.0
    most_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class Answer:
    """What became of one tile: `status` as in the manifest, `data` for ok and blank."""

    tile: mercantile.Tile
    status: str
    format: str | None = None
    data: bytes | None = None
    http_status: int | None = None
    attempts: int = 0
    error: str | None = None


class Downloader:
    """Fetches single tiles for any number of threads and watches the server's health.

    Args:
        provider: Where the tiles come from.
        key: Access key for ``{key}`` in the address, filled in per request.
        bucket: The rate limiter of the host.
        rules: Timeouts and retries.
        connections: Threads that will ask.
    """

    def __init__(
        self, provider: Provider, key: str | None, bucket: TokenBucket, rules: RetryRules, connections: int
    ) -> None:
        self.stop = threading.Event()
        self.requests = 0
        self._provider = provider
        self._key = key
        self._bucket = bucket
        self._rules = rules
        self._patience = max(2 * connections, 8)
        self._lock = threading.Lock()
        self._unreached = 0
        self._refused = 0
        self._last_answer: float | None = None
        self._hopeless: ImageryError | None = None
        self._proxies = get_environ_proxies(provider.url)

    def session(self) -> requests.Session:
        """A session for one thread. Proxies come from the environment, read once."""
        session = requests.Session()
        session.trust_env = False
        session.proxies = self._proxies
        session.headers["User-Agent"] = USER_AGENT
        session.headers["Accept"] = "image/*"
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def raise_if_hopeless(self) -> None:
        """Raise the error that ended the fetch early, if one did.

        Raises:
            ImageryError: The server was given up.
        """
        if self._hopeless is not None:
            raise self._hopeless

    def fetch(self, session: requests.Session, tile: mercantile.Tile) -> Answer | None:
        """Fetch one tile, with retries.

        Returns:
            The answer, or None if the fetch was stopped before there was one.
        """
        rules = self._rules
        answer = Answer(tile, "failed")
        begin: float | None = None
        for attempt in range(1, rules.attempts + 1):
            if not self._bucket.take(self.stop):
                return None
            begin = begin or time.monotonic()
            answer, wait = self._attempt(session, tile, attempt, begin + rules.deadline)
            if wait is None or self.stop.is_set():
                break
            pause = max(wait, rules.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            if attempt == rules.attempts or time.monotonic() + pause > begin + rules.deadline:
                break
            if self.stop.wait(pause):
                return None
        if answer.status == "failed" and self.stop.is_set():
            return None
        self._judge(answer)
        return answer

    def _attempt(
        self, session: requests.Session, tile: mercantile.Tile, attempt: int, deadline: float
    ) -> tuple[Answer, float | None]:
        """One request: the answer, and the least wait before another try (None: no other try)."""
        rules = self._rules
        with self._lock:
            self.requests += 1
        try:
            with session.get(
                tile_url(self._provider, tile, self._key),
                stream=True,
                timeout=(rules.connect_timeout, rules.read_timeout),
            ) as response:
                self._heard()
                code = response.status_code
                if code in _NO_IMAGERY:
                    return Answer(tile, "missing", http_status=code, attempts=attempt), None
                if code != 200:
                    return self._refusal(tile, attempt, code, response.headers.get("Retry-After"))
                data = _body(response, deadline, rules.most_bytes)
        except Timeout:
            return self._unheard(tile, attempt, "timed out"), 0.0
        except NoConnection:
            return self._unheard(tile, attempt, "no connection"), 0.0
        except RequestException:
            return Answer(tile, "failed", attempts=attempt, error="broken transfer"), 0.0
        judged = None if data is None else picture_status(data)
        if data is None or judged is None:
            cause = "too slow or too large" if data is None else "not a whole picture"
            return Answer(tile, "failed", http_status=200, attempts=attempt, error=cause), 0.0
        return Answer(tile, judged.status, judged.format, data, 200, attempt), None

    def _refusal(
        self, tile: mercantile.Tile, attempt: int, code: int, retry_after: str | None
    ) -> tuple[Answer, float | None]:
        answer = Answer(tile, "failed", http_status=code, attempts=attempt, error=f"HTTP {code}")
        if code not in _RETRIED:
            return answer, None
        wait = _seconds(retry_after)
        if wait > self._rules.longest_wait:
            self._give_up(
                f"the server asks to be left alone for {wait:.0f} s (HTTP {code})",
                "Run the command again later; what was fetched stays.",
            )
        elif wait > 0:
            self._bucket.pause(wait)
        return answer, wait

    def _heard(self) -> None:
        with self._lock:
            self._unreached = 0
            self._last_answer = time.monotonic()

    def _unheard(self, tile: mercantile.Tile, attempt: int, error: str) -> Answer:
        with self._lock:
            self._unreached += 1
            silent = self._last_answer is None or time.monotonic() - self._last_answer > self._rules.silence
            hopeless = self._unreached >= self._patience and silent
        if hopeless:
            self._give_up(
                f"the tile server cannot be reached ({error})",
                "Check the address, the network and that the server runs; then run the command again. "
                "What was fetched stays.",
            )
        return Answer(tile, "failed", attempts=attempt, error=error)

    def _judge(self, answer: Answer) -> None:
        with self._lock:
            self._refused = self._refused + 1 if answer.status == "failed" else 0
            hopeless = self._refused >= 2 * self._patience
        if not hopeless:
            return
        if answer.http_status in (401, 403):
            remedy = "Check the access key and that it may be used for this imagery."
        else:
            remedy = "Run the command again later; what was fetched stays."
        self._give_up(
            f"the last {2 * self._patience} tiles all failed, the last one with: {answer.error}", remedy
        )

    def _give_up(self, what: str, remedy: str) -> None:
        with self._lock:
            if self._hopeless is None:
                self._hopeless = ImageryError(
                    what, where=self._provider.address or self._provider.name, remedy=remedy
                )
        self.stop.set()


def _body(response: requests.Response, deadline: float, most_bytes: int) -> bytes | None:
    """The whole body; None if it comes too slowly or is too large."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= _CHUNK:
        return response.content
    parts, size = [], 0
    for part in response.iter_content(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > most_bytes or time.monotonic() > deadline:
            return None
    return b"".join(parts)


def _seconds(retry_after: str | None) -> float:
    """``Retry-After`` as seconds from now: a number, or an HTTP date."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
