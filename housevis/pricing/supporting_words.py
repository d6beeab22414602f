"""Why a sale is comparable, in a sentence of plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ALIKE: Final = 0.5
"""Likeness from which on two pictures are called alike; one in twenty pairs drawn at random reaches it."""

_SAME_AREA: Final = 0.05
_DAYS_PER_MONTH: Final = 365.25 / 12
_NOT_TOLD: Final = -2.0


def reasons(
    table: pd.DataFrame, houses: pd.DataFrame, comparables: pd.DataFrame, shared_picture: NDArray[np.bool_]
) -> list[str]:
    """A sentence for each pair, for example ``same leaf in 71 % of trees; 320 m away; 3 bedrooms as here``.

    Args:
        table: ``leaf_likeness, metres, picture_likeness`` of m pairs.
        houses: The house of each pair: ``sale_date`` (the valuation date) and attributes, m rows.
        comparables: The sale of each pair, m rows.
        shared_picture: Whether both lie in the very same picture ``(m,)``.
    """
    columns = {
        name: (_column(houses, name), _column(comparables, name))
        for name in ("bedrooms", "bathrooms", "area_m2")
    }
    days = (pd.to_datetime(comparables["sale_date"]) - pd.to_datetime(houses["sale_date"])).dt.days
    facts = zip(
        table["leaf_likeness"].tolist(),
        table["metres"].tolist(),
        table["picture_likeness"].fillna(_NOT_TOLD).tolist(),
        shared_picture.tolist(),
        days.tolist(),
        *(zip(*pair, strict=True) for pair in columns.values()),
        strict=True,
    )
    return ["; ".join(_parts(*fact)) for fact in facts]


def distance_words(metres: float) -> str:
    """A distance, for example ``320 m`` or ``1.4 km``."""
    if metres < 995:
        return f"{round(metres, -1) if metres >= 100 else metres:.0f} m"
    return f"{metres / 1000:.1f} km"


def time_words(days: float) -> str:
    """When a comparable was sold, seen from the valuation date, for example ``sold 3 months before``."""
    side = "after the valuation date" if days > 0 else "before"
    size = abs(days)
    if size < 1:
        return "sold on the valuation date"
    if size < 45:
        return f"sold {size:.0f} {'day' if size == 1 else 'days'} {side}"
    if size < 700:
        return f"sold {size / _DAYS_PER_MONTH:.0f} months {side}"
    return f"sold {size / 365.25:.0f} years {side}"


def _parts(
    leaf: float,
    metres: float,
    picture: float,
    shared: bool,
    days: float,
    bedrooms: tuple[float, float],
    bathrooms: tuple[float, float],
    area: tuple[float, float],
) -> Iterator[str]:
    yield f"same leaf in {100 * leaf:.0f} % of trees"
    yield "at the same place" if metres < 1 else f"{distance_words(metres)} away"
    yield from _rooms(bedrooms, "bedroom", told_if_same=True)
    yield from _rooms(bathrooms, "bathroom", told_if_same=False)
    yield from _areas(*area)
    if shared:
        yield "in the same picture"
    elif picture >= ALIKE:
        yield "picture alike"
    if math.isfinite(days):
        yield time_words(days)


def _rooms(pair: tuple[float, float], name: str, *, told_if_same: bool) -> Iterator[str]:
    here, there = pair
    if not (math.isfinite(here) and math.isfinite(there)):
        return
    words = f"{there:g} {name if there == 1 else name + 's'}"
    if here == there:
        if told_if_same:
            yield f"{words} as here"
    elif told_if_same or abs(here - there) >= 1:
        yield f"{words}, here {here:g}"


def _areas(here: float, there: float) -> Iterator[str]:
    if not (math.isfinite(here) and math.isfinite(there) and here > 0):
        return
    change = there / here - 1
    if abs(change) <= _SAME_AREA:
        yield "living area as here"
    else:
        yield f"living area {abs(100 * change):.0f} % {'larger' if change > 0 else 'smaller'}"


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    if name not in table.columns:
        return [math.nan] * len(table)
    return table[name].astype("float64").to_list()
