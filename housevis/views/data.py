"""What the map is built from: typed carriers, and the check that nothing shown is in-sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from housevis.core.errors import DataError, LeakError

if TYPE_CHECKING:
    from data_pipeline.frames import HouseImage
    from data_pipeline.house_tiles import HouseTile
    from housevis.explain.under_heat import UnderHeat
    from housevis.views.base_map import BaseMap

SAMPLES = ("later sale", "cross-fitted")
"""The two ways in which an estimate shown for a sold house may be out of sample."""

STATUSES = ("ok", "flat", "no neighbour", "negligible", "no imagery")
"""What can be said of a house's attention map; only "ok" and "negligible" maps are drawn."""

RECORD_COLUMNS = (
    "house_id",
    "sale_id",
    "latitude",
    "longitude",
    "address",
    "price",
    "sale_date",
    "estimate",
    "low",
    "high",
    "model_id",
    "sample",
    "bedrooms",
    "bathrooms",
    "area_m2",
    "drivers",
    "base",
)
"""Columns of the records of an atlas, one row per sale.

``drivers`` is a list of ``(attribute name, amount in the currency)``; ``base``
plus all amounts is the estimate. ``address`` may be None, the room counts and
the area NaN.
"""

PICTURE_COLUMNS = ("neighbour_house_id", "status")
"""Further columns of the records of an atlas with pictures; ``neighbour_house_id`` may be None."""

OPTIONAL_COLUMNS = ("confidence", "confidence_reasons", "value_status")
"""Columns that records may have besides: the grade of an estimate with its reasons, set apart by
semicolons, and the status of the value map. A run of before they were known has none."""


