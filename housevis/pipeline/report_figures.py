"""The tables of a run's report, made from its estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.core.config import Config
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.pipeline.report_tables import ReportTable
from housevis.pipeline.sold import SoldHouses
from housevis.pricing.confidence_table import confidence_table, reasons_table
from housevis.pricing.equity import gini, lorenz_curves
from housevis.pricing.miss_diagnosis import Wording, biggest_misses
from housevis.pricing.picture_gain import moved_most, picture_gain
from housevis.pricing.price_level import log_contribution, price_level
from housevis.pricing.representativeness import compare_by_picture
from housevis.pricing.sale_groups import ESTIMATE, PRICE, groupings
from housevis.views.charts import agreement_cells, error_shares
from housevis.views.market_map import map_cells

LATER: Final = "later sale"
_TIME: Final = f"{DRIVER_PREFIX}sale_month"
_PICTURE: Final = f"{DRIVER_PREFIX}picture"

FRACTION, AMOUNT = "fraction of 1", "currency of the listings"


def judged_sales(config: Config, sold: SoldHouses, judged: pd.DataFrame) -> pd.DataFrame:
    """Every sold house's out-of-sample estimate with its attributes and the groups it is judged in.

    Args:
        config: The configuration.
        sold: The sales.
        judged: Their estimates; those of houses that are not sold any more are left out.

    Returns:
        The columns of the estimates, those of the sale frame but the address,
        and of later sales the name of their group in every grouping.
    """
    extra = [name for name in sold.sales.columns if name not in judged.columns and name != "address"]
    table = judged.merge(sold.sales[["sale_id", *extra]], on="sale_id", validate="one_to_one")
    if _PICTURE in table:
        table["picture_effect"] = np.expm1(_in_logs(table, _PICTURE))
    later = table.index[table["sample"] == LATER]
    for grouping in _groupings(config, table.loc[later]):
        names = np.array(grouping.names, dtype=object)[grouping.group]
        table.loc[later, grouping.by.replace(" ", "_")] = names
    return table


def report_tables(config: Config, table: pd.DataFrame, attributes: Sequence[str]) -> dict[str, pd.DataFrame]:
    """All tables that follow from the estimates alone.

    Args:
        config: The configuration.
        table: Of :func:`judged_sales`.
        attributes: What the model uses.

    Returns:
        Name -> table; what needs pictures is absent in a run without.
    """
    later = table[table["sample"] == LATER].reset_index(drop=True)
    earlier = table[table["sample"] != LATER].reset_index(drop=True)
    price, estimate = later["price"].to_numpy(np.float64), later["estimate"].to_numpy(np.float64)
    found = {
        "estimates": table,
        "agreement": agreement_cells(price, estimate),
        "errors": error_shares(price, estimate),
        "lorenz_curve": lorenz_curves(estimate, price),
        "gini": gini_table(later),
        "drivers": driver_table(later),
        "biggest_misses": biggest_misses(
            later,
            earlier,
            [name for name in attributes if name in later],
            wording=Wording(config.listings.currency, config.listings.area_unit),
            uses_pictures=config.uses_pictures,
        ),
        "price_level": _price_level(table),
    }
    if "confidence" in later:
        found |= {"confidence": confidence_table(later), "confidence_reasons": reasons_table(later)}
    if {"latitude", "longitude"} <= set(later):
        found["market_map"] = map_cells(later)
    if config.uses_pictures:
        chosen = [each for each in _groupings(config, later) if each.by != PRICE]
        found["picture_gain"] = picture_gain(
            later, chosen, repeats=config.pricing.bootstrap, seed=config.seed
        )
        found["picture_moved_most"] = moved_most(later.assign(picture=later[_PICTURE]))
        found["representativeness"] = compare_by_picture(table)
    return found


def gini_table(later: pd.DataFrame) -> pd.DataFrame:
    """Gini coefficients of the later sales: of the prices, of the estimates, and their quotient, the MKI."""
    price, estimate = later["price"].to_numpy(np.float64), later["estimate"].to_numpy(np.float64)
    prices, estimates = gini(price), gini(estimate, price)
    rows = [("gini_prices", prices), ("gini_estimates", estimates), ("mki", estimates / prices)]
    return pd.DataFrame(rows, columns=["figure", "value"])


def driver_table(later: pd.DataFrame) -> pd.DataFrame:
    """How far each driver moves an estimate on average, whatever the sign."""
    names = driver_columns(later)
    return pd.DataFrame(
        {
            "driver": [name.removeprefix(DRIVER_PREFIX) for name in names],
            "mean_absolute": [float(later[name].abs().mean()) for name in names],
            "mean_absolute_share": [float((later[name].abs() / later["estimate"]).mean()) for name in names],
        }
    )


def _in_logs(table: pd.DataFrame, driver: str) -> np.ndarray:
    """A driver's contributions in log units ``(n,)``."""
    amount, estimate, base = (table[name].to_numpy(np.float64) for name in (driver, "estimate", "base"))
    return log_contribution(amount, estimate, base)


