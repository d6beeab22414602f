"""Archives of tiles: checked against the manifest, written to files and taken from them."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from data_pipeline.archive import TileArchive
from data_pipeline.archive_exchange import export_archive, import_archive
from data_pipeline.tile_step import imagery_section
from data_pipeline.verify import verify_archive
from housevis.core.errors import RunError
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult


def verify_tiles(project: Project) -> StepResult:
    """Compare every tile of the archive with the manifest; see :func:`data_pipeline.verify.verify_archive`.

    Returns:
        Figures of the report, and ``agrees``: whether archive and manifest do.

    Raises:
        RunError: There is no archive yet.
        ImageryError: The archive is damaged as a whole.
    """
    started = time.perf_counter()
    found = verify_archive(_archive(project), project.engine, workers=project.config.workers)
    lines = [f"tiles: {found.checked:,} checked, {found.sound:,} sound"]
    for kind, what in (
        ("changed", "whose bytes changed since they were fetched"),
        ("broken", "that are no whole pictures"),
        ("absent", "that the manifest has and the archive has not"),
        ("unrecorded", "in the archive that the manifest does not know as fetched"),
    ):
        if count := getattr(found, kind):
            lines.append(f"{count:,} {what}, for example {', '.join(found.examples[kind])}")
    if found.marked:
        lines.append(
            f"{found.marked:,} marked as failed and taken out of the archive; "
            "`housevis tiles CONFIG` fetches them again"
        )
    if found.unrecorded:
        lines.append("`housevis tiles CONFIG` records those that the houses need")
    damaged = _damaged_pictures(project, lines)
    figures = asdict(found) | {"damaged_pictures": damaged, "agrees": found.is_sound and not damaged}
    return StepResult("tiles", lines, figures, time.perf_counter() - started)


def _damaged_pictures(project: Project, lines: list[str]) -> int:
    """Take the houses' own pictures that changed out of the archive, and say so."""
    with TileArchive(_archive(project)) as archive:
        count, damaged = archive.house_pictures.count(), archive.house_pictures.damaged()
    if count:
        lines.append(f"pictures of houses: {count:,} checked, {count - len(damaged):,} sound")
    if damaged:
        with TileArchive.create(_archive(project), {}) as archive:
            archive.house_pictures.remove(damaged)
        lines.append(
            f"{len(damaged):,} were taken out of the archive, for example of {', '.join(damaged[:5])}; "
            "`housevis tiles CONFIG` copies them again"
        )
    return len(damaged)


def archive_export(project: Project, file: Path) -> StepResult:
    """Write all tiles to a new MBTiles or PMTiles file.

    See :func:`data_pipeline.archive_exchange.export_archive`.

    Raises:
        RunError: There is no archive yet.
        UsageError: The file exists, or its ending is another one.
        ImageryError: The archive is empty or damaged.
    """
    started = time.perf_counter()
    tiles = export_archive(_archive(project), file)
    size = file.stat().st_size
    figures = {"tiles": tiles, "file": str(file), "bytes": size}
    line = f"archive: {tiles:,} tiles written to {file} ({size / 2**20:,.1f} MiB)"
    return StepResult("archive", [line], figures, time.perf_counter() - started)


def archive_import(project: Project, file: Path, *, provider: str | None = None) -> StepResult:
    """Take all tiles of a file into the archive; see :func:`data_pipeline.archive_exchange.import_archive`.

    Args:
        project: An open project; ``imagery.rights_reference`` is the licence
            that is shown at the rights gate.
        file: An MBTiles or PMTiles file.
        provider: The provider record that the tiles come from, where the file does not say.

    Raises:
        RightsError: The rights gate stays shut.
        UsageError: The tiles are of another provider than the configured one.
        ImageryError: The file or the archive cannot be read.
    """
    started = time.perf_counter()
    found = import_archive(
        file,
        project.workspace.archive,
        imagery_section(project.config),
        project.engine,
        provider_name=provider,
        town=project.config.sample_market,
    )
    lines = [
        f"archive: {found.tiles:,} tiles in {file}, {found.added:,} added ({found.blank:,} of them blank), "
        f"{found.same:,} there already, {found.kept:,} left out because the archive has others, "
        f"{found.broken:,} no whole pictures",
        f"imagery: {found.attribution or 'no credit named'} ({found.provider})",
    ]
    if found.rights_reference:
        lines.append(f"imagery used by right of: {found.rights_reference}")
    return StepResult("archive", lines, asdict(found), time.perf_counter() - started)


def _archive(project: Project) -> Path:
    if not project.workspace.archive.is_file():
        raise RunError(
            "there is no archive of tiles",
            where=str(project.workspace.archive),
            remedy="Run `housevis tiles CONFIG` first.",
        )
    return project.workspace.archive
