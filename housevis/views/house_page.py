"""The page of one house: one file for all houses, which finds the house in chunks of data by its id."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, PackageLoader

from data_pipeline.parsing import SQUARE_METRES
from housevis.core.storage import write_file
from housevis.explain.heatmap import colour_table, signed_colour_table
from housevis.views.data import Headline, check_out_of_sample
from housevis.views.house_chunks import FOLDER, write_chunks
from housevis.views.words import ICON, percent

PAGE: Final = "house.html"


@dataclass(frozen=True)
class Slider:
    """An attribute that can be changed on the page, where a server reckons.

    Attributes:
        name: The attribute.
        low: Where the slider begins, in the unit of the model.
        high: Where it ends.
        step: By how much it moves.
    """

    name: str
    low: float
    high: float
    step: float


@dataclass(frozen=True, eq=False)
class HousePages:
    """What the house pages show.

    Attributes:
        title: The market's name.
        run_id: The run.
        currency: ISO 4217 code.
        area_unit: Unit that areas are shown in.
        interval: Nominal coverage of the ranges.
        labels: Attribute or driver -> its words.
        records: ``house_id, sale_id, model_id, sample`` of what is shown.
        training_sales: Model id -> ids of the sales that model was fitted on.
        training_houses: Model id -> ids of the houses of those sales.
        houses: Their details, see :mod:`housevis.pipeline.house_details`.
        headline: How good the run's estimates are, or None.
        notice: A sentence that must not be overlooked, or None.
        uses_pictures: Whether the run uses pictures.
        credit: Whose imagery it is; empty without pictures.
        rights: By what right it is used, or None where its terms allow it.
        under_notes: Sentences beside what is under the heat.
        adjustment: How prices of comparables are adjusted, a sentence.
        sliders: What can be changed.
        meaning: What is to be said beside a changed estimate.
        around: Places of other sales for the little map, ``[lat, lon]``.
    """

    title: str
    run_id: str
    currency: str
    area_unit: str
    interval: float
    labels: Mapping[str, str]
    records: pd.DataFrame
    training_sales: Mapping[str, Collection[str]]
    training_houses: Mapping[str, Collection[str]]
    houses: Iterable[Mapping[str, Any]]
    headline: Headline | None = None
    notice: str | None = None
    uses_pictures: bool = True
    credit: str = ""
    rights: str | None = None
    under_notes: Sequence[str] = ()
    adjustment: str = ""
    sliders: Sequence[Slider] = ()
    meaning: str = ""
    around: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class HousePagesReport:
    """What :func:`build_house_pages` made.

    Attributes:
        page: The page.
        houses: Houses that it can show.
        chunks: Files that they lie in.
        largest_chunk: Bytes of the largest of them.
        shared_bytes: What every house loads beside its chunk and its pictures: page, scripts, styles, run.
        seconds: Time it took.
    """

    page: Path
    houses: int
    chunks: int
    largest_chunk: int
    shared_bytes: int
    seconds: float


def build_house_pages(data: HousePages, folder: Path) -> HousePagesReport:
    """Write the house pages into the folder of the map.

    Args:
        data: What to show.
        folder: The folder of the map, whose ``atlas/words.js`` and ``server.js`` the page shares.

    Raises:
        LeakError: An estimate is not out of sample.
    """
    started = time.monotonic()
    check_out_of_sample(data.records, data.training_sales, data.training_houses)
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("housevis.views") / "static") as static:
        shutil.copytree(static / "house", folder / "house", dirs_exist_ok=True)
    sizes = write_chunks(_of_the_run(data), data.houses, len(data.records), folder / FOLDER)
    page = folder / PAGE
    shared = write_file(page, render_house_page(data))
    shared += sum(path.stat().st_size for path in (folder / "house").iterdir())
    shared += (folder / FOLDER / "run.js").stat().st_size
    return HousePagesReport(
        page=page,
        houses=len(data.records),
        chunks=len(sizes),
        largest_chunk=max(sizes),
        shared_bytes=shared,
        seconds=time.monotonic() - started,
    )


def render_house_page(data: HousePages) -> str:
    """The page as text; the houses are not in it."""
    environment = Environment(
        loader=PackageLoader("housevis.views"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent)
    return environment.get_template("house.html.jinja").render(data=data, icon=ICON)


def _of_the_run(data: HousePages) -> dict[str, Any]:
    return {
        "runId": data.run_id,
        "title": data.title,
        "currency": data.currency,
        "areaUnit": data.area_unit,
        "squareMetres": SQUARE_METRES[data.area_unit],
        "interval": data.interval,
        "labels": dict(data.labels),
        "pictures": data.uses_pictures,
        "credit": data.credit,
        "rights": data.rights,
        "underNotes": list(data.under_notes),
        "adjustment": data.adjustment,
        "whatIf": [vars(slider) for slider in data.sliders],
        "meaning": data.meaning,
        "colours": {
            "attention": colour_table().tobytes().hex(),
            "value": signed_colour_table().tobytes().hex(),
        },
        "around": [list(place) for place in data.around],
    }
