"""Results in the order of the shards, with a bounded number of shards under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Pending(Protocol[R_co]):
    """A result that is being computed."""

    def result(self) -> R_co:
        """Wait for it."""

    def cancel(self) -> object:
        """Do not compute it if that has not begun."""


def in_order(start: Callable[[S], Pending[R]], shards: Iterable[S], limit: int) -> Generator[R, None, None]:
    """Start shards as results are taken, never more than `limit` at a time.

    Args:
        start: Begins to work on one shard.
        shards: Taken one after the other, only as they are needed.
        limit: Shards that are begun and not handed over yet, at most.

    Yields:
        The results, in the order of the shards. Where the caller stops early,
        or a shard fails, what has not begun is cancelled.
    """
    under_way: deque[Pending[R]] = deque()
    try:
        for shard in shards:
            under_way.append(start(shard))
            if len(under_way) == limit:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for pending in under_way:
            pending.cancel()


def in_threads(
    function: Callable[[S], R], shards: Iterable[S], threads: int, *, name: str
) -> Generator[R, None, None]:
    """Work on a few shards at once in threads of this process, results in order.

    The threads end with the iterator: after an early stop, as soon as the
    shards that have begun are finished.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def start(shard: S) -> Future[R]:
        return pool.submit(function, shard)

    try:
        yield from in_order(start, shards, threads)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
