"""One attribute value that somebody typed, read and judged as the listings' own are."""

from __future__ import annotations

import math

import pandas as pd

from data_pipeline.judging import AREA_LIMIT, ROOM_LIMIT
from data_pipeline.parsing import areas, numbers, rooms
from housevis.core.errors import UsageError

ROOMS = ("bedrooms", "bathrooms")
AREA = "area_m2"


def read_value(name: str, text: str, *, area_unit: str = "m2") -> float:
    """Read the value of an attribute.

    Args:
        name: The attribute: ``bedrooms``, ``bathrooms``, ``area_m2`` or any other.
        text: The value, written as listings write it: ``3``, ``2½``, ``1,850``, ``120 m2``.
        area_unit: Unit of an area that names none, ``m2`` or ``ft2``.

    Returns:
        The value; an area in square metres.

    Raises:
        UsageError: It is no number, or the listings would be refused with it.
    """
    written = pd.Series([text.strip()], dtype="str")
    if name in ROOMS:
        values, _ = rooms(written)
    elif name == AREA:
        values, _ = areas(written, area_unit)
    else:
        values, _ = numbers(written)
    if pd.isna(values[0]):
        raise UsageError(
            f"{text.strip()!r} is no number", where=name, remedy=f"Write a number, for example {name}=3."
        )
    return possible_value(name, float(values[0]), text.strip())


def possible_value(name: str, value: float, written: str | None = None) -> float:
    """The value of an attribute, where a listing may have it.

    Args:
        name: The attribute.
        value: Its value; an area in square metres.
        written: As somebody typed it, for the message.

    Raises:
        UsageError: It is not finite, or the listings would be refused with it.
    """
    if name in ROOMS:
        possible, limits = 0 <= value <= ROOM_LIMIT, f"from 0 to {ROOM_LIMIT}"
    elif name == AREA:
        possible, limits = 0 < value <= AREA_LIMIT, f"above 0 and at most {AREA_LIMIT:,.0f} m²"
    else:
        possible, limits = math.isfinite(value), "that is finite"
    if not possible:
        shown = f"{value:g}" if written is None else written
        raise UsageError(f"{shown} is impossible for {name}", where=name, remedy=f"Give a value {limits}.")
    return value
