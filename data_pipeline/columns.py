"""Which column of a listings file is which of ours."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from data_pipeline.column_names import (
    AREA_NAMES,
    PLACE_NAMES,
    PROJECTED_NAMES,
    USUAL_NAMES,
    simplified,
)
from data_pipeline.people import names_people, refuse_people
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError

REQUIRED = ("id", "date", "price", "latitude", "longitude")
OPTIONAL = ("bedrooms", "bathrooms", "area", "address", "unit", "listing_url")
DATE_PARTS = ("year", "month", "day")

_VALUE = re.compile(r"-?\d+[.,]\d+$|\d{5,}$|\d{4}-\d\d-\d\d(?:[ T]|$)|\d{1,2}[./]\d{1,2}[./]\d{2,4}$")

_OTHER_NAMES = {
    **{"house_id": "id", "sale_date": "date", "area_m2": "area"},
    **{"x": "longitude", "y": "latitude", "lon": "longitude", "lat": "latitude"},
}
_RESERVED = {
    *("sale_id", "house_id", "sale_date", "price", "latitude", "longitude"),
    *("bedrooms", "bathrooms", "area_m2", "address", "unit", "listing_url", "source_row", "sale_month"),
    *("attributes", "previous_sale_id", "outlier_reasons", "outlier_rules"),
}


@dataclass(frozen=True)
class ColumnMapping:
    """Our columns in a file.

    Attributes:
        names: Our name -> the file's name; an id may be several, joined by commas.
        configured: Our names that the configuration names; the others are guesses.
        unused: Columns of the file that nothing is read from.
        people: Columns that name people, which are never read.
        other_ids: Columns among the unused ones that are named like ids.
        warnings: What looks wrong, as sentences for a reader.
    """

    names: dict[str, str]
    configured: frozenset[str]
    unused: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    other_ids: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def sources(self) -> dict[str, str]:
        """Our name -> ``configured`` or ``guessed``."""
        return {ours: "configured" if ours in self.configured else "guessed" for ours in self.names}


def map_columns(
    section: ListingsSection,
    header: Sequence[str],
    *,
    where: str,
    required: Sequence[str] = REQUIRED,
    projected: bool = False,
) -> ColumnMapping:
    """Find our columns in a file: as configured, else by their usual names.

    Args:
        section: The ``[listings]`` section.
        header: Column names of the file.
        where: The file, for messages.
        required: Our names that must be found; ``date`` may be built from
            its parts, coordinates may be left to a geocoder.
        projected: Whether ``listings.crs`` is in metres or feet.

    Raises:
        ListingsError: A column is not there; names the nearest that is.
        ConfigError: ``listings.columns`` has a key that is none of ours, or
            asks for names of people.
    """
    configured = _configured(section, header, where)
    refuse_people([part for name in configured.values() for part in _parts(name, header)], where=where)
    refuse_people(section.arms_length, where="listings.arms_length")
    for name in section.arms_length:
        if name not in header:
            raise _missing(name, header, where, "listings.arms_length")
    known: dict[str, str] = {}
    for name in header:
        if not names_people(name):
            known.setdefault(simplified(name), name)
    names = dict(configured)
    for ours, guesses in _guesses(section, projected).items():
        if ours not in names and not (ours in DATE_PARTS and "date" in names):
            found = next((known[guess] for guess in guesses if guess in known), None)
            if found is not None and found not in configured.values():
                names[ours] = found
    if not {"latitude", "longitude"} & set(names) and not (section.geocoder and "address" in names):
        place = next((known[guess] for guess in PLACE_NAMES if guess in known), None)
        if place is not None and place not in configured.values() and place != names.get("address"):
            names["latitude"] = names["longitude"] = place
    if "date" in names:
        names = {ours: name for ours, name in names.items() if ours not in DATE_PARTS or ours in configured}
    _check_required(names, section, header, where, required)
    order = (*REQUIRED, *DATE_PARTS, *OPTIONAL)
    names = {ours: names[ours] for ours in order if ours in names}
    used = {part for name in names.values() for part in _parts(name, header)}
    used |= {*section.extra_attributes, *section.arms_length}
    people = [name for name in header if names_people(name)]
    unused = [name for name in header if name not in used and name not in people]
    other_ids = [name for name in unused if simplified(name) in USUAL_NAMES["id"]]
    twice = sorted(name for name in used if header.count(name) > 1)
    warnings = [f"the header has several columns {name!r}: the first of them is read" for name in twice]
    warnings += _area_warnings(names, known, section)
    return ColumnMapping(names, frozenset(configured), unused, people, other_ids, warnings)


def id_parts(name: str) -> list[str]:
    """The columns that make up an id: ``"LATITUDE, LONGITUDE"`` joins two."""
    return [part.strip() for part in name.split(",")]


def check_attributes(names: Sequence[str], header: Sequence[str], *, where: str) -> None:
    """Check that the extra attributes are columns of the file, under names of their own.

    Raises:
        ListingsError: One is not there; names the nearest that is.
        ConfigError: One has a name that housevis uses itself, or names people.
    """
    refuse_people(names, where="listings.extra_attributes")
    for name in names:
        if name in _RESERVED:
            raise ConfigError(
                f"{name!r} is a column of housevis itself, so it cannot be an extra attribute",
                where="listings.extra_attributes",
                remedy="Take it out, or rename the column of the file.",
            )
        if name not in header:
            raise _missing(name, header, where, "listings.extra_attributes")


def _configured(section: ListingsSection, header: Sequence[str], where: str) -> dict[str, str]:
    known = (*REQUIRED, *DATE_PARTS, *OPTIONAL)
    configured: dict[str, str] = {}
    for key, name in section.columns.items():
        ours = _OTHER_NAMES.get(key, key)
        if ours not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise ConfigError(
                f"unknown column {key!r}",
                where="listings.columns",
                remedy=f"Did you mean {nearest[0]!r}?" if nearest else f"Known: {', '.join(known)}.",
            )
        for part in _parts(name, header) if ours == "id" else [name]:
            if part not in header:
                raise _missing(part, header, where, f"listings.columns.{key}")
        configured[ours] = name
    return configured


def _parts(name: str, header: Sequence[str]) -> list[str]:
    return [name] if name in header else id_parts(name)


def _guesses(section: ListingsSection, projected: bool) -> dict[str, tuple[str, ...]]:
    guesses = {**USUAL_NAMES, "area": AREA_NAMES[section.area_unit]}
    for ours, names in PROJECTED_NAMES.items():
        guesses[ours] = (*names, *USUAL_NAMES[ours]) if projected else (*USUAL_NAMES[ours], *names)
    return guesses


def _check_required(
    names: dict[str, str],
    section: ListingsSection,
    header: Sequence[str],
    where: str,
    required: Sequence[str],
) -> None:
    missing = [ours for ours in required if ours not in names]
    _check_header(missing, header, where)
    for ours in sorted(missing, key=lambda ours: ours not in ("latitude", "longitude")):
        if ours == "date" and "month" in names and ("year" in names or section.sale_year is not None):
            continue
        if ours == "date" and "month" in names:
            raise ListingsError(
                f"column {names['month']!r} gives months, and nothing gives the year",
                where=where,
                remedy="Set listings.sale_year, for example sale_year = 2016, or listings.columns.year.",
            )
        if ours in ("latitude", "longitude"):
            if section.geocoder is not None and "address" in names:
                continue
            if "address" in names and not {"latitude", "longitude"} & set(names):
                raise ListingsError(
                    f"the listings have addresses ({names['address']!r}) and no coordinates, "
                    "and housevis needs to know where a house stands",
                    where=where,
                    remedy="Add latitude and longitude, name them in listings.columns, or set "
                    "listings.geocoder to the address of a Nominatim-compatible server.",
                )
        if ours == "id" and {"latitude", "longitude"} <= set(names):
            place = ", ".join(dict.fromkeys([names["latitude"], names["longitude"]]))
            better = [name for name in (names.get("address"), names.get("unit")) if name]
            raise ListingsError(
                "there is no column 'id' that says which house a row is about",
                where=where,
                remedy="Name it in listings.columns.id; it may be built from several columns, for example "
                f'id = "{", ".join(better) or place}".',
            )
        raise _missing(ours, header, where, f"listings.columns.{ours}")


def _check_header(missing: Sequence[str], header: Sequence[str], where: str) -> None:
    """A first line of numbers and dates names no columns."""
    values = [name for name in header if _VALUE.match(name)]
    if len(missing) > 1 and len(values) > 1:
        raise ListingsError(
            f"the first line seems to hold values, such as {values[0]!r}, and no names of columns",
            where=where,
            remedy="Write a first line that names the columns, for example id,date,price,latitude,longitude.",
        )


def _area_warnings(names: dict[str, str], known: dict[str, str], section: ListingsSection) -> list[str]:
    other = "m2" if section.area_unit == "ft2" else "ft2"
    if "area" not in names:
        clear = [name for name in AREA_NAMES[other] if name not in AREA_NAMES[section.area_unit]]
        found = next((known[name] for name in clear if name in known), None)
        if found is None:
            return []
        return [f"column {found!r} looks like an area in {other}: set listings.area_unit = {other!r}"]
    text = simplified(names["area"])
    feet = any(word in text for word in ("sqft", "ft2", "squarefeet", "squarefoot"))
    metres = any(word in text for word in ("sqm", "m2", "metre"))
    if (feet and section.area_unit == "m2") or (metres and not feet and section.area_unit == "ft2"):
        return [
            f"column {names['area']!r} names another unit than listings.area_unit = {section.area_unit!r}"
        ]
    return []


def _missing(name: str, header: Sequence[str], where: str, setting: str) -> ListingsError:
    lower = {column.lower(): column for column in header}
    nearest = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.4)
    if nearest:
        hint = f"The nearest that is there: {lower[nearest[0]]!r}; name the right one in {setting}."
    else:
        hint = f"It has: {', '.join(header[:30])}; name the right one in {setting}."
    return ListingsError(f"there is no column {name!r}", where=where, remedy=hint)
