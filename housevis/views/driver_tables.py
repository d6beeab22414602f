"""What drives the estimates, by area, over time and with the place: tables of the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from housevis.pricing.driver_tables import ALL
from housevis.pricing.drivers import PICTURE
from housevis.views.words import ATTRIBUTE_LABELS, label, money, percent

MOST_DRIVERS = 6
"""Drivers that a table of the report shows; the exported tables have all."""

MOST_GROUPS = 12
"""Groups that a table of the report shows: those with the most sales."""


@dataclass(frozen=True)
class DriverTables:
    """The tables of drivers of a run, all of later sales.

    Attributes:
        by_area: Result of :func:`housevis.pricing.driver_tables.drivers_by_group` by area.
        over_time: The same by quarter of sale.
        location_and_picture: Result of
            :func:`housevis.pricing.location_and_picture.location_and_picture`; None of a run
            without pictures, or with too few.
    """

    by_area: pd.DataFrame
    over_time: pd.DataFrame
    location_and_picture: pd.DataFrame | None = None


@dataclass(frozen=True)
class Cell:
    """A signed mean with its bar, and the mean size under it.

    Attributes:
        amount: The mean with its sign, as text.
        size: The mean size, as text; "" where none is shown.
        raises: Whether the bar points to the right.
        width: Its length, percent of half the cell.
    """

    amount: str
    size: str
    raises: bool
    width: float


@dataclass(frozen=True)
class DriverMatrix:
    """Groups in rows, drivers in columns.

    Attributes:
        heading: What the sales are grouped by.
        column: Heading of the column with the groups.
        drivers: Headings of the other columns.
        rows: ``name``, ``sales`` and ``cells``.
        note: What is not shown; "" where all is.
    """

    heading: str
    column: str
    drivers: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    note: str


def driver_matrices(tables: DriverTables | None, currency: str) -> list[DriverMatrix]:
    """The tables by area and by quarter, those that have more than one group."""
    if tables is None:
        return []
    found = [
        _matrix(tables.by_area, "By area", "Area", currency),
        _matrix(tables.over_time, "Over time, by quarter of sale", "Quarter", currency),
    ]
    return [matrix for matrix in found if matrix is not None]


def _matrix(table: pd.DataFrame, heading: str, column: str, currency: str) -> DriverMatrix | None:
    groups = table[table["by"] != ALL]
    sizes = groups.groupby("position")["sales"].first()
    if len(sizes) < 2:
        return None
    everything = table[table["by"] == ALL]
    names = _shown_drivers(everything)
    positions = sorted(sizes.sort_values(ascending=False, kind="stable").index[:MOST_GROUPS])
    parts = [everything, *(groups[groups["position"] == position] for position in positions)]
    shown = pd.concat(parts)
    largest = float(shown.loc[shown["driver"].isin(names), "mean_amount"].abs().max()) or 1.0
    rows = []
    for part in parts:
        figures = part.set_index("driver")
        cells = [
            _cell(
                float(figures["mean_amount"][name]),
                currency,
                largest,
                size=float(figures["mean_absolute_amount"][name]),
            )
            for name in names
        ]
        first = part.iloc[0]
        name = "All later sales" if first["by"] == ALL else str(first["group"])
        rows.append({"name": name, "sales": f"{int(first['sales']):,}", "cells": cells})
    return DriverMatrix(
        heading,
        column,
        tuple(label(name, ATTRIBUTE_LABELS) for name in names),
        tuple(rows),
        _left_out(len(sizes) - len(positions), len(everything) - len(names)),
    )


def _left_out(groups: int, drivers: int) -> str:
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((groups, "group"), (drivers, "driver"))
        if count
    ]
    return f"In the exported table: {' and '.join(parts)} more." if parts else ""


def _shown_drivers(everything: pd.DataFrame) -> list[str]:
    """The drivers that move the estimates most; the picture is always among them."""
    ordered = everything.sort_values("mean_absolute_log", ascending=False, kind="stable")["driver"].tolist()
    shown = ordered[:MOST_DRIVERS]
    if PICTURE in ordered and PICTURE not in shown:
        shown[-1] = PICTURE
    return shown


def _cell(amount: float, currency: str, largest: float, *, size: float | None = None) -> Cell:
    return Cell(
        money(amount, currency, digits=2, signed=True),
        "" if size is None else money(size, currency, digits=2),
        amount >= 0,
        min(100 * abs(amount) / largest, 100.0),
    )


def place_rows(table: pd.DataFrame | None, currency: str) -> list[dict[str, Any]]:
    """Rows of the table of location and picture: the tenths, the lowering places first."""
    if table is None:
        return []
    tenths = table[table["by"] != ALL]
    largest = float(tenths["picture_amount"].abs().max()) or 1.0
    rows = []
    for row in tenths.to_dict("records"):
        ends = [
            money(row[f"picture_amount_{end}"], currency, digits=2, signed=True) for end in ("low", "high")
        ]
        rows.append(
            {
                "name": str(row["position"]),
                "sales": f"{row['sales']:,}",
                "location": money(row["location_amount"], currency, digits=2, signed=True),
                "picture": _cell(row["picture_amount"], currency, largest),
                "interval": " to ".join(ends),
                "swing": _swing(row["swing_log"]),
                "swing_interval": f"{_swing(row['swing_log_low'])} to {_swing(row['swing_log_high'])}",
                "interaction": _swing(row["interaction_absolute_log"]),
            }
        )
    return rows


def place_sentences(table: pd.DataFrame | None, currency: str) -> list[str]:
    """What the table of location and picture comes to."""
    if table is None:
        return []
    everything = table[table["by"] == ALL].iloc[0]
    tenths = table[table["by"] != ALL]
    first, last = tenths.iloc[0], tenths.iloc[-1]
    amounts = [money(row["picture_amount"], currency, digits=2, signed=True) for row in (first, last)]
    sentences = [
        f"Where the location lowers estimates most, a house's own picture changes them by {amounts[0]} on "
        f"average; where it raises them most, by {amounts[1]}."
    ]
    if not any(map(math.isnan, (first["swing_log"], last["swing_log"]))):
        lower, upper = sorted((first, last), key=lambda row: row["swing_log"])
        apart = lower["swing_log_high"] < upper["swing_log_low"]
        sentences.append(
            "With the same pictures of other houses at each place, estimates vary by "
            f"{_swing(first['swing_log'])} in the first tenth and by {_swing(last['swing_log'])} in the last"
            + (
                ": the model treats a picture otherwise for houses there."
                if apart
                else "; chance could explain that."
            )
        )
    sentences.append(
        "What location and picture do together beyond the sum of both is "
        f"{_swing(everything['interaction_absolute_log'])} of the estimate on average, "
        f"where the picture itself is {_swing(everything['picture_absolute_log'])}."
    )
    return [sentence.replace("−", "−\u2060") for sentence in sentences]


def _swing(log: float) -> str:
    return "–" if math.isnan(log) else percent(math.expm1(log))
