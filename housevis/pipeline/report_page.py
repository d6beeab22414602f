"""The `report` step: the page that managers read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd

from data_pipeline.archive import TileArchive
from db.store import last_step
from housevis.core.config import Config
from housevis.explain.metrics import ANY_DRIVER, CEILINGS
from housevis.explain.under_heat import summaries
from housevis.pipeline.attention import AttentionMaps, load_parts
from housevis.pipeline.driver_tables import keep_driver_tables, read_driver_tables
from housevis.pipeline.evaluating import stage_seconds
from housevis.pipeline.explaining import has_same_weights
from housevis.pipeline.land_cover import land_cover_notes
from housevis.pipeline.model_card import code_fingerprint, moment_in_words
from housevis.pipeline.page_facts import headline, notice, shown_settings, training_members
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.ratio_studies import read_ratio_studies
from housevis.pipeline.report_evidence import (
    all_tables,
    keep_report_tables,
    others_digest,
    report_evidence,
)
from housevis.pipeline.report_exports import write_tables, write_workbook
from housevis.pipeline.report_figures import HOLDS
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses
from housevis.pipeline.validating import read_validation
from housevis.runs import Run, find_run
from housevis.views.leakage import Leakage
from housevis.views.report import build_report
from housevis.views.report_data import (
    AblationRow,
    AttentionScore,
    GlobalDriver,
    RatioStatistics,
    ReportData,
    ReportPictures,
)


def export_report_tables(project: Project, folder: Path | None, workbook: Path | None) -> list[StepResult]:
    """Write the tables behind the report, which is made first where it is not there.

    Args:
        project: An open project whose `evaluate` step is finished.
        folder: Where every table is written as CSV and Parquet; None writes none.
        workbook: The Excel workbook (``.xlsx``); None writes none.

    Returns:
        What was written.

    Raises:
        RunError: `evaluate` is not finished.
        UsageError: A name is of another kind of file.
        StorageError: A file cannot be written.
    """
    run = find_run(project.workspace.folder.parent, report(project).figures["run_id"])
    tables = all_tables(run)
    written = [write_tables(tables, folder, run_id=run.run_id)] if folder is not None else []
    return (
        [*written, write_workbook(tables, workbook, run_id=run.run_id)] if workbook is not None else written
    )


def report(project: Project) -> StepResult:
    """Build the page of price drivers: one self-contained HTML file.

    Returns:
        Figures ``page``, ``run_id``, ``settings`` (fingerprint).

    Raises:
        RunError: `evaluate` is not finished.
        LeakError: An estimate to be shown is not out of sample.
    """
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="evaluate")
    keep_driver_tables(project.config, run, sold)
    lines = [f"report of price drivers: {run.report}"]
    done, settings = run.steps().get("report"), _report_settings(project.config, run)
    if done is not None and done["figures"].get("settings") == settings and run.report.is_file():
        return StepResult("report", lines, done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    data, tables = _report_data(project, run, sold)
    keep_report_tables(run, tables)
    build_report(data, run.report)
    seconds = time.perf_counter() - started
    figures = {"page": str(run.report), "run_id": run.run_id, "settings": settings}
    run.finish("report", seconds, figures)
    return StepResult("report", lines, figures, seconds)


def _report_settings(config: Config, run: Run) -> str:
    """The same for the report, which also follows the tables it shows and the code that makes it."""
    tables = {"ratio_studies": read_ratio_studies(run), "validation": read_validation(run)}
    driven = read_driver_tables(run)
    if driven is not None:
        tables |= {"drivers_by_area": driven.by_area, "drivers_over_time": driven.over_time}
        tables["location_and_picture"] = driven.location_and_picture
    digests = {name: frame_digest(table) for name, table in tables.items() if table is not None}
    others = others_digest(run, HOLDS)
    return fingerprint(pages=shown_settings(config), code=code_fingerprint(), others=others, **digests)


def _report_data(project: Project, run: Run, sold: SoldHouses) -> tuple[ReportData, dict[str, pd.DataFrame]]:
    """What the report shows, and the tables behind it."""
    config, figures, record = project.config, run.metrics(), run.record
    studies = read_ratio_studies(run)
    maps = load_parts(run.maps) if config.uses_pictures else None
    evidence, tables = report_evidence(project, run, sold, maps, studies)
    judged = tables["estimates"]
    later = judged[judged["sample"] == "later sale"].reset_index(drop=True)
    training_sales, training_houses = training_members(run, sorted(set(later["model_id"])))
    ingested = last_step(project.engine, "ingest") or {}
    study = {
        name: value["estimate"] for name, value in figures["ratio_study"].items() if isinstance(value, dict)
    }
    data = ReportData(
        title=config.atlas.title or config.name,
        run_id=run.run_id,
        config_fingerprint=str(record["fingerprint"]),
        created=moment_in_words(str(record["created_at"])),
        currency=config.listings.currency,
        headline=headline(figures),
        estimates=later,
        training_sales=training_sales,
        training_houses=training_houses,
        ablation=tuple(_ablation_row(row) for row in figures["ablation"]),
        ratios=RatioStatistics(
            sales=figures["ratio_study"]["n"],
            **{name: study[name] for name in ("median_ratio", "cod", "prd", "prb", "mdape", "pe5", "pe20")},
        ),
        drivers=tuple(GlobalDriver(name, **amounts) for name, amounts in figures["drivers"].items()),
        listing_rows=ingested.get("rows", 0),
        rejects=ingested.get("rejected", {}),
        stages=stage_seconds(project, run),
        deviations=tuple(figures["deviations"]),
        leakage=Leakage.of(figures.get("leakage")),
        pictures=_report_pictures(project, run, figures, maps) if maps is not None else None,
        ratio_groups=studies,
        evidence=evidence,
        interval=config.pricing.interval,
        driver_tables=read_driver_tables(run),
        validation=read_validation(run),
        notice=notice(config),
        atlas_link="atlas/index.html",
    )
    if data.pictures is not None:
        tables |= _picture_tables(data.pictures)
    return data, tables


def _picture_tables(pictures: ReportPictures) -> dict[str, pd.DataFrame]:
    """What was measured on the pictures, as tables."""
    attention = [(score.name, score.kind, score.heat_ratio) for score in pictures.attention]
    covers = [
        (each.cover, each.houses, each.area, each.attention, each.ratio, each.money)
        for each in pictures.covers
    ]
    columns = ["cover", "pictures", "area", "attention", "ratio", "money"]
    land_cover = pd.DataFrame(covers, columns=columns)
    return {
        "attention": pd.DataFrame(attention, columns=["map", "kind", "heat_ratio"]),
        "land_cover": land_cover.astype(dict.fromkeys(columns[2:], "float64")),
    }


def _report_pictures(
    project: Project, run: Run, figures: dict[str, Any], maps: AttentionMaps
) -> ReportPictures:
    fetched = last_step(project.engine, "tiles") or {}
    backbone, under = run.record["backbone"], maps.under
    with TileArchive(project.workspace.archive) as archive:
        return ReportPictures(
            rank_accuracy=figures["rank_accuracy"],
            tiles={status: fetched.get(status, 0) for status in ("ok", "blank", "missing", "failed")},
            backbone=backbone["name"],
            backbone_choice=backbone["choice"],
            backbone_deviation=backbone["deviation"],
            provider=archive.provider,
            attribution=archive.attribution,
            rights_reference=archive.metadata.get("housevis_rights_reference") or None,
            attention=_attention_scores(figures),
            covers=tuple(summaries(under)) if under.is_known.any() else (),
            cover_notes=land_cover_notes(project.config, under),
            same_weights=has_same_weights(run),
        )


def _attention_scores(figures: dict[str, Any]) -> tuple[AttentionScore, ...]:
    """Heat on any true driver, of the run's own maps and of the yardsticks; the sample market only."""
    shares = figures.get("town", {}).get("attention", ())
    return tuple(
        AttentionScore(
            share["method"], share["ratio"], "reference" if share["method"] in CEILINGS else "method"
        )
        for share in shares
        if share["region"] == ANY_DRIVER and share["ratio"] is not None
    )


def _ablation_row(row: dict[str, Any]) -> AblationRow:
    gain = row["gain"] or {"low": None, "high": None}
    return AblationRow(
        attributes=row["name"],
        without=row["without"],
        with_visual=row["with_visual"],
        gain_low=gain["low"],
        gain_high=gain["high"],
        mdape_without=row["mdape_without"],
        mdape_with=row["mdape_with"],
    )
