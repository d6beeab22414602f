"""Shards on this machine: in processes of their own, or in a few threads here."""

from __future__ import annotations

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from multiprocessing import Pipe
from types import TracebackType
from typing import Literal, Self, TypeVar

from housevis.core.errors import WorkerError
from housevis.core.in_order import in_order, in_threads

S = TypeVar("S")
R = TypeVar("R")

Local = Literal["processes", "here"]

_DEATHS = 3
_HERE_AT_ONCE = 4
_SECONDS_TO_END = 10
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from housevis.core.shard_worker import work; work(int(sys.argv[2]))"
)
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalRunner:
    """Works on this machine; use it as a context manager, so that its processes end.

    Worker processes are started when a second shard comes, and used again
    until the runner is closed. Each is started afresh (no copy of this
    process), does not run the caller's script again, does not see Ctrl-C, and
    takes its share of the cores. One that dies is replaced, and its shard is
    worked on again.

    Args:
        workers: Processes at most; None takes one for each core.
    """

    distributed = False

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or cores()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started: set[_Worker] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all worker processes, those at work too."""
        with self._lock:
            self._closed = True
            started, self._started = self._started, set()
            threads, self._threads = self._threads, None
        for worker in started:
            worker.end()
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[S], R], shards: Iterable[S], local: Local) -> Generator[R, None, None]:
        """See :func:`housevis.core.engine.map_shards`."""
        source = iter(shards)
        first = list(islice(source, 2))
        everything = chain(first, source)
        if len(first) < 2 or (local == "processes" and self.workers == 1):
            yield from map(function, everything)
        elif local == "here":
            yield from in_threads(function, everything, min(_HERE_AT_ONCE, 2 * self.workers), name="shards")
        else:
            yield from in_order(lambda shard: self._start(function, shard), everything, 2 * self.workers)

    def _start(self, function: Callable[[S], R], shard: S) -> Future[R]:
        with self._lock:
            if self._closed:
                raise WorkerError("the runner is closed", remedy="Open another one.")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="workers")
            return self._threads.submit(self._work, function, shard)

    def _work(self, function: Callable[[S], R], shard: S) -> R:
        message = pickle.dumps((function, shard), protocol=pickle.HIGHEST_PROTOCOL)
        for _ in range(_DEATHS):
            worker = self._take()
            try:
                answer = worker.ask(message)
            except (EOFError, OSError):
                ending = worker.end()
                with self._lock:
                    self._started.discard(worker)
                    if self._closed:
                        raise WorkerError("the runner is closed", remedy="Open another one.") from None
                continue
            self._idle.put(worker)
            done, value = pickle.loads(answer)  # noqa: S301
            if not done:
                raise value
            return value
        raise WorkerError(
            f"{_DEATHS} worker processes died over the same piece of work ({ending})",
            remedy="Mostly the memory is too small for all of them at once: set workers to a lower number.",
        )

    def _take(self) -> _Worker:
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                break
            if worker.lives():
                return worker
            with self._lock:
                self._started.discard(worker)
        worker = _Worker(max(1, cores() // self.workers))
        with self._lock:
            if not self._closed:
                self._started.add(worker)
                return worker
        worker.end()
        raise WorkerError("the runner is closed", remedy="Open another one.")


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, threads: int) -> None:
        self._connection, far_end = Pipe()
        limits = {name: os.environ.get(name, str(threads)) for name in _THREAD_LIMITS}
        with far_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(far_end.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[far_end.fileno()],
                env={**os.environ, **limits},
                process_group=0,
            )

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer.

        Raises:
            EOFError: The process died; or OSError.
        """
        self._connection.send_bytes(message)
        return self._connection.recv_bytes()

    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> str:
        """End the process and say how it ended."""
        self._process.kill()
        code = self._process.wait(_SECONDS_TO_END)
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
