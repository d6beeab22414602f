"""The command line: thin over the Python calls of the same names.

Analysts run the pipeline, agents open the map, managers read the report; the
help of each command says which of them it is for.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from housevis import __version__
from housevis.commands import archives as archive_commands
from housevis.commands import records, results, steps
from housevis.core.errors import HousevisError
from housevis.core.interrupts import listen_for_interrupts
from housevis.core.progress import console, error_console

app = typer.Typer(
    name="housevis",
    help="House prices that explain themselves: estimates, how sure they are, and what the picture adds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

archives = typer.Typer(help="Analysts: whole archives of tiles, out and in.", no_args_is_help=True)
app.add_typer(archives, name="archive")

for command in (
    steps.run,
    steps.ingest,
    steps.tiles,
    steps.embed,
    steps.train,
    steps.finetune,
    steps.explain,
    steps.evaluate,
    steps.validate,
    results.atlas,
    results.report,
    results.gallery,
    results.export,
    results.remove,
    records.runs,
    results.serve,
    results.publish,
    results.estimate,
):
    app.command()(command)
archives.command("export")(archive_commands.archive_export)
archives.command("import")(archive_commands.archive_import)

INTERRUPTED = 130
"""Exit code after Ctrl-C; Typer turns the interrupt into it."""


def _version(show: bool) -> None:
    if show:
        console.print(f"housevis {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors become one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    listen_for_interrupts()
    try:
        app()
    except HousevisError as problem:
        error_console.print(f"Error: {problem}", markup=False)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(INTERRUPTED)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:
            _say_stopped()
        raise


def _say_stopped() -> None:
    error_console.print("Stopped. What is finished is kept; the same command goes on from there.")
