"""What the API takes and gives, as its OpenAPI document says it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_MOST_ATTRIBUTES: Final = 200
_LIMIT: Final = 1e12

Name = Annotated[str, Field(min_length=1, max_length=200)]
Amount = Annotated[float, Field(ge=-_LIMIT, le=_LIMIT, allow_inf_nan=False)]
Attributes = Annotated[dict[Name, Amount], Field(min_length=1, max_length=_MOST_ATTRIBUTES)]
KnownOrNot = Annotated[dict[Name, Amount | None], Field(max_length=_MOST_ATTRIBUTES)]


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="allow")


class MissingAttribute(BaseModel):
    """An attribute that an estimate needs, and where the sales that the model learned from lie."""

    name: str
    label: str
    unit: str = Field(description="m2 for areas, empty where the listings' own unit holds")
    lowest: float
    highest: float


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="What was wrong and what to do, in words")
    missing: list[MissingAttribute] | None = Field(
        default=None, description="Attributes that have to be given; null says that one is not known"
    )


class Layer(BaseModel):
    """A layer of georeferenced tiles."""

    name: str
    tiles: str = Field(description="Address of the tiles with {z}, {x} and {y}")
    zoom_minimum: int
    zoom_maximum: int
    attribution: str | None


class RunAnswer(BaseModel):
    """One of the runs that are served."""

    run_id: str
    name: str
    title: str
    currency: str
    area_unit: str
    interval: float = Field(description="Nominal coverage of the ranges, for example 0.9")
    notice: str | None
    attribution: str | None
    houses: int
    box: list[float] = Field(description="West, south, east, north of all houses, degrees")
    pages: str = Field(description="Address of its map")
    limits: dict[str, list[float]] = Field(description="Limits of the classes of a cell's houses")
    attributes: list[MissingAttribute] = Field(description="What a new house is asked for")
    layers: list[Layer]


class RunsAnswer(BaseModel):
    """All runs that are served; the first is meant where a request names none."""

    runs: list[RunAnswer]


class HouseAnswer(BaseModel):
    """A sold house in view; its estimate is of a model that has not seen it."""

    house_id: str
    latitude: float
    longitude: float
    price: float
    estimate: float
    low: float
    high: float
    sale_date: date
    bedrooms: float | None
    confidence: Literal["high", "medium", "low"] | None
    effect: float | None = Field(description="What the picture adds to the estimate, currency")
    address: str | None
    sample: Literal["later sale", "cross-fitted"] | None = Field(
        description="Why the estimate is out of sample: sold after all sales that the model learned from, or "
        "estimated by a model that learned from other houses"
    )
    map_row: int | None = Field(description="Its place among the sales of the map, whose files hold the rest")


class ClassCounts(BaseModel):
    """Houses of each class of what they are coloured by, last those of which it is not known."""

    price: list[int] | None = None
    error: list[int] | None = None
    effect: list[int] | None = None


class CellAnswer(BaseModel):
    """Houses of one cell of 64 screen pixels, gathered."""

    count: int
    latitude: float = Field(description="Mean of the houses' places")
    longitude: float
    price: float | None = Field(description="Median price")
    error: float | None = Field(description="Median of estimate / price - 1")
    effect: float | None = Field(description="Median of what the picture adds, currency")
    classes: ClassCounts


class ViewAnswer(BaseModel):
    """What a screen shows: houses, or cells of them where they are many."""

    run_id: str
    content: str = Field(description="Names what the run holds; another one after houses were removed")
    currency: str
    box: list[float] = Field(description="The area that is answered: the one asked for, outwards to cells")
    count: int = Field(description="Houses in the area that are wanted")
    houses: list[HouseAnswer] | None
    cells: list[CellAnswer] | None


class FoundAnswer(BaseModel):
    """Sold houses that were searched for, the best first."""

    run_id: str
    content: str = Field(description="As in a viewport's answer")
    houses: list[HouseAnswer]


class HouseDetailsAnswer(Answer):
    """All that is known of a sold house; further keys as of housevis.pipeline.house_details."""

    house_id: str
    sale_date: date
    price: float
    estimate: float
    low: float
    high: float
    currency: str
    confidence: str | None = None
    attributes: dict[str, Any] = {}
    drivers: list[dict[str, Any]] = []


class WhatIfQuestion(BaseModel):
    """A house otherwise: changed attributes, all else as it is."""

    model_config = ConfigDict(extra="forbid")

    attributes: Attributes = Field(description="Name -> new value, in the unit of the house's attributes")


class WhatIfAnswer(BaseModel):
    """The estimate of a house with changed attributes; association in past sales, not cause."""

    estimate: float
    low: float
    high: float
    difference: float = Field(description="To the estimate as the house stands, currency")
    difference_percent: float
    outside_training: dict[str, list[float]] = Field(
        description="Changed attributes beyond all sales that the model learned from: lowest and highest"
    )
    meaning: str


class EstimateQuestion(BaseModel):
    """A house that is not among the sold ones. No address of a picture is taken."""

    model_config = ConfigDict(extra="forbid")

    latitude: float = Field(ge=-85, le=85, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    valuation_date: date | None = Field(default=None, description="The day the estimate is of; today if none")
    attributes: KnownOrNot = Field(
        description="A value for every attribute of the run; null says that it is not known"
    )


class Driver(BaseModel):
    """What one attribute adds to the estimate."""

    name: str
    label: str
    amount: float


class ComparableSale(Answer):
    """A sale that supports an estimate."""

    rank: int
    house_id: str
    sale_date: date
    price: float
    adjusted_price: float
    metres: float
    why: str


class HeatAnswer(BaseModel):
    """Where in the picture an explanation points."""

    values: list[list[float]] = Field(description="Rows from the north; empty where there is no map")
    scale: float = Field(description="The value of the strongest colour, the same on all maps of the run")
    unit: str
    image: str | None = Field(
        description="PNG as a data address, coloured as on the run's map; null where none"
    )
    status: str
    note: str


class PictureAnswer(BaseModel):
    """The aerial picture of a new house."""

    image: str = Field(description="JPEG as a data address")
    house: list[float] = Field(
        description="Where the house stands: shares of width and height from the north-west"
    )
    bounds: list[float] = Field(description="West, south, east, north, degrees")
    attribution: str
    missing_tiles: int
    source: str = Field(description="the run's archive, or the imagery that the server was started with")


class EstimateAnswer(BaseModel):
    """An estimate, not an appraisal."""

    run_id: str
    currency: str
    valuation_date: date
    estimate: float
    low: float
    high: float
    interval: float
    confidence: str | None
    confidence_reasons: list[str]
    unknown: list[str] = Field(description="Attributes that were given as not known")
    outside_training: dict[str, list[float]]
    base: float
    drivers: list[Driver] = Field(description="Base and amounts add up to the estimate")
    without_picture: float
    used_picture: bool
    picture: PictureAnswer | None
    attention: HeatAnswer | None
    value_map: HeatAnswer | None
    explained_by: str | None = Field(description="The house that lent its weights; null where all are alike")
    comparables: list[ComparableSale]
    notes: list[str]


class HealthAnswer(BaseModel):
    """Whether the server can answer."""

    status: Literal["ok"]
    run_id: str
    report: bool
    runs: list[str]
