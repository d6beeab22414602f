"""`housevis report CONFIG --house ID`: the two printed pages of one sold house."""

from __future__ import annotations

import time
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from housevis.core.errors import UsageError
from housevis.core.storage import explained_disk_errors
from housevis.pipeline.attention import load_parts
from housevis.pipeline.comparables import read_comparables
from housevis.pipeline.embedding import PictureLoader, places_in_order
from housevis.pipeline.explaining import has_same_weights
from housevis.pipeline.house_facts import (
    confidence_of,
    drivers_of,
    house_maps,
    listed_facts,
    map_scale,
    text_or_none,
)
from housevis.pipeline.land_cover import land_cover_notes
from housevis.pipeline.page_facts import headline, notice, training_members
from housevis.pipeline.project import Project
from housevis.pipeline.result_files import overlay_names
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses
from housevis.pricing.price_dates import adjustment_words
from housevis.runs import HOUSE_REPORTS, Run, read_parquet
from housevis.views.atlas_data import under_rows
from housevis.views.data import check_out_of_sample
from housevis.views.house_report import (
    HouseComparable,
    HousePhoto,
    HousePictures,
    HouseReportData,
    build_house_report,
)

_AROUND: Final = 2_500
"""Other sales on the little map at most, the nearest."""


def house_report(project: Project, house_id: str, out: Path | None = None) -> StepResult:
    """Write the report of one sold house: two printed pages in one HTML file.

    The estimate is of its last sale, by the model that has not seen it.

    Args:
        project: An open project whose `evaluate` step is finished.
        house_id: The house.
        out: The HTML file; None writes ``houses/<id>.html`` in the run's folder.

    Returns:
        Figures ``page``, ``house_id``, ``run_id``, ``comparables``.

    Raises:
        UsageError: There is no such sold house, or `out` is a folder.
        RunError: `evaluate` is not finished.
        LeakError: The estimate is not out of sample.
        StorageError: The file cannot be written.
    """
    started = time.perf_counter()
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="evaluate")
    row = _row_of(sold, house_id, project.config.name)
    if out is None:
        out = run.folder / HOUSE_REPORTS / f"{overlay_names([house_id])[0].removesuffix('.png')}.html"
    if out.is_dir():
        raise UsageError("this is a folder", where=str(out), remedy="Give --out the name of an HTML file.")
    data = _data(project, run, sold, row)
    with explained_disk_errors(out):
        build_house_report(data, out)
    lines = [f"report of house {house_id}, two pages to print: {out.resolve().as_uri()}"]
    figures = {
        "page": str(out),
        "house_id": house_id,
        "run_id": run.run_id,
        "comparables": len(data.comparables or ()),
    }
    return StepResult("report", lines, figures, time.perf_counter() - started)


def _row_of(sold: SoldHouses, house_id: str, name: str) -> int:
    """The row of the house's last sale.

    Raises:
        UsageError: There is none; the nearest id is named.
    """
    ids = sold.sales["house_id"].astype(str)
    rows = np.flatnonzero(ids == house_id)
    if len(rows):
        return int(rows[-1])
    near = get_close_matches(house_id, ids.unique().tolist(), n=1, cutoff=0.0)
    raise UsageError(
        f"there is no sold house {house_id!r}",
        where=name,
        remedy=f"The nearest id is {near[0]!r}." if near else "Give an id as it stands in the listings.",
    )


def _data(project: Project, run: Run, sold: SoldHouses, row: int) -> HouseReportData:
    config = project.config
    judged = read_parquet(run.estimates).set_index("sale_id", drop=False)
    sale = sold.sales.iloc[row]
    record = judged.loc[sale["sale_id"]]
    training_sales, training_houses = training_members(run, [str(record["model_id"])])
    check_out_of_sample(record.to_frame().T, training_sales, training_houses)
    confidence, reasons = confidence_of(record)
    with ExitStack() as stack:
        loader = archive = None
        if config.uses_pictures and project.workspace.archive.is_file():
            archive = stack.enter_context(TileArchive(project.workspace.archive))
            loader = PictureLoader(archive, config.imagery, config.vision)
        return HouseReportData(
            market=config.atlas.title or config.name,
            run_id=run.run_id,
            created=f"made {str(run.record['created_at'])[:10]}",
            house_id=str(sale["house_id"]),
            address=text_or_none(sale["address"]),
            place=(float(sale["latitude"]), float(sale["longitude"])),
            facts=listed_facts(sale, config),
            currency=config.listings.currency,
            area_unit=config.listings.area_unit,
            valuation_date=pd.Timestamp(record["sale_date"]),
            **{name: float(record[name]) for name in ("estimate", "low", "high", "price", "base")},
            interval=config.pricing.interval,
            sample=str(record["sample"]),
            drivers=drivers_of(judged.loc[[sale["sale_id"]]])[0],
            without_picture=float(record["without_picture"]),
            used_picture=bool(record["used_picture"]),
            headline=headline(run.metrics()),
            confidence=confidence,
            confidence_reasons=reasons,
            pictures=_pictures(project, run, sale, archive, loader),
            comparables=_comparables(run, sold, str(sale["sale_id"]), loader),
            adjustment=adjustment_words(config.pricing.market_index, config.pricing.attributes),
            around=_around(sold, row),
            notice=notice(config),
        )


