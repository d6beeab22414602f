"""The command line: thin over the Python calls of the same names.

Analysts run the pipeline, agents open the map, managers read the report; the
help of each command says which of them it is for.
"""

from __future__ import annotations

import io
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from housevis import __version__
from housevis.core.config import load_config
from housevis.core.errors import HousevisError, UsageError
from housevis.core.progress import console, error_console

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from housevis.pipeline.project import Project
    from housevis.pipeline.results import StepResult

app = typer.Typer(
    name="housevis",
    help="House prices that explain themselves: estimates, how sure they are, and what the picture adds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

archives = typer.Typer(help="Analysts: whole archives of tiles, out and in.", no_args_is_help=True)
app.add_typer(archives, name="archive")

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


INTERRUPTED = 130
"""Exit code after Ctrl-C; Typer turns the interrupt into it."""


def _project(
    config: Path,
    runs: Path,
    rights: str | None = None,
    *,
    scheduler: str | None = None,
    reads_only: bool = False,
) -> AbstractContextManager[Project]:
    settings = load_config(config)
    from housevis.pipeline.project import open_project

    if rights:
        imagery = settings.imagery.model_copy(update={"rights_reference": rights})
        settings = settings.model_copy(update={"imagery": imagery})
    if scheduler:
        settings = settings.model_copy(update={"engine": "dask", "scheduler": scheduler})
    return open_project(settings, runs, reads_only=reads_only)


def _print(result: StepResult) -> None:
    for line in result.lines:
        console.print(line, markup=False)


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


@app.command()
def run(
    config: ConfigFile,
    rights: Rights = None,
    scheduler: Scheduler = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: run every step, from listings to map and report; finished work is not done again."""
    from housevis import pipeline

    with _project(config, runs, rights, scheduler=scheduler) as project:
        _print(pipeline.run(project, show=_print))


@app.command()
def ingest(
    config: ConfigFile,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Only show the columns, what is understood and what is rejected."),
    ] = False,
    scheduler: Scheduler = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: read and validate the listings into the database."""
    from housevis import pipeline

    if preview:
        _print(pipeline.preview_ingest(load_config(config)))
        return
    with _project(config, runs, scheduler=scheduler) as project:
        _print(pipeline.ingest(project))


@app.command()
def tiles(
    config: ConfigFile,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would take: tiles, bytes, time, money.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check the archive; mark damaged tiles to be fetched again.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again for tiles that are there, in case they changed.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask only for tiles that failed before.")
    ] = False,
    rights: Rights = None,
    scheduler: Scheduler = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: fetch the aerial tiles that the houses need into the archive."""
    from housevis import pipeline

    if sum((plan, verify, refresh, retry_failed)) > 1:
        raise UsageError(
            "--plan, --verify, --refresh and --retry-failed exclude each other",
            where="housevis tiles",
            remedy="Give one of them.",
        )
    if verify:
        with _project(config, runs, rights) as project:
            result = pipeline.verify_tiles(project)
        _print(result)
        raise typer.Exit(0 if result.figures["agrees"] else HousevisError.exit_code)
    with _project(config, runs, rights, scheduler=scheduler, reads_only=plan) as project:
        if plan:
            _print(pipeline.plan_tiles(project))
        else:
            _print(pipeline.tiles(project, refresh=refresh, retry_failed=retry_failed))


@app.command()
def embed(config: ConfigFile, scheduler: Scheduler = None, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: turn every house's picture into a pooled feature."""
    from housevis import pipeline

    with _project(config, runs, scheduler=scheduler) as project:
        _print(pipeline.embed(project))


@app.command()
def train(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: fit the feature learners and the gradient boosting on the earlier sales."""
    from housevis import pipeline

    with _project(config, runs) as project:
        _print(pipeline.train(project))


@app.command()
def finetune(
    config: ConfigFile,
    layers: Annotated[
        str, typer.Option("--train", help="What learns: layer4 or trunk (all layers).", metavar="LAYERS")
    ] = "layer4",
    folds: Annotated[
        int, typer.Option(help="Also networks for cross-fitted scores, one per fold; 0 trains none.", min=0)
    ] = 0,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="What to rank by: price, residual or residual-without-location; may be repeated [all three]."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Times that every picture is seen.", min=1)] = 5,
    batch_size: Annotated[int, typer.Option(help="Pictures per batch; all their pairs count.", min=2)] = 64,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate of the cycle.")] = 4e-4,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: train layer4 of ResNet-50, or all of it, on the earlier sales."""
    from housevis import pipeline
    from housevis.vision.finetune_processes import started_rank
    from housevis.vision.finetune_training import FinetuneSettings

    if layers not in ("layer4", "trunk") or learning_rate <= 0:
        raise UsageError(
            f"--train {layers} --learning-rate {learning_rate} cannot be trained",
            where="housevis finetune",
            remedy="Train layer4 or trunk, with a learning rate above 0.",
        )
    with _project(config, runs, reads_only=started_rank() > 0) as project:
        settings = FinetuneSettings(epochs, batch_size, learning_rate, seed=project.config.seed)
        result = pipeline.finetune(
            project,
            train="trunk" if layers == "trunk" else "layer4",
            folds=folds,
            targets=target or ("price", "residual", "residual-without-location"),
            settings=settings,
        )
    if started_rank() == 0:
        _print(result)


@app.command()
def explain(
    source: Annotated[
        Path,
        typer.Argument(
            help="A configuration (the step of its run), or with --run a listings file.", metavar="SOURCE"
        ),
    ],
    run_name: Annotated[str | None, typer.Option("--run", help="A run's name or id.", metavar="RUN")] = None,
    imagery: Imagery = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for overlays and heatmaps.npz.", metavar="FOLDER")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="transfer, value, grad-cam, embedding-cam, price-band, l2-caf or mean-feature-map.",
            metavar="METHOD",
        ),
    ] = "transfer",
    rights: Rights = None,
    scheduler: Scheduler = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: build the grad-weight database; with --run: maps of new houses by any method."""
    from housevis import pipeline

    if run_name is None:
        if imagery or out or rights or method != "transfer":
            raise UsageError(
                "--imagery, --out, --method and --i-have-rights belong to listings, and these need a run",
                where=str(source),
                remedy="Add --run RUN.",
            )
        if source.suffix != ".toml":
            raise UsageError(
                "to explain a listings file, name the run",
                where=str(source),
                remedy="Add --run RUN --imagery ARCHIVE --out FOLDER.",
            )
        with _project(source, runs, scheduler=scheduler) as project:
            _print(pipeline.explain(project))
        return
    if scheduler:
        raise UsageError(
            "--scheduler belongs to the step of a configuration",
            where=str(source),
            remedy="Leave it out; new listings are explained on this machine.",
        )
    if out is None or imagery is None:
        raise UsageError(
            "--imagery and --out are needed with --run", remedy="Add --imagery ARCHIVE --out FOLDER."
        )
    _print(
        pipeline.explain_listings(
            source, runs, run_name, imagery=imagery, out=out, method=method, rights_reference=rights
        )
    )


@app.command()
def evaluate(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: measure on later sales, then fit the serving model on all sales."""
    from housevis import pipeline

    with _project(config, runs) as project:
        _print(pipeline.evaluate(project))


@app.command()
def atlas(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Agents: build the map of houses with prices, estimates, drivers and attention maps."""
    from housevis import pipeline

    with _project(config, runs) as project:
        _print(pipeline.atlas(project))


@app.command()
def report(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Managers: build the page of price drivers."""
    from housevis import pipeline

    with _project(config, runs) as project:
        _print(pipeline.report(project))


@app.command()
def export(
    config: ConfigFile,
    out: Annotated[
        Path,
        typer.Option(help="File to write: .gpkg (GeoPackage) or .parquet (GeoParquet).", metavar="FILE"),
    ],
    sales: Annotated[bool, typer.Option("--sales", help="One row per sale, not per house.")] = False,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: write houses with their estimates for QGIS. Estimates, not appraisals."""
    from housevis import pipeline

    with _project(config, runs) as project:
        _print(pipeline.export(project, out, every_sale=sales))


@app.command()
def remove(
    config: ConfigFile,
    house_ids: Annotated[list[str], typer.Argument(help="Ids of the houses.", metavar="HOUSE_ID...")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: take houses out for good; a receipt lists what remains."""
    from housevis import pipeline

    with _project(config, runs, reads_only=dry_run) as project:
        if dry_run or not yes:
            _print(pipeline.plan_removal(project, house_ids))
        if dry_run:
            return
        if not yes:
            typer.confirm("Remove for good?", abort=True)
        _print(pipeline.remove(project, house_ids))


@archives.command("export")
def archive_export(
    config: ConfigFile,
    file: Annotated[Path, typer.Argument(help="New file to write: .mbtiles or .pmtiles.", metavar="FILE")],
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: write all fetched tiles to one file, for QGIS or a tile server."""
    from housevis import pipeline

    with _project(config, runs, reads_only=True) as project:
        _print(pipeline.archive_export(project, file))


@archives.command("import")
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

    with _project(config, runs, rights) as project:
        _print(pipeline.archive_import(project, file, provider=provider))


@app.command()
def serve(
    run_name: Annotated[str, typer.Argument(help="A run's name or id.", metavar="RUN")],
    host: Annotated[str, typer.Option(help="Loopback address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8000,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Agents: show a run's map and report in the browser, on this machine only."""
    from housevis import pipeline

    pipeline.serve(runs, run_name, host=host, port=port)


@app.command()
def estimate(
    listings: Annotated[Path, typer.Argument(help="Listings file; needs no price.", metavar="LISTINGS")],
    run_name: RunName,
    imagery: Imagery = None,
    out: Annotated[Path, typer.Option(help="CSV file to write.", metavar="FILE")] = Path("estimates.csv"),
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Valuation date of listings without a date of their own [today]."
        ),
    ] = None,
    rights: Rights = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Agents and analysts: estimate new houses. An estimate, not an appraisal."""
    from housevis import pipeline

    _print(
        pipeline.estimate(
            listings,
            runs,
            run_name,
            imagery=imagery,
            out=out,
            as_of=as_of.date() if as_of else date.today(),
            rights_reference=rights,
        )
    )


def main() -> None:
    """Run the command line; errors become one message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
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
