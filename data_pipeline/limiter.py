"""When the next request to a host may be sent.

Requests are spaced evenly and never saved up: servers count with token
buckets of small bursts, with windows that begin at each second or with
sliding ones, and only an even stream passes all of them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from data_pipeline.adaptive import AdaptiveRate

MARGIN = 0.975
"""The pace as a share of a limit that is known; the rest is for requests that overtake each other."""

_LATE_SLOTS = 2.0
_LATE_SECONDS = 0.02
_CLOSEST = 0.975
_CLOSEST_FAST = 0.5
_FAST = 100.0
_WINDOW = 0.995


class HostLimiter:
    """Spaces the requests of all threads to one host, and leaves it alone when it asks for that.

    Args:
        rate: Requests per second that the host allows; None where that is not
            known. Refusals lower the pace in both cases, see
            :mod:`data_pipeline.adaptive`.
        backoff: Pause after a refusal without ``Retry-After``.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, rate: float | None, *, backoff: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._known = None if rate is None else rate * MARGIN
        self._adaptive = AdaptiveRate(backoff)
        self._clock = clock
        self._turnstile = threading.Lock()
        self._ideal = -math.inf
        self._last = -math.inf
        self._granted: deque[float] = deque()
        self._pause_end = -math.inf

    def take(self, stop: threading.Event) -> float | None:
        """Wait until the next request may be sent.

        Returns:
            The time of the clock, or None if `stop` was set while waiting.
        """
        now = self._clock()
        if self._pace(now) is None and now >= self._pause_end:
            return None if stop.is_set() else now
        with self._turnstile:
            while not stop.is_set():
                now = self._clock()
                due = self.due(now)
                if due <= now:
                    self.grant(now)
                    return now
                stop.wait(due - now)
        return None

    def accepted(self, sent: float) -> None:
        """The host gave an answer that was no refusal to the request of :meth:`take`'s time `sent`."""
        self._adaptive.accepted(self._clock(), sent)

    def refused(self, sent: float, asked: float | None) -> None:
        """The host refused a request: leave it alone as long as it asks, and be slower.

        Args:
            sent: What :meth:`take` returned for the request.
            asked: Seconds of ``Retry-After``, None without one.
        """
        now = self._clock()
        self._pause_end = max(self._pause_end, now + self._adaptive.refused(now, sent, asked))

    def due(self, now: float) -> float:
        """When the next request may be sent, as far as known `now`."""
        pace = self._pace(now)
        if pace is None:
            return self._pause_end
        slot = 1.0 / pace
        closest = slot * (_CLOSEST if pace <= _FAST else _CLOSEST_FAST)
        in_window = math.ceil(pace)
        while len(self._granted) > in_window:
            self._granted.popleft()
        due = max(self._pause_end, self._ideal, self._last + closest)
        if len(self._granted) == in_window:
            due = max(due, self._granted[0] + in_window * slot * _WINDOW)
        return due

    def grant(self, now: float) -> None:
        """Count a request that is sent `now`."""
        pace = self._pace(now)
        self._last = now
        if pace is None:
            return
        slot = 1.0 / pace
        late = max(_LATE_SLOTS * slot, _LATE_SECONDS)
        self._ideal = max(self._ideal, now - late) + slot
        self._granted.append(now)

    def _pace(self, now: float) -> float | None:
        found = self._adaptive.pace(now)
        if found is None or self._known is None:
            return self._known if found is None else found
        return min(found, self._known)
