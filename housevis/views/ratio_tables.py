"""Tables of the report that say how estimates fare by group: deciles, areas, quarters, kinds of houses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from housevis.pricing.equal_treatment import VERTICAL
from housevis.pricing.ratio_groups import COVERED, IF_ALIKE, NEARNESS, OUTSIDE, PERHAPS, in_words
from housevis.pricing.sale_groups import AREA, ESTIMATE, KIND, PRICE, QUARTER
from housevis.views.words import money, percent

MOST_ROWS: Final = 40
"""Of more areas the largest are shown."""

_HEADINGS: Final = {
    ESTIMATE: ("By estimated price, in tenths", "Estimate"),
    AREA: ("By area", "Area"),
    QUARTER: ("By quarter of sale", "Quarter"),
    KIND: ("By kind of house", "Kind"),
    PRICE: ("By sale price, in tenths: printed, not judged", "Sale price"),
}
"""Grouping -> heading of its table, and of the column with the groups."""


@dataclass(frozen=True)
class RatioTable:
    """One table of the report.

    Attributes:
        heading: What it is grouped by.
        column: Heading of the column with the groups.
        rows: ``name``, ``sales``, ``ratio`` with ``ratio_interval``, ``cod``, ``pe10``, ``mdape``,
            ``covered`` and ``verdict`` of each group, all texts.
        left_out: How many groups are not shown.
    """

    heading: str
    column: str
    rows: tuple[dict[str, str], ...]
    left_out: int = 0


def ratio_tables(studies: pd.DataFrame, currency: str) -> list[RatioTable]:
    """The tables, in the order of the report.

    Args:
        studies: Result of :func:`housevis.pricing.ratio_groups.ratio_groups`.
        currency: ISO 4217 code of all amounts.
    """
    tables = []
    for by, (heading, column) in _HEADINGS.items():
        found = studies[studies["by"] == by]
        if found.empty:
            continue
        sizes = found.groupby("position")["sales"].first()
        shown = sorted(sizes.sort_values(ascending=False, kind="stable").index[:MOST_ROWS])
        rows = tuple(_row(found[found["position"] == position], currency) for position in shown)
        tables.append(RatioTable(heading, column, rows, len(sizes) - len(rows)))
    return tables


def overall_sentences(studies: pd.DataFrame) -> list[str]:
    """What is said of all sales: coverage, what noise makes of PRD, PRB and MKI, nearness to prices."""
    everything = studies[studies["by"] == "all"].set_index("figure")
    value = _values(everything)
    sentences = []
    if COVERED in value:
        low, high = float(everything["low"][COVERED]), float(everything["high"][COVERED])
        sentences.append(
            f"The price ranges hold {percent(value[COVERED])} of the prices "
            f"(95 % interval {percent(low)} to {percent(high)})."
        )
    alike = {name: value.get(f"{name}{IF_ALIKE}", float("nan")) for name in VERTICAL}
    if not any(math.isnan(figure) for figure in alike.values()):
        sentences.append(
            "If dear and cheap houses were treated exactly alike, noise in the prices alone would give "
            f"{_vertical(alike)}; here they are {_vertical(value)}."
        )
    return sentences + _nearness_sentences(studies[studies["by"] == NEARNESS])


def _values(figures: pd.DataFrame) -> dict[str, float]:
    return {str(name): float(value) for name, value in figures["value"].items()}


def _vertical(value: dict[str, float]) -> str:
    text = f"PRD {value['prd']:.3f}, PRB {value['prb']:+.3f} and MKI {value['mki']:.2f}"
    return text.replace("-", "−")


def _nearness_sentences(near: pd.DataFrame) -> list[str]:
    if near.empty:
        return []
    value = near.set_index(["group", "figure"])["value"]
    told = [
        f"{group} of the price: {percent(value[group, 'share'])} of the estimates, where the ranges expect "
        f"{percent(value[group, 'expected_smooth'])} to {percent(value[group, 'expected_peaked'])}"
        for group in near["group"].unique()
    ]
    suspicious = near["verdict"].isin([OUTSIDE, PERHAPS]).any()
    verdict = (
        "More estimates equal their price than that: look for sales chasing, or a price among the attributes."
        if suspicious
        else "No sign of estimates that were moved to their prices."
    )
    return [f"{'; '.join(told)[:1].upper()}{'; '.join(told)[1:]}. {verdict}"]


def _row(group: pd.DataFrame, currency: str) -> dict[str, str]:
    figures = group.set_index("figure")
    value = _values(figures)
    low, high = float(figures["low"]["median_ratio"]), float(figures["high"]["median_ratio"])
    first = group.iloc[0]
    return {
        "name": _name(first, currency),
        "sales": f"{int(first['sales']):,}",
        "ratio": f"{value['median_ratio']:.3f}",
        "ratio_interval": f"{low:.3f} to {high:.3f}",
        "cod": f"{value['cod']:.1f}",
        "pe10": percent(value["pe10"]),
        "mdape": percent(value["mdape"]),
        "covered": percent(value[COVERED]) if COVERED in value else "–",
        "verdict": in_words(group),
    }


def _name(row: pd.Series[Any], currency: str) -> str:
    if pd.isna(row["from"]):
        return str(row["group"])
    return f"{money(row['from'], currency, digits=3)} to {money(row['to'], currency, digits=3)}"
