"""Whole archives out of and into a workspace: MBTiles and PMTiles files of other programs and people."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import mercantile
from sqlalchemy import Engine

from data_pipeline.archive import NATIVE_ZOOM_ENTRY, TILE_SIZE_ENTRY, TileArchive
from data_pipeline.download import Answer
from data_pipeline.pmtiles_files import write_pmtiles
from data_pipeline.providers import PROVIDERS, SAMPLE_MARKET, UNKNOWN, Provider, check_rights
from data_pipeline.sources.copying import groups
from data_pipeline.sources.kinds import source_at
from data_pipeline.sources.pmtiles import PMTilesSource
from data_pipeline.storing import picture_at_hand, store_answers
from data_pipeline.supply import RIGHTS_ENTRY, find_supply
from db.store import open_manifest, read_tile_statuses
from housevis.core.config_sections import ImagerySection, SampleMarketSection
from housevis.core.engine import LocalRunner, map_shards
from housevis.core.errors import ImageryError, UsageError
from housevis.core.progress import progress_bar

_AT_ONCE = 64
_DEEPEST_ZOOM = 30
_SOURCE_ENTRY = "housevis_source"


@dataclass(frozen=True)
class ImportReport:
    """What became of the tiles of a file.

    Attributes:
        tiles: Tiles in the file: the sum of `added`, `same`, `kept` and `broken`.
        added: Tiles that are new in the archive, `blank` ones among them.
        blank: Tiles of one flat colour.
        same: Tiles that were there already, byte by byte.
        kept: Tiles of which the archive keeps its own, other one.
        broken: Tiles that are no whole pictures.
        provider: Name of the record that the tiles stand under.
        attribution: Credit for the imagery.
        rights_reference: The licence that opened the rights gate, if one was needed.
    """

    tiles: int
    added: int
    blank: int
    same: int
    kept: int
    broken: int
    provider: str
    attribution: str
    rights_reference: str | None


def export_archive(archive_path: Path, file: Path) -> int:
    """Write all tiles of an archive, with metadata and credit, to a new file; it is whole or absent.

    Args:
        archive_path: The archive of a workspace.
        file: ``*.mbtiles`` or ``*.pmtiles``.

    Returns:
        How many tiles were written.

    Raises:
        UsageError: The file exists, or has another ending.
        ImageryError: The archive is absent, empty or damaged.
    """
    if file.suffix.lower() not in (".mbtiles", ".pmtiles"):
        raise UsageError(
            "the ending says neither MBTiles nor PMTiles",
            where=str(file),
            remedy="Name the file *.mbtiles or *.pmtiles.",
        )
    if file.exists():
        raise UsageError("this file exists", where=str(file), remedy="Choose another name or move it away.")
    with TileArchive(archive_path) as archive:
        if file.suffix.lower() == ".pmtiles":
            return write_pmtiles(archive, file)
        return _write_mbtiles(archive, file)


def import_archive(
    file: Path,
    archive_path: Path,
    imagery: ImagerySection,
    engine: Engine,
    *,
    provider_name: str | None = None,
    rights_reference: str | None = None,
    town: SampleMarketSection | None = None,
) -> ImportReport:
    """Take all tiles of a file into the archive of a workspace, and write their manifest rows.

    Tiles that the archive has already stay as they are; those that an import
    which was killed left without a row get theirs. Tiles of another
    provider than the one configured are refused: an archive holds tiles of
    one provider.

    Args:
        file: An MBTiles or PMTiles file.
        archive_path: The archive; made if it is not there.
        imagery: The ``[imagery]`` section.
        engine: The database with the manifest.
        provider_name: The provider record that the tiles come from, where the
            file does not say.
        rights_reference: The user's own licence; None takes the section's,
            or the one recorded in the file.
        town: The sample market, where there is one.

    Raises:
        RightsError: The terms of the tiles' provider do not allow it, or are
            not known, and no licence is recorded.
        UsageError: The file is of another provider than the configuration
            or the archive.
        ImageryError: The file or the archive cannot be read; of a file that is
            damaged, what comes before is kept.
    """
    opened = _opened(file)
    try:
        named = provider_name or opened.provider
        supply = find_supply(imagery, town=town)
        record = supply.provider if named == supply.provider.name else _record(named, opened.attribution)
        recorded = opened.metadata.get(RIGHTS_ENTRY)
        reference = check_rights(
            record, rights_reference or imagery.rights_reference or (str(recorded) if recorded else None)
        )
        _check_provider(file, record.name, supply.provider.name, "configuration takes its imagery from")
        if record.name == SAMPLE_MARKET and opened.metadata.get(_SOURCE_ENTRY) not in (None, supply.identity):
            raise UsageError(
                "these are tiles of another town", where=str(file), remedy="Check [sample_market]."
            )
        metadata = supply.metadata() | {RIGHTS_ENTRY: reference or ""}
        metadata["attribution"] = metadata["attribution"] or opened.attribution
        _check_tile_size(file, opened.tile_size, metadata.setdefault(TILE_SIZE_ENTRY, str(opened.tile_size)))
        if opened.native_zoom is not None:
            metadata.setdefault(NATIVE_ZOOM_ENTRY, str(opened.native_zoom))
        if archive_path.is_file():
            with TileArchive(archive_path) as archive:
                _check_provider(file, record.name, archive.provider, "archive holds tiles of")
                _check_tile_size(file, opened.tile_size, str(archive.tile_size))
        with TileArchive.create(archive_path, metadata) as archive:
            counts = _take_in(opened, record, archive, engine)
            return ImportReport(
                **counts,
                provider=record.name,
                attribution=archive.attribution,
                rights_reference=reference,
            )
    finally:
        opened.close()


def _opened(file: Path) -> TileArchive | PMTilesSource:
    source = source_at(file)
    if source.kind == "mbtiles":
        return TileArchive(file)
    if source.kind == "pmtiles":
        return PMTilesSource(file)
    raise ImageryError(
        "this is neither an MBTiles nor a PMTiles file",
        where=str(file),
        remedy=f'Other imagery is used in place: imagery.source = "{file}".',
    )


def _record(name: str, attribution: str) -> Provider:
    return PROVIDERS.get(name) or Provider(name or UNKNOWN, "", attribution)


def _check_provider(file: Path, of_file: str, other: str, what: str) -> None:
    if of_file != other:
        raise UsageError(
            f"the tiles of this file are of {of_file!r}, and the {what} {other!r}",
            where=str(file),
            remedy="If they are the same, say so with --provider; to use the file alone, set "
            f'imagery.source = "{file}".',
        )


def _check_tile_size(file: Path, size: int, other: str) -> None:
    if str(size) != other:
        raise UsageError(
            f"the tiles of this file have {size} pixels per side, and {other} are configured",
            where=str(file),
            remedy="Set imagery.retina or record.tile_size to what they have, or give the configuration "
            "another name.",
        )


def _take_in(
    opened: TileArchive | PMTilesSource, record: Provider, archive: TileArchive, engine: Engine
) -> dict[str, int]:
    counts = dict.fromkeys(("tiles", "added", "blank", "same", "kept", "broken"), 0)
    damage: list[ImageryError] = []
    recorded: dict[int, dict[tuple[int, int], str]] = {}
    shards = groups(_readable(opened, damage), _AT_ONCE)
    batches = map_shards(_judged, shards, LocalRunner(), local="here")
    with (
        progress_bar("import", opened.count() or None) as bar,
        closing(batches),
        open_manifest(engine) as manifest,
    ):
        for batch in batches:
            added: list[Answer] = []
            without_row: list[Answer] = []
            for found in batch:
                if found is None:
                    counts["broken"] += 1
                    continue
                tile = found.tile
                there = archive.read(tile.z, tile.x, tile.y)
                if there is None:
                    added.append(found)
                    continue
                counts["same" if there == found.data else "kept"] += 1
                if tile.z not in recorded:
                    recorded[tile.z] = read_tile_statuses(engine, tile.z)
                if there == found.data and (tile.x, tile.y) not in recorded[tile.z]:
                    without_row.append(found)
            if added or without_row:
                store_answers([*added, *without_row], record, archive, manifest)
            counts["tiles"] += len(batch)
            counts["added"] += len(added)
            counts["blank"] += sum(found.status == "blank" for found in added)
            bar.advance(len(batch))
    if damage:
        raise damage[0]
    return counts


def _readable(
    opened: TileArchive | PMTilesSource, damage: list[ImageryError]
) -> Iterator[tuple[mercantile.Tile, bytes]]:
    """The tiles of a file up to where it is damaged, so that those before are kept."""
    try:
        yield from opened.stored()
    except ImageryError as problem:
        damage.append(problem)


def _judged(batch: list[tuple[mercantile.Tile, bytes]]) -> list[Answer | None]:
    return [picture_at_hand(tile, data) if _is_on_the_grid(tile) else None for tile, data in batch]


def _is_on_the_grid(tile: mercantile.Tile) -> bool:
    return 0 <= tile.z <= _DEEPEST_ZOOM and 0 <= tile.x < 2**tile.z and 0 <= tile.y < 2**tile.z


def _write_mbtiles(archive: TileArchive, file: Path) -> int:
    if not archive.count():
        raise ImageryError(
            "the archive holds no tiles", where=str(archive.path), remedy="Run `housevis tiles` first."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with (
        tempfile.TemporaryDirectory(dir=file.parent, prefix=".writing-") as folder,
        progress_bar("export", archive.count()) as bar,
    ):
        with TileArchive.create(Path(folder) / file.name, archive.metadata) as copy:
            for batch in groups(archive.stored(), _AT_ONCE):
                copy.write(batch)
                written += len(batch)
                bar.advance(len(batch))
        (Path(folder) / file.name).replace(file)
    return written