@dataclass(frozen=True)
class Headline:
    """The figures at the head of every page; all shares are fractions of 1.

    Attributes:
        sales: Number of later sales the shares are measured on.
        share_with: Share of estimates within ±10 % of the price, with visual
            features; None in a run without pictures, as all that follow.
        share_without: The same without visual features, on the same sales.
        gain: ``share_with - share_without``.
        gain_low: Lower end of the paired bootstrap interval of `gain`.
        gain_high: Upper end of it.
        confidence: Nominal confidence of that interval.

    Raises:
        DataError: A share is no fraction from 0 to 1, or the interval is not ordered.
    """

    sales: int
    share_with: float | None
    share_without: float
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("share_with", "share_without", "confidence"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise DataError(f"{name} is {value}, but a share is a fraction from 0 to 1", where="Headline")
        compared = (self.share_with, self.gain, self.gain_low, self.gain_high)
        if len({value is None for value in compared}) > 1:
            raise DataError("only a part of the comparison with pictures is there", where="Headline")
        if self.gain_low is not None and self.gain_high is not None and self.gain_low > self.gain_high:
            raise DataError("the interval of the gain ends before it starts", where="Headline")

    @property
    def share(self) -> float:
        """Share within ±10 % of the estimates that the run shows."""
        return self.share_without if self.share_with is None else self.share_with


@dataclass(frozen=True)
class AtlasPictures:
    """The pictures of the map and what the models looked at.

    Attributes:
        heat: Attention maps, float32 ``(n, h, w)``, non-negative, in the order
            of the records; zeros where the status says that there is none.
        heat_bounds: ``(n, 4)`` west, south, east, north of each map (EPSG:4326).
        picture: House id -> its picture, or None without imagery. Called from
            several threads, once per house.
        attribution: Whose imagery it is, shown beside every picture.
        base_map: What the base map is made of; None makes none.
        same_weights: All houses have the same weights up to their sign, so
            that the maps are global and no house explains another.
        under: What is under the heat, in the order of the records; None shows nothing of it.
        under_notes: Sentences beside it.
        values: Value maps, float32 ``(n, H, W)``, signed, in the currency, with
            the same bounds as the attention; the column ``value_status`` says
            which of them are drawn. None where the run has none.
    """

    heat: np.ndarray
    heat_bounds: np.ndarray
    picture: Callable[[str], HouseImage | HouseTile | None]
    attribution: str
    base_map: BaseMap | None = None
    same_weights: bool = False
    under: UnderHeat | None = None
    under_notes: tuple[str, ...] = ()
    values: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AtlasParcels:
    """The parcels of the map.

    Attributes:
        areas: Polygons and multipolygons ``(n,)``, degrees in EPSG:4326.
        attribution: Whose data they are, or None.
    """

    areas: np.ndarray
    attribution: str | None = None


@dataclass(frozen=True)
class AtlasData:
    """Everything that the map shows.

    Attributes:
        title: Heading of the page.
        run_id: The run whose estimates are shown.
        records: One row per sale, see :data:`RECORD_COLUMNS`, and with pictures
            :data:`PICTURE_COLUMNS`.
        currency: ISO 4217 code of all amounts.
        pictures: Pictures and attention maps; None in a run of attributes alone.
        area_unit: Unit that areas are shown in; the records hold m².
        interval: Nominal coverage of the range from ``low`` to ``high``.
        headline: Figures at the head of the page, or None if not evaluated.
        training_sales: Model id -> ids of the sales that model was fitted on.
        training_houses: Model id -> ids of the houses of those sales.
        notice: Sentence shown at the head, for example that the town is fictional.
        report_link: Address of the report relative to the map's page, or None.
        house_page: Address of the houses' page relative to the map's page; the
            card leads to ``<house_page>#<house id>``. None where there is no such page.
        parcels: Outlines of parcels that can be shown; None where none were given.

    Raises:
        DataError: Columns are missing, or shapes, samples or statuses are wrong.
    """

    title: str
    run_id: str
    records: pd.DataFrame
    currency: str
    training_sales: Mapping[str, Collection[str]]
    training_houses: Mapping[str, Collection[str]]
    pictures: AtlasPictures | None = None
    area_unit: Literal["m2", "ft2"] = "m2"
    interval: float = 0.9
    headline: Headline | None = None
    notice: str | None = None
    report_link: str | None = None
    house_page: str | None = None
    parcels: AtlasParcels | None = None

    def __post_init__(self) -> None:
        need_columns(self.records, RECORD_COLUMNS, "AtlasData.records")
        if len(self.records) == 0:
            raise DataError("there is no sale to show", where="AtlasData.records")
        need_numbers(
            self.records, ("latitude", "longitude", "price", "estimate", "low", "high", "base"), "AtlasData"
        )
        if self.pictures is not None:
            self._check_pictures(self.pictures)

    def _check_pictures(self, pictures: AtlasPictures) -> None:
        need_columns(self.records, PICTURE_COLUMNS, "AtlasData.records")
        count = len(self.records)
        if pictures.heat.ndim != 3 or len(pictures.heat) != count:
            raise DataError(
                f"heat has the shape {pictures.heat.shape}, but {count} records need ({count}, h, w)",
                where="AtlasData.pictures",
            )
        if pictures.heat_bounds.shape != (count, 4):
            raise DataError(
                f"heat_bounds has the shape {pictures.heat_bounds.shape}, not ({count}, 4)",
                where="AtlasData.pictures",
            )
        if pictures.values is not None:
            need_columns(self.records, ("value_status",), "AtlasData.records")
            if pictures.values.ndim != 3 or len(pictures.values) != count:
                raise DataError(
                    f"values has the shape {pictures.values.shape}, but {count} records need ({count}, H, W)",
                    where="AtlasData.pictures",
                )
        if not np.isfinite(pictures.heat).all():
            raise DataError("an attention map holds a value that is no number", where="AtlasData.pictures")
        unknown = set(self.records["status"]) - set(STATUSES)
        if unknown:
            raise DataError(
                f"unknown status {sorted(map(str, unknown))[0]!r}",
                where="AtlasData.records",
                remedy=f"Known are: {', '.join(STATUSES)}.",
            )


def check_out_of_sample(
    records: pd.DataFrame,
    training_sales: Mapping[str, Collection[str]],
    training_houses: Mapping[str, Collection[str]],
) -> None:
    """Refuse records whose estimate comes from a model that was fitted on the sale.

    The model may have been fitted neither on the sale nor on any other sale of
    that house.

    Args:
        records: Rows with ``house_id, sale_id, model_id, sample``.
        training_sales: Model id -> ids of the sales it was fitted on.
        training_houses: Model id -> ids of the houses of those sales.

    Raises:
        LeakError: Names the first offending sale: no sample, an unknown
            sample, a model whose training sales are not known, or a sale or
            house that its model was fitted on.
    """
    sales_of: dict[str, frozenset[Any]] = {}
    houses_of: dict[str, frozenset[Any]] = {}
    rows = zip(records["sale_id"], records["house_id"], records["model_id"], records["sample"], strict=True)
    for sale_id, house_id, model_id, sample in rows:
        if sample not in SAMPLES:
            raise _leak(sale_id, f"its sample is {sample!r}, not one of {', '.join(map(repr, SAMPLES))}")
        if model_id not in training_sales or model_id not in training_houses:
            raise _leak(sale_id, f"nothing is known of what its model {model_id!r} was fitted on")
        if model_id not in sales_of:
            sales_of[model_id] = frozenset(training_sales[model_id])
            houses_of[model_id] = frozenset(training_houses[model_id])
        if sale_id in sales_of[model_id]:
            raise _leak(sale_id, f"its model {model_id} was fitted on this very sale")
        if house_id in houses_of[model_id]:
            raise _leak(sale_id, f"its model {model_id} was fitted on another sale of house {house_id}")


def _leak(sale_id: object, reason: str) -> LeakError:
    return LeakError(
        f"the estimate of sale {sale_id} cannot be shown: {reason}",
        where="pages",
        remedy="Show the estimate of a model that was fitted without it.",
    )


def need_columns(frame: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        DataError: Names the first that is missing.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"the column {missing[0]!r} is missing", where=where)


def need_numbers(frame: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    """Refuse a table whose columns are not finite numbers throughout.

    Raises:
        DataError: Names the first column that is not.
    """
    for name in columns:
        if not np.isfinite(frame[name].to_numpy(dtype=float)).all():
            raise DataError(f"the column {name!r} holds a value that is no number", where=where)
