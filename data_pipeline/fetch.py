"""The polite fetch engine: rate limit, retry, resume, manifest.

Worker threads ask, one session each; the calling thread writes tiles and
manifest in small batches. The tiles of a batch are written before their
manifest rows, and a tile that is in the archive without a row is taken up
when the fetch resumes, so a process killed at any moment repeats only the
requests that were under way.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.download import Answer, Downloader, RetryRules
from data_pipeline.limiter import TokenBucket
from data_pipeline.pictures import picture_status
from data_pipeline.providers import Provider, access_key, check_rights
from db.store import read_tile_statuses, save_tiles
from housevis.core.progress import progress_bar

SETTLED = frozenset({"ok", "blank", "missing"})
"""Statuses that are not asked for again."""

_BATCH_TILES = 32
_BATCH_SECONDS = 0.5
_POLL_SECONDS = 0.2


@dataclass
class FetchReport:
    """What a fetch did.

    Attributes:
        needed: Tiles that were asked for.
        fetched: Tiles that got an answer in this fetch.
        ok: Tiles with imagery, earlier fetches included; `blank`, `missing`
            and `failed` likewise.
        requests: HTTP requests that were sent, retries included.
        bytes: Bytes of imagery received.
        seconds: Wall-clock time.
        rights_reference: The licence that opened the rights gate, if one was needed.
        errors: Failed tiles by cause.
    """

    needed: int = 0
    fetched: int = 0
    ok: int = 0
    blank: int = 0
    missing: int = 0
    failed: int = 0
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    rights_reference: str | None = None
    errors: dict[str, int] = field(default_factory=dict)

    def count(self, status: str, tiles: int = 1) -> None:
        """Add tiles of a status."""
        setattr(self, status, getattr(self, status) + tiles)


def fetch_tiles(
    tiles: Sequence[mercantile.Tile],
    provider: Provider,
    archive: TileArchive,
    engine: Engine,
    *,
    connections: int = 8,
    requests_per_second: float | None = None,
    rights_reference: str | None = None,
    rules: RetryRules | None = None,
) -> FetchReport:
    """Fetch tiles into an archive; those that are settled already are left alone.

    Args:
        tiles: The tiles, all of one zoom.
        provider: Where they come from.
        archive: Where they go, opened by :meth:`TileArchive.create`.
        engine: The database with the manifest.
        connections: Requests under way at once.
        requests_per_second: Rate limit; None takes the provider's own.
        rights_reference: The user's own licence.
        rules: Timeouts and retries.

    Returns:
        Counts over all `tiles`.

    Raises:
        RightsError: The rights gate stays shut.
        ConfigError: An access key is needed and not set.
        ImageryError: The server cannot be reached, refuses everything, or
            asks to wait longer than a fetch should; what was fetched stays.
    """
    started = time.monotonic()
    report = FetchReport(needed=len(tiles), rights_reference=check_rights(provider, rights_reference))
    open_tiles = unsettled_tiles(tiles, provider, archive, engine, report)
    if open_tiles:
        bucket = TokenBucket(requests_per_second or provider.requests_per_second)
        downloader = Downloader(provider, access_key(provider), bucket, rules or RetryRules(), connections)
        try:
            with progress_bar("tiles", len(tiles), len(tiles) - len(open_tiles)) as bar:
                for batch in _answers(open_tiles, downloader, connections):
                    _store(batch, provider, archive, engine, report)
                    bar.advance(len(batch))
        finally:
            report.requests = downloader.requests
            archive.describe(**_extent(tiles))
        downloader.raise_if_hopeless()
    report.seconds = time.monotonic() - started
    return report


def unsettled_tiles(
    tiles: Sequence[mercantile.Tile],
    provider: Provider,
    archive: TileArchive,
    engine: Engine,
    report: FetchReport,
) -> list[mercantile.Tile]:
    """The tiles that still have to be asked for; the others are counted in `report`.

    A tile that is in the archive without a row in the manifest (the process
    was killed between the two) gets its row here.
    """
    if not tiles:
        return []
    statuses = read_tile_statuses(engine, tiles[0].z)
    stored = set(archive.tiles(tiles[0].z))
    open_tiles, orphans = [], []
    for tile in tiles:
        status = statuses.get((tile.x, tile.y))
        if status == "missing" or (status in SETTLED and tile in stored):
            report.count(str(status))
        elif tile in stored:
            orphans.append(tile)
        else:
            open_tiles.append(tile)
    rows = []
    for tile in orphans:
        data = archive.read(tile.z, tile.x, tile.y)
        judged = None if data is None else picture_status(data)
        if data is None or judged is None:
            open_tiles.append(tile)
            continue
        rows.append(_manifest_row(Answer(tile, judged.status, judged.format, data, attempts=1), provider))
        report.count(judged.status)
    if rows:
        save_tiles(engine, rows)
    return open_tiles


def _answers(
    tiles: Sequence[mercantile.Tile], downloader: Downloader, connections: int
) -> Iterator[list[Answer]]:
    """Batches of answers from worker threads; the queue bounds the memory."""
    answers: queue.Queue[Answer] = queue.Queue(maxsize=2 * connections)
    source, source_lock = iter(tiles), threading.Lock()
    abandoned = threading.Event()

    def work() -> None:
        with downloader.session() as session:
            while not downloader.stop.is_set():
                with source_lock:
                    tile = next(source, None)
                answer = None if tile is None else downloader.fetch(session, tile)
                if answer is None:
                    return
                while not abandoned.is_set():
                    try:
                        answers.put(answer, timeout=_POLL_SECONDS)
                        break
                    except queue.Full:
                        continue

    workers = [
        threading.Thread(target=work, name=f"tiles-{number}", daemon=True)
        for number in range(min(connections, len(tiles)))
    ]
    for worker in workers:
        worker.start()
    batch: list[Answer] = []
    last = time.monotonic()
    try:
        while True:
            alive = any(worker.is_alive() for worker in workers)
            try:
                batch.append(answers.get(timeout=_POLL_SECONDS) if alive else answers.get_nowait())
            except queue.Empty:
                if not alive:
                    break
            if batch and (len(batch) >= _BATCH_TILES or time.monotonic() - last >= _BATCH_SECONDS):
                ready, batch, last = batch, [], time.monotonic()
                yield ready
    except KeyboardInterrupt:
        downloader.stop.set()
        if batch:
            yield batch
        raise
    else:
        if batch:
            yield batch
    finally:
        downloader.stop.set()
        abandoned.set()
        for worker in workers:
            worker.join(timeout=1.0)


def _store(
    batch: Sequence[Answer], provider: Provider, archive: TileArchive, engine: Engine, report: FetchReport
) -> None:
    stored = [(answer.tile, answer.data) for answer in batch if answer.data is not None]
    if stored and "format" not in archive.metadata:
        archive.describe(format=next(answer.format for answer in batch if answer.format))
    archive.write(stored)
    save_tiles(engine, [_manifest_row(answer, provider) for answer in batch])
    for answer in batch:
        report.fetched += 1
        report.count(answer.status)
        report.bytes += len(answer.data or b"")
        if answer.error and answer.status == "failed":
            report.errors[answer.error] = report.errors.get(answer.error, 0) + 1


def _manifest_row(answer: Answer, provider: Provider) -> dict[str, Any]:
    data = answer.data
    return {
        "zoom": answer.tile.z,
        "x": answer.tile.x,
        "y": answer.tile.y,
        "provider": provider.name,
        "status": answer.status,
        "http_status": answer.http_status,
        "attempts": answer.attempts,
        "bytes": len(data or b""),
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "fetched_at": datetime.now(UTC),
        "error": answer.error,
    }


def _extent(tiles: Sequence[mercantile.Tile]) -> dict[str, str]:
    """The metadata that MBTiles readers use to find the tiles."""
    zooms = [tile.z for tile in tiles]
    rows, columns = [tile.y for tile in tiles], [tile.x for tile in tiles]
    corner = mercantile.bounds(min(columns), max(rows), zooms[0])
    opposite = mercantile.bounds(max(columns), min(rows), zooms[0])
    edges = (corner.west, corner.south, opposite.east, opposite.north)
    return {
        "minzoom": str(min(zooms)),
        "maxzoom": str(max(zooms)),
        "bounds": ",".join(f"{edge:.6f}" for edge in edges),
    }
