"""The records of runs: which there are, how two differ, and which one serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housevis.commands.shared import ConfigFile, RunsFolder, show
from housevis.core.config import load_config


def runs(
    config: ConfigFile,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Ids of two runs: how they differ, and which comes nearer.", metavar="A B"),
    ] = None,
    promote: Annotated[
        str | None,
        typer.Option(help="Id of the run that the configuration's name is to stand for.", metavar="ID"),
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the run that the name stood for before.")
    ] = False,
    folder: RunsFolder = Path("runs"),
) -> None:
    """Analysts: list the runs of a configuration, compare two, choose the one that serves."""
    from housevis import pipeline

    settings = load_config(config)
    show(pipeline.runs(settings, folder, compare=compare, promoted=promote, restored=restore))