def _pictures(
    project: Project,
    run: Run,
    sale: pd.Series[Any],
    archive: TileArchive | None,
    loader: PictureLoader | None,
) -> HousePictures | None:
    if archive is None or loader is None:
        return None
    config = project.config
    house_id = str(sale["house_id"])
    maps = load_parts(run.maps)
    ids = maps.houses["house_id"].astype(str).to_numpy()
    position = int(np.searchsorted(ids, house_id))
    known = position < len(ids) and ids[position] == house_id
    value = attention = None
    under: list[list[Any]] = []
    attention_note, surroundings = "", 0.0
    if known:
        facts = maps.houses.iloc[position]
        value, attention = (
            house_maps(
                maps, values, status, unit, map_scale(maps, values, status, signed=signed), [position]
            )[0]
            for values, status, unit, signed in (
                (maps.values, "value_status", config.listings.currency, True),
                (maps.heats, "status", "attention", False),
            )
        )
        under = under_rows(maps.under, position) or []
        surroundings = float(facts["surroundings"] or 0.0)
        if has_same_weights(run):
            attention_note = "It is global: every house has the same weights."
        elif facts["neighbour_house_id"] is not None:
            attention_note = f"Weights lent by house {facts['neighbour_house_id']}."
    reference = config.imagery.rights_reference or archive.metadata.get("housevis_rights_reference")
    return HousePictures(
        photo=_photo(loader, sale.to_frame().T),
        value=value,
        surroundings=surroundings,
        attention=attention,
        attention_note=attention_note,
        under=under,
        under_notes=land_cover_notes(config, maps.under),
        credit=archive.attribution.removeprefix("Source: "),
        rights=reference or None,
        taken=config.imagery.taken,
    )


def _photo(loader: PictureLoader | None, sale: pd.DataFrame) -> HousePhoto | None:
    image = loader.picture(places_in_order(sale)[0]) if loader is not None else None
    if image is None:
        return None
    height, width = image.pixels.shape[:2]
    x, y = image.house_pixel
    return HousePhoto(
        image.pixels,
        (x / width, y / height),
        width * image.metres_per_pixel,
        image.attribution,
        int(image.missing_tiles),
    )


def _comparables(
    run: Run, sold: SoldHouses, sale_id: str, loader: PictureLoader | None
) -> list[HouseComparable] | None:
    table = read_comparables(run)
    if table is None:
        return None
    sales = sold.sales.set_index("sale_id", drop=False)
    found: list[HouseComparable] = []
    for row in table[table["sale_id"] == sale_id].sort_values("rank").to_dict("records"):
        if row["comparable_sale_id"] not in sales.index:
            continue
        sale = sales.loc[row["comparable_sale_id"]]
        found.append(
            HouseComparable(
                rank=len(found) + 1,
                house_id=str(row["comparable_house_id"]),
                address=text_or_none(sale["address"]),
                place=(float(sale["latitude"]), float(sale["longitude"])),
                sale_date=pd.Timestamp(row["sale_date"]),
                price=float(row["price"]),
                adjusted_price=float(row["adjusted_price"]),
                metres=float(row["metres"]),
                why=str(row["why"]),
                photo=_photo(loader, sale.to_frame().T),
            )
        )
    return found


def _around(sold: SoldHouses, row: int) -> NDArray[np.float64]:
    """Places ``(m, 2)`` of the nearest other sales."""
    places = sold.sales[["latitude", "longitude"]].to_numpy(np.float64)
    away = places - places[row]
    distance = np.hypot(away[:, 0], away[:, 1] * np.cos(np.radians(places[row, 0])))
    nearest = np.argsort(distance, kind="stable")[: _AROUND + 1]
    return places[nearest[nearest != row]]
