"""New houses: estimates and attention maps by the serving model of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.addresses import redacted
from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage
from data_pipeline.listings import read_new_listings
from housevis.core.config import Config
from housevis.core.errors import ImageryError, ListingsError, RunError
from housevis.core.progress import progress_bar
from housevis.core.storage import explained_disk_errors
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.comparables import comparables_of_new
from housevis.pipeline.embedding import HousePlace, PictureLoader, places_in_order
from housevis.pipeline.explaining import GLOBAL, LOCAL
from housevis.pipeline.judging import estimate_table, interval_features
from housevis.pipeline.land_cover import LandCoverReader, land_cover_notes, under_heat_table
from housevis.pipeline.method_maps import HouseBatch, open_method
from housevis.pipeline.new_imagery import open_new_imagery
from housevis.pipeline.result_files import check_result_file, write_attention, write_csv, write_rejects
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import stored_pool
from housevis.pipeline.valuation import ValuationModel, is_complete, no_pictures
from housevis.pipeline.what_if import WhatIf, change_lines, changed_columns, read_changes
from housevis.pricing.confidence import ConfidenceRules
from housevis.pricing.intervals import Calibration
from housevis.runs import Run, find_run
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import fit_picture, iterate_features
from housevis.vision.engines import open_engine
from housevis.vision.neighbourhood import PicturePool

UNDER_HEAT_FILE = "under-heat.csv"
ESTIMATE_COLUMNS = [
    "id", "estimate", "low", "high", "currency", "valuation_date", "imagery", "confidence",
    "confidence_reasons",
]  # fmt: skip


def estimate(
    listings: Path,
    runs_folder: Path,
    run_name: str,
    *,
    imagery: str | None,
    out: Path,
    as_of: date,
    rights_reference: str | None = None,
    comparables: Path | None = None,
    changes: Sequence[str] = (),
) -> StepResult:
    """Estimate listings with a run's serving model and write them as CSV.

    Args:
        listings: Listings file; needs no price.
        runs_folder: Where the runs lie.
        run_name: A run's name or id.
        imagery: Name of a provider, tile address, or a path; None estimates every house
            without a picture. It is left unread where the run uses no pictures.
        out: The CSV file: ``id, estimate, low, high, currency,
            valuation_date, imagery`` (``yes`` or ``none``), ``confidence,
            confidence_reasons`` (empty of a run made before there were any).
            Rejected rows go to ``<out>.rejects.csv``.
        as_of: Valuation date of a listing that has no date of its own.
        rights_reference: The user's own right to use the imagery.
        comparables: CSV file for the six sales that support each estimate, see
            :func:`housevis.pipeline.comparables.comparables_of_new`; None writes none.
        changes: Settings such as ``bathrooms=3``, all made at once: the file then has the columns
            :data:`housevis.pipeline.what_if.CHANGED_COLUMNS` too.

    Raises:
        RunError: There is no such finished run.
        ListingsError: The file cannot be read, or no row of it can be used.
        RightsError: The imagery's terms do not allow it.
        UsageError: `out` is a folder, or the listings themselves; a change cannot be made.
        StorageError: The file cannot be written.
    """
    check_result_file(out, listings)
    if comparables is not None:
        check_result_file(comparables, listings)
    run, config = _finished_run(runs_folder, run_name)
    change = read_changes(changes, config)
    houses, rejects = _read_houses(listings, config)
    houses["sale_date"] = houses["sale_date"].fillna(pd.Timestamp(as_of))
    pooled, imagery_lines = _pooled_features(run, config, houses, imagery, rights_reference)
    model = ValuationModel.load(run.serving)
    table = estimate_table(model, houses, pooled)
    attributes = interval_features(model, houses)
    table["low"], table["high"] = Calibration.load(run.serving).interval(
        table["estimate"].to_numpy(), attributes
    )
    rules = ConfidenceRules.load(run.serving)
    if rules is not None:
        taken = config.imagery.taken
        graded = rules.grade(houses, attributes, table, config.pricing.interval, picture_taken=taken)
        table = table.join(graded)
    result = pd.DataFrame(
        {
            "id": houses["house_id"],
            "estimate": table["estimate"].round(2),
            "low": table["low"].round(2),
            "high": table["high"].round(2),
            "currency": config.listings.currency,
            "valuation_date": houses["sale_date"].dt.date,
            "imagery": np.where(table["used_picture"], "yes", "none"),
            "confidence": table.get("confidence", ""),
            "confidence_reasons": table.get("confidence_reasons", ""),
        }
    )
    result, change_notes = result[ESTIMATE_COLUMNS], []
    if change:
        what_if, text = WhatIf.load(run.serving, houses, pooled), ", ".join(changes)
        found = what_if.changed([change])
        result = changed_columns(result, found, text)
        change_notes = change_lines(what_if, found, change, text)
    write_csv(result, out)
    without = int((~table["used_picture"]).sum())
    lines = [
        f"estimated {len(result):,} houses with the serving model of run {run.run_id}: {out}",
        "These are estimates, not appraisals.",
        *imagery_lines,
    ]
    if without and config.uses_pictures:
        lines.append(f"{without:,} of them have no imagery and are estimated from their attributes alone")
    lines += change_notes
    if comparables is not None:
        write_csv(comparables_of_new(config, run, model, houses, pooled), comparables)
        lines.append(f"the sales that support each estimate: {comparables}")
    lines += write_rejects(rejects, out.with_name(out.name + ".rejects.csv"))
    return StepResult("estimate", lines, {"houses": len(result), "without_imagery": without})


def _pooled_features(
    run: Run, config: Config, houses: pd.DataFrame, imagery: str | None, rights_reference: str | None
) -> tuple[NDArray[np.float32], list[str]]:
    """Pooled features ``(n, K)`` of new houses, and what to say of the imagery."""
    if not config.uses_pictures:
        note = "The imagery was not read: this run estimates from attributes alone, without pictures."
        return no_pictures(len(houses)), [note] if imagery is not None else []
    pool = stored_pool(run, config)
    blocks = 1 + len(config.siamese.neighbourhood)
    pooled = np.full((len(houses), run.record["backbone"]["channels"] * blocks), np.nan, dtype=np.float32)
    if imagery is None:
        return pooled, []
    notes: list[str] = []
    with open_new_imagery(imagery, config, houses, rights_reference, notes) as archive:
        for batch in _batches(archive, config, houses, "estimate"):
            pooled[batch.rows] = _with_neighbourhood(pool, config, houses, batch)
        return pooled, [*_credits(archive, rights_reference), *notes]


def _with_neighbourhood(
    pool: PicturePool | None, config: Config, houses: pd.DataFrame, batch: _HouseBatch
) -> NDArray[np.float32]:
    """What the learners embed of a batch: the houses' own features, and those of their neighbourhoods.

    The pictures of the neighbourhood are those of the run's own houses.
    """
    if pool is None:
        return batch.pooled
    return pool.joined(
        batch.pooled,
        [picture.key for picture in batch.pictures],
        houses["latitude"].to_numpy(np.float64)[batch.rows],
        houses["longitude"].to_numpy(np.float64)[batch.rows],
        config.siamese.neighbourhood,
    )


def explain_listings(
    listings: Path,
    runs_folder: Path,
    run_name: str,
    *,
    imagery: str,
    out: Path,
    method: str = "transfer",
    as_of: date | None = None,
    rights_reference: str | None = None,
) -> StepResult:
    """Write a map of every listing; with the default method one forward pass and one look-up each.

    Args:
        listings: Listings file; needs no price.
        runs_folder: Where the runs lie.
        run_name: A run's name or id.
        imagery: Name of a provider, tile address, or a path, see
            :func:`housevis.pipeline.new_imagery.open_new_imagery`.
        out: Folder for ``<id>.png``, the picture under its map, and
            ``heatmaps.npz``: ``ids (n,)``, ``maps`` float32 ``(n, h, w)`` on
            the model's grid, ``bounds (n, 4)`` west, south, east, north
            (EPSG:4326), ``method``, ``unit``, ``status (n,)``, ``lenders (n,)``
            (the house that lent its weights; empty where none did, or where
            all houses have the same), ``files (n,)`` (names of the overlays),
            ``attribution``; and ``under-heat.csv``, one row per house and
            class of land cover in its picture: ``id, land_cover, area_share,
            attention_share, amount, currency``, empty where the map was refused.
        method: One of :data:`housevis.pipeline.method_maps.METHODS`.
        as_of: Valuation date of a listing that has no date of its own, for value maps; None is today.
        rights_reference: The user's own right to use the imagery.

    Raises:
        RunError: There is no such finished run, or it uses no pictures.
        UsageError: There is no such method.
        ListingsError: The file cannot be read, or no row of it can be used.
        RightsError: The imagery's terms do not allow it.
        ImageryError: Not one listing lies on the imagery.
        StorageError: The folder cannot be written to.
    """
    run, config = _finished_run(runs_folder, run_name)
    if not config.uses_pictures:
        raise RunError(
            "this run estimates from attributes alone, so there is no attention to show",
            where=run.run_id,
            remedy="The drivers of each house are on its map. For attention maps, set visual_features = "
            '"in-sample" in [pricing], name the imagery, and run `housevis run CONFIG`.',
        )
    with explained_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    houses, rejects = _read_houses(listings, config)
    houses["sale_date"] = houses["sale_date"].fillna(pd.Timestamp(as_of or date.today()))
    shown_by = open_method(method, run, config)
    side = load_backbone(config.vision).input_size
    pool = stored_pool(run, config)
    found: list[pd.DataFrame] = []
    heats: list[NDArray[np.float32]] = []
    pictures: list[HouseImage] = []
    under: list[UnderHeat] = []
    reader = LandCoverReader(config.land_cover)
    notes: list[str] = []
    with open_new_imagery(imagery, config, houses, rights_reference, notes) as archive:
        credit_lines = [*_credits(archive, rights_reference), *notes]
        for batch in _batches(archive, config, houses, "explain"):
            some = houses.iloc[batch.rows].reset_index(drop=True)
            features = _with_neighbourhood(pool, config, houses, batch)
            seen = np.stack([fit_picture(picture.pixels, side) for picture in batch.pictures])
            heat, statuses, lenders = shown_by.explain(HouseBatch(some, batch.maps, features, seen))
            if shown_by.same_weights:
                lenders = [None] * len(lenders)
            ids = some["house_id"].astype(str).tolist()
            shown = {"house_id": ids, "status": statuses, "lender": lenders}
            found.append(pd.DataFrame(shown, dtype=object))
            heats.append(heat)
            pictures += batch.pictures
            covers = reader.covers(seen, [picture.bounds for picture in batch.pictures])
            under.append(_under_heat(covers, heat, statuses, signed=shown_by.signed))
    if not found:
        raise ImageryError(
            "not one listing lies on the imagery",
            where=redacted(imagery),
            remedy="Check that the archive covers the houses at the run's zoom.",
        )
    table, maps = pd.concat(found, ignore_index=True), np.concatenate(heats)
    write_attention(
        out, table, maps, pictures, method=shown_by.title, unit=shown_by.unit, signed=shown_by.signed
    )
    measured, unit = UnderHeat.joined(under), shown_by.unit if shown_by.signed else ""
    write_csv(under_heat_table(table["house_id"].tolist(), measured, unit), out / UNDER_HEAT_FILE)
    without = len(houses) - len(table)
    lines = [
        f"explained {len(table):,} houses with run {run.run_id}: {out}",
        f"Maps ({shown_by.title}) show association, not cause.",
        *credit_lines,
        f"what is under the heat: {out / UNDER_HEAT_FILE}",
        *land_cover_notes(config, measured),
    ]
    if shown_by.same_weights:
        lines.append(GLOBAL)
    elif table["lender"].notna().any():
        lines.append(f"{LOCAL}: `lenders` in heatmaps.npz")
    flat = int((table["status"] != "ok").sum())
    if flat:
        lines.append(f"{flat:,} maps show nothing; their status in heatmaps.npz says why")
    if without:
        lines.append(f"{without:,} houses have no imagery and no map")
    lines += write_rejects(rejects, out / "rejects.csv")
    return StepResult("explain", lines, {"houses": len(table), "without_imagery": without})


def _under_heat(
    covers: NDArray[np.uint8], maps: NDArray[np.float32], statuses: Sequence[str], *, signed: bool
) -> UnderHeat:
    """What is under maps of attention, or under value maps, which are signed."""
    if signed:
        return UnderHeat.of(covers, np.zeros_like(maps), ["flat"] * len(maps), maps, statuses)
    return UnderHeat.of(covers, maps, statuses)


def _finished_run(runs_folder: Path, run_name: str) -> tuple[Run, Config]:
    run = find_run(runs_folder, run_name)
    if not is_complete(run.serving):
        raise RunError(
            "this run is not finished", where=str(run.folder), remedy="Finish it with `housevis run CONFIG`."
        )
    return run, run.config()


def _read_houses(listings: Path, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    attributes = [name for name in config.pricing.attributes if name != "sale_month"]
    houses, rejects = read_new_listings(listings, config.listings, attributes=attributes)
    if houses.empty:
        reasons = ", ".join(sorted(set(rejects["reason"]))) or "the file has no rows"
        raise ListingsError(
            f"no row can be used ({reasons})",
            where=str(listings),
            remedy="Every listing needs an id, a latitude and a longitude.",
        )
    return houses.reset_index(drop=True), rejects


def _credits(archive: TileArchive, rights_reference: str | None) -> list[str]:
    """Whose imagery it is, and by what right it is used."""
    reference = rights_reference or archive.metadata.get("housevis_rights_reference")
    lines = [f"imagery: {archive.attribution}"] if archive.attribution else []
    return [*lines, f"imagery used by right of: {reference}"] if reference else lines


@dataclass(frozen=True)
class _HouseBatch:
    rows: NDArray[np.int64]
    maps: NDArray[np.float32]
    pooled: NDArray[np.float32]
    pictures: list[HouseImage]


def _batches(archive: TileArchive, config: Config, houses: pd.DataFrame, task: str) -> Iterator[_HouseBatch]:
    loader = PictureLoader(archive, config.imagery, config.vision)
    engine = open_engine(load_backbone(config.vision), config.vision.engine, config.vision.batch_size)
    places = list(enumerate(places_in_order(houses)))
    pictures: dict[int, HouseImage] = {}

    def load(item: tuple[int, HousePlace]) -> NDArray[np.uint8] | None:
        row, place = item
        image = loader.picture(place)
        if image is not None:
            pictures[row] = image
        return None if image is None else image.pixels

    with progress_bar(task, len(places)) as bar:
        for batch in iterate_features(load, places, engine, want="both"):
            bar.advance(len(batch.items) + len(batch.missing))
            if batch.items:
                assert batch.maps is not None
                assert batch.pooled is not None
                rows = [row for row, _ in batch.items]
                shown = [pictures.pop(row) for row in rows]
                yield _HouseBatch(np.array(rows), batch.maps, batch.pooled, shown)
