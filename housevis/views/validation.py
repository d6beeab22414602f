"""The section of the report that says how the run's model stands under other tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from housevis.pricing.validation import BY_BLOCK, BY_DATE, BY_HOUSE, EVERYTHING, REFERENCES, ROLLING_ORIGIN
from housevis.views.words import percent, points

_MEANINGS: Final = {
    BY_DATE: (
        "The run's own split: models learn from the earlier sales and are judged on all later ones at once."
    ),
    ROLLING_ORIGIN: (
        "The same later sales, part by part; before each part everything is fitted anew on the sales until "
        "then. So fares a model that is refitted from time to time."
    ),
    BY_HOUSE: (
        "The earlier sales, in folds that never part the sales of a house: each is judged by the run's "
        "cross-fitted model that has not seen its fold. New houses among known neighbours, at a known time."
    ),
    BY_BLOCK: (
        "The earlier sales again, in folds of whole blocks of 1 km; everything is fitted anew without the "
        "blocks that are judged. Houses in a square kilometre where nothing is known to have been sold."
    ),
}

_OWN: Final = " (this run)"


@dataclass(frozen=True)
class TestTable:
    """One test in the report.

    Attributes:
        heading: Its name.
        meaning: What is held out, in a sentence or two.
        finding: The run's model against the test that it is compared with; empty where there is none.
        rows: ``method``, ``own`` (bool), ``pe10``, ``interval``, ``mdape``, ``ratio``, ``cod``,
            ``difference`` and ``difference_interval`` of each method, texts.
        parts: ``name``, ``sales``, ``taught``, ``pe10``, ``mdape`` and ``ratio`` of each origin, for the
            run's model; folds have none.
        sales: How many sales are judged.
    """

    __test__ = False

    heading: str
    meaning: str
    finding: str
    rows: tuple[dict[str, Any], ...]
    parts: tuple[dict[str, str], ...]
    sales: int


def validation_tables(validation: pd.DataFrame) -> list[TestTable]:
    """The tests in the order of the table, see :func:`housevis.pricing.validation.figures_of_test`."""
    tables = []
    for test, rows in validation.groupby("test", sort=False):
        pooled = rows[rows["part"] == EVERYTHING]
        own = pooled[pooled["is_run_model"]].iloc[0]
        parts = rows[(rows["part"] != EVERYTHING) & rows["is_run_model"] & (test == ROLLING_ORIGIN)]
        tables.append(
            TestTable(
                heading=f"{str(test)[:1].upper()}{str(test)[1:]}",
                meaning=_MEANINGS.get(str(test), ""),
                finding=_finding(own),
                rows=tuple(_method_row(row) for _, row in pooled.iterrows()),
                parts=tuple(_part_row(row) for _, row in parts.iterrows()),
                sales=int(own["sales"]),
            )
        )
    return tables


def _finding(own: pd.Series[Any]) -> str:
    reference = REFERENCES.get(str(own["test"]))
    if reference is None or own["against"] != reference:
        return ""
    low, high = float(own["difference_low"]), float(own["difference_high"])
    chance = "; chance alone could explain the difference" if low <= 0 <= high else ""
    return (
        f"On the same sales {points(own['difference'])} points against the test {reference} "
        f"(95 % interval {points(low)} to {points(high)}{chance})."
    )


def _method_row(row: pd.Series[Any]) -> dict[str, Any]:
    own = bool(row["is_run_model"])
    return {
        "method": f"{str(row['method'])[:1].upper()}{str(row['method'])[1:]}{_OWN if own else ''}",
        "own": own,
        "pe10": percent(row["pe10"]),
        "interval": f"{percent(row['pe10_low'])} to {percent(row['pe10_high'])}",
        "mdape": percent(row["mdape"]),
        "ratio": f"{row['median_ratio']:.3f}",
        "cod": f"{row['cod']:.1f}",
        "difference": "" if own else points(row["difference"]),
        "difference_interval": ""
        if own
        else f"{points(row['difference_low'])} to {points(row['difference_high'])}",
    }


def _part_row(row: pd.Series[Any]) -> dict[str, str]:
    return {
        "name": str(row["part"]),
        "taught": f"{row['taught']:,.0f}",
        "sales": f"{row['sales']:,}",
        "pe10": percent(row["pe10"]),
        "mdape": percent(row["mdape"]),
        "ratio": f"{row['median_ratio']:.3f}",
    }
