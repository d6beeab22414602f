"""When a server is to be given up, instead of asking it for every tile in vain."""

from __future__ import annotations

import threading
import time

from housevis.core.errors import ImageryError

NOT_SECURE = "no secure connection"
NO_PROXY = "no connection to the proxy"
_CHECKS = {
    NOT_SECURE: "Check the server's certificate; if an authority of your own signed it, name its file in the "
    "environment variable REQUESTS_CA_BUNDLE.",
    NO_PROXY: "Check the environment variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
}
_LATER = "Run the command again later; what was fetched stays."


class ServerHealth:
    """Watches the answers of all threads and hosts of a fetch, and counts the requests.

    Args:
        where: The address, fit for messages.
        connections: Requests under way at once.
        silence: Seconds without any answer, see :class:`data_pipeline.download.RetryRules`.
        refusal: Seconds of nothing but refusals.
        stop: Set when the server is given up.
    """

    def __init__(
        self, where: str, connections: int, silence: float, refusal: float, stop: threading.Event
    ) -> None:
        self.requests = 0
        self._where = where
        self._patience = max(2 * connections, 8)
        self._silence = silence
        self._refusal = refusal
        self._stop = stop
        self._lock = threading.Lock()
        self._unreached = 0
        self._failed = 0
        self._last_answer: float | None = None
        self._refused_since: float | None = None
        self._hopeless: ImageryError | None = None

    def count_request(self) -> None:
        """A request is sent."""
        with self._lock:
            self.requests += 1

    def heard(self) -> None:
        """The server answered, and not with a refusal."""
        self._unreached = 0
        self._refused_since = None
        self._last_answer = time.monotonic()

    def refused(self) -> None:
        """The server said 429: too many requests."""
        now = time.monotonic()
        with self._lock:
            self._unreached = 0
            self._last_answer = now
            if self._refused_since is None:
                self._refused_since = now
            hopeless = now - self._refused_since > self._refusal
        if hopeless:
            self.give_up(
                f"the server has refused every request for {self._refusal:.0f} s (HTTP 429)",
                "Its daily or hourly limit may be used up. " + _LATER,
            )

    def unheard(self, error: str) -> None:
        """No answer came."""
        now = time.monotonic()
        with self._lock:
            self._unreached += 1
            silent = self._last_answer is None or now - self._last_answer > self._silence
            hopeless = self._unreached >= self._patience and silent
        if hopeless:
            self.give_up(
                f"the tile server cannot be reached ({error})",
                _CHECKS.get(error, "Check the address, the network and that the server runs.")
                + " Then run the command again; what was fetched stays.",
            )

    def judge(self, status: str, http_status: int | None, error: str | None) -> None:
        """Count a tile that has its final answer."""
        if status != "failed":
            self._failed = 0
            return
        with self._lock:
            self._failed += 1
            hopeless = self._failed >= 2 * self._patience
        if not hopeless:
            return
        remedy = _LATER
        if http_status in (401, 403):
            remedy = "Check the access key and that it may be used for this imagery."
        elif error and error.startswith("redirected"):
            remedy = "Set imagery.url to the address it redirects to, if you trust that host with your key."
        self.give_up(f"the last {2 * self._patience} tiles all failed, the last one with: {error}", remedy)

    def give_up(self, what: str, remedy: str) -> None:
        """End the fetch."""
        with self._lock:
            if self._hopeless is None:
                self._hopeless = ImageryError(what, where=self._where, remedy=remedy)
        self._stop.set()

    def raise_if_hopeless(self) -> None:
        """Raise the error that ended the fetch early, if one did.

        Raises:
            ImageryError: The server was given up.
        """
        if self._hopeless is not None:
            raise self._hopeless
