"""A small made-up town for the pages: pictures drawn with numpy, sixty houses."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.frames import HouseImage
from data_pipeline.land_cover import LAND_COVERS
from housevis.explain.heatmap import Heatmap
from housevis.explain.under_heat import CoverSummary, UnderHeat
from housevis.views.atlas import build_atlas
from housevis.views.data import AtlasData, AtlasPictures, Headline
from housevis.views.gallery import (
    GalleryCell,
    GalleryData,
    GalleryMethod,
    GalleryPicture,
    GalleryRow,
    GalleryScore,
)
from housevis.views.house_page import HousePages, Slider, build_house_pages
from housevis.views.pictures import Picture
from housevis.views.report_data import (
    AblationRow,
    AttentionScore,
    GlobalDriver,
    RatioStatistics,
    ReportData,
    ReportPictures,
)
from housevis.views.words import ATTRIBUTE_LABELS, label

SIDE_DEGREES = 0.0008


def draw_picture(number: int, size: int = 224) -> np.ndarray:
    """A lawn, a street, a roof and, for every third house, a pool: uint8 (size, size, 3)."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[0:size, 0:size]
    texture = random.normal(0, 7, (size, size, 1)) + 9 * np.sin(rows / 9 + number)[..., None]
    pixels = np.array([96, 122, 74]) + random.integers(-14, 14, 3) + texture
    street = int(random.integers(10, 40))
    pixels[:, street : street + 26] = np.array([128, 128, 130]) + texture[:, street : street + 26] * 0.4
    pixels[:, street + 12 : street + 14] = 205
    top, left = random.integers(60, 90), random.integers(70, 100)
    roof = np.array([[150, 84, 66], [120, 118, 122], [168, 150, 128]][number % 3])
    pixels[top + 6 : top + 78, left + 6 : left + 92] = np.array([52, 60, 44])
    pixels[top : top + 36, left : left + 86] = roof * 1.12
    pixels[top + 36 : top + 72, left : left + 86] = roof * 0.86
    if number % 3 == 0:
        pixels[(((rows - 170) / 17) ** 2 + ((columns - 160) / 28) ** 2) < 1] = (64, 178, 205)
    for _ in range(9):
        y, x, radius = random.integers(0, size), random.integers(60, size), random.integers(7, 17)
        tree = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        pixels[tree] = np.array([48, 78, 42]) + texture[tree]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def make_atlas_data(
    houses: int = 60, *, pictures: int | None = None, spread: float = 0.02, **changes: Any
) -> AtlasData:
    """Made-up sales in and around one place; the first houses show every kind of status."""
    random = np.random.default_rng(7)
    latitude = 45.2 + random.normal(0, spread, houses)
    longitude = -75.7 + random.normal(0, spread * 1.4, houses)
    price = np.round(np.exp(random.normal(13.1, 0.42, houses)) / 500) * 500
    estimate = price * np.exp(random.normal(0, 0.11, houses))
    status = np.array(["ok"] * houses, dtype=object)
    status[1], status[2], status[3], status[4] = "flat", "no neighbour", "negligible", "no imagery"
    later = np.arange(houses) % 5 < 2
    dates = np.where(
        later,
        pd.Timestamp("2024-09-01") + pd.to_timedelta(np.arange(houses) % 90, "D"),
        pd.Timestamp("2023-02-01") + pd.to_timedelta(np.arange(houses) % 400, "D"),
    )
    house_id = [f"H{number:05d}" for number in range(houses)]
    sale_id = [f"{house}@{pd.Timestamp(date):%Y-%m-%d}" for house, date in zip(house_id, dates, strict=True)]
    address = [f"{3 + 2 * number} Alder Lane" for number in range(houses)]
    address[0] = "<b>1 </script><script>alert(1)</script> Lane</b>"
    address[5] = None  # type: ignore[call-overload]
    names = ["area_m2", "latitude", "longitude", "picture", "bathrooms", "sale_month", "bedrooms", "lot_area"]
    drivers, base = [], []
    for value in estimate:
        amounts = random.normal(0, 1, len(names)) * np.array([90, 40, 35, 30, 18, 9, 7, 6]) * 1000
        drivers.append(list(zip(names, amounts.tolist(), strict=True)))
        base.append(value - amounts.sum())
    folds = np.arange(houses) % 3
    model = np.where(later, "evaluation", np.char.add("evaluation-fold-", folds.astype(str)))
    records = pd.DataFrame(
        {
            "house_id": house_id,
            "sale_id": sale_id,
            "latitude": latitude,
            "longitude": longitude,
            "address": address,
            "price": price,
            "sale_date": pd.to_datetime(dates),
            "estimate": estimate,
            "low": estimate * 0.83,
            "high": estimate * 1.21,
            "model_id": model,
            "sample": np.where(later, "later sale", "cross-fitted"),
            "bedrooms": random.integers(1, 6, houses).astype(float),
            "bathrooms": np.where(random.random(houses) < 0.1, np.nan, random.integers(4, 14, houses) / 4),
            "area_m2": np.round(random.normal(170, 45, houses).clip(60)),
            "drivers": drivers,
            "base": base,
            "neighbour_house_id": [house_id[(number + 6) % houses] for number in range(houses)],
            "status": status,
            "value_status": np.where(status == "no imagery", "no imagery", "ok"),
            "confidence": np.array(["high", "medium", "low"])[np.arange(houses) % 3],
            "confidence_reasons": [
                "few sales near it; old picture" if number % 3 == 2 else "" for number in range(houses)
            ],
        }
    )
    records.loc[2, "neighbour_house_id"] = None
    records.loc[0, "neighbour_house_id"] = "elsewhere-1"
    rows, columns = np.mgrid[0:7, 0:7]
    centre = random.uniform(1.5, 4.5, (houses, 2))
    height = random.uniform(0.4, 1.6, houses)[:, None, None]
    distance = (rows - centre[:, :1, None]) ** 2 + (columns - centre[:, 1:, None]) ** 2
    heat = (height * np.exp(-distance / 2.6)).astype(np.float32)
    heat[[1, 2, 4]] = 0
    heat[3] *= 0.02
    half = SIDE_DEGREES / 2
    bounds = np.stack(
        [longitude - half * 1.42, latitude - half, longitude + half * 1.42, latitude + half], axis=1
    )
    fold_of = dict(zip(house_id, folds, strict=True))
    training = {"evaluation": [number for number in range(houses) if not later[number]]}
    for fold in range(3):
        training[f"evaluation-fold-{fold}"] = [
            number for number in training["evaluation"] if fold_of[house_id[number]] != fold
        ]
    kinds = pictures or houses

    def picture(name: str) -> HouseImage | None:
        number = int(name[1:])
        if status[number] == "no imagery":
            return None
        west, south, east, north = bounds[number].tolist()
        return HouseImage(
            pixels=draw_picture(number % kinds),
            bounds=(west, south, east, north),
            metres_per_pixel=0.4,
            provider="test",
            attribution="Drawn for a test",
            house_pixel=(112.0, 112.0),
            missing_tiles=1 if number == 6 else 0,
        )

    settings: dict[str, Any] = {
        "title": "Houses of Alderbrook",
        "run_id": "20250301-120000-ab12cd",
        "records": records,
        "currency": "CAD",
        "pictures": AtlasPictures(
            heat,
            bounds,
            picture,
            "Drawn for a test",
            under=under_heat(heat, status),
            under_notes=("Roads are from a file: © Somebody.",),
            values=(1000 * heat - 200 * (heat.max(axis=(1, 2)) > 0)[:, None, None]).astype(np.float32),
        ),
        "training_sales": {name: {sale_id[row] for row in rows} for name, rows in training.items()},
        "training_houses": {name: {house_id[row] for row in rows} for name, rows in training.items()},
        "headline": Headline(24, 0.552, 0.507, 0.045, 0.012, 0.078),
        "notice": "Alderbrook is a fictional town whose pictures were given a known effect on the price.",
        "report_link": "../report.html",
    }
    return AtlasData(**(settings | changes))


