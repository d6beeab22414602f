"""From imagery on this machine into the archive of the workspace, which all later steps read.

The tiles of a batch are written before their manifest rows, and what is
settled is left alone, so a process that is killed repeats only what was under
way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import why_no_picture
from data_pipeline.download import Answer
from data_pipeline.fetch import FetchReport, unsettled_tiles
from data_pipeline.house_pictures import HousePicture
from data_pipeline.pictures import picture_status
from data_pipeline.provider_records import Provider
from data_pipeline.sources.kinds import LocalTiles, Source
from data_pipeline.sources.picture_folder import PictureFolder
from data_pipeline.storing import picture_at_hand, store_answers
from db.store import open_manifest
from housevis.core.engine import ShardRunner, map_shards
from housevis.core.progress import progress_bar

_TILES_AT_ONCE = 64
_PICTURES_AT_ONCE = 64
_EXAMPLES = 5
T = TypeVar("T")
_open_sources: dict[Any, LocalTiles] = {}


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
    if waiting:
        local: Literal["processes", "here"] = "processes" if source.kind == "geotiff" else "here"
        shards = groups(waiting, _TILES_AT_ONCE)
        try:
            with (
                progress_bar("tiles", len(tiles), len(tiles) - len(waiting)) as bar,
                open_manifest(engine) as manifest,
            ):
                for batch in map_shards(partial(_copied, source), shards, runner, local=local):
                    store_answers(batch, provider, archive, manifest)
                    for answer in batch:
                        report.count_answer(answer)
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
        Counts over all houses, and the first few that have no picture; of a refused one its file and why.

    Raises:
        ImageryError: A picture is ambiguous, or of unknown size on the ground.
    """
    started = time.monotonic()
    report = FetchReport(needed=len(house_ids))
    stored = archive.house_pictures.stamps()
    absent: dict[str, str] = {}

    def changed() -> Iterator[HousePicture]:
        for house_id in house_ids:
            file = folder.find(house_id)
            if file is None:
                report.count("missing")
                absent[house_id] = house_id
                continue
            if stored.get(house_id) == folder.stamp(file):
                report.count("ok")
                continue
            picture = folder.read(house_id, file)
            judged = picture_status(picture.data)
            report.fetched += 1
            report.count("failed" if judged is None else judged.status)
            if judged is None:
                why = why_no_picture(picture.data)
                report.errors[why] = report.errors.get(why, 0) + 1
                absent[house_id] = f"{house_id} ({file.name}: {why})"
            elif judged.status == "blank":
                absent[house_id] = house_id
            else:
                yield picture

    with progress_bar("pictures", len(house_ids)) as bar:
        for pictures in groups(changed(), _PICTURES_AT_ONCE):
            archive.house_pictures.write(pictures)
            bar.advance(len(pictures))
    archive.house_pictures.remove(sorted((stored.keys() - set(house_ids)) | (stored.keys() & absent.keys())))
    report.seconds = time.monotonic() - started
    return report, list(absent.values())[:_EXAMPLES]


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut what an iterator gives into lists of `size`, the last one shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def _copied(source: Source, tiles: list[mercantile.Tile]) -> list[Answer]:
    """Read a group of tiles; runs in a worker. Blank pictures are kept, as they are in the source."""
    opened = _opened(source)
    found = []
    for tile in tiles:
        data = opened.read(tile.z, tile.x, tile.y)
        if data is None:
            found.append(Answer(tile, "missing", attempts=1))
        else:
            answer = picture_at_hand(tile, data)
            if answer is None:
                answer = Answer(tile, "failed", attempts=1, error=why_no_picture(data))
            found.append(answer)
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
