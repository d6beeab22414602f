"""Shards on Dask workers: on loopback, or behind a scheduler that speaks TLS.

Dask runs whatever it is sent, so an address that other machines can reach has
to be one where both ends show a certificate.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import resource_tracker
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import housevis
from housevis.core.errors import ConfigError, WorkerError
from housevis.core.in_order import in_order
from housevis.core.loopback import is_loopback
from housevis.core.processes import Local, cores
from housevis.core.shard_worker import portable

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

S = TypeVar("S")
R = TypeVar("R")

_LOOPBACK = "127.0.0.1"
_SECONDS_TO_CONNECT = 10
_SECONDS_FOR_WORKERS = 30
_LARGEST_SHARD = "1 GiB"
"""Above this Dask itself warns of what is sent."""


class DaskRunner:
    """Works on the workers of a Dask scheduler; use it as a context manager.

    The connection is made, and the cluster started, when the first shard
    comes. A shard whose worker dies is worked on by another one, as often as
    the scheduler's ``distributed.scheduler.allowed-failures`` allows.

    Args:
        address: The scheduler's, for example ``tls://10.0.0.5:8786``; None
            starts a scheduler and workers on loopback.
        workers: Worker processes that are started, where `address` is None;
            None starts one for each core. With an address all of the
            scheduler's workers are taken, and this many have to be there
            before work begins; None is content with one.

    Raises:
        ConfigError: Dask is not installed, or the address can be reached
            from other machines and is not protected by TLS.
    """

    distributed = True

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise ConfigError(
                "Dask is not installed",
                where="engine",
                remedy='Install housevis[dask], or set engine = "local".',
            )
        self._address = None if address is None else checked_address(address)
        self._wanted = workers or (cores() if address is None else 1)
        self._closing = ExitStack()
        self._connected: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and the workers that were started here."""
        self._connected = None
        self._closing.close()

    @property
    def workers(self) -> int:
        """Shards that are worked on at once.

        Raises:
            WorkerError: The scheduler cannot be reached, or has no workers.
        """
        if self._address is None:
            return self._wanted
        return max(1, sum(self.client.nthreads().values()))

    @property
    def client(self) -> Client:
        """The connection to the scheduler.

        Raises:
            WorkerError: The scheduler cannot be reached, has no workers, or
                one that runs another version of housevis.
        """
        if self._connected is None:
            with ExitStack() as stack:
                client = _connect(self._address, self._wanted, stack)
                _check_versions(client)
                self._connected = client
                self._closing = stack.pop_all()
        return self._connected

    def map(self, function: Callable[[S], R], shards: Iterable[S], local: Local) -> Generator[R, None, None]:
        """See :func:`housevis.core.engine.map_shards`."""
        del local
        source = iter(shards)
        first = list(islice(source, 2))
        if len(first) < 2:
            yield from map(function, first)
            return
        client, workers = self.client, self.workers

        def start(shard: S) -> _Result[R]:
            content = pickle.dumps((function, shard), protocol=pickle.HIGHEST_PROTOCOL)
            message = _Message(content, housevis.__version__)
            return _Result(client.submit(_attempt, message, key=f"shard-{uuid4().hex}", pure=False))

        yield from in_order(start, chain(first, source), 2 * workers)


class _Result(Generic[R]):
    """A shard's result, on its way."""

    def __init__(self, future: Future) -> None:
        self._future = future

    def result(self) -> R:
        from distributed.scheduler import KilledWorker

        try:
            return self._future.result()
        except KilledWorker as problem:
            raise WorkerError(
                f"{problem.allowed_failures + 1} Dask workers died over the same piece of work",
                where=str(problem.last_worker.address),
                remedy="Mostly their memory is too small: start fewer of them per machine, or with fewer "
                "threads.",
            ) from None
        except CancelledError:
            raise WorkerError(
                "the Dask scheduler gave up the work; mostly it was stopped, or the connection was lost",
                remedy="Start it again, and give the same command again: what is finished is kept.",
            ) from None
        finally:
            self._future.release()

    def cancel(self) -> None:
        self._future.cancel()


@dataclass(frozen=True)
class _Message:
    """A function and its shard on their way.

    They are opened on the worker alone, so that the scheduler needs nothing
    of what they need; and Dask, which writes what it sends into its logs,
    finds nothing to write.
    """

    content: bytes = field(repr=False)
    version: str