@pytest.fixture(scope="session")
def atlas_data() -> AtlasData:
    return make_atlas_data()


@pytest.fixture(scope="session")
def atlas_folder(atlas_data, tmp_path_factory) -> Path:
    """The made-up town's map, built once; not to be changed."""
    folder = tmp_path_factory.mktemp("atlas")
    build_atlas(atlas_data, folder)
    return folder


def under_heat(heat: np.ndarray, status: np.ndarray) -> UnderHeat:
    """Lawn all over with a roof in the middle; every third value map is negligible."""
    covers = np.full((len(heat), 56, 56), LAND_COVERS.index("lawn"), np.uint8)
    covers[:, 20:36, 20:36] = LAND_COVERS.index("roof")
    worth = ["negligible" if number % 3 == 2 else "ok" for number in range(len(heat))]
    return UnderHeat.of(covers, heat, status.tolist(), 1000 * heat - 200, worth)


def make_report_data(sales: int = 600, **changes: Any) -> ReportData:
    """A report on made-up later sales."""
    random = np.random.default_rng(3)
    price = np.round(np.exp(random.normal(13.1, 0.42, sales)) / 500) * 500
    houses = [f"H{number:05d}" for number in range(sales)]
    estimates = pd.DataFrame(
        {
            "house_id": houses,
            "sale_id": [f"{house}@2024-09-01" for house in houses],
            "price": price,
            "estimate": price * np.exp(random.normal(-0.01, 0.13, sales)),
            "model_id": "evaluation",
            "sample": "later sale",
        }
    )
    settings: dict[str, Any] = {
        "title": "Houses of Alderbrook",
        "run_id": "20250301-120000-ab12cd",
        "config_fingerprint": "9f2c1d7e55aa",
        "created": "1 March 2025, 12:00",
        "currency": "CAD",
        "headline": Headline(sales, 0.552, 0.507, 0.045, 0.012, 0.078),
        "estimates": estimates,
        "training_sales": {"evaluation": {"H90000@2023-01-01"}},
        "training_houses": {"evaluation": {"H90000"}},
        "ablation": (
            AblationRow("none", None, 0.241, None, None, None, 0.232),
            AblationRow("G", 0.391, 0.436, 0.021, 0.069, 0.141, 0.128),
            AblationRow("G, Bed, Bath, T, A", 0.507, 0.552, 0.012, 0.078, 0.099, 0.09),
        ),
        "ratios": RatioStatistics(sales, 0.991, 10.4, 1.012, -0.061, 0.09, 0.29, 0.86),
        "drivers": (
            GlobalDriver("bedrooms", 7_400.0, 0.012),
            GlobalDriver("area_m2", 92_300.0, 0.181),
            GlobalDriver("picture", 31_200.0, 0.064),
            GlobalDriver("location", 44_100.0, 0.09),
        ),
        "listing_rows": 1_537,
        "rejects": {"missing_price": 21, "duplicate_sale": 9, "impossible_area": 7},
        "stages": {
            "ingest": 0.8,
            "tiles": 12.4,
            "embed": 31.0,
            "train": 9.3,
            "explain": 6.1,
            "evaluate": 14.2,
        },
        "deviations": ("The grad-weights explain the scalar 'ordering'.",),
        "pictures": ReportPictures(
            rank_accuracy=0.731,
            tiles={"ok": 2_210, "blank": 0, "missing": 14, "failed": 2},
            backbone="efficientnet-lite0",
            backbone_choice="EfficientNet-Lite0, because no ResNet-50 weights were found within 5 seconds.",
            backbone_deviation="The feature map has 1,280 channels in place of 2,048.",
            provider="sample-market",
            attribution="Drawn for a test",
            attention=(
                AttentionScore("grad-weight transfer", 0.41),
                AttentionScore("true mask on the grid", 0.62, "reference"),
                AttentionScore("uniform", 0.14, "reference"),
            ),
            covers=(
                CoverSummary("pool", 61, 0.031, 0.062, 2.0, 4_120.0),
                CoverSummary("road", 580, 0.21, 0.19, 0.905, -1_315.0),
                CoverSummary("water", 40, 0.4, None, None, None),
                CoverSummary("bare", 0, None, None, None, None),
            ),
            cover_notes=("The classes were learned elsewhere.",),
        ),
        "notice": "Alderbrook is a fictional town whose pictures were given a known effect on the price.",
        "atlas_link": "atlas/index.html",
    }
    return ReportData(**(settings | changes))


