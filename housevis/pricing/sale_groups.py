"""Which sales are looked at together: tenths of the values, quarters, areas, kinds of houses.

A group is named in plain words. Equal values are never split between two
groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import ConfigError

ESTIMATE, PRICE, QUARTER, AREA, KIND = "decile of estimate", "decile of price", "quarter", "area", "kind"

AREA_ATTRIBUTES: Final = (
    "area_code", "district", "neighborhood", "neighbourhood", "postal_code", "postcode", "township", "zip",
    "zip_code", "zipcode",
)  # fmt: skip
"""Attributes that are taken for the area where none is named."""

KIND_ATTRIBUTES: Final = ("building_type", "dwelling_type", "house_type", "property_class", "property_type")
"""Attributes that are taken for the kind of house where none is named; else it is the bedrooms."""

MOST_GROUPS: Final = 1000
"""An attribute of more values is no area and no kind."""

NOT_STATED: Final = "not stated"

_MOST_BEDROOMS: Final = 6
_ROWS, _COLUMNS = ("south", "", "north"), ("west", "", "east")


@dataclass(frozen=True)
class Grouping:
    """Sales in groups.

    Attributes:
        by: What they are grouped by, in words.
        names: Names of the groups, in the order to print them.
        group: Number of each sale's group ``(n,)``.
        values: What the groups are ranges of ``(n,)``, currency; None where they are none.
    """

    by: str
    names: tuple[str, ...]
    group: NDArray[np.int64]
    values: NDArray[np.float64] | None = None


def groupings(sales: pd.DataFrame, *, area: str | None = None, kind: str | None = None) -> list[Grouping]:
    """All groupings that a table of judged sales allows.

    Args:
        sales: ``estimate`` and ``price`` of n sales and, each where known,
            ``sale_date``, ``latitude`` with ``longitude``, and attributes.
        area: The attribute that says the area, such as a postal code; None
            takes the first of :data:`AREA_ATTRIBUTES` that is there, else
            ninths of the market by place.
        kind: The attribute that says the kind of house; None takes the first
            of :data:`KIND_ATTRIBUTES` that is there, else the bedrooms.

    Raises:
        ConfigError: A named attribute is not there, or holds too many values.
    """
    found = [by_decile(sales["estimate"], ESTIMATE), by_decile(sales["price"], PRICE)]
    if "sale_date" in sales:
        found.append(by_quarter(sales["sale_date"]))
    area = _attribute(sales, area, AREA_ATTRIBUTES, "ratio_studies.area")
    if area is not None:
        found.append(by_attribute(sales[area], AREA))
    elif {"latitude", "longitude"} <= set(sales):
        found.append(by_place(sales["latitude"], sales["longitude"]))
    kind = _attribute(sales, kind, KIND_ATTRIBUTES, "ratio_studies.kind")
    if kind is not None:
        found.append(by_attribute(sales[kind], KIND, kind.replace("_", " ")))
    elif "bedrooms" in sales:
        found.append(by_bedrooms(sales["bedrooms"]))
    return found


def by_decile(values: pd.Series[Any], by: str) -> Grouping:
    """Tenths of the sales by a value, the cheapest first."""
    numbers = values.to_numpy(dtype="float64")
    names = tuple(f"decile {number}" for number in range(1, 11))
    return Grouping(by, names, _parts(numbers, 10), numbers)


def by_quarter(dates: pd.Series[Any]) -> Grouping:
    """Quarters of a year, such as ``2015 Q1``, the earliest first."""
    days = pd.to_datetime(dates)
    return _by_name(QUARTER, days.dt.to_period("Q").astype(str).str.replace("Q", " Q").tolist())


def by_place(latitude: pd.Series[Any], longitude: pd.Series[Any]) -> Grouping:
    """Ninths of the sales by place: three bands from south to north, each cut in three from west to east.

    They are named by the compass, the one in the middle ``centre``; markets
    across the 180th meridian are cut as any other.
    """
    north, east = latitude.to_numpy(dtype="float64"), longitude.to_numpy(dtype="float64")
    if len(east):
        east = (east - east[0] + 180) % 360
    row = _parts(north, 3)
    column = np.zeros(len(row), dtype=np.int64)
    for band in range(3):
        column[row == band] = _parts(east[row == band], 3)
    places = [(line, side) for line in (2, 1, 0) for side in range(3)]
    names = tuple("-".join(filter(None, (_ROWS[line], _COLUMNS[side]))) or "centre" for line, side in places)
    number = {place: position for position, place in enumerate(places)}
    members = [number[place] for place in zip(row.tolist(), column.tolist(), strict=True)]
    return Grouping(AREA, names, np.array(members, dtype=np.int64))


def by_attribute(values: pd.Series[Any], by: str, word: str = "") -> Grouping:
    """One group for each value of an attribute, in the order of the values.

    Args:
        values: The attribute of n sales: numbers or text.
        by: What to call the grouping.
        word: Put before every number.
    """
    known = values.notna().to_numpy()
    distinct = sorted(values[known].unique().tolist())
    names = [f"{word} {_text(value)}".strip() for value in distinct]
    position = {value: number for number, value in enumerate(distinct)}
    members = [position.get(value, len(names)) for value in values.where(known, None).tolist()]
    last = () if known.all() else (NOT_STATED,)
    return Grouping(by, (*names, *last), np.array(members, dtype=np.int64))


def by_bedrooms(bedrooms: pd.Series[Any]) -> Grouping:
    """Bedrooms as the kind of house; 6 and more are one."""
    whole = np.floor(bedrooms.to_numpy(dtype="float64", na_value=np.nan))
    counts = np.where(np.isnan(whole), _MOST_BEDROOMS + 1, np.clip(whole, 0, _MOST_BEDROOMS)).astype(int)
    names = ["1 bedroom" if count == 1 else f"{count} bedrooms" for count in range(_MOST_BEDROOMS)]
    return Grouping(KIND, (*names, f"{_MOST_BEDROOMS} bedrooms or more", NOT_STATED), counts)


def _by_name(by: str, names: Sequence[str]) -> Grouping:
    distinct, group = np.unique(np.array(names, dtype=str), return_inverse=True)
    return Grouping(by, tuple(distinct.tolist()), group)


def _parts(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Part of each value when the sorted values are cut into `count` equal parts; equals stay together."""
    smaller = np.searchsorted(np.sort(values), values, side="left")
    return np.asarray(count * smaller // max(len(values), 1), dtype=np.int64)


def _attribute(sales: pd.DataFrame, named: str | None, usual: Sequence[str], where: str) -> str | None:
    present = [str(name) for name in sales.columns if sales[name].notna().any()]
    if named is None:
        found = (name for name in present if name.lower() in usual)
        return next((name for name in found if sales[name].nunique() <= MOST_GROUPS), None)
    if named not in present:
        raise ConfigError(
            f"the sales hold no value of {named!r}",
            where=where,
            remedy="Name an attribute of the sales; further columns need listings.extra_attributes.",
        )
    if sales[named].nunique() > MOST_GROUPS:
        raise ConfigError(
            f"{named!r} holds {sales[named].nunique():,} values, so it does not group the sales",
            where=where,
            remedy=f"Name an attribute of at most {MOST_GROUPS:,} values.",
        )
    return named


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
