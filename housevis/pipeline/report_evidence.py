"""What a run's report rests on: its tables, the pictures it shows, and the model card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage
from db.store import last_step
from housevis.core.config import Config
from housevis.pipeline.attention import AttentionMaps
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.evaluating import stage_seconds
from housevis.pipeline.model_card import day_in_words, model_card
from housevis.pipeline.project import Project
from housevis.pipeline.report_figures import described_tables, judged_sales, report_tables
from housevis.pipeline.report_tables import TABLES, ReportTable, keep_tables, kept_tables
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel, is_complete
from housevis.runs import Run, read_parquet
from housevis.views.moved_houses import MovedPictures, moved_pictures
from housevis.views.report_evidence import Evidence, MarketLevel


def report_evidence(
    project: Project, run: Run, sold: SoldHouses, maps: AttentionMaps | None, studies: pd.DataFrame | None
) -> tuple[Evidence, dict[str, pd.DataFrame]]:
    """Everything that the report says beyond the run's own figures, and the tables behind it.

    Args:
        project: The project.
        run: The run, evaluated.
        sold: Its sales.
        maps: The value maps; None in a run without pictures.
        studies: The ratio studies by group; None of an older run.

    Returns:
        The evidence, and the tables by name.

    Raises:
        RunError: A file of the run is missing or damaged.
        ModelError: A model of the run is damaged.
    """
    config = project.config
    table = judged_sales(config, sold, read_parquet(run.estimates))
    if config.uses_pictures:
        table = table.merge(_picture_scores(run, sold), on="sale_id", how="left", validate="one_to_one")
    attributes = list(run.record["config"]["pricing"]["attributes"])
    tables = report_tables(config, table, attributes)
    level = _market_level(run, tables)
    if level.last_sale is not None:
        tables["market_index"] = level.table
    card = model_card(project, run, table, studies)
    tables["model_card"] = pd.DataFrame(
        [(row.item, sentence) for row in card for sentence in row.says], columns=["item", "says"]
    )
    tables["settings"] = _settings(config)
    tables |= _run_tables(project, run, studies)
    if maps is not None and len(maps.houses):
        around = maps.houses.drop_duplicates("sale_id").set_index("sale_id")["surroundings"]
        found = tables["picture_moved_most"]
        found["surroundings"] = found["sale_id"].map(around).astype("float64")
    ginis = tables["gini"].set_index("figure")["value"]
    moved = tables.get("picture_moved_most")
    evidence = Evidence(
        misses=tables["biggest_misses"],
        lorenz=tables["lorenz_curve"],
        gini_prices=float(ginis["gini_prices"]),
        gini_estimates=float(ginis["gini_estimates"]),
        cells=tables.get("market_map"),
        level=level,
        valuation=_valuation(table),
        card=card,
        gain=tables.get("picture_gain"),
        moved=moved,
        moved_pictures=_pictures(project, table, moved, maps) if moved is not None and maps else None,
        by_picture=tables.get("representativeness"),
        grades=tables.get("confidence"),
        doubts=tables.get("confidence_reasons"),
        area_unit=config.listings.area_unit,
    )
    return evidence, tables


def keep_report_tables(run: Run, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the report's tables into the run's folder."""
    keep_tables(run, described_tables(tables))


def all_tables(run: Run) -> list[ReportTable]:
    """The tables of the report and those that other parts of it keep in the run's folder."""
    found = {each.name: each for each in kept_tables(run)}
    others = {
        "validation": "Tests of the model beside simple methods; see `housevis validate`.",
        "comparables": "The sales that support each judged estimate.",
    }
    for name, holds in others.items():
        path = run.folder / f"{name}.parquet"
        if name not in found and path.is_file():
            found[name] = ReportTable(name, holds, read_parquet(path))
    return list(found.values())


