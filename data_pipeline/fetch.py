"""The polite fetch engine: what is to be asked, by whom, and what became of it.

Threads ask, the calling thread stores: tiles first, then their rows in the
manifest, and whatever has arrived in the meantime goes into the next pair of
transactions. No tile is asked for before an earlier one is stored, beyond
as many as there are connections. So a process that is killed at any moment
asks for at most that many tiles again (the number of connections times the
number of hosts; on Dask, the shards under way).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.asking import Asking
from data_pipeline.blanks import mark_frequent, plain_rows
from data_pipeline.download import Answer, RetryRules, Validators
from data_pipeline.fetch_shards import FetchShard, Known, fetch_shard, shards_of
from data_pipeline.provider_records import Provider
from data_pipeline.providers import check_rights
from data_pipeline.storing import Row, manifest_row, picture_at_hand, store_answers
from db.store import open_manifest, read_tile_rows, read_tile_statuses, save_tiles
from housevis.core.engine import ShardRunner, map_shards
from housevis.core.progress import progress_bar

__all__ = [
    "SETTLED",
    "FetchReport",
    "FetchShard",
    "fetch_shard",
    "fetch_tiles",
    "store_answers",
    "unsettled_tiles",
]

SETTLED = frozenset({"ok", "blank", "missing"})
"""Statuses that are not asked for again."""


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
        unchanged: Tiles that were asked for again and are the same.
        changed: Tiles that were asked for again and have another picture now.
        kept: Tiles that were asked for again without getting a picture; the
            earlier one is kept.
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
    unchanged: int = 0
    changed: int = 0
    kept: int = 0

    def count(self, status: str, tiles: int = 1) -> None:
        """Add tiles of a status."""
        setattr(self, status, getattr(self, status) + tiles)

    def count_answer(self, answer: Answer, *, again: bool = False) -> None:
        """Count what became of one tile.

        Args:
            answer: The answer.
            again: The tile was there before, and is counted already.
        """
        self.fetched += 1
        self.bytes += len(answer.data or b"")
        if again:
            self.count("unchanged" if answer.status == "unchanged" else "changed" if answer.data else "kept")
            return
        self.count(answer.status)
        if answer.error and answer.status == "failed":
            self.errors[answer.error] = self.errors.get(answer.error, 0) + 1

    def add(self, other: FetchReport) -> None:
        """Add what another fetch did."""
        for name, count in vars(other).items():
            if isinstance(count, int | float):
                setattr(self, name, getattr(self, name) + count)
        for cause, tiles in other.errors.items():
            self.errors[cause] = self.errors.get(cause, 0) + tiles


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
    refresh: bool = False,
    retry_failed: bool = False,
    runner: ShardRunner | None = None,
) -> FetchReport:
    """Fetch tiles into an archive; those that are settled already are left alone.

    Args:
        tiles: The tiles, all of one zoom.
        provider: Where they come from.
        archive: Where they go, opened by :meth:`TileArchive.create`.
        engine: The database with the manifest.
        connections: Requests under way at once, for each host.
        requests_per_second: Rate limit for each host; None takes the
            provider's own.
        rights_reference: The user's own licence.
        rules: Timeouts and retries.
        refresh: Ask again for tiles that are there, on the condition that
            they changed (``If-None-Match``, ``If-Modified-Since``).
        retry_failed: Ask only for tiles that failed before.
        runner: Where it is distributed, its workers ask, each with its share
            of the rate and the connections, and the caller stores.

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
    waiting = unsettled_tiles(tiles, provider, archive, engine, report)
    if retry_failed:
        statuses = read_tile_statuses(engine, tiles[0].z) if tiles else {}
        waiting = [tile for tile in waiting if statuses.get((tile.x, tile.y)) == "failed"]
    earlier = _stored_rows(tiles, engine) if refresh else {}
    asked = [*waiting, *earlier]
    if asked:
        rate = requests_per_second or provider.requests_per_second
        known = {
            tile: Validators(row["sha256"], row["etag"], row["last_modified"])
            for tile, row in earlier.items()
        }
        groups = _answers(asked, known, provider, connections, rate, rules or RetryRules(), runner, report)
        with (
            progress_bar("tiles", len(tiles), len(tiles) - len(asked)) as bar,
            open_manifest(engine) as manifest,
        ):
            for batch in groups:
                store_answers(batch, provider, archive, manifest, earlier)
                for answer in batch:
                    report.count_answer(answer, again=answer.tile in earlier)
                bar.advance(len(batch))
        marked = mark_frequent(tiles, provider, archive, engine)
        report.ok -= marked
        report.blank += marked
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
        if status in ("missing", "blank") or (status == "ok" and tile in stored):
            report.count(str(status))
        elif tile in stored:
            orphans.append(tile)
        else:
            open_tiles.append(tile)
    rows: list[Row] = []
    for tile in orphans:
        data = archive.read(tile.z, tile.x, tile.y)
        found = None if data is None else picture_at_hand(tile, data)
        if found is None:
            open_tiles.append(tile)
            continue
        rows.append(manifest_row(found, provider, datetime.now(UTC)))
        report.count(found.status)
    if rows:
        save_tiles(engine, rows)
    return open_tiles


def _answers(
    tiles: Sequence[mercantile.Tile],
    known: Known,
    provider: Provider,
    connections: int,
    rate: float | None,
    rules: RetryRules,
    runner: ShardRunner | None,
    report: FetchReport,
) -> Iterator[list[Answer]]:
    if runner is None or not runner.distributed:
        asking = Asking(provider, connections, rate, rules)
        try:
            yield from asking.answers(tiles, known)
        finally:
            report.requests = asking.health.requests
        return
    shards = shards_of(tiles, known, provider, connections, rate, rules, runner.workers)
    yield from _stored_by_shards(map_shards(fetch_shard, shards, runner), report)


def _stored_by_shards(results: Iterable[Any], report: FetchReport) -> Iterator[list[Answer]]:
    for result in results:
        report.requests += result.requests
        if result.answers:
            yield result.answers
        if result.problem is not None:
            raise result.problem


def _stored_rows(tiles: Sequence[mercantile.Tile], engine: Engine) -> dict[mercantile.Tile, Row]:
    """The manifest rows of the tiles that are ok."""
    if not tiles:
        return {}
    frame = read_tile_rows(engine, tiles[0].z)
    rows = plain_rows(frame[frame["status"] == "ok"])
    stored = {(row["x"], row["y"]): row for row in rows}
    return {tile: stored[tile.x, tile.y] for tile in tiles if (tile.x, tile.y) in stored}
