"""New houses: estimates and attention maps by the serving model of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.frames import HouseImage, tiles_needed
from data_pipeline.listings import read_new_listings
from data_pipeline.providers import UNKNOWN, Provider, check_rights, find_provider
from db.session import open_database
from housevis.core.config import Config, ImagerySection
from housevis.core.errors import ListingsError, UsageError
from housevis.core.progress import progress_bar
from housevis.explain.heatmap import heat_to_rgba, shared_scale
from housevis.pipeline.embedding import HousePlace, PictureLoader
from housevis.pipeline.explaining import Explainer
from housevis.pipeline.judging import estimate_table, interval_features
from housevis.pipeline.results import StepResult
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.intervals import Calibration
from housevis.runs import Run, find_run
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import open_engine

ESTIMATE_COLUMNS = ["id", "estimate", "low", "high", "currency", "valuation_date", "imagery"]
METHOD = "grad-weight transfer"


def estimate(
    listings: Path,
    runs_folder: Path,
    run_name: str,
    *,
    imagery: str | None,
    out: Path,
    as_of: date,
    rights_reference: str | None = None,
) -> StepResult:
    """Estimate listings with a run's serving model and write them as CSV.

    Args:
        listings: Listings file; needs no price.
        runs_folder: Where the runs lie.
        run_name: A run's name or id.
        imagery: MBTiles file or tile address; None estimates every house
            without a picture.
        out: The CSV file: ``id, estimate, low, high, currency,
            valuation_date, imagery`` (``yes`` or ``none``). Rejected rows go
            to ``<out>.rejects.csv``.
        as_of: Valuation date of a listing that has no date of its own.
        rights_reference: The user's own right to use the imagery.

    Raises:
        RunError: There is no such finished run.
        ListingsError: The file cannot be read, or no row of it can be used.
        RightsError: The imagery's terms do not allow it.
    """
    run, config = _finished_run(runs_folder, run_name)
    houses, rejects = _read_houses(listings, config)
    houses["sale_date"] = houses["sale_date"].fillna(pd.Timestamp(as_of))
    pooled = np.full((len(houses), run.record["backbone"]["channels"]), np.nan, dtype=np.float32)
    if imagery is not None:
        with _open_imagery(imagery, config, houses, rights_reference) as archive:
            for batch in _batches(archive, config, houses, "estimate", want="pooled"):
                pooled[batch.rows] = batch.pooled
    model = ValuationModel.load(run.serving)
    table = estimate_table(model, houses, pooled)
    low, high = Calibration.load(run.serving).interval(
        table["estimate"].to_numpy(), interval_features(model, houses)
    )
    result = pd.DataFrame(
        {
            "id": houses["house_id"],
            "estimate": table["estimate"].round(2),
            "low": low.round(2),
            "high": high.round(2),
            "currency": config.listings.currency,
            "valuation_date": houses["sale_date"].dt.date,
            "imagery": np.where(table["used_picture"], "yes", "none"),
        }
    )
    _write_csv(result[ESTIMATE_COLUMNS], out)
    without = int((~table["used_picture"]).sum())
    lines = [
        f"estimated {len(result):,} houses with the serving model of run {run.run_id}: {out}",
        "These are estimates, not appraisals.",
    ]
    if without:
        lines.append(f"{without:,} of them have no imagery and are estimated from their attributes alone")
    lines += _rejected(rejects, out.with_name(out.name + ".rejects.csv"))
    return StepResult("estimate", lines, {"houses": len(result), "without_imagery": without})


def explain_listings(
    listings: Path,
    runs_folder: Path,
    run_name: str,
    *,
    imagery: str,
    out: Path,
    rights_reference: str | None = None,
) -> StepResult:
    """Write an attention map of every listing: one forward pass and one look-up each.

    Args:
        listings: Listings file; needs no price.
        runs_folder: Where the runs lie.
        run_name: A run's name or id.
        imagery: MBTiles file or tile address.
        out: Folder for ``<id>.png``, the picture under its map, and
            ``heatmaps.npz``: ``ids (n,)``, ``maps`` float32 ``(n, h, w)`` on
            the model's grid, ``bounds (n, 4)`` west, south, east, north
            (EPSG:4326), ``method``, ``status (n,)``.
        rights_reference: The user's own right to use the imagery.

    Raises:
        RunError: There is no such finished run.
        ListingsError: The file cannot be read, or no row of it can be used.
        RightsError: The imagery's terms do not allow it.
        UsageError: Not one listing lies on the imagery.
    """
    run, config = _finished_run(runs_folder, run_name)
    houses, rejects = _read_houses(listings, config)
    explainer = Explainer.load(run.serving, run.record["backbone"]["fingerprint"])
    found: list[pd.DataFrame] = []
    heats: list[NDArray[np.float32]] = []
    pictures: dict[str, HouseImage] = {}
    with _open_imagery(imagery, config, houses, rights_reference) as archive:
        for batch in _batches(archive, config, houses, "explain", want="both"):
            ids = houses["house_id"].iloc[batch.rows].astype(str).tolist()
            frame, heat = explainer.explain(batch.maps, batch.pooled, ids)
            found.append(frame)
            heats.append(heat)
            pictures.update(batch.pictures)
    if not found:
        raise UsageError(
            "not one listing lies on the imagery",
            where=imagery,
            remedy="Check that the archive covers the houses at the run's zoom.",
        )
    table, maps = pd.concat(found, ignore_index=True), np.concatenate(heats)
    _write_overlays(out, table, maps, pictures)
    without = len(houses) - len(table)
    lines = [
        f"explained {len(table):,} houses with run {run.run_id}: {out}",
        "Attention shows association, not cause.",
    ]
    flat = int((table["status"] != "ok").sum())
    if flat:
        lines.append(f"{flat:,} maps show nothing; their status in heatmaps.npz says why")
    if without:
        lines.append(f"{without:,} houses have no imagery and no map")
    lines += _rejected(rejects, out / "rejects.csv")
    return StepResult("explain", lines, {"houses": len(table), "without_imagery": without})


def _finished_run(runs_folder: Path, run_name: str) -> tuple[Run, Config]:
    run = find_run(runs_folder, run_name)
    return run, Config.model_validate(run.record["config"])


def _read_houses(listings: Path, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    houses, rejects = read_new_listings(listings, config.listings, attributes=config.pricing.attributes)
    if houses.empty:
        reasons = ", ".join(sorted(set(rejects["reason"]))) or "the file has no rows"
        raise ListingsError(
            f"no row can be used ({reasons})",
            where=str(listings),
            remedy="Every listing needs an id, a latitude and a longitude.",
        )
    return houses.reset_index(drop=True), rejects


@contextmanager
def _open_imagery(
    imagery: str, config: Config, houses: pd.DataFrame, rights_reference: str | None
) -> Iterator[TileArchive]:
    """Pass the rights gate and open the tiles, fetched first where `imagery` is an address."""
    if "{z}" not in imagery:
        if not Path(imagery).is_file():
            raise UsageError(
                "there is no such archive, and it is no tile address either",
                where=imagery,
                remedy="Give an MBTiles file, or an address with {z}, {x} and {y}.",
            )
        with TileArchive(imagery) as archive:
            provider = _provider_of(archive, config)
            check_rights(provider, rights_reference or archive.metadata.get("housevis_rights_reference"))
            yield archive
        return
    section = ImagerySection(url=imagery, zoom=config.imagery.zoom, framing=config.imagery.framing)
    provider = find_provider(section)
    reference = check_rights(provider, rights_reference)
    with tempfile.TemporaryDirectory(prefix="housevis-") as folder:
        path = Path(folder) / "tiles.mbtiles"
        engine = open_database(Path(folder) / "manifest.sqlite")
        try:
            fetch_tiles(
                tiles_needed(houses, section, config.vision.image_size),
                provider,
                path,
                engine,
                connections=section.connections,
                requests_per_second=section.requests_per_second,
                rights_reference=reference,
            )
            with TileArchive(path) as archive:
                yield archive
        finally:
            engine.dispose()


def _provider_of(archive: TileArchive, config: Config) -> Provider:
    if archive.provider == UNKNOWN:
        return Provider(name=UNKNOWN, url="", attribution=archive.attribution)
    return find_provider(ImagerySection(provider=archive.provider, zoom=config.imagery.zoom))


@dataclass(frozen=True)
class _HouseBatch:
    rows: NDArray[np.int64]
    maps: NDArray[np.float32]
    pooled: NDArray[np.float32]
    pictures: dict[str, HouseImage]


def _batches(
    archive: TileArchive, config: Config, houses: pd.DataFrame, task: str, *, want: str
) -> Iterator[_HouseBatch]:
    loader = PictureLoader(archive, config.imagery, config.vision)
    engine = open_engine(load_backbone(config.vision), config.vision.engine, config.vision.batch_size)
    places = [
        (row, HousePlace(str(house.house_id), float(house.latitude), float(house.longitude)))
        for row, house in enumerate(houses.itertuples(index=False))
    ]
    pictures: dict[str, HouseImage] = {}

    def load(item: tuple[int, HousePlace]) -> NDArray[np.uint8] | None:
        image = loader.picture(item[1])
        if image is not None:
            pictures[item[1].house_id] = image
        return None if image is None else image.pixels

    with progress_bar(task, len(places)) as bar:
        for batch in iterate_features(load, places, engine, want=want):
            bar.advance(len(batch.items) + len(batch.missing))
            if batch.items:
                shown = {place.house_id: pictures.pop(place.house_id) for _, place in batch.items}
                rows = np.array([row for row, _ in batch.items])
                yield _HouseBatch(rows, batch.maps, batch.pooled, shown)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    table.to_csv(temporary, index=False)
    temporary.replace(path)


def _rejected(rejects: pd.DataFrame, path: Path) -> list[str]:
    if rejects.empty:
        return []
    _write_csv(rejects, path)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejects["reason"].value_counts().items())
    return [f"left out {len(rejects):,} rows that cannot be used ({reasons}): {path}"]


def _write_overlays(
    out: Path, table: pd.DataFrame, maps: NDArray[np.float32], pictures: dict[str, HouseImage]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    scale = shared_scale(maps)
    for house_id, heat in zip(table["house_id"], maps, strict=True):
        picture = Image.fromarray(pictures[house_id].pixels).convert("RGBA")
        overlay = Image.fromarray(heat_to_rgba(heat, scale)).resize(picture.size, Image.Resampling.BICUBIC)
        name = quote(str(house_id), safe="") or "_"
        Image.alpha_composite(picture, overlay).convert("RGB").save(out / f"{name}.png")
    temporary = out / ".heatmaps.npz"
    np.savez(
        temporary,
        ids=table["house_id"].to_numpy(dtype=str),
        maps=maps,
        bounds=np.array([pictures[house_id].bounds for house_id in table["house_id"]]),
        method=np.array(METHOD),
        status=table["status"].to_numpy(dtype=str),
    )
    temporary.replace(out / "heatmaps.npz")
