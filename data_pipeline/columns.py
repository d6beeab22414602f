"""Which column of a listings file is which of ours."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from data_pipeline.tables import LATITUDE_COLUMN, LONGITUDE_COLUMN
from housevis.core.config import ListingsSection
from housevis.core.errors import ConfigError, ListingsError

REQUIRED = ("id", "date", "price", "latitude", "longitude")
OPTIONAL = ("bedrooms", "bathrooms", "area", "address", "listing_url")
_FRAME_NAMES = {"house_id": "id", "sale_date": "date", "area_m2": "area"}
_RESERVED = {
    *("sale_id", "house_id", "sale_date", "price", "latitude", "longitude"),
    *("bedrooms", "bathrooms", "area_m2", "address", "listing_url", "source_row", "sale_month", "attributes"),
}
_GUESSES: dict[str, tuple[str, ...]] = {
    "id": ("id", "house_id", "parcel_id", "parcelno", "parcel", "pin", "property_id", "listing_id"),
    "date": ("date", "sale_date", "sold_date", "date_sold", "closing_date", "close_date"),
    "price": ("price", "sale_price", "sold_price", "sale_prc", "saleprice"),
    "latitude": ("latitude", "lat", "lattitude", LATITUDE_COLUMN),
    "longitude": ("longitude", "long", "lon", "lng", "longtitude", LONGITUDE_COLUMN),
    "bedrooms": ("bedrooms", "beds", "bedroom", "bed", "bedroom2"),
    "bathrooms": ("bathrooms", "baths", "bathroom", "bath"),
    "address": ("address", "street_address"),
    "listing_url": ("listing_url", "url"),
}
_AREA_GUESSES: dict[str, tuple[str, ...]] = {
    "m2": ("area_m2", "living_area_m2", "area", "living_area", "buildingarea", "building_area"),
    "ft2": (
        "sqft_living",
        "area_ft2",
        "area_sqft",
        "living_area_sqft",
        "sqft",
        "living_area",
        "tot_lvg_area",
    ),
}


def map_columns(
    section: ListingsSection, header: Sequence[str], *, where: str, required: Sequence[str] = REQUIRED
) -> dict[str, str]:
    """Find our columns in a file: as configured, else by their usual names.

    Args:
        section: The ``[listings]`` section.
        header: Column names of the file.
        where: The file, for messages.
        required: Our names that must be found.

    Returns:
        Our name -> the file's name.

    Raises:
        ListingsError: A column is not there; names the nearest that is.
        ConfigError: ``listings.columns`` has a key that is none of ours.
    """
    known = (*REQUIRED, *OPTIONAL)
    configured: dict[str, str] = {}
    for key, name in section.columns.items():
        ours = _FRAME_NAMES.get(key, key)
        if ours not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise ConfigError(
                f"unknown column {key!r}",
                where="listings.columns",
                remedy=f"Did you mean {nearest[0]!r}?" if nearest else f"Known: {', '.join(known)}.",
            )
        parts = id_parts(name) if ours == "id" and name not in header else [name]
        for part in parts:
            if part not in header:
                raise _missing(part, header, where, f"listings.columns.{key}")
        configured[ours] = name
    lower = {name.lower(): name for name in reversed(header)}
    mapping = {}
    for ours in known:
        guesses = _AREA_GUESSES[section.area_unit] if ours == "area" else _GUESSES[ours]
        found = configured.get(ours) or next((lower[name] for name in guesses if name in lower), None)
        if found is not None:
            mapping[ours] = found
        elif ours in required:
            raise _missing(ours, header, where, f"listings.columns.{ours}")
    return mapping


def id_parts(name: str) -> list[str]:
    """The columns that make up an id: ``"LATITUDE, LONGITUDE"`` joins two."""
    return [part.strip() for part in name.split(",")]


def check_attributes(names: Sequence[str], header: Sequence[str], *, where: str) -> None:
    """Check that the extra attributes are columns of the file, under names of their own.

    Raises:
        ListingsError: One is not there; names the nearest that is.
        ConfigError: One has a name that housevis uses itself.
    """
    for name in names:
        if name in _RESERVED:
            raise ConfigError(
                f"{name!r} is a column of housevis itself, so it cannot be an extra attribute",
                where="listings.extra_attributes",
                remedy="Take it out, or rename the column of the file.",
            )
        if name not in header:
            raise _missing(name, header, where, "listings.extra_attributes")


def _missing(name: str, header: Sequence[str], where: str, setting: str) -> ListingsError:
    lower = {column.lower(): column for column in header}
    nearest = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.4)
    if nearest:
        hint = f"The nearest that is there: {lower[nearest[0]]!r}; name the right one in {setting}."
    else:
        hint = f"It has: {', '.join(header[:30])}; name the right one in {setting}."
    return ListingsError(f"there is no column {name!r}", where=where, remedy=hint)
