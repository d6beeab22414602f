"""The sections of a configuration: the keys of each with their types, limits and defaults."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

LARGEST_SEED: Final = 2**30

Attribute = str
BackboneName = Literal["auto", "resnet50", "resnet50-trunk", "efficientnet-lite0"]
Framing = Literal["centred", "tile"]


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _yes_or_no_in_words(value: Any) -> Any:
    return ("always" if value else "never") if isinstance(value, bool) else value


OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none)]


class Section(BaseModel):
    """Base of all sections: typed, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleMarketSection(Section):
    """The built-in fictional town, generated before `ingest`."""

    houses: int = Field(1500, ge=100)
    seed: int = Field(1, ge=0, le=LARGEST_SEED)
    trend: Literal["steady", "flat", "falling", "turning"] = "steady"
    monthly_change: float | None = Field(None, ge=-20, le=20)
    """Percent that prices change in a month, in place of `trend`."""
    turn_at: float | None = Field(None, ge=0, le=1)
    """Share of the 28 months after which `monthly_change` has the other sign."""

    @model_validator(mode="after")
    def _check(self) -> SampleMarketSection:
        if self.turn_at is not None and self.monthly_change is None:
            raise ValueError("turn_at needs monthly_change, the change that turns")
        return self


class ListingsSection(Section):
    """Where the listings are, how their columns are named, and which sales count."""

    path: OptionalPath = None
    sheet: OptionalText = None
    """Sheet of an Excel file or layer of a GeoPackage; None takes the first."""
    query: OptionalText = None
    """SQL statement that gives the listings, in place of `path`."""
    database: OptionalSecret = Field(None, exclude=True)
    """SQLAlchemy address that `query` is sent to; a secret that no dump of the configuration holds."""
    encoding: str = "utf-8"
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name of a column -> its name in the file (``price = "sale_price"``)."""
    date_format: OptionalText = None
    sale_year: int | None = Field(None, ge=1700, le=2260)
    """Year of all sales, where the file gives only months."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of the numbers; None looks at them."""
    crs: str = "EPSG:4326"
    """Coordinate reference system of the coordinate columns of a table."""
    bounds: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees: the area outside which a row is rejected."""
    area_unit: Literal["m2", "ft2"] = "m2"
    currency: str = "USD"
    extra_attributes: list[str] = Field(default_factory=list)
    """Further numeric columns of the file, kept as attributes under their own names."""
    arms_length: dict[str, list[str]] = Field(default_factory=dict)
    """Column of the file -> its values that mark a sale at arm's length."""
    minimum_price: float = Field(0.0, ge=0)
    """A cheaper sale is not at arm's length."""
    same_price_days: int = Field(365, ge=0)
    """Within so many days the same house at the same price is one sale recorded twice; 0 keeps both."""
    geocoder: OptionalText = None
    """Address of a Nominatim-compatible server that turns addresses into coordinates."""
    geocoder_requests_per_second: float = Field(1.0, gt=0)


class LocalServerSection(Section):
    """A tile server started on loopback for the time of the `tiles` step."""

    source: Literal["sample-market", "mbtiles"]
    path: OptionalPath = None
    """The MBTiles file when `source` is ``"mbtiles"``."""