@pytest.fixture
def report_data() -> ReportData:
    return make_report_data()


ALONE = Headline(24, None, 0.507, None, None, None)
"""The headline of a run without pictures."""

BARE_NOTICE = "Alderbrook is a fictional town."


@pytest.fixture(scope="session")
def many_houses() -> AtlasData:
    """A larger town of the same kind, without pictures."""
    return replace(make_atlas_data(900, run_id="many"), pictures=None)


@pytest.fixture(scope="session")
def bare_atlas_data() -> AtlasData:
    """The made-up town in a run of attributes alone."""
    data = make_atlas_data(pictures=1)
    records = data.records.drop(columns=["status", "neighbour_house_id"])
    records["drivers"] = [
        [driver for driver in drivers if driver[0] != "picture"] for drivers in records["drivers"]
    ]
    records["base"] = records["estimate"] - records["drivers"].map(lambda drivers: sum(a for _, a in drivers))
    return replace(data, records=records, pictures=None, headline=ALONE, notice=BARE_NOTICE)


@pytest.fixture
def bare_report_data() -> ReportData:
    """The report of a run of attributes alone."""
    data = make_report_data()
    return replace(
        data,
        headline=ALONE,
        notice=BARE_NOTICE,
        pictures=None,
        deviations=(),
        ablation=tuple(
            replace(row, with_visual=None, mdape_with=None, gain_low=None, gain_high=None)
            for row in data.ablation
            if row.without is not None
        ),
        drivers=tuple(driver for driver in data.drivers if driver.name != "picture"),
        stages={name: data.stages[name] for name in ("ingest", "train", "evaluate")},
    )


