"""One attribute value that somebody typed, read and judged as the listings' own are."""

from __future__ import annotations

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
        possible, limits = 0 <= values[0] <= ROOM_LIMIT, f"from 0 to {ROOM_LIMIT}"
    elif name == AREA:
        values, _ = areas(written, area_unit)
        possible, limits = 0 < values[0] <= AREA_LIMIT, f"above 0 and at most {AREA_LIMIT:,.0f} m²"
    else:
        values, _ = numbers(written)
        possible, limits = True, ""
    if pd.isna(values[0]):
        raise UsageError(
            f"{text.strip()!r} is no number", where=name, remedy=f"Write a number, for example {name}=3."
        )
    if not possible:
        raise UsageError(
            f"{text.strip()} is impossible for {name}", where=name, remedy=f"Give a value {limits}."
        )
    return float(values[0])
