"""The `atlas` and `report` steps, and the server that shows them."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage
from db.store import last_step, read_images
from housevis.core.config import Config
from housevis.core.errors import RunError, UsageError
from housevis.explain.metrics import ANY_DRIVER, CEILINGS
from housevis.explain.under_heat import summaries
from housevis.pipeline.attention import load_parts
from housevis.pipeline.embedding import PictureLoader, places_in_order
from housevis.pipeline.evaluating import stage_seconds
from housevis.pipeline.explaining import has_same_weights, shown_sales
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.pipeline.land_cover import land_cover_mark, land_cover_notes
from housevis.pipeline.leaks import houses_to_hide
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.ratio_studies import read_ratio_studies
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run, find_run, read_parquet
from housevis.views.atlas import build_atlas
from housevis.views.data import (
    AblationRow,
    AtlasData,
    AtlasPictures,
    AttentionScore,
    GlobalDriver,
    Headline,
    RatioStatistics,
    ReportData,
    ReportPictures,
)
from housevis.views.leakage import Leakage
from housevis.views.report import build_report
from housevis.views.server import check_loopback
from housevis.views.server import serve as serve_folder

_PLANTED = "are generated, and the effect of pools, water, trees and arterial roads on the price was planted."
FICTIONAL = f"This town is fictional: streets, houses, prices and pictures {_PLANTED}"
FICTIONAL_WITHOUT_PICTURES = f"This town is fictional: streets, houses and prices {_PLANTED}"


def atlas(project: Project) -> StepResult:
    """Build the map of sold houses; works from disk, without a connection.

    Returns:
        Figures ``page``, ``houses``, ``run_id``, ``settings`` (fingerprint).

    Raises:
        RunError: `evaluate` is not finished.
        LeakError: An estimate to be shown is not out of sample.
    """
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="evaluate")
    page = run.atlas / "index.html"
    done, settings = run.steps().get("atlas"), _shown_settings(project.config)
    if done is not None and done["figures"].get("settings") == settings and page.is_file():
        return StepResult("atlas", _atlas_lines(page), done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    records = _records(run, sold)
    with ExitStack() as stack:
        pictures = None
        if project.config.uses_pictures:
            archive = stack.enter_context(TileArchive(project.workspace.archive))
            records, pictures = _with_pictures(project, run, records, archive)
        built = build_atlas(_atlas_data(project, run, sold, records, pictures), run.atlas)
    seconds = time.perf_counter() - started
    figures = {
        "page": str(built.page),
        "houses": built.houses,
        "run_id": run.run_id,
        "settings": settings,
    }
    run.finish("atlas", seconds, figures)
    return StepResult("atlas", _atlas_lines(page), figures, seconds)


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
    lines = [f"report of price drivers: {run.report}"]
    done, settings = run.steps().get("report"), _report_settings(project.config, run)
    if done is not None and done["figures"].get("settings") == settings and run.report.is_file():
        return StepResult("report", lines, done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    build_report(_report_data(project, run), run.report)
    seconds = time.perf_counter() - started
    figures = {"page": str(run.report), "run_id": run.run_id, "settings": settings}
    run.finish("report", seconds, figures)
    return StepResult("report", lines, figures, seconds)


def serve(runs_folder: Path, run_name: str, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Show a run's map and report at a loopback address until stopped.

    Raises:
        RunError: There is no such run, or its map is not built.
        UsageError: The address is not of this machine, or the port is taken.
    """
    run = find_run(runs_folder, run_name)
    if not (run.atlas / "index.html").is_file():
        raise RunError(
            "the map of this run is not built", where=run.run_id, remedy="Run `housevis atlas CONFIG` first."
        )
    check_loopback(host)
    _check_port(host, port)
    serve_folder(run.folder, host=host, port=port)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise UsageError(
                f"port {port} of {host} cannot be listened at ({problem.strerror})",
                where="--port",
                remedy="Take another port, for example --port 8765.",
            ) from None


def _shown_settings(config: Config) -> str:
    """A fingerprint of the settings that change the pages and nothing else."""
    return fingerprint(
        atlas=config.atlas.model_dump(mode="json"),
        area_unit=config.listings.area_unit,
        attribution=config.imagery.attribution,
        rights_reference=config.imagery.rights_reference,
        land_cover=land_cover_mark(config.land_cover) if config.uses_pictures else "",
        land_cover_attribution=config.land_cover.attribution,
    )


def _report_settings(config: Config, run: Run) -> str:
    """The same for the report, which shows the ratio studies where the run has some."""
    studies = read_ratio_studies(run)
    shown = _shown_settings(config)
    return shown if studies is None else fingerprint(pages=shown, ratio_studies=frame_digest(studies))


def _atlas_lines(page: Path) -> list[str]:
    return [f"map: {page.resolve().as_uri()}"]


