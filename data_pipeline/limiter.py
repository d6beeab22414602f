"""A token bucket per host, and the way a host is left alone when it asks for it."""

from __future__ import annotations

import threading
import time


class TokenBucket:
    """Spaces the requests of all threads to one host.

    Args:
        rate: Tokens per second; None for no limit.
        burst: Tokens that may be saved up while nothing is asked.
    """

    def __init__(self, rate: float | None, burst: int = 1) -> None:
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._saved = self._interval * (burst - 1)
        self._next = 0.0
        self._pause_end = 0.0
        self._lock = threading.Lock()

    def take(self, stop: threading.Event) -> bool:
        """Wait for a token.

        Returns:
            False if `stop` was set while waiting.
        """
        with self._lock:
            mine = max(self._next, time.monotonic() - self._saved, self._pause_end)
            self._next = mine + self._interval
        while True:
            wait = max(mine, self._pause_end) - time.monotonic()
            if wait <= 0:
                return not stop.is_set()
            if stop.wait(wait):
                return False

    def pause(self, seconds: float) -> None:
        """Leave the host alone for a while: a server said ``Retry-After``."""
        with self._lock:
            self._pause_end = max(self._pause_end, time.monotonic() + seconds)