def make_gallery_data(rows: int = 5, **changes: Any) -> GalleryData:
    """Made-up maps of three methods: one transferred, one signed, one that is refused in the second row."""
    random = np.random.default_rng(3)
    bounds = (-75.7, 45.2, -75.69, 45.21)
    methods = (
        GalleryMethod("Grad-weight transfer", "Where lent weights point."),
        GalleryMethod("Value map", "What each place adds or takes.", signed=True, unit="CAD"),
        GalleryMethod("L2-CAF", "What cannot be done without.", caution="A map to be wary of."),
    )
    scores = (
        GalleryScore("agreement", "Agreement", "Whether the order is the same.", "higher"),
        GalleryScore("insertion", "Insertion", "How far it moves.", "lower", "percent"),
        GalleryScore("drivers", "True drivers", "Heat on them.", "higher", "percent", "They cover 4 %"),
    )
    found = []
    for number in range(rows):
        heats = random.random((7, 7)).astype(np.float32)
        values = random.normal(0, 400, (14, 14)).astype(np.float32)
        refused = number == 1
        caf = Heatmap(heats * (not refused), "attention", bounds, "L2-CAF", "flat" if refused else "ok")
        cells = (
            GalleryCell(
                Heatmap(heats * (number + 1), "attention", bounds, "transfer"),
                {"agreement": -0.25 + 0.1 * number, "insertion": 0.01 * number, "drivers": 0.5},
                lender=f"L{number % 2}",
            ),
            GalleryCell(Heatmap(values, "CAD", bounds, "value map", signed=True), {"agreement": 0.5}),
            GalleryCell(caf, {} if refused else {"agreement": 1.0, "insertion": 0.02, "drivers": 0.25}),
        )
        picture = GalleryPicture(draw_picture(number), "Drawn for a test", mark=(0.5, 0.25), metres=70.0)
        facts = (("Sold", f"CA${300 + number},000"), ("Estimate", "CA$310,000"))
        found.append(GalleryRow(f"H{number:05d}", facts, picture, cells))
    settings: dict[str, Any] = {
        "title": "Houses of Alderbrook",
        "meta": "For analysts · run 20250301-120000-ab12cd",
        "lead": ("Five houses.",),
        "subject": "house",
        "methods": methods,
        "scores": scores,
        "rows": found,
        "lenders": {f"L{number}": GalleryPicture(draw_picture(9 + number), "Drawn") for number in (0, 1)},
    }
    return GalleryData(**settings | changes)


@pytest.fixture(scope="session")
def gallery_data() -> GalleryData:
    """A gallery of five houses and three methods."""
    return make_gallery_data()


TEXTS = "\"שדרות' & <i>Sons</i> 🏡 =1+1"
"""Quotes, right-to-left, markup, emoji and a formula in one address."""


def kept_map(values: np.ndarray, status: str, note: str = "") -> dict[str, Any]:
    """A map as the house pages keep it."""
    scale = max(float(np.abs(values).max()), 1e-3)
    levels = np.sign(values) * np.sqrt(np.abs(values) / scale) * 127
    text = base64.b64encode(levels.round().astype(np.int8).tobytes()).decode()
    rows, columns = values.shape
    return {
        "rows": rows, "columns": columns, "levels": "" if note else text, "scale": scale, "status": status,
        "note": note,
    }  # fmt: skip