def _training_members(
    run: Run, model_ids: Collection[str]
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The sales and the houses that each model was fitted on, as its own folder records them."""
    sales, houses = {}, {}
    for model_id in model_ids:
        training = ValuationModel.load(model_folder(run, model_id)).training
        sales[model_id] = set(training["sale_id"])
        houses[model_id] = houses_to_hide(run, model_id, training)
    return sales, houses


def _largest_first(judged: pd.DataFrame) -> list[list[tuple[str, float]]]:
    """Drivers and amounts of every row, the largest amount first whatever its sign."""
    columns = driver_columns(judged)
    names = [column.removeprefix(DRIVER_PREFIX) for column in columns]
    return [
        sorted(zip(names, row, strict=True), key=lambda driver: -abs(driver[1]))
        for row in judged[columns].to_numpy().tolist()
    ]


def _records(run: Run, sold: SoldHouses) -> pd.DataFrame:
    """One row per house, its last sale, with the out-of-sample estimate."""
    judged = read_parquet(run.estimates)
    judged["drivers"] = pd.Series(_largest_first(judged), index=judged.index, dtype=object)
    shown = shown_sales(sold)[
        ["sale_id", "latitude", "longitude", "address", "bedrooms", "bathrooms", "area_m2"]
    ]
    columns = [
        "sale_id", "house_id", "price", "sale_date", "estimate", "low", "high", "base", "model_id", "sample",
        "drivers",
    ]  # fmt: skip
    return shown.merge(judged[columns], on="sale_id", validate="one_to_one")


def _with_pictures(
    project: Project, run: Run, records: pd.DataFrame, archive: TileArchive
) -> tuple[pd.DataFrame, AtlasPictures]:
    """The records with what is known of their pictures, and the pictures themselves."""
    config = project.config
    maps = load_parts(run.maps)
    row_of = {house_id: row for row, house_id in enumerate(maps.houses["house_id"])}
    rows = records["house_id"].map(row_of)
    has_map = rows.notna().to_numpy()
    heat = np.zeros((len(records), *maps.heats.shape[1:]), dtype=np.float32)
    heat[has_map] = maps.heats[rows[has_map].astype(int)]
    found = maps.houses.reindex(rows)
    records = records.assign(
        status=found["status"].fillna("no imagery").to_numpy(),
        neighbour_house_id=found["neighbour_house_id"].to_numpy(),
    )
    images = read_images(project.engine, config.imagery.framing, config.imagery.zoom).set_index("house_id")
    bounds = images.reindex(records["house_id"])[["west", "south", "east", "north"]].to_numpy(float)
    loader = PictureLoader(archive, config.imagery, config.vision)
    places = {place.house_id: place for place in places_in_order(records)}

    def picture(house_id: str) -> HouseImage | None:
        return loader.picture(places[house_id])

    pictures = AtlasPictures(
        heat=heat,
        heat_bounds=np.nan_to_num(bounds),
        picture=picture,
        attribution=archive.attribution,
        base_map=config.atlas.base_map,
        under=maps.under.found(rows.to_numpy(np.float64)),
        under_notes=land_cover_notes(config, maps.under),
        same_weights=has_same_weights(run),
    )
    return records, pictures


def _atlas_data(
    project: Project, run: Run, sold: SoldHouses, records: pd.DataFrame, pictures: AtlasPictures | None
) -> AtlasData:
    config = project.config
    training_sales, training_houses = _training_members(run, sold.evaluation_models())
    return AtlasData(
        title=config.atlas.title or config.name,
        run_id=run.run_id,
        records=records,
        currency=config.listings.currency,
        pictures=pictures,
        training_sales=training_sales,
        training_houses=training_houses,
        area_unit=config.listings.area_unit,
        interval=config.pricing.interval,
        headline=_headline(run.metrics()),
        notice=_notice(config),
        report_link="../report.html",
    )


def _notice(config: Config) -> str | None:
    if config.sample_market is None:
        return None
    return FICTIONAL if config.uses_pictures else FICTIONAL_WITHOUT_PICTURES


def _headline(figures: dict[str, Any]) -> Headline:
    return Headline(**figures["headline"])


def _report_data(project: Project, run: Run) -> ReportData:
    config, figures, record = project.config, run.metrics(), run.record
    judged = read_parquet(run.estimates)
    later = judged[judged["sample"] == "later sale"].reset_index(drop=True)
    training_sales, training_houses = _training_members(run, sorted(set(later["model_id"])))
    ingested = last_step(project.engine, "ingest") or {}
    study = {
        name: value["estimate"] for name, value in figures["ratio_study"].items() if isinstance(value, dict)
    }
    return ReportData(
        title=config.atlas.title or config.name,
        run_id=run.run_id,
        config_fingerprint=str(record["fingerprint"]),
        created=str(record["created_at"]),
        currency=config.listings.currency,
        headline=_headline(figures),
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
        pictures=_report_pictures(project, run, figures) if config.uses_pictures else None,
        ratio_groups=read_ratio_studies(run),
        notice=_notice(config),
        atlas_link="atlas/index.html",
    )


def _report_pictures(project: Project, run: Run, figures: dict[str, Any]) -> ReportPictures:
    fetched = last_step(project.engine, "tiles") or {}
    backbone, under = run.record["backbone"], load_parts(run.maps).under
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