class ImageryRecordSection(Section):
    """A provider record of the user's own; what it allows counts only with a rights reference."""

    name: str = Field("own-imagery", pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    licence: OptionalText = None
    terms: OptionalText = None
    """Where the terms stand."""
    allows_storage: bool = False
    allows_ml: bool = False
    zoom_maximum: int = Field(22, ge=0, le=24)
    zoom_native: int | None = Field(None, ge=0, le=24)
    tile_size: Literal[256, 512] = 256
    requests_per_second: float | None = Field(5.0, gt=0)
    connections: int = Field(8, ge=1, le=64)
    price_per_thousand: float | None = Field(None, ge=0)
    currency: str = "USD"
    bytes_per_tile: int | None = Field(None, ge=1)
    key_variable: OptionalText = None
    """Environment variable of the access key that fills ``{key}``."""


class ImagerySection(Section):
    """Where aerial imagery comes from, and the right to use it."""

    provider: OptionalText = None
    """A known provider record, see ``data_pipeline.providers``."""
    url: OptionalText = None
    """Address template with ``{z}/{x}/{y}``, where no provider record is named."""
    wmts: OptionalText = None
    """Address of a WMTS capabilities document."""
    layer: OptionalText = None
    """Layer of the WMTS."""
    source: OptionalPath = None
    """Imagery on this machine: MBTiles, PMTiles, GeoTIFF (one file, a pattern or a folder), pictures."""
    metres_per_pixel: float | None = Field(None, gt=0)
    """Ground sample distance of a folder of pictures without world files."""
    record: ImageryRecordSection | None = None
    local_server: LocalServerSection | None = None
    attribution: OptionalText = None
    rights_reference: OptionalText = None
    """The user's own licence for this imagery; opens the rights gate."""
    zoom: int = Field(18, ge=1, le=22)
    taken: date | None = None
    """When the imagery was taken, where that is known; shown beside the pictures."""
    framing: Framing = "centred"
    window: float = Field(1.0, ge=0.5, le=4.0)
    """Ground that a centred picture shows: this many times ``vision.image_size`` pixels of the tile grid."""
    requests_per_second: float | None = Field(None, gt=0)
    """Rate limit; None takes the provider record's own."""
    connections: int | None = Field(None, ge=1, le=64)
    """Requests under way at once; None takes the provider record's own."""
    retina: bool = False
    """Ask for tiles of 512 pixels, where the provider has them."""
    further_zooms: list[Annotated[int, Field(ge=1, le=22)]] = Field(default_factory=list)
    """Zooms whose tiles are fetched too; pictures are made of `zoom` alone."""


class VisionSection(Section):
    """The backbone that turns a picture into a feature."""

    backbone: BackboneName = "auto"
    weights: OptionalPath = None
    weights_sha256: OptionalText = None
    engine: Literal["auto", "openvino", "torch"] = "auto"
    image_size: int = Field(224, ge=64)
    """Pixels per side of the network's input."""
    batch_size: int = Field(32, ge=1)
    pooling: Literal["average", "average-and-centre"] = "average"
    """What is averaged over: the whole picture, or also its middle by itself, where the house stands."""


class SiameseSection(Section):
    """The feature learners (C section 4): from a pooled feature to `feature_dimension` numbers."""

    objective: Literal["rank", "price", "kernel", "log-ratio-triplet"] = "rank"
    """``rank`` is the rank siamese: K x 4, difference, 4 x 2, cross-entropy."""
    targets: list[Literal["price", "residual", "residual-without-location"]] = Field(["price"], min_length=1)
    """What is learned, one learner each; a residual is what the attributes leave unexplained."""
    pair_sampling: Literal["uniform", "near"] = "uniform"
    """``near`` draws pairs that are near in place, time and size."""
    neighbourhood: list[Annotated[int, Field(ge=1, le=1000)]] = Field(default_factory=list)
    """Numbers of nearest other pictures whose mean feature is joined to a house's own."""
    feature_dimension: int = Field(4, ge=1)
    pairs_per_house: int = Field(160, ge=1)
    epochs: int = Field(8, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    penalty: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """L2 penalty, divided by the houses; ``auto`` is chosen by cross-validation, for each target."""

    @model_validator(mode="after")
    def _check(self) -> SiameseSection:
        for name in ("targets", "neighbourhood"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"siamese.{name} names {max(values, key=values.count)!r} twice")
        return self


class PricingSection(Section):
    """The gradient boosting on attributes + visual features."""

    attributes: list[Attribute] = Field(
        default_factory=lambda: ["latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "sale_month"]
    )
    train_share: float = Field(0.6, gt=0.1, lt=0.95)
    folds: int = Field(5, ge=2)
    """Cross-fitting folds over the earlier sales."""
    visual_features: Literal["in-sample", "cross-fitted", "none"] = "in-sample"
    """``in-sample`` is the paper's recipe: the ranker is fitted on the sales the booster trusts.

    ``none`` uses no pictures at all: attributes alone.
    """
    shared_houses: Literal["exclude_from_train", "report", "refuse"] = "exclude_from_train"
    """What becomes of a house that is sold on both sides of the split by date."""
    attribute_dates: dict[str, str] = Field(default_factory=dict)
    """Attribute -> the column of the date at which it was known; ``sale_date`` for known at the sale."""
    market_index: Literal["none", "hedonic", "repeat-sales", "rolling-residual"] = "none"
    """What takes the place of the month of sale: a level of the market that is carried to the valuation date.

    See :mod:`housevis.pricing.market_index`.
    """
    comparables: int = Field(0, ge=0)
    """Nearest other sales whose prices become features of a house, such as 60; 0 uses none.

    See :class:`housevis.pricing.comparables.ComparableSales`.
    """
    objective: Literal["squared", "absolute", "fair"] = "absolute"
    """Loss of the boosting; ``fair`` (Fair 1974) is squared for small errors, absolute for large ones."""
    rounds: int = Field(400, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    leaves: int = Field(31, ge=2)
    minimum_leaf: int = Field(20, ge=1)
    """Fewest sales in a leaf."""
    feature_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the features that each tree is grown from."""
    row_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the sales that each tree is grown from."""
    boosters: int = Field(1, ge=1)
    """Boosters of different seeds whose log estimates are averaged."""
    random_boosters: int = Field(0, ge=0)
    """Further boosters in the mean, whose splits are drawn at random (extremely randomised trees)."""
    linear_base: bool = False
    """A linear model of the attributes comes first, and the boosting learns what it leaves."""
    interval: float = Field(0.9, gt=0.5, lt=1)
    """Nominal coverage of the interval from `low` to `high`."""
    bootstrap: int = Field(2000, ge=100)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide a run's models, for fingerprints.

        What only checks the attributes is left out, and so is the ordinary
        policy, so that runs made before there was one keep their names.
        """
        ordinary = self.shared_houses == PricingSection.model_fields["shared_houses"].default
        checks = {"attribute_dates"} | ({"shared_houses"} if ordinary else set())
        return self.model_dump(mode="json", exclude=checks)


class ExplainSection(Section):
    """The grad-weight database (C sections 3.2 and 3.3)."""

    scalar: Literal["loss-against", "loss-for", "ordering", "dearer", "cheaper"] = "ordering"
    """What is explained, see ``housevis.explain.gradweights``; C publishes ``loss-against``."""
    pairs: int = Field(50, ge=1)
    top_channels: int = Field(50, ge=1)


class LandCoverSection(Section):
    """What covers the ground under the heat: the segmenter, and files that know better."""

    buildings: OptionalPath = None
    """Footprints, any vector file that geopandas reads; they are roof, whatever the segmenter says."""
    roads: OptionalPath = None
    """Roads: lines, as wide as their column ``highway`` says, or polygons."""
    attribution: OptionalText = None
    """Credit for these files, shown wherever land cover is."""


class RatioStudiesSection(Section):
    """By what the ratio studies group the sales."""

    area: OptionalText = None
    """Attribute that says the area, such as a postal code; None looks for one, else ninths of the map."""
    kind: OptionalText = None
    """Attribute that says the kind of house; None looks for one, else takes the bedrooms."""


class AtlasSection(Section):
    """The map."""

    title: OptionalText = None
    base_map: Annotated[Literal["auto", "always", "never"], BeforeValidator(_yes_or_no_in_words)] = "auto"
    """Whether the run's own tiles are the base map; auto: where they lie close together. True is always."""
    parcels: Literal["sample-market"] | OptionalPath = None
    """Areas of parcels, any vector file that geopandas reads; or the lots of the fictional town."""
    parcels_attribution: OptionalText = None
    """Credit for that file, shown on the map."""