def _groupings(config: Config, later: pd.DataFrame) -> list[Any]:
    return groupings(later, area=config.ratio_studies.area, kind=config.ratio_studies.kind)


def _price_level(table: pd.DataFrame) -> pd.DataFrame:
    estimate = table["estimate"].to_numpy(np.float64)
    time = _in_logs(table, _TIME) if _TIME in table else None
    return price_level(table["sale_date"], table["price"].to_numpy(np.float64), estimate, time)


_OF_A_GRADE: Final = {
    "sales": "number",
    "share": "fraction of the later sales",
    "pe10": "share of estimates within 10 % of the price, fraction",
    "mdape": "median absolute error, fraction of the price",
    "covered": "share of prices inside their range, fraction",
    "width": "mean width of the range, fraction of the estimate",
}

HOLDS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "estimates": (
        "Every sale with its out-of-sample estimate, attributes and groups; all figures follow from it.",
        {
            "price": f"sale price, {AMOUNT}",
            "estimate": f"estimate by a model that has not seen this house, {AMOUNT}",
            "without_picture": f"the same by the model of attributes alone, {AMOUNT}",
            "low": f"lower end of the range, {AMOUNT}",
            "high": f"upper end of the range, {AMOUNT}",
            "confidence": "grade of the estimate: high, medium or low",
            "confidence_reasons": "why it may be less sure than others, sentences",
            "base": f"base price that the drivers start from, {AMOUNT}",
            "sample": "later sale: after all sales learned from; cross-fitted: by a model of the other folds",
            "picture_effect": "by how much the picture makes the estimate higher, fraction",
            "picture_score": "how dear the ranker takes a later sale to be from its picture alone, no unit",
            "area_m2": "living area, m²",
            "latitude": "degrees, EPSG:4326",
            "longitude": "degrees, EPSG:4326",
        },
    ),
    "agreement": (
        "The cells of the chart of estimates against prices.",
        {
            "price": f"middle of the cell, {AMOUNT}",
            "estimate": f"middle of the cell, {AMOUNT}",
            "sales": "number",
        },
    ),
    "errors": (
        "The bars of the chart of errors; the outermost count what lies beyond.",
        {"from": "percent of the price", "to": "percent of the price", "sales": "number", "share": FRACTION},
    ),
    "confidence": (
        "How near the estimates of each confidence grade came, later sales.",
        _OF_A_GRADE,
    ),
    "confidence_reasons": (
        "The same by reason for doubt; a sale may have several.",
        _OF_A_GRADE,
    ),
    "lorenz_curve": (
        "The share of all value that the cheapest houses hold, in the order of their prices.",
        {"houses": FRACTION, "prices": FRACTION, "estimates": FRACTION},
    ),
    "gini": (
        "Gini coefficients of prices and of estimates, in the order of the prices, and their quotient (MKI).",
        {"value": "no unit"},
    ),
    "drivers": (
        "How far each driver moves an estimate, mean over the later sales whatever the sign.",
        {"mean_absolute": AMOUNT, "mean_absolute_share": "fraction of the estimate"},
    ),
    "biggest_misses": (
        "The ten later sales estimated furthest too high and too low, with what the data say of each.",
        {
            "error": "estimate / price less 1, fraction",
            "in_range": "whether the price lies in the range",
            "reasons": "sentences",
            **dict.fromkeys(("price", "estimate", "without_picture", "low", "high"), AMOUNT),
        },
    ),
    "price_level": (
        "Mean log price less what the houses explain, by month, the last month 0.",
        {
            "level": "log units",
            "low": "log units, end of the 95 % interval",
            "high": "log units, end of the 95 % interval",
        },
    ),
    "market_index": (
        "The market index of the serving model by month; the last day of its sales is 0.",
        {
            "level": "log units",
            "low": "log units, end of the 95 % interval",
            "high": "log units, end of the 95 % interval",
        },
    ),
    "market_map": (
        "Later sales in hexagons over the ground.",
        {
            "east": "metres from the middle of the market",
            "north": "metres from the middle of the market",
            "radius": "metres from the middle of a cell to its corners",
            "median_ratio": "estimate / price",
            "median_error": "distance of estimate and price, fraction of the price",
            "picture_effect": "by how much the picture makes the estimate higher, the median, fraction",
        },
    ),
    "picture_gain": (
        "Share of later sales within ±10 % without and with the pictures, all and by group.",
        {
            "from": f"smallest estimate of a tenth, {AMOUNT}",
            "to": f"largest estimate of a tenth, {AMOUNT}",
            "without": FRACTION,
            "with": FRACTION,
            "gain": "with less without, fraction",
            "low": "lower end of the paired 95 % interval of the gain",
            "high": "upper end of the paired 95 % interval of the gain",
            "mdape_without": FRACTION,
            "mdape_with": FRACTION,
        },
    ),
    "picture_moved_most": (
        "The ten later sales whose estimate the picture moved the most, as a factor.",
        {
            "picture": f"what the picture adds to the estimate, {AMOUNT}",
            "picture_effect": "the same as a fraction: 0.1 makes the estimate 10 % higher",
            "surroundings": f"what of it the pictures around the house add, {AMOUNT}",
            **dict.fromkeys(("price", "estimate", "without_picture", "low", "high"), AMOUNT),
        },
    ),
    "representativeness": (
        "Sold houses with and without a picture.",
        {
            "with_median": f"{AMOUNT}, m², number, or days since 1970-01-01",
            "without_median": f"{AMOUNT}, m², number, or days since 1970-01-01",
            "difference": "of the means, in standard deviations",
        },
    ),
    "figures": (
        "The figures at the head of the report and of its ratio study.",
        {
            "value": "fraction, or as the figure is defined",
            "low": "end of the 95 % interval",
            "high": "the other end",
        },
    ),
    "ratio_studies": ("Ratio studies of the later sales by group; see docs/ratio-studies.md.", {}),
    "ablation": (
        "What each set of attributes reaches, without and with visual features.",
        dict.fromkeys(("without", "with", "gain_low", "gain_high", "mdape_without", "mdape_with"), FRACTION),
    ),
    "rejects": ("Rows of the listings that were turned away, by reason.", {"rows": "number"}),
    "tiles": ("Map tiles by what became of them.", {"tiles": "number"}),
    "steps": ("How long every step of the run took.", {"seconds": "seconds"}),
    "leakage": ("The checks of leakage and what they found.", {}),
    "attention": (
        "Share of the attention on what is known to matter; fictional towns only.",
        {"heat_ratio": FRACTION},
    ),
    "land_cover": (
        "What is under the heat.",
        {"area": FRACTION, "attention": FRACTION, "ratio": "attention / area", "money": AMOUNT},
    ),
    "model_card": ("The model card, a sentence per row.", {}),
    "settings": ("What has to be known besides the estimates to recompute the report.", {}),
}
"""Table -> what it holds, and what its columns mean."""


def described_tables(tables: Mapping[str, pd.DataFrame]) -> list[ReportTable]:
    """Tables with what is known of them."""
    return [ReportTable(name, HOLDS[name][0], table, HOLDS[name][1]) for name, table in tables.items()]


__all__ = [
    "ESTIMATE",
    "HOLDS",
    "LATER",
    "described_tables",
    "driver_table",
    "gini_table",
    "judged_sales",
    "report_tables",
]
