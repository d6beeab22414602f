"""Is the archive what the manifest says: every tile there, its bytes unchanged, a picture that decodes?

Archive and manifest are read side by side in one order, so a million tiles
need no more memory than a few.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import is_picture
from db.tile_store import iterate_tile_hashes, mark_failed
from housevis.core.engine import LocalRunner, map_shards
from housevis.core.progress import progress_bar

ABSENT = "absent"
CHANGED = "changed"
BROKEN = "broken"
UNRECORDED = "unrecorded"
_REASONS = {
    ABSENT: "not in the archive",
    CHANGED: "bytes in the archive changed",
    BROKEN: "no whole picture in the archive",
}
_AT_ONCE = 64


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        checked: Tiles in the archive, and tiles that should be there.
        sound: Tiles that are as the manifest says.
        absent: Tiles that the manifest has and the archive has not.
        changed: Tiles whose bytes do not have the SHA-256 of the manifest.
        broken: Tiles that have it, or have none recorded, and are no whole pictures.
        unrecorded: Tiles in the archive that the manifest does not know as fetched.
        marked: Tiles marked as failed, to be fetched again.
        examples: A few tiles of each kind, as ``z/x/y``.
    """

    checked: int
    sound: int
    absent: int
    changed: int
    broken: int
    unrecorded: int
    marked: int
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether archive and manifest agree in everything."""
        return self.checked == self.sound


@dataclass(frozen=True)
class _Pair:
    """One tile: its row in the manifest, if it has one, and its bytes, if they are there."""

    tile: mercantile.Tile
    status: str | None
    sha256: str | None
    data: bytes | None


def verify_archive(archive_path: Path, engine: Engine, *, workers: int | None = None) -> VerifyReport:
    """Compare every tile with the manifest, and mark what is damaged so that it is fetched again.

    A damaged tile is taken out of the archive and its row becomes ``failed``.
    Tiles without a row are left alone.

    Args:
        archive_path: The archive of a workspace.
        engine: The database with the manifest.
        workers: Threads that check; None takes one for each core.

    Raises:
        ImageryError: The archive is absent, or damaged as a whole.
    """
    counts: Counter[str] = Counter()
    damaged: list[tuple[mercantile.Tile, str]] = []
    examples: dict[str, list[str]] = {}
    with TileArchive(archive_path) as archive, progress_bar("verify", archive.count()) as bar:
        results = map_shards(_check, _shards(archive, engine), LocalRunner(workers), local="here")
        with closing(results):
            for stored, findings in results:
                for tile, kind in findings:
                    counts[kind] += 1
                    if kind in _REASONS:
                        damaged.append((tile, kind))
                    if kind and len(examples.setdefault(kind, [])) < 3:
                        examples[kind].append(f"{tile.z}/{tile.x}/{tile.y}")
                bar.advance(stored)
    if damaged:
        with TileArchive.create(archive_path, {}) as archive:
            for start in range(0, len(damaged), _AT_ONCE):
                part = damaged[start : start + _AT_ONCE]
                archive.remove(tile for tile, _ in part)
                mark_failed(engine, [(tile.z, tile.x, tile.y, _REASONS[kind]) for tile, kind in part])
    return VerifyReport(
        checked=counts.total(),
        sound=counts[""],
        **{kind: counts[kind] for kind in (ABSENT, CHANGED, BROKEN, UNRECORDED)},
        marked=len(damaged),
        examples={kind: tiles for kind, tiles in examples.items() if kind},
    )


def _shards(archive: TileArchive, engine: Engine) -> Iterator[list[_Pair]]:
    shard: list[_Pair] = []
    for pair in _side_by_side(archive, engine):
        shard.append(pair)
        if len(shard) == _AT_ONCE:
            yield shard
            shard = []
    if shard:
        yield shard


def _side_by_side(archive: TileArchive, engine: Engine) -> Iterator[_Pair]:
    """Archive and manifest merged; both come by zoom, then column, then row from the south."""
    with closing(iterate_tile_hashes(engine)) as rows:
        row = next(rows, None)
        for tile, data in archive.stored():
            here = (tile.z, tile.x, -tile.y)
            while row is not None and (row.zoom, row.x, -row.y) < here:
                yield _Pair(mercantile.Tile(row.x, row.y, row.zoom), row.status, row.sha256, None)
                row = next(rows, None)
            if row is not None and (row.zoom, row.x, -row.y) == here:
                yield _Pair(tile, row.status, row.sha256, data)
                row = next(rows, None)
            else:
                yield _Pair(tile, None, None, data)
        while row is not None:
            yield _Pair(mercantile.Tile(row.x, row.y, row.zoom), row.status, row.sha256, None)
            row = next(rows, None)


def _check(pairs: list[_Pair]) -> tuple[int, list[tuple[mercantile.Tile, str]]]:
    """How many tiles of a shard are in the archive, and what is wrong with each one, "" for nothing."""
    findings = []
    for pair in pairs:
        if pair.data is not None:
            findings.append((pair.tile, _judge(pair, pair.data)))
        elif pair.status == "ok":
            findings.append((pair.tile, ABSENT))
    return sum(pair.data is not None for pair in pairs), findings


def _judge(pair: _Pair, data: bytes) -> str:
    if pair.status not in ("ok", "blank"):
        return UNRECORDED
    if pair.sha256 is not None and hashlib.sha256(data).hexdigest() != pair.sha256:
        return CHANGED
    return "" if is_picture(data) else BROKEN
