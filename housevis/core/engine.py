"""One way to spread work: shards of it go to workers, results come back in order.

A shard is a part of the input that fits in memory and can be worked on alone.
Workers return rows; whoever called :func:`map_shards` is the one that writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, TypeVar

from housevis.core.config import Config

S = TypeVar("S")
R = TypeVar("R")

Local = Literal["processes", "here"]


class ShardRunner(Protocol):
    """Something that works on shards.

    Attributes:
        workers: Shards that are worked on at once.
        distributed: Whether workers may be processes on other machines.
    """

    workers: int
    distributed: bool

    def map(self, function: Callable[[S], R], shards: Iterable[S], local: Local) -> Iterator[R]:
        """See :func:`map_shards`."""


class LocalRunner:
    """Works on this machine.

    Args:
        workers: Processes at most; None takes one for each core.
    """

    distributed = False

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))

    def map(self, function: Callable[[S], R], shards: Iterable[S], local: Local) -> Iterator[R]:
        """See :func:`map_shards`."""
        del local
        return map(function, shards)


@contextmanager
def open_runner(config: Config) -> Iterator[ShardRunner]:
    """The runner that a configuration asks for, closed after the block."""
    yield LocalRunner(config.workers)


def map_shards(
    function: Callable[[S], R],
    shards: Iterable[S],
    runner: ShardRunner | None = None,
    *,
    local: Local = "processes",
) -> Iterator[R]:
    """Apply a function to every shard.

    Args:
        function: Works on one shard; it and the shards can be pickled. It may
            be called again for the same shard where a worker dies.
        shards: The parts of the input, taken one after the other as workers
            become free.
        runner: Who works; None works here, one shard after the other.
        local: How a local runner works: in processes of its own, or
            ``"here"`` where the function keeps all cores busy by itself.

    Returns:
        The results, lazily and in the order of the shards.
    """
    if runner is None:
        return map(function, shards)
    return runner.map(function, shards, local)
