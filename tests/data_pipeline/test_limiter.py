"""The pace against simulated servers that count in different ways; the clock is simulated too."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections import deque
from collections.abc import Callable

import pytest

from data_pipeline.limiter import HostLimiter


class Window:
    """So many requests in each second."""

    def __init__(self, limit: int = 50, offset: float = 0.3) -> None:
        self.limit, self.offset, self.second, self.used = limit, offset, -1, 0

    def allows(self, now: float) -> bool:
        if int(now + self.offset) != self.second:
            self.second, self.used = int(now + self.offset), 0
        self.used += 1
        return self.used <= self.limit


class Sliding:
    """So many requests in any second; refused ones count too, or do not."""

    def __init__(self, limit: int = 50, *, count_refused: bool = False) -> None:
        self.limit, self.count_refused, self.times = limit, count_refused, deque[float]()

    def allows(self, now: float) -> bool:
        while self.times and self.times[0] <= now - 1.0:
            self.times.popleft()
        allowed = len(self.times) < self.limit
        if allowed or self.count_refused:
            self.times.append(now)
        return allowed


class Bucket:
    """A token bucket."""

    def __init__(self, burst: int, limit: int = 50) -> None:
        self.burst, self.limit, self.tokens, self.time = burst, limit, float(burst), 0.0

    def allows(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.time) * self.limit)
        self.time = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class AtRandom:
    """Refuses 3 % of the requests, whatever the pace."""

    def __init__(self) -> None:
        self.draw = random.Random(5)

    def allows(self, now: float) -> bool:
        return self.draw.random() >= 0.03


Server = Window | Sliding | Bucket | AtRandom


def simulate(
    server: Server,
    rate: float | None,
    *,
    seconds: float = 90.0,
    asked: float | None = 1.0,
    threads: int = 8,
    delay: float = 0.004,
) -> tuple[float, int, float]:
    """Threads that ask without end: accepted per second, refusals, their share after 30 s."""
    draw, now, number = random.Random(1), 0.0, itertools.count()
    limiter = HostLimiter(rate, clock=lambda: now)
    waiting, accepted, refused, late, late_refused = threads, 0, 0, 0, 0
    events: list[tuple[float, int, str, float, bool]] = [(0.0, next(number), "turn", 0.0, True)]
    while events:
        now, _, kind, sent, allowed = heapq.heappop(events)
        if now > seconds:
            break
        if kind == "turn" and waiting:
            due = limiter.due(now)
            if due > now:
                moment = due + draw.expovariate(3000)
                heapq.heappush(events, (moment, next(number), "turn", 0.0, True))
                continue
            limiter.grant(now)
            waiting -= 1
            arrival = now + delay * draw.uniform(0.3, 0.7) + draw.expovariate(1000)
            heapq.heappush(events, (arrival, next(number), "arrival", now, True))
            heapq.heappush(events, (now + 1e-4, next(number), "turn", 0.0, True))
        elif kind == "arrival":
            allowed = server.allows(now)
            heapq.heappush(events, (now + delay / 2, next(number), "answer", sent, allowed))
        elif kind == "answer":
            if allowed:
                accepted += 1
                limiter.accepted(sent)
            else:
                refused += 1
                limiter.refused(sent, asked)
            if now > 30.0:
                late += 1
                late_refused += not allowed
            if not waiting:
                heapq.heappush(events, (now, next(number), "turn", 0.0, True))
            waiting += 1
    return accepted / seconds, refused, late_refused / max(late, 1)


SERVERS: dict[str, Callable[[], Server]] = {
    "window": Window,
    "sliding": Sliding,
    "sliding, refused ones count": lambda: Sliding(count_refused=True),
    "bucket of 5": lambda: Bucket(5),
    "bucket of 10": lambda: Bucket(10),
    "bucket of 50": lambda: Bucket(50),
    "bucket of 100": lambda: Bucket(100),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_known_limit_is_reached_without_one_refusal(name: str) -> None:
    rate, refused, _ = simulate(SERVERS[name](), 50.0)
    assert rate >= 0.95 * 50
    assert refused == 0


@pytest.mark.parametrize("asked", [1.0, None])
@pytest.mark.parametrize("name", SERVERS)
def test_an_unknown_limit_is_found(name: str, asked: float | None) -> None:
    rate, _, late = simulate(SERVERS[name](), None, asked=asked)
    assert rate >= 0.85 * 50
    assert late <= 0.02


def test_low_limits_are_found_too() -> None:
    rate, _, late = simulate(Window(limit=5), None)
    assert rate >= 0.85 * 5
    assert late <= 0.02


def test_without_a_refusal_there_is_no_limit() -> None:
    rate, refused, _ = simulate(Sliding(limit=10**9), None, seconds=5.0)
    assert refused == 0
    assert rate > 1000


def test_refusals_at_random_do_not_slow_a_fetch_down() -> None:
    rate, _, late = simulate(AtRandom(), None, asked=None, seconds=60.0)
    assert rate > 200
    assert late == pytest.approx(0.03, abs=0.01)


def test_a_limit_that_is_lower_than_configured_is_found() -> None:
    rate, _, late = simulate(Window(limit=20), 50.0)
    assert rate >= 0.8 * 20
    assert late <= 0.02


def test_refusals_of_requests_under_way_are_one_decrease() -> None:
    now = 0.0
    limiter = HostLimiter(None, clock=lambda: now)
    for step in range(100):
        now = step / 100
        limiter.accepted(now)
    for _ in range(8):
        limiter.refused(sent=0.95, asked=1.0)
    now = 2.0
    assert limiter.due(now) <= now
    limiter.grant(now)
    assert 1 / (limiter.due(now) - now) > 80


def test_a_pause_is_as_long_as_asked_and_no_longer() -> None:
    now = 10.0
    limiter = HostLimiter(None, clock=lambda: now)
    limiter.accepted(now)
    limiter.refused(sent=9.9, asked=7.0)
    assert limiter.due(now) == pytest.approx(17.0)
    now = 17.0
    assert limiter.due(now) <= now


def test_requests_are_spaced_and_never_saved_up() -> None:
    now = 0.0
    limiter = HostLimiter(10.0, clock=lambda: now)
    grants = []
    for pause in (0.0, 5.0, 0.0, 0.0, 3.0, 0.0, 0.0):
        now = max(limiter.due(now), now) + pause
        limiter.grant(now)
        grants.append(now)
    assert min(after - before for before, after in itertools.pairwise(grants)) >= 0.0999
    assert math.isfinite(limiter.due(now))


def test_a_stop_ends_the_waiting() -> None:
    limiter, stop = HostLimiter(0.001), threading.Event()
    assert limiter.take(stop) is not None
    taken: list[float | None] = []
    threads = [threading.Thread(target=lambda: taken.append(limiter.take(stop))) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(timeout=60)
    assert taken == [None] * 4
