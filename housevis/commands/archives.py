"""Whole archives of tiles, out and in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housevis.commands.shared import ConfigFile, Rights, RunsFolder, opened_project, show


def archive_export(
    config: ConfigFile,
    file: Annotated[Path, typer.Argument(help="New file to write: .mbtiles or .pmtiles.", metavar="FILE")],
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: write all fetched tiles to one file, for QGIS or a tile server."""
    from housevis import pipeline

    with opened_project(config, runs, reads_only=True) as project:
        show(pipeline.archive_export(project, file))


def archive_import(
    config: ConfigFile,
    file: Annotated[Path, typer.Argument(help="MBTiles or PMTiles file to take in.", metavar="FILE")],
    provider: Annotated[
        str | None,
        typer.Option(help="Provider record of the tiles, where the file does not say.", metavar="NAME"),
    ] = None,
    rights: Rights = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: take all tiles of a file into the archive, if there is a right to use them."""
    from housevis import pipeline

    with opened_project(config, runs, rights) as project:
        show(pipeline.archive_import(project, file, provider=provider))
