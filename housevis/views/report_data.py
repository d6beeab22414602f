"""What the report is built from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

from housevis.core.errors import DataError
from housevis.views.data import Headline, need_columns, need_numbers

if TYPE_CHECKING:
    from housevis.explain.under_heat import CoverSummary
    from housevis.views.driver_tables import DriverTables
    from housevis.views.leakage import Leakage
    from housevis.views.report_evidence import Evidence

ESTIMATE_COLUMNS = ("house_id", "sale_id", "price", "estimate", "model_id", "sample")
"""Columns that a report needs of every sale in its charts."""


@dataclass(frozen=True)
class AblationRow:
    """One line of the ablation table (C Table 2); shares are fractions of 1.

    Attributes:
        attributes: The attribute set in words, for example ``"G, Bed, Bath"``.
        without: Share within ±10 % without visual features; None where there
            is nothing but visual features to estimate from.
        with_visual: Share within ±10 % with visual features; None in a run
            without pictures.
        gain_low: Lower end of the paired interval of the gain, None where a
            share is.
        gain_high: Upper end of it.
        mdape_without: Median absolute percentage error without them, a fraction.
        mdape_with: The same with them.
    """

    attributes: str
    without: float | None
    with_visual: float | None
    gain_low: float | None
    gain_high: float | None
    mdape_without: float | None
    mdape_with: float | None


@dataclass(frozen=True)
class RatioStatistics:
    """A ratio study of the later sales (IAAO): ratio = estimate / price.

    Attributes:
        sales: Number of sales.
        median_ratio: Median of the ratios.
        cod: Coefficient of dispersion, in percent.
        prd: Price-related differential.
        prb: Price-related bias.
        mdape: Median absolute percentage error, a fraction.
        pe5: Share of estimates within ±5 %, a fraction.
        pe20: Share within ±20 %, a fraction.
    """

    sales: int
    median_ratio: float
    cod: float
    prd: float
    prb: float
    mdape: float
    pe5: float
    pe20: float


@dataclass(frozen=True)
class GlobalDriver:
    """How much one attribute moves estimates, averaged over houses.

    Attributes:
        name: The attribute, or ``"picture"`` for all visual features together.
        mean_absolute: Mean absolute contribution, in the currency.
        mean_absolute_share: The same relative to the estimate, a fraction.
    """

    name: str
    mean_absolute: float
    mean_absolute_share: float


@dataclass(frozen=True)
class AttentionScore:
    """How well the attention falls on the true driver (sample market only).

    Attributes:
        name: What was measured: a method, or a ceiling or floor to compare with.
        heat_ratio: Heat inside the true masks / all heat, a fraction.
        kind: ``"method"`` for housevis's own map, ``"reference"`` for a yardstick.
    """

    name: str
    heat_ratio: float
    kind: Literal["method", "reference"] = "method"


@dataclass(frozen=True)
class ReportPictures:
    """What the report says of the pictures.

    Attributes:
        rank_accuracy: Share of pairs of later sales that the picture alone
            puts in the right order of price, a fraction; None where fewer
            than two of them can be compared.
        tiles: Tile status -> tiles.
        backbone: Name of the backbone.
        backbone_choice: A sentence: which backbone was taken and why.
        backbone_deviation: What the backbone has otherwise than the paper's, or "".
        provider: Name of the imagery provider.
        attribution: The attribution it asks for.
        rights_reference: The user's recorded licence, or None for open imagery.
        attention: Attention scores, empty where there are no true masks.
        same_weights: As in :class:`housevis.views.data.AtlasPictures`.
        covers: What is under the heat of the market, by class of land cover; empty where it is unknown.
        cover_notes: Sentences beside it.
    """

    rank_accuracy: float | None
    tiles: Mapping[str, int]
    backbone: str
    backbone_choice: str
    backbone_deviation: str
    provider: str
    attribution: str
    rights_reference: str | None = None
    attention: tuple[AttentionScore, ...] = ()
    same_weights: bool = False
    covers: tuple[CoverSummary, ...] = ()
    cover_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything that the report shows.

    Attributes:
        title: Heading of the page.
        run_id: The run.
        config_fingerprint: Fingerprint of the configuration it was made with.
        created: Date and time of the run in words.
        currency: ISO 4217 code of all amounts.
        headline: Share within ±10 % with and without visual features.
        estimates: One row per later sale, see :data:`ESTIMATE_COLUMNS`.
        training_sales: Model id -> ids of the sales that model was fitted on.
        training_houses: Model id -> ids of the houses of those sales.
        ablation: The lines of the ablation table.
        ratios: The ratio study of the later sales.
        drivers: Global drivers, any order.
        listing_rows: Rows of the listings file.
        rejects: Reason code -> rows turned away.
        stages: Step of the run -> seconds, in the order they ran.
        deviations: What this run does otherwise than the paper, a sentence
            each, beyond its backbone.
        pictures: What there is to say of the pictures; None in a run of
            attributes alone.
        ratio_groups: Ratio studies by group, of
            :func:`housevis.pricing.ratio_groups.ratio_groups`; None of a run made before there were any.
        driver_tables: What drives the estimates by area, over time and by place; None of a run made before
            there were any.
        leakage: The checks of leakage; None of a run made before they were kept.
        validation: Other tests of the run's model, of
            :func:`housevis.pricing.validation.figures_of_test`; None where they were not made.
        evidence: Single houses, fairness, market and model card; None leaves these sections out.
        interval: Share of prices that the ranges are to hold.
        notice: Sentence shown at the head, for example that the town is fictional.
        atlas_link: Address of the map relative to the report, or None.

    Raises:
        DataError: A column is missing from `estimates`, or it is empty.
    """

    title: str
    run_id: str
    config_fingerprint: str
    created: str
    currency: str
    headline: Headline
    estimates: pd.DataFrame
    training_sales: Mapping[str, Collection[str]]
    training_houses: Mapping[str, Collection[str]]
    ablation: tuple[AblationRow, ...]
    ratios: RatioStatistics
    drivers: tuple[GlobalDriver, ...]
    listing_rows: int
    rejects: Mapping[str, int]
    stages: Mapping[str, float]
    deviations: tuple[str, ...]
    pictures: ReportPictures | None = None
    ratio_groups: pd.DataFrame | None = None
    leakage: Leakage | None = None
    driver_tables: DriverTables | None = None
    validation: pd.DataFrame | None = None
    evidence: Evidence | None = None
    interval: float = 0.9
    notice: str | None = None
    atlas_link: str | None = None

    def __post_init__(self) -> None:
        need_columns(self.estimates, ESTIMATE_COLUMNS, "ReportData.estimates")
        if len(self.estimates) == 0:
            raise DataError("there is no later sale to report on", where="ReportData.estimates")
        need_numbers(self.estimates, ("price", "estimate"), "ReportData")