def make_house_pages(data: AtlasData, pictures: dict[str, Picture]) -> HousePages:
    """The pages of the made-up town's houses, each with its two neighbours in the table as comparables."""
    records = data.records.to_dict("records")
    for record in records:
        record["address"] = record["address"] if isinstance(record["address"], str) else None

    def small(row: int) -> dict[str, Any] | None:
        picture = pictures.get(records[row]["house_id"])
        return None if picture is None else {"file": picture.file, "house": list(picture.house)}

    def attention(row: int) -> dict[str, Any]:
        status = records[row]["status"]
        note = {"flat": "It points nowhere.", "no neighbour": "Nobody could lend weights."}.get(status, "")
        return kept_map(data.pictures.heat[row], status, note)

    def comparable(rank: int, row: int, sold: pd.Timestamp) -> dict[str, Any]:
        other = records[row]
        return {
            "rank": rank,
            **{name: other[name] for name in ("house_id", "address", "price")},
            "place": [other["latitude"], other["longitude"]],
            "sale_date": f"{other['sale_date']:%Y-%m-%d}",
            "adjusted_price": other["price"] * 1.02,
            "metres": 310.0 * rank,
            "why": "same leaf in 71 % of trees; <script>alert(1)</script>",
            "after": other["sale_date"] > sold,
            "picture": small(row),
        }  # fmt: skip

    def house(row: int) -> dict[str, Any]:
        record = records[row]
        picture = pictures.get(record["house_id"])
        lender = (row + 6) % len(records)
        lent = records[lender]
        nothing = dict.fromkeys(("picture", "attention", "value_map", "explained_by", "under"))
        seen = nothing | {"surroundings": 0.0}
        if picture is not None:
            value = kept_map(data.pictures.values[row], "ok")
            explained = {
                "house_id": lent["house_id"], "address": lent["address"], "price": lent["price"],
                "sale_date": f"{lent['sale_date']:%Y-%m-%d}", "picture": small(lender),
                "attention": attention(lender),
            }  # fmt: skip
            seen = {
                "picture": {
                    "file": picture.file, "bounds": picture.bounds, "house": picture.house, "metres": 89.6,
                    "missing_tiles": picture.missing_tiles, "attribution": picture.attribution,
                    "taken": "The day it was taken is not known: it may predate the sale.",
                },
                "attention": attention(row),
                "value_map": value | {"cell_square_metres": 163.8},
                "surroundings": -1200.0,
                "explained_by": None if row == 7 else {"everyone": True} if row == 8 else explained,
                "under": [{"cover": "Roofs", "attention": None, "area": 0.2, "amount": -1500}],
            }  # fmt: skip
        return {
            **{name: record[name] for name in ("house_id", "sale_id", "model_id", "sample")},
            **{name: record[name] for name in ("price", "estimate", "low", "high", "base")},
            "address": TEXTS if row == 8 else record["address"],
            "place": [record["latitude"], record["longitude"]],
            "sale_date": f"{record['sale_date']:%Y-%m-%d}",
            "interval": 0.9,
            "currency": data.currency,
            "confidence": ("high", "medium", "low")[row % 3],
            "confidence_reasons": ["few sales nearby"] if row % 3 else [],
            "attributes": {
                name: None if record[name] != record[name] else record[name]
                for name in ("bedrooms", "bathrooms", "area_m2")
            },
            "drivers": [{"name": name, "amount": amount} for name, amount in record["drivers"]],
            "without_picture": record["estimate"] * 0.98,
            "used_picture": picture is not None,
            "comparables": None if row == 9 else [] if row == 10 else [
                comparable(rank, (row + rank) % len(records), record["sale_date"]) for rank in range(1, 7)
            ],
            **seen,
        }  # fmt: skip

    names = {name for record in records for name, _ in record["drivers"]}
    return HousePages(
        title="<b>Houses</b> of Alderbrook",
        run_id=data.run_id,
        currency=data.currency,
        area_unit="ft2",
        interval=0.9,
        labels={name: label(name, ATTRIBUTE_LABELS) for name in (*names, "bathrooms", "area_m2", "bedrooms")},
        records=data.records[["house_id", "sale_id", "model_id", "sample"]],
        training_sales=data.training_sales,
        training_houses=data.training_houses,
        houses=[house(row) for row in range(len(records))],
        headline=data.headline,
        notice=data.notice,
        credit="Drawn for a test",
        rights="licence 7",
        under_notes=["How far to trust it."],
        adjustment="Prices are adjusted to the valuation date.",
        sliders=[Slider("bathrooms", 1, 4, 0.25), Slider("bedrooms", 1, 6, 1), Slider("area_m2", 60, 320, 5)],
        meaning="The difference is association in past sales.",
        around=[[record["latitude"], record["longitude"]] for record in records],
    )


@pytest.fixture(scope="session")
def house_folder(atlas_data, tmp_path_factory) -> Path:
    """The made-up town's map with the pages of its houses, built once; not to be changed."""
    folder = tmp_path_factory.mktemp("houses")
    build_atlas(
        atlas_data, folder, lambda pictures: build_house_pages(make_house_pages(atlas_data, pictures), folder)
    )
    return folder


@pytest.fixture(scope="session")
def house_pages(atlas_data) -> HousePages:
    """What the pages of the made-up town's houses show, without their pictures."""
    return make_house_pages(atlas_data, {})


@pytest.fixture(scope="session")
def house_pages_of() -> Callable[[AtlasData, dict[str, Picture]], HousePages]:
    """Makes the pages of other houses."""
    return make_house_pages
