"""The `atlas` step."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage
from data_pipeline.house_tiles import HouseTile, house_tile
from data_pipeline.providers import find_provider
from db.store import read_images
from housevis.core.config import Config
from housevis.pipeline.attention import AttentionMaps, load_parts
from housevis.pipeline.embedding import PictureLoader, places_in_order
from housevis.pipeline.explaining import has_same_weights, shown_sales
from housevis.pipeline.house_details import HouseDetails
from housevis.pipeline.house_page_facts import house_pages
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.pipeline.land_cover import land_cover_notes
from housevis.pipeline.page_facts import headline, notice, shown_settings, training_members
from housevis.pipeline.parcels import map_parcels
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses
from housevis.runs import Run, read_parquet
from housevis.views.atlas import AtlasReport, build_atlas
from housevis.views.atlas_manifest import runs_as_built
from housevis.views.base_map import BaseMap
from housevis.views.data import AtlasData, AtlasParcels, AtlasPictures
from housevis.views.house_page import PAGE, build_house_pages
from housevis.views.pictures import Picture


def atlas(project: Project) -> StepResult:
    """Build the map of sold houses; works from disk, without a connection.

    Returns:
        Figures ``page``, ``houses``, ``run_id``, ``settings`` (fingerprint), ``said`` (sentences on parcels
        and the base map).

    Raises:
        RunError: `evaluate` is not finished.
        LeakError: An estimate to be shown is not out of sample.
    """
    sold = load_sold_houses(project, with_features=False)
    run = current_run(project, sold, after="evaluate")
    page = run.atlas / "index.html"
    done, settings = run.steps().get("atlas"), shown_settings(project.config)
    if (
        done is not None
        and done["figures"].get("settings") == settings
        and runs_as_built(run.atlas, ("index.html", PAGE))
    ):
        lines = [*done["figures"].get("said", []), *_atlas_lines(page)]
        return StepResult("atlas", lines, done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    records = _records(run, sold)
    with ExitStack() as stack:
        pictures = archive = maps = None
        if project.config.uses_pictures:
            archive = stack.enter_context(TileArchive(project.workspace.archive))
            maps = load_parts(run.maps)
            records, pictures = _with_pictures(project, run, records, maps, archive)
        parcels, said = map_parcels(project.config, records, pictures)
        data = _atlas_data(project, run, sold, records, pictures, parcels)

        def houses(shown: dict[str, Picture]) -> None:
            details = HouseDetails(project.config, run, sold.sales, shown_sales(sold), shown, maps)
            training = data.training_sales, data.training_houses
            pages = house_pages(project.config, run, sold.sales, details, archive, training)
            build_house_pages(pages, run.atlas)

        built = build_atlas(data, run.atlas, houses)
        said = [*said, *_base_map_lines(pictures, built)]
    seconds = time.perf_counter() - started
    figures = {
        "page": str(built.page),
        "houses": built.houses,
        "run_id": run.run_id,
        "settings": settings,
        "said": said,
    }
    run.finish("atlas", seconds, figures)
    return StepResult("atlas", [*said, *_atlas_lines(page)], figures, seconds)


def _atlas_lines(page: Path) -> list[str]:
    return [f"map: {page.resolve().as_uri()}"]


def _base_map_lines(pictures: AtlasPictures | None, built: AtlasReport) -> list[str]:
    """How many tiles the base map has, or why there is none that could be."""
    if built.base_map_tiles:
        return [f"base map: {built.base_map_tiles:,} tiles"]
    made_of = None if pictures is None else pictures.base_map
    if made_of is None or made_of.choice != "auto" or next(made_of.archive.tiles(made_of.zoom), None) is None:
        return []
    return ['no base map: the tiles lie far apart (base_map = "always" in [atlas] makes one of them)']


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
    columns += [name for name in ("confidence", "confidence_reasons") if name in judged]
    return shown.merge(judged[columns], on="sale_id", validate="one_to_one")


def _with_pictures(
    project: Project, run: Run, records: pd.DataFrame, maps: AttentionMaps, archive: TileArchive
) -> tuple[pd.DataFrame, AtlasPictures]:
    """The records with what is known of their pictures, and the pictures themselves."""
    config = project.config
    row_of = {house_id: row for row, house_id in enumerate(maps.houses["house_id"])}
    rows = records["house_id"].map(row_of)
    has_map = rows.notna().to_numpy()
    heat = np.zeros((len(records), *maps.heats.shape[1:]), dtype=np.float32)
    heat[has_map] = maps.heats[rows[has_map].astype(int)]
    values = np.zeros((len(records), *maps.values.shape[1:]), dtype=np.float32)
    values[has_map] = maps.values[rows[has_map].astype(int)]
    found = maps.houses.reindex(rows)
    records = records.assign(
        status=found["status"].fillna("no imagery").to_numpy(),
        value_status=found["value_status"].fillna("no imagery").to_numpy(),
        neighbour_house_id=found["neighbour_house_id"].to_numpy(),
    )
    images = read_images(project.engine, config.imagery.framing, config.imagery.zoom).set_index("house_id")
    bounds = images.reindex(records["house_id"])[["west", "south", "east", "north"]].to_numpy(float)
    own = archive.house_pictures.stamps()
    loader = PictureLoader(archive, config.imagery, config.vision)
    places = {place.house_id: place for place in places_in_order(records)}

    def picture(house_id: str) -> HouseImage | HouseTile | None:
        place = places[house_id]
        if config.imagery.framing == "tile" and house_id in images.index and house_id not in own:
            found = house_tile(archive, place.latitude, place.longitude, config.imagery.zoom)
            if found is not None:
                return found
        return loader.picture(place)

    pictures = AtlasPictures(
        heat=heat,
        heat_bounds=np.nan_to_num(bounds),
        picture=picture,
        attribution=archive.attribution,
        base_map=BaseMap(archive, config.imagery.zoom, _base_map_choice(config)),
        under=maps.under.found(rows.to_numpy(np.float64)),
        under_notes=land_cover_notes(config, maps.under),
        same_weights=has_same_weights(run),
        values=values,
    )
    return records, pictures


def _base_map_choice(config: Config) -> Literal["auto", "always", "never"]:
    """As configured; tiles that may be kept by a licence of the user's own are no base map by themselves."""
    if config.atlas.base_map == "auto" and not find_provider(config.imagery).allows_storage:
        return "never"
    return config.atlas.base_map


def _atlas_data(
    project: Project,
    run: Run,
    sold: SoldHouses,
    records: pd.DataFrame,
    pictures: AtlasPictures | None,
    parcels: AtlasParcels | None,
) -> AtlasData:
    config = project.config
    training_sales, training_houses = training_members(run, sold.evaluation_models())
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
        headline=headline(run.metrics()),
        notice=notice(config),
        report_link="../report.html",
        house_page=PAGE,
        parcels=parcels,
    )
