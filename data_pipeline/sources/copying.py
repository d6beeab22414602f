"""From imagery on this machine into the archive of the workspace, which all later steps read.

The tiles of a batch are written before their manifest rows, and what is
settled is left alone, so a process that is killed repeats only what was under
way.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import FetchReport, unsettled_tiles
from data_pipeline.house_pictures import HousePicture
from data_pipeline.pictures import picture_status
from data_pipeline.provider_records import Provider
from data_pipeline.sources.kinds import LocalTiles, Source
from data_pipeline.sources.picture_folder import PictureFolder
from db.store import save_tiles
from housevis.core.engine import ShardRunner, map_shards
from housevis.core.progress import progress_bar

_TILES_AT_ONCE = 64
_PICTURES_AT_ONCE = 64
_EXAMPLES = 5
T = TypeVar("T")
_open_sources: dict[Any, LocalTiles] = {}


@dataclass(frozen=True)
class CopiedTile:
    """What became of one tile: `status` as in the manifest, `data` for ok and blank."""

    tile: mercantile.Tile
    status: str
    format: str | None = None
    data: bytes | None = None
    error: str | None = None


def copy_tiles(
    tiles: Sequence[mercantile.Tile],
    source: Source,
    provider: Provider,
    archive: TileArchive,
    engine: Engine,
    runner: ShardRunner | None = None,
) -> FetchReport:
    """Copy tiles of one zoom into the archive; those that are settled already are left alone.

    Args:
        tiles: The tiles.
        source: Where they are, or what they are made of.
        provider: The record that the imagery is used under.
        archive: Where they go, opened by :meth:`TileArchive.create`.
        engine: The database with the manifest.
        runner: Who warps GeoTIFFs.

    Returns:
        Counts over all `tiles`.

    Raises:
        ImageryError: The source cannot be read; what was copied stays.
    """
    started = time.monotonic()
    report = FetchReport(needed=len(tiles))
    waiting = unsettled_tiles(tiles, provider, archive, engine, report)
    local: Literal["processes", "here"] = "processes" if source.kind == "geotiff" else "here"
    try:
        with progress_bar("tiles", len(tiles), len(tiles) - len(waiting)) as bar:
            shards = groups(waiting, _TILES_AT_ONCE)
            for batch in map_shards(partial(_copied, source), shards, runner, local=local):
                store_copied(batch, provider, archive, engine, report)
                bar.advance(len(batch))
    finally:
        _close_sources()
    report.seconds = time.monotonic() - started
    return report


def copy_pictures(
    house_ids: Sequence[str], folder: PictureFolder, archive: TileArchive
) -> tuple[FetchReport, list[str]]:
    """Copy the pictures of houses into the archive; those that did not change are left alone.

    Args:
        house_ids: The houses.
        folder: Where the pictures are.
        archive: Where they go.

    Returns:
        Counts over all houses, and the first few that have no picture.

    Raises:
        ImageryError: A picture is ambiguous, or of unknown size on the ground.
    """
    started = time.monotonic()
    report = FetchReport(needed=len(house_ids))
    stored = archive.house_pictures.stamps()
    absent: list[str] = []

    def changed() -> Iterator[HousePicture]:
        for house_id in house_ids:
            file = folder.find(house_id)
            if file is None:
                report.count("missing")
                absent.append(house_id)
                continue
            if stored.get(house_id) == folder.stamp(file):
                report.count("ok")
                continue
            picture = folder.read(house_id, file)
            judged = picture_status(picture.data)
            report.fetched += 1
            report.count("failed" if judged is None else judged.status)
            if judged is None:
                report.errors["not a whole picture"] = report.errors.get("not a whole picture", 0) + 1
                absent.append(house_id)
            elif judged.status == "blank":
                absent.append(house_id)
            else:
                yield picture

    with progress_bar("pictures", len(house_ids)) as bar:
        for pictures in groups(changed(), _PICTURES_AT_ONCE):
            archive.house_pictures.write(pictures)
            bar.advance(len(pictures))
    archive.house_pictures.remove(sorted((stored.keys() - set(house_ids)) | (stored.keys() & set(absent))))
    report.seconds = time.monotonic() - started
    return report, absent[:_EXAMPLES]


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut what an iterator gives into lists of `size`, the last one shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def _copied(source: Source, tiles: list[mercantile.Tile]) -> list[CopiedTile]:
    """Read a group of tiles; runs in a worker."""
    opened = _opened(source)
    found = []
    for tile in tiles:
        data = opened.read(tile.z, tile.x, tile.y)
        judged = None if data is None else picture_status(data)
        if data is None:
            found.append(CopiedTile(tile, "missing"))
        elif judged is None:
            found.append(CopiedTile(tile, "failed", error="not a whole picture"))
        else:
            found.append(CopiedTile(tile, judged.status, judged.format, data))
    return found


def _opened(source: Source) -> LocalTiles:
    """The source, opened once in each process as long as its files stay the same."""
    state = (source, tuple(source.size_and_time()))
    if state not in _open_sources:
        _close_sources()
        _open_sources[state] = source.open()
    return _open_sources[state]


def _close_sources() -> None:
    while _open_sources:
        _open_sources.popitem()[1].close()


def store_copied(
    batch: Sequence[CopiedTile], provider: Provider, archive: TileArchive, engine: Engine, report: FetchReport
) -> None:
    """Write tiles and then their manifest rows, and count them."""
    stored = [(found.tile, found.data) for found in batch if found.data is not None]
    if stored and "format" not in archive.metadata:
        archive.describe(format=next(found.format for found in batch if found.format))
    archive.write(stored)
    save_tiles(engine, [_manifest_row(found, provider) for found in batch])
    for found in batch:
        report.fetched += 1
        report.count(found.status)
        report.bytes += len(found.data or b"")
        if found.error:
            report.errors[found.error] = report.errors.get(found.error, 0) + 1


def _manifest_row(found: CopiedTile, provider: Provider) -> dict[str, Any]:
    data = found.data
    return {
        "zoom": found.tile.z,
        "x": found.tile.x,
        "y": found.tile.y,
        "provider": provider.name,
        "status": found.status,
        "http_status": None,
        "attempts": 1,
        "bytes": len(data or b""),
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "fetched_at": datetime.now(UTC),
        "error": found.error,
    }
