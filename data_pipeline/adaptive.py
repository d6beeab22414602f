"""Finding out how many requests per second a server allows, from its refusals.

Without a refusal (HTTP 429) there is no limit. The first one shows how many
answers the server gives at once; a few seconds of slow start after it show
what it gives in the long run. From then on the pace stays just below that,
and a little more is tried again after longer and longer times.

A server that counts requests in windows of a second gives at most ``limit``
answers within a second; one that counts with a token bucket gives at most
``burst + limit * seconds`` answers in any time. Both bounds hold for every
stretch of the past, so the limit can be read from the times of the answers.

Refusals that do not become fewer when the pace falls have another cause than
the pace (a server that is overloaded, or says 429 at random). Then no limit
is kept; the pauses that the server asks for are.
"""

from __future__ import annotations

import math
import threading
from collections import deque

_SAFETY = 0.965
"""The pace as a share of the limit that was found."""

_FIRST_SAFETY = 0.94
_SAME_WINDOW = 0.3
"""So much may the answers of a second differ from those of the first one, and still be one limit."""

_CONFIRMED = 0.06
_LEAST_LEFT = 0.5
_LEAST_LEFT_AGAIN = 0.8
_SLOW_START = 0.6
_REDISCOVERY = 0.2
_CREEP = 0.005
_CREEP_UNSURE = 0.03
"""Growth of the pace per second, as a share of the limit that was found."""

_HOLD = 1.0
_FIRST_HOLD = 0.5
_LONG_HOLD = 30.0
_LONGEST_HOLD = 600.0
_PATIENCE = 5
"""Refusals one after the other, each at a lower pace than the one before, until another cause is supposed."""

_PATIENCE_IN_DOUBT = 1
"""The same where most requests that were under way at the first refusal were not refused."""

_OVERLOAD = 0.2
_CLEAN_ANSWERS = 100
_CLEAN_SLOTS = 8.0
_CLEAN_SECONDS = (2.0, 30.0)
_REMEMBERED = 8192
_SLOWEST = 0.2
_SLOWEST_START = 2.0


class AdaptiveRate:
    """The pace that one server allows. All times are seconds of one monotonic clock.

    Args:
        backoff: Pause after a refusal that names none; doubled while refusals go on.
    """

    def __init__(self, backoff: float = 0.5) -> None:
        self._backoff = backoff
        self._lock = threading.Lock()
        self._accepted: deque[float] = deque(maxlen=_REMEMBERED)
        self._outcomes: deque[bool] = deque(maxlen=50)
        self._pace: float | None = None
        self._paced_at = 0.0
        self._burst: int | None = None
        self._ceiling: float | None = None
        self._confirmations = 0
        self._resumed = 0.0
        self._grows_from = 0.0
        self._drops = 0
        self._first_refusal = -math.inf
        self._under_way = [0, 0]
        self._indifferent = False

    def accepted(self, now: float, sent: float) -> None:
        """Count an answer that was no refusal; `sent` is when its request was sent."""
        if sent <= self._first_refusal:
            self._under_way[0] += 1
        self._accepted.append(now)
        self._outcomes.append(True)

    def pace(self, now: float) -> float | None:
        """Requests per second that may be sent now; None for no limit."""
        if self._pace is None:
            return None
        with self._lock:
            self._grow(now)
            return self._pace

    def refused(self, now: float, sent: float, asked: float | None) -> float:
        """Learn from a refusal.

        Args:
            now: When it came.
            sent: When its request was sent; requests that were under way when
                an earlier refusal came say nothing new.
            asked: Seconds of ``Retry-After``, None without one.

        Returns:
            Seconds to leave the server alone.
        """
        with self._lock:
            self._outcomes.append(False)
            if self._indifferent:
                if len(self._outcomes) < 40 or self._outcomes.count(False) < _OVERLOAD * len(self._outcomes):
                    return asked or 0.0
                self._indifferent = False
                self._drops = 0
            elif sent < self._resumed:
                self._under_way[1] += sent <= self._first_refusal
                return asked or max(0.0, self._resumed - now)
            self._grow(now)
            clean = self._is_clean(now)
            self._drops = 1 if clean else self._drops + 1
            pause = self._backoff * 2 ** (self._drops - 1) if asked is None else asked
            through, stopped = self._under_way
            doubtful = self._drops > 1 and through >= 2 and through > 2 * stopped
            if self._drops > (_PATIENCE_IN_DOUBT if doubtful else _PATIENCE):
                self._lift()
                return asked or 0.0
            self._lower(now)
            self._resumed = self._paced_at = now + pause
            self._grows_from += self._resumed
            return pause

    def _lift(self) -> None:
        self._indifferent = True
        self._pace = self._burst = self._ceiling = None
        self._confirmations = 0
        self._outcomes.clear()

    def _lower(self, now: float) -> None:
        """Set the pace after a refusal, and in `_grows_from` the time it is held."""
        within_second = self._count_since(now - 1.0)
        if self._pace is None:
            self._burst, self._ceiling = within_second, None
            self._first_refusal, self._under_way = now, [0, 0]
            self._pace = max(_FIRST_SAFETY * within_second, _SLOWEST_START)
            self._grows_from = _FIRST_HOLD
            return
        burst = self._burst or 0
        differs = abs(within_second - burst)
        windows = self._drops <= 2 and burst > 2 and differs <= max(_SAME_WINDOW * burst, 2.0)
        found = float(burst) if windows else self._long_run(now, burst)
        least = _LEAST_LEFT if self._drops <= 2 else _LEAST_LEFT_AGAIN
        found = min(max(found, least * self._pace), self._pace)
        known = self._ceiling
        confirmed = windows or (known is not None and abs(found - known) <= _CONFIRMED * known)
        self._confirmations = self._confirmations + 1 if confirmed else 0
        self._ceiling = found
        self._pace = max(_SAFETY * found, _SLOWEST)
        self._grows_from = (
            min(_LONG_HOLD * 2.0 ** (self._confirmations - 1), _LONGEST_HOLD) if confirmed else _HOLD
        )

    def _grow(self, now: float) -> None:
        if self._pace is None:
            return
        begin = max(self._paced_at, self._grows_from)
        seconds = now - begin
        if seconds <= 0:
            return
        if self._ceiling is None:
            growing = begin - self._grows_from, now - self._grows_from
            self._pace *= math.exp(_SLOW_START * (growing[1] ** 2 - growing[0] ** 2))
        elif self._pace > 1.2 * self._ceiling:
            self._pace *= math.exp(_REDISCOVERY * seconds)
        else:
            creep = _CREEP if self._confirmations else _CREEP_UNSURE
            self._pace += creep * self._ceiling * seconds
        self._paced_at = now

    def _long_run(self, now: float, burst: int) -> float:
        """The least rate that a token bucket of this burst must have to give the answers it gave."""
        best = 0.0
        for count, moment in enumerate(reversed(self._accepted), start=1):
            seconds = now - moment
            if seconds >= 0.5:
                best = max(best, (count - burst) / seconds)
        return best

    def _count_since(self, moment: float) -> int:
        count = 0
        for time in reversed(self._accepted):
            if time <= moment:
                break
            count += 1
        return count

    def _is_clean(self, now: float) -> bool:
        seconds = now - self._resumed
        least, enough = _CLEAN_SECONDS
        answers = min(_CLEAN_ANSWERS, _CLEAN_SLOTS * (self._pace or _CLEAN_ANSWERS))
        return seconds >= enough or (seconds >= least and self._count_since(self._resumed) >= answers)
