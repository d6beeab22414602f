"""The threads that ask: a group for each host, bounded by what is not yet stored.

A thread takes a permit before it asks for a tile, and the permit comes back
when the answer is stored. So at any moment at most as many tiles are asked
for and not stored as there are connections: that bounds the memory, and it is
what a killed process asks for a second time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

import mercantile

from data_pipeline.addresses import PLACEHOLDER, access_key, signing_secret, tile_url
from data_pipeline.connecting import HostConnections, origin_of, quiet_about
from data_pipeline.download import Answer, Downloader, RetryRules, Validators
from data_pipeline.limiter import HostLimiter
from data_pipeline.provider_records import Provider
from data_pipeline.server_health import ServerHealth
from housevis.core.errors import HousevisError, ImageryError

_POLL_SECONDS = 0.2
_LAST_SECONDS = 1.0
_GATHER_SECONDS = 0.0005
"""Time for the answers of one more thread to arrive, so that they are stored together."""

_GATHER_THREADS = 8

Known = Mapping[mercantile.Tile, Validators]


class Asking:
    """Asks one provider for tiles.

    Args:
        provider: Where the tiles come from.
        connections: Requests under way at once, for each host.
        rate: Requests per second, for each host; None where no limit is known.
        rules: Timeouts and retries.
        limiters: The limiters of hosts by their addresses; those that are not
            there are put in, so that a later use knows what this one found out.

    Raises:
        ConfigError: An access key is needed and not set.
    """

    def __init__(
        self,
        provider: Provider,
        connections: int,
        rate: float | None,
        rules: RetryRules,
        limiters: MutableMapping[str, HostLimiter] | None = None,
    ) -> None:
        self.stop = threading.Event()
        where = provider.address or provider.name
        self.health = ServerHealth(where, connections, rules.silence, rules.refusal, self.stop)
        self._where = where
        self._provider = provider
        self._width = connections
        self._rate = rate
        self._rules = rules
        self._key = access_key(provider)
        self._limiters: MutableMapping[str, HostLimiter] = {} if limiters is None else limiters

    def answers(self, tiles: Sequence[mercantile.Tile], known: Known | None = None) -> Iterator[list[Answer]]:
        """Ask for tiles, and hand out the answers in groups, each as soon as the one before is stored.

        Args:
            tiles: The tiles.
            known: What is known of those that are asked for again.

        Raises:
            ImageryError: The server is given up; what was handed out stays good.
        """
        groups = [
            _HostGroup(self._downloader(origin, connections), connections, part, known or {})
            for origin, part, connections in self._hosts(tiles)
        ]
        ready: queue.SimpleQueue[Answer | HousevisError | None] = queue.SimpleQueue()
        permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        threads = [
            threading.Thread(
                target=group.work, args=(permits, ready, self.stop), name=f"tiles-{number}", daemon=True
            )
            for group in groups
            for number in range(min(self._width, len(group.tiles)))
        ]
        with quiet_about([self._key, signing_secret(self._provider)]):
            for _ in threads:
                permits.put(None)
            for thread in threads:
                thread.start()
            count, working = 0, len(threads)
            gather = _GATHER_SECONDS * min(len(threads), _GATHER_THREADS)
            try:
                while working:
                    time.sleep(gather)
                    batch, ended = _batch(ready)
                    working -= ended
                    if batch:
                        yield batch
                    count += len(batch)
                    for _ in batch:
                        permits.put(None)
            except KeyboardInterrupt:
                self._end(threads)
                batch, _ = _batch(ready)
                if batch:
                    yield batch
                raise
            finally:
                self._end(threads)
                for group in groups:
                    group.connections.close()
        self.health.raise_if_hopeless()
        if count < len(tiles):
            raise ImageryError(
                f"only {count} of {len(tiles)} tiles were asked for",
                where=self._where,
                remedy="Run the command again to go on; what was fetched stays.",
            )

    def _hosts(
        self, tiles: Sequence[mercantile.Tile]
    ) -> Iterator[tuple[str, list[mercantile.Tile], HostConnections]]:
        found: dict[str, list[mercantile.Tile]] = {}
        several = PLACEHOLDER.search(origin_of(self._provider.url)) is not None
        for tile in tiles if several else tiles[:1]:
            found.setdefault(origin_of(tile_url(self._provider, tile, self._key)), []).append(tile)
        for origin, part in found.items():
            connections = HostConnections(
                origin, self._width, self._rules.connect_timeout, self._rules.read_timeout
            )
            yield origin, part if several else list(tiles), connections

    def _downloader(self, origin: str, connections: HostConnections) -> Downloader:
        limiter = self._limiters.get(origin)
        if limiter is None:
            limiter = self._limiters[origin] = HostLimiter(self._rate, backoff=self._rules.backoff)
        return Downloader(
            self._provider, self._key, limiter, connections, self._rules, self.health, self.stop
        )

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """Let the requests under way end, for a moment."""
        self.stop.set()
        deadline = time.monotonic() + _LAST_SECONDS
        for thread in threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


class _HostGroup:
    """The threads of one host share its tiles."""

    def __init__(
        self,
        downloader: Downloader,
        connections: HostConnections,
        tiles: Sequence[mercantile.Tile],
        known: Known,
    ) -> None:
        self.tiles = tiles
        self.connections = connections
        self._downloader = downloader
        self._known = known
        self._rest = iter(tiles)
        self._lock = threading.Lock()

    def work(
        self,
        permits: queue.SimpleQueue[None],
        ready: queue.SimpleQueue[Answer | HousevisError | None],
        stop: threading.Event,
    ) -> None:
        """Ask for one tile after the other until there is none left; None says that a thread has ended."""
        try:
            while not stop.is_set():
                try:
                    permits.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                with self._lock:
                    tile = next(self._rest, None)
                answer = None if tile is None else self._downloader.fetch(tile, self._known.get(tile))
                if answer is None:
                    permits.put(None)
                    break
                ready.put(answer)
        except HousevisError as problem:
            ready.put(problem)
        finally:
            ready.put(None)


def _batch(ready: queue.SimpleQueue[Answer | HousevisError | None]) -> tuple[list[Answer], int]:
    """What is there: answers, and how many threads have ended. Waits a moment where nothing is.

    Raises:
        HousevisError: A thread met it.
    """
    answers: list[Answer] = []
    ended = 0
    try:
        found = ready.get(timeout=_POLL_SECONDS)
        while True:
            if isinstance(found, HousevisError):
                raise found
            if found is None:
                ended += 1
            else:
                answers.append(found)
            found = ready.get_nowait()
    except queue.Empty:
        return answers, ended