def others_digest(run: Run, own: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the estimates and of the tables that other parts keep, so that the report follows them."""
    others = [path for path in sorted((run.folder / TABLES).glob("*.parquet")) if path.stem not in own]
    return {path.stem: _digest(path) for path in [run.estimates, *others] if path.is_file()}


def _picture_scores(run: Run, sold: SoldHouses) -> pd.DataFrame:
    """How dear the ranker takes the later sales to be from their pictures alone; more is dearer."""
    chosen = ~sold.is_earlier & (sold.image_keys != "")
    ranker = ValuationModel.load(run.evaluation / EARLIER).picture_ranker()
    scores = ranker.score(sold.pooled[chosen]) if chosen.any() else np.empty(0)
    return pd.DataFrame(
        {"sale_id": sold.sales.loc[chosen, "sale_id"], "picture_score": scores.astype(np.float64)}
    )


def _settings(config: Config) -> pd.DataFrame:
    """What somebody who recomputes the report has to know besides the estimates."""
    rows = {
        "seed": config.seed,
        "bootstrap": config.pricing.bootstrap,
        "interval": config.pricing.interval,
        "currency": config.listings.currency,
        "area_unit": config.listings.area_unit,
        "area": config.ratio_studies.area or "",
        "kind": config.ratio_studies.kind or "",
        "attributes": ", ".join(config.pricing.attributes),
        "pictures": "yes" if config.uses_pictures else "no",
    }
    return pd.DataFrame([(name, str(value)) for name, value in rows.items()], columns=["setting", "value"])


def _run_tables(project: Project, run: Run, studies: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """What the run itself recorded, as tables."""
    figures = run.metrics()
    ingested, fetched = last_step(project.engine, "ingest") or {}, last_step(project.engine, "tiles") or {}
    headline = figures["headline"]
    rows = [
        ("share_with", headline["share_with"], None, None),
        ("share_without", headline["share_without"], None, None),
        ("gain", headline["gain"], headline["gain_low"], headline["gain_high"]),
        *(
            (name, each["estimate"], each["low"], each["high"])
            for name, each in figures["ratio_study"].items()
            if isinstance(each, dict)
        ),
        ("covered", figures["interval"]["covered"], None, None),
        ("sales", figures["ratio_study"]["n"], None, None),
        ("rank_accuracy", figures.get("rank_accuracy"), None, None),
        ("listing_rows", ingested.get("rows"), None, None),
    ]
    ablation = [
        (
            row["name"], row["without"], row["with_visual"], (row["gain"] or {}).get("low"),
            (row["gain"] or {}).get("high"), row["mdape_without"], row["mdape_with"],
        )
        for row in figures["ablation"]
    ]  # fmt: skip
    columns = ["attributes", "without", "with", "gain_low", "gain_high", "mdape_without", "mdape_with"]
    tables = {
        "figures": pd.DataFrame(rows, columns=["figure", "value", "low", "high"]).dropna(subset=["value"]),
        "ablation": pd.DataFrame(ablation, columns=columns),
        "rejects": pd.DataFrame(list(ingested.get("rejected", {}).items()), columns=["reason", "rows"]),
        "steps": pd.DataFrame(list(stage_seconds(project, run).items()), columns=["step", "seconds"]),
    }
    numeric = dict.fromkeys(columns[1:], "float64")
    tables["ablation"] = tables["ablation"].astype(numeric)
    tables["figures"] = tables["figures"].astype({"value": "float64", "low": "float64", "high": "float64"})
    if project.config.uses_pictures:
        counts = [(status, fetched.get(status, 0)) for status in ("ok", "blank", "missing", "failed")]
        tables["tiles"] = pd.DataFrame(counts, columns=["status", "tiles"])
    if studies is not None:
        tables["ratio_studies"] = studies.rename_axis(None)
        tables["ratio_studies"].attrs = {}
    if figures.get("leakage"):
        tables["leakage"] = pd.DataFrame(figures["leakage"]["checks"], columns=["name", "result", "says"])
    return tables


def _market_level(run: Run, tables: Mapping[str, pd.DataFrame]) -> MarketLevel:
    """The market index of the model that serves new houses, or what prices leave by month."""
    for model_id in (SERVING, EARLIER):
        folder = model_folder(run, model_id)
        if not is_complete(folder):
            continue
        index = ValuationModel.load(folder).price_model.market_index_
        if index is not None:
            how = (
                f"The market index of the model for new houses ({index.kind.replace('-', ' ')}, "
                f"{index.sales:,} sales). The last sale is 100; beyond it the level is carried, dashed. "
                "No direction of the market is assumed."
            )
            return MarketLevel(index.table(), how, index.last_day)
        break
    how = (
        "What prices leave when the houses are accounted for: the mean log price less the out-of-sample "
        "estimate without its month of sale, by month. The last month is 100. This model carries no index "
        "beyond its sales."
    )
    return MarketLevel(tables["price_level"], how)


def _valuation(table: pd.DataFrame) -> str:
    last = day_in_words(table["sale_date"].max())
    return (
        "Every estimate is as of a date: those of this report as of the day of the house's own sale, those "
        f"of new houses as of the day asked for. The last known sale is of {last}; estimates for later days "
        "rest on what was known then."
    )


def _pictures(
    project: Project, table: pd.DataFrame, moved: pd.DataFrame, maps: AttentionMaps
) -> MovedPictures:
    config = project.config
    rows = table.set_index("sale_id").loc[moved["sale_id"]].reset_index()
    row_of = {sale_id: row for row, sale_id in enumerate(maps.houses["sale_id"])}
    images: dict[str, HouseImage] = {}
    with TileArchive(project.workspace.archive) as archive:
        loader = PictureLoader(archive, config.imagery, config.vision)
        places = {place.house_id: place for place in house_places(rows, config.imagery.zoom)}
        for sale_id, house_id in zip(rows["sale_id"], rows["house_id"].astype(str), strict=True):
            image = loader.picture(places[house_id])
            if image is not None:
                images[sale_id] = image
        attribution = archive.attribution
    values = {
        sale_id: np.asarray(maps.values[row_of[sale_id]])
        for sale_id in images
        if sale_id in row_of and maps.houses["value_status"].iloc[row_of[sale_id]] == "ok"
    }
    return moved_pictures(images, values, attribution)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