def _attempt(message: _Message) -> Any:
    if housevis.__version__ != message.version:
        raise _other_version(socket.gethostname(), housevis.__version__, message.version)
    try:
        function, shard = pickle.loads(message.content)  # noqa: S301
        return function(shard)
    except Exception as problem:
        sent = portable(problem)
        if sent is problem:
            raise
        raise sent from None


def worker_threads() -> int | None:
    """Threads that the work in this process may use: those of the Dask worker; None elsewhere."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return None


def checked_address(address: str) -> str:
    """The address of a scheduler, if work may be sent there.

    Args:
        address: ``tcp://HOST:PORT`` or ``HOST:PORT`` on this machine,
            ``tls://HOST:PORT`` anywhere.

    Raises:
        ConfigError: It is no such address; it is another machine's without
            TLS; or it has TLS and no certificates are configured.
    """
    whole = address if "://" in address else f"tcp://{address}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme not in ("tcp", "tls"):
        raise ConfigError(
            f"{address!r} is no address of a Dask scheduler",
            where="scheduler",
            remedy='It is like "tls://10.0.0.5:8786".',
        )
    if parts.scheme == "tcp" and not is_loopback(host):
        raise ConfigError(
            f"{address!r} is on another machine and not encrypted; whoever reaches such a scheduler can run "
            "programs on all of its machines",
            where="scheduler",
            remedy='Start the scheduler and its workers with TLS certificates and write "tls://…"; '
            "docs/scaling.md says how.",
        )
    if parts.scheme == "tls" and _security().get_connection_args("client").get("ssl_context") is None:
        raise ConfigError(
            f"{address!r} needs certificates, and none are configured",
            where="scheduler",
            remedy="Set distributed.comm.tls in Dask's own configuration; docs/scaling.md says how.",
        )
    return whole


def _security() -> Any:
    from distributed.security import Security

    return Security(require_encryption=True)


def _connect(address: str | None, workers: int, stack: ExitStack) -> Client:
    import dask
    from distributed import Client

    stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": _LARGEST_SHARD}))
    try:
        if address is None:
            cluster = stack.enter_context(_loopback_cluster(workers))
            return stack.enter_context(Client(cluster, timeout=_SECONDS_FOR_WORKERS, set_as_default=False))
        stack.enter_context(_quiet())
        security = _security() if address.startswith("tls://") else None
        client = stack.enter_context(
            Client(address, timeout=_SECONDS_TO_CONNECT, security=security, set_as_default=False)
        )
    except OSError as problem:
        raise WorkerError(
            f"the Dask scheduler cannot be reached ({problem})",
            where=address or _LOOPBACK,
            remedy="Check that it runs there, and the address in scheduler or --scheduler.",
        ) from None
    try:
        client.wait_for_workers(workers, timeout=_SECONDS_FOR_WORKERS)
    except TimeoutError:
        there = len(client.nthreads())
        raise WorkerError(
            f"the Dask scheduler has {there} of {workers} workers"
            if there
            else "the Dask scheduler has no workers",
            where=address,
            remedy=f"Start some: dask worker {address}",
        ) from None
    return client


@contextmanager
def _loopback_cluster(workers: int) -> Iterator[LocalCluster]:
    import dask
    from distributed import LocalCluster

    pages: dict[str, list[str]] = {f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")}
    with _interrupts_held(), dask.config.set(pages):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=_LOOPBACK,
            protocol="tcp://",
            dashboard_address=f"{_LOOPBACK}:0",
            worker_dashboard_address=f"{_LOOPBACK}:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
    with cluster:
        yield cluster


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from printing what is raised here as an error of ours anyway."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C from the threads and processes that are started in the block; it comes after it."""
    # Starting the tracker, which multiprocessing does with the first process, would let Ctrl-C in again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _version() -> str:
    return housevis.__version__


def _check_versions(client: Client) -> None:
    for worker, found in client.run(_version, on_error="return").items():
        if isinstance(found, ModuleNotFoundError):
            raise WorkerError(
                f"a Dask worker lacks a module ({found})",
                where=worker,
                remedy="Install the same housevis on all machines.",
            )
        if isinstance(found, str) and found != housevis.__version__:
            raise _other_version(worker, found, housevis.__version__)


def _other_version(worker: str, version: str, wanted: str) -> WorkerError:
    return WorkerError(
        f"the Dask worker runs housevis {version}, this is {wanted}",
        where=worker,
        remedy="Install the same housevis on all machines.",
    )
