"""What commands share: their common arguments, how a project is opened, how a result is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from housevis.core.config import load_config
from housevis.core.progress import console

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from housevis.pipeline.project import Project
    from housevis.pipeline.results import StepResult

ConfigFile = Annotated[Path, typer.Argument(help="Configuration file (TOML).", metavar="CONFIG")]
RunsFolder = Annotated[
    Path, typer.Option("--runs", help="Folder that holds the runs.", envvar="HOUSEVIS_RUNS", metavar="DIR")
]
RunName = Annotated[str, typer.Option("--run", help="A run's name or id.", metavar="RUN")]
Imagery = Annotated[
    str | None,
    typer.Option(
        help="A provider, a tile address with {z}/{x}/{y}, or a path: MBTiles, PMTiles, GeoTIFF, folder.",
        metavar="IMAGERY",
    ),
]
Rights = Annotated[
    str | None,
    typer.Option(
        "--i-have-rights",
        help="Your own right to use this imagery, in words; it is kept with the result.",
        metavar="REFERENCE",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Work on the workers of the Dask scheduler at this address, such as tls://10.0.0.5:8786.",
        metavar="ADDRESS",
    ),
]


def opened_project(
    config: Path,
    runs: Path,
    rights: str | None = None,
    *,
    scheduler: str | None = None,
    reads_only: bool = False,
) -> AbstractContextManager[Project]:
    """The project of a configuration file, as a context manager.

    Args:
        config: The configuration file.
        runs: The folder that holds the runs.
        rights: The user's own right to use the imagery, in words.
        scheduler: Address of the Dask scheduler whose workers do the work.
        reads_only: Nothing will be written.
    """
    settings = load_config(config)
    from housevis.pipeline.project import open_project

    if rights:
        imagery = settings.imagery.model_copy(update={"rights_reference": rights})
        settings = settings.model_copy(update={"imagery": imagery})
    if scheduler:
        settings = settings.model_copy(update={"engine": "dask", "scheduler": scheduler})
    return open_project(settings, runs, reads_only=reads_only)


def show(result: StepResult) -> None:
    """Print the lines of a result."""
    for line in result.lines:
        console.print(line, markup=False)
