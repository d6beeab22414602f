"""One way to spread work: shards of it go to workers, results come back in order.

A shard is a part of the input that fits in memory and can be worked on alone.
Workers return rows; whoever called :func:`map_shards` is the one that writes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from housevis.core.config import Config
from housevis.core.dask_workers import DaskRunner, worker_threads
from housevis.core.processes import Local, LocalRunner

__all__ = ["DaskRunner", "LocalRunner", "ShardRunner", "map_shards", "open_runner", "worker_threads"]

S = TypeVar("S")
R = TypeVar("R")


class ShardRunner(Protocol):
    """Something that works on shards."""

    @property
    def workers(self) -> int:
        """Shards that are worked on at once."""

    @property
    def distributed(self) -> bool:
        """Whether workers may be processes on other machines."""

    def map(self, function: Callable[[S], R], shards: Iterable[S], local: Local) -> Generator[R, None, None]:
        """See :func:`map_shards`."""


def open_runner(config: Config) -> AbstractContextManager[ShardRunner]:
    """The runner that a configuration asks for, closed after the block.

    Args:
        config: ``engine``, ``scheduler`` and ``workers`` are read. The address
            of a scheduler means Dask, whatever ``engine`` says.

    Raises:
        ConfigError: Dask is not installed, or the scheduler's address is not
            one that work may be sent to.
    """
    if config.engine == "dask" or config.scheduler is not None:
        return DaskRunner(config.scheduler, config.workers)
    return LocalRunner(config.workers)


def map_shards(
    function: Callable[[S], R],
    shards: Iterable[S],
    runner: ShardRunner | None = None,
    *,
    local: Local = "processes",
) -> Generator[R, None, None]:
    """Apply a function to every shard.

    Args:
        function: Works on one shard; it and the shards can be pickled, and it
            stands in a module that can be imported. It is called again for
            the same shard where a worker dies. What it raises is raised here.
        shards: The parts of the input, taken one after the other as workers
            become free: at most twice as many as there are workers are under
            way. A single shard does not leave the calling process.
        runner: Who works; None works here, one shard after the other.
        local: How a local runner works: in processes of its own, or
            ``"here"``, in a few threads of this process, where the function
            keeps all cores busy by itself.

    Returns:
        The results, lazily and in the order of the shards. Close it to stop
        early: what has not begun is cancelled.

    Raises:
        WorkerError: Workers cannot be reached, or die over the same shard
            again and again.
    """
    if runner is None:
        return (function(shard) for shard in shards)
    return runner.map(function, shards, local)
