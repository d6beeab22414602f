"""`housevis export`: houses or sales with their estimates, for QGIS and everyone else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.land_cover import LAND_COVERS
from db.store import read_houses, read_images, read_sale_flags, read_sales, removed_houses
from housevis.core.errors import RunError, UsageError
from housevis.core.workspace import Workspace
from housevis.pipeline.attention import load_parts
from housevis.pipeline.geo_files import GeoTable, check_kind, write_geo_table
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.runs import Run, find_run, read_json, read_parquet, write_json

EXPORTS = "exports.json"
"""Paths of what was exported, so that a removed house is taken out of them too."""

NOTICE = "estimate, not an appraisal"


def export(project: Project, out: Path, *, every_sale: bool = False) -> StepResult:
    """Write the houses, or all sales, as GeoParquet or GeoPackage.

    Args:
        project: An open project with listings.
        out: The file; its name ends in ``.parquet``, ``.geoparquet`` or ``.gpkg``.
        every_sale: One row per sale in place of one per house.

    Returns:
        Figures ``rows``, ``with_estimate``, ``run_id`` (None where no run is
        current), ``file``.

    Raises:
        UsageError: The name is of another kind of file, or the listings' own.
        RunError: There are no sales.
        StorageError: The file cannot be written.
    """
    started = time.perf_counter()
    check_kind(out)
    listings = project.config.listings.path
    if listings is not None and out.is_file() and listings.is_file() and out.samefile(listings):
        raise UsageError(
            "the export would replace the listings", where=str(out), remedy="Give --out another file."
        )
    table, run = export_table(project, every_sale=every_sale)
    _remember(project.workspace, out)
    write_geo_table(table, out)
    with_estimate = int(table.frame["estimate"].notna().sum())
    lines = [
        f"exported {len(table.frame):,} {table.layer}, {with_estimate:,} with an estimate: {out}",
        f"Amounts are in {project.config.listings.currency}. These are estimates, not appraisals.",
    ]
    if run is None:
        lines.append("there is no current run, so there are no estimates: run `housevis run CONFIG`")
    figures = {
        "rows": len(table.frame),
        "with_estimate": with_estimate,
        "run_id": run.run_id if run is not None else None,
        "file": str(out),
    }
    return StepResult("export", lines, figures, time.perf_counter() - started)


def export_table(project: Project, *, every_sale: bool) -> tuple[GeoTable, Run | None]:
    """What :func:`export` writes, and the run whose estimates it holds.

    Raises:
        RunError: There are no sales, or the estimates of the run are damaged.
    """
    import geopandas

    engine = project.engine
    sales = read_sales(engine)
    sales = sales[~sales["house_id"].isin(removed_houses(engine))]
    if sales.empty:
        raise RunError("the database holds no sales", remedy="Run `housevis ingest CONFIG` first.")
    if not every_sale:
        sales = sales.drop_duplicates("house_id", keep="last")
    known = read_houses(engine)[["house_id", "unit", "listing_url"]]
    rows = sales.merge(known, on="house_id", how="left", validate="many_to_one")
    rows = rows.merge(_flags(project), on="sale_id", how="left", validate="one_to_one")
    rows["picture"] = _picture_status(project, rows["house_id"])
    run = _current_run(project)
    rows = rows.merge(_estimates(run), on="sale_id", how="left", validate="one_to_one")
    rows["currency"] = project.config.listings.currency
    points = geopandas.points_from_xy(rows["longitude"], rows["latitude"], crs="EPSG:4326")
    rows["sale_date"] = rows["sale_date"].dt.date
    for name in ("address", "unit", "listing_url", "previous_sale_id", "outlier_reasons", "outlier_rules"):
        rows[name] = rows[name].astype("str")
    order = [
        *("house_id", "sale_id", "address", "unit", "listing_url", "sale_date", "price", "currency"),
        *("estimate", "estimate_low", "estimate_high", "model_id", "sample"),
    ]
    rest = [name for name in rows.columns if name not in order and name not in ("latitude", "longitude")]
    frame = geopandas.GeoDataFrame(rows[[*order, *rest]].reset_index(drop=True), geometry=points)
    return GeoTable(frame, "sales" if every_sale else "houses", _metadata(project, run)), run


def known_exports(workspace: Workspace) -> list[Path]:
    """The files that were exported from a workspace, where they were at the time."""
    record = workspace.folder / EXPORTS
    return [Path(path) for path in read_json(record)] if record.is_file() else []


def _remember(workspace: Workspace, out: Path) -> None:
    paths = [str(path) for path in known_exports(workspace)]
    if str(out.resolve()) not in paths:
        write_json(workspace.folder / EXPORTS, [*paths, str(out.resolve())])


def _current_run(project: Project) -> Run | None:
    if not project.workspace.current.is_file():
        return None
    return find_run(project.workspace.folder.parent, project.config.name)


def _flags(project: Project) -> pd.DataFrame:
    flags = read_sale_flags(project.engine)
    flags["outlier_reasons"] = [", ".join(codes) if codes else None for codes in flags["outlier_reasons"]]
    return flags


def _picture_status(project: Project, house_ids: pd.Series) -> np.ndarray:
    """``"yes"``, ``"in part"`` (tiles are missing) or ``"none"`` for each house."""
    imagery = project.config.imagery
    images = read_images(project.engine, imagery.framing, imagery.zoom).set_index("house_id")
    found = images.reindex(house_ids)
    there = found["image_key"].notna().to_numpy()
    in_part = (found["missing_tiles"] > 0).to_numpy()
    return np.where(there & in_part, "in part", np.where(there, "yes", "none")).astype(object)


def _estimates(run: Run | None) -> pd.DataFrame:
    names = {"low": "estimate_low", "high": "estimate_high"}
    columns = ["sale_id", "estimate", "low", "high", "model_id", "sample"]
    if run is None:
        empty: dict[str, Any] = {name: pd.Series(dtype="float64") for name in columns}
        texts = {name: pd.Series(dtype="str") for name in ("sale_id", "model_id", "sample")}
        return pd.DataFrame(empty | texts).rename(columns=names)
    judged = read_parquet(run.estimates)
    drivers = {
        name: "driver_" + name.removeprefix(DRIVER_PREFIX).replace(" ", "_")
        for name in driver_columns(judged)
    }
    kept = judged[[*columns, "base", *drivers]]
    kept = kept.rename(columns={**names, "base": "driver_base", **drivers})
    return kept.merge(_value_maps(run), on="sale_id", how="left", validate="one_to_one")


def _value_maps(run: Run) -> pd.DataFrame:
    """What is known of the value maps: they belong to the sale that is shown of a house."""
    names = {"value_status": "value_map", "surroundings": "picture_surroundings"}
    maps = load_parts(run.maps)
    table = maps.houses[["sale_id", *names]].rename(columns=names)
    texts = {"sale_id": "str", "value_map": "str"}
    table = table.astype(texts | {"picture_surroundings": "float64"})
    amounts = {f"picture_on_{cover}": maps.under.money[:, n] for n, cover in enumerate(LAND_COVERS)}
    shares = {f"attention_on_{cover}": maps.under.attention[:, n] for n, cover in enumerate(LAND_COVERS)}
    return table.assign(**amounts, **shares)


def _metadata(project: Project, run: Run | None) -> dict[str, str]:
    config = project.config
    attribution = ""
    if project.workspace.archive.is_file():
        with TileArchive(project.workspace.archive) as archive:
            attribution = archive.attribution
    return {
        "title": config.atlas.title or config.name,
        "notice": NOTICE,
        "currency": config.listings.currency,
        "area_unit": "m2",
        "interval": f"{config.pricing.interval:g}",
        "run_id": run.run_id if run is not None else "",
        "attribution": attribution,
    }
