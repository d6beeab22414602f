"""The steps from listings to figures, one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from housevis.commands.shared import ConfigFile, Imagery, Rights, RunsFolder, Scheduler, opened_project, show
from housevis.core.config import load_config
from housevis.core.errors import HousevisError, UsageError


def run(
    config: ConfigFile,
    rights: Rights = None,
    scheduler: Scheduler = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: run every step, from listings to map and report; finished work is not done again."""
    from housevis import pipeline

    with opened_project(config, runs, rights, scheduler=scheduler) as project:
        show(pipeline.run(project, show=show))


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
        show(pipeline.preview_ingest(load_config(config)))
        return
    with opened_project(config, runs, scheduler=scheduler) as project:
        show(pipeline.ingest(project))


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
        with opened_project(config, runs, rights) as project:
            result = pipeline.verify_tiles(project)
        show(result)
        raise typer.Exit(0 if result.figures["agrees"] else HousevisError.exit_code)
    with opened_project(config, runs, rights, scheduler=scheduler, reads_only=plan) as project:
        if plan:
            show(pipeline.plan_tiles(project))
        else:
            show(pipeline.tiles(project, refresh=refresh, retry_failed=retry_failed))


def embed(config: ConfigFile, scheduler: Scheduler = None, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: turn every house's picture into a pooled feature."""
    from housevis import pipeline

    with opened_project(config, runs, scheduler=scheduler) as project:
        show(pipeline.embed(project))


def train(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: fit the feature learners and the gradient boosting on the earlier sales."""
    from housevis import pipeline

    with opened_project(config, runs) as project:
        show(pipeline.train(project))


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
    with opened_project(config, runs, reads_only=started_rank() > 0) as project:
        settings = FinetuneSettings(epochs, batch_size, learning_rate, seed=project.config.seed)
        result = pipeline.finetune(
            project,
            train="trunk" if layers == "trunk" else "layer4",
            folds=folds,
            targets=target or ("price", "residual", "residual-without-location"),
            settings=settings,
        )
    if started_rank() == 0:
        show(result)


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
        with opened_project(source, runs, scheduler=scheduler) as project:
            show(pipeline.explain(project))
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
    show(
        pipeline.explain_listings(
            source, runs, run_name, imagery=imagery, out=out, method=method, rights_reference=rights
        )
    )


def evaluate(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Analysts: measure on later sales, then fit the serving model on all sales."""
    from housevis import pipeline

    with opened_project(config, runs) as project:
        show(pipeline.evaluate(project))


def validate(
    config: ConfigFile,
    tests: Annotated[
        str | None,
        typer.Option(
            help="by-date, rolling-origin, by-house and by-spatial-block, with commas between them [all].",
            metavar="NAMES",
        ),
    ] = None,
    origins: Annotated[int, typer.Option(help="Origins of the rolling origin.", min=1)] = 4,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: judge the run's model under other tests, beside simple methods."""
    from housevis import pipeline
    from housevis.pricing.validation import TESTS

    with opened_project(config, runs) as project:
        names = [name.strip() for name in tests.split(",")] if tests is not None else TESTS
        show(pipeline.validate(project, tests=names, origins=origins))
