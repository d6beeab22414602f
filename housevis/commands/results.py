"""What a finished run gives: pages, files, estimates, and houses taken out of it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from housevis.commands.shared import ConfigFile, Imagery, Rights, RunName, RunsFolder, opened_project, show
from housevis.core.errors import UsageError


def atlas(config: ConfigFile, runs: RunsFolder = Path("runs")) -> None:
    """Agents: build the map of houses with prices, estimates, drivers and attention maps."""
    from housevis import pipeline

    with opened_project(config, runs) as project:
        show(pipeline.atlas(project))


def report(
    config: ConfigFile,
    house: Annotated[
        str | None,
        typer.Option(
            help="The id of a sold house: its own report of two printed pages instead.", metavar="ID"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --house: HTML file to write [houses/ID.html in the run].", metavar="FILE"),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(help="Also write every table behind the report, as CSV and Parquet.", metavar="FOLDER"),
    ] = None,
    excel: Annotated[
        Path | None,
        typer.Option(help="Also write these tables as one Excel workbook (.xlsx).", metavar="FILE"),
    ] = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Managers: build the page of price drivers, or the report of one house."""
    from housevis import pipeline

    if (house is None and out is not None) or (house is not None and (tables or excel)):
        raise UsageError(
            "--out goes with --house, --tables and --excel go without it",
            where="housevis report",
            remedy="Name the house with --house ID, or leave the others out.",
        )
    with opened_project(config, runs) as project:
        if house is not None:
            show(pipeline.house_report(project, house, out))
            return
        show(pipeline.report(project))
        for written in pipeline.export_report_tables(project, tables, excel) if tables or excel else ():
            show(written)


def gallery(
    config: ConfigFile,
    houses: Annotated[
        int | None, typer.Option(help="How many houses of later sales, spread over the prices [12].", min=1)
    ] = None,
    house: Annotated[
        list[str] | None, typer.Option(help="The id of a house to show; may be repeated.", metavar="ID")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Names of methods with commas between them [all of `explain`].", metavar="NAMES"),
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.", metavar="FILE")] = Path("gallery.html"),
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: one page of sold houses, a column per method of explanation, scores beneath."""
    from housevis import pipeline
    from housevis.pipeline.gallery_page import DEFAULT_HOUSES

    if houses is not None and house:
        raise UsageError(
            "--houses and --house exclude each other",
            where="housevis gallery",
            remedy="Say how many houses, or name them.",
        )
    with opened_project(config, runs, reads_only=True) as project:
        show(
            pipeline.gallery(
                project,
                houses=houses or DEFAULT_HOUSES,
                house_ids=house or (),
                methods=[name.strip() for name in methods.split(",")] if methods else (),
                out=out,
            )
        )


def export(
    config: ConfigFile,
    out: Annotated[
        Path,
        typer.Option(help="File to write: .gpkg (GeoPackage) or .parquet (GeoParquet).", metavar="FILE"),
    ],
    sales: Annotated[bool, typer.Option("--sales", help="One row per sale, not per house.")] = False,
    ratio_studies: Annotated[
        bool, typer.Option("--ratio-studies", help="The ratio studies by group instead: .csv or .parquet.")
    ] = False,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: write houses with their estimates for QGIS. Estimates, not appraisals."""
    from housevis import pipeline

    with opened_project(config, runs) as project:
        if ratio_studies:
            show(pipeline.export_ratio_studies(project, out))
        else:
            show(pipeline.export(project, out, every_sale=sales))


def remove(
    config: ConfigFile,
    house_ids: Annotated[list[str], typer.Argument(help="Ids of the houses.", metavar="HOUSE_ID...")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Analysts: take houses out for good; a receipt lists what remains."""
    from housevis import pipeline

    with opened_project(config, runs, reads_only=dry_run) as project:
        if dry_run or not yes:
            show(pipeline.plan_removal(project, house_ids))
        if dry_run:
            return
        if not yes:
            typer.confirm("Remove for good?", abort=True)
        show(pipeline.remove(project, house_ids))


def serve(
    run_names: Annotated[list[str], typer.Argument(help="Names or ids of runs.", metavar="RUN...")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's needs HOUSEVIS_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8000,
    imagery: Annotated[
        str | None,
        typer.Option(
            help="A provider or a path, for new houses that the run's archive has no picture of [none].",
            metavar="IMAGERY",
        ),
    ] = None,
    requests_per_second: Annotated[
        float, typer.Option(help="What one address may ask of the API for long.", min=0.1)
    ] = 100.0,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Agents: show runs in the browser, with what-if, estimates of new houses, and a JSON API."""
    from housevis import pipeline
    from housevis.views.server_guard import Limits

    limits = Limits(requests_per_second=requests_per_second, burst=6 * requests_per_second)
    pipeline.serve(runs, run_names, host=host, port=port, imagery=imagery, limits=limits)


def publish(
    run_name: Annotated[str, typer.Argument(help="Name or id of a run.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="Folder to write.", metavar="FOLDER")] = Path("site"),
    runs: RunsFolder = Path("runs"),
) -> None:
    """Agents: write a run's map, house pages and report as a folder for any static host."""
    from housevis import pipeline

    show(pipeline.publish(runs, run_name, out))


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
    comparables: Annotated[
        Path | None,
        typer.Option(help="Also write the six sales that support each estimate, as CSV.", metavar="FILE"),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="What if: an attribute's other value; may be repeated.", metavar="NAME=VALUE"
        ),
    ] = None,
    rights: Rights = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Agents and analysts: estimate new houses. An estimate, not an appraisal."""
    from housevis import pipeline

    show(
        pipeline.estimate(
            listings,
            runs,
            run_name,
            imagery=imagery,
            out=out,
            as_of=as_of.date() if as_of else date.today(),
            rights_reference=rights,
            comparables=comparables,
            changes=changes or (),
        )
    )
