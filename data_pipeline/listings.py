"""Read and validate listings: every row becomes a sale or a reject with a reason.

Reason codes, in the order in which they are judged: ``malformed_row``,
``missing_id``, ``removed_house``, ``missing_coordinate``,
``impossible_coordinate``, ``outside_area``, ``invalid_price``,
``missing_price``, ``nonpositive_price``, ``not_arms_length``,
``invalid_date``, ``missing_date``, ``future_date``,
``impossible_room_count``, ``impossible_area``, ``address_not_found``,
``duplicate_sale``, ``same_price_resale``. Missing rooms and areas are no
reason: they stay missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path

import pandas as pd

from data_pipeline.columns import ColumnMapping, check_attributes, id_parts, map_columns
from data_pipeline.dates import DateRules
from data_pipeline.formats import SAMPLE_ROWS, look_at
from data_pipeline.judging import DEGREES, TEXTS, Judged, Rules, joined_id, judge_part
from data_pipeline.outliers import flag_outliers
from data_pipeline.parsing import as_text
from data_pipeline.plausibility import check_ids, implausible
from data_pipeline.resales import previous_sales
from data_pipeline.tables import PART_ROWS, Table, first_rows, open_table
from data_pipeline.whole_file import Geocode, houses_of, located, without_repeats
from db.store import SALE_COLUMNS
from housevis.core.config_sections import ListingsSection
from housevis.core.engine import ShardRunner, map_shards
from housevis.core.errors import ConfigError

REJECT_COLUMNS = ("source", "row", "house_id", "reason", "detail")


@dataclass(frozen=True)
class Listings:
    """What a listings source held.

    Attributes:
        houses: :data:`data_pipeline.whole_file.HOUSE_COLUMNS`, one row per house; a house that sold
            more than once is where its latest sale says it is.
        sales: A sale frame with `source_row` (line in the source),
            `previous_sale_id`, `outlier_reasons` and `outlier_rules`.
        rejects: :data:`REJECT_COLUMNS`.
        rows: Data rows in the source, always ``len(sales) + len(rejects)``.
        mapping: Which column is which of ours.
        unreadable: Optional values that were there and no number, by the
            file's column; they count as missing.
        notes: How values were understood, as sentences for a reader.
        warnings: What looks wrong, as sentences for a reader.
    """

    houses: pd.DataFrame
    sales: pd.DataFrame
    rejects: pd.DataFrame
    rows: int
    mapping: ColumnMapping
    unreadable: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rows != len(self.sales) + len(self.rejects):
            raise AssertionError(
                f"{self.rows} rows became {len(self.sales)} sales and {len(self.rejects)} rejects"
            )

    @property
    def column_mapping(self) -> dict[str, str]:
        """Our name -> the file's name of each column."""
        return self.mapping.names

    @property
    def reasons(self) -> dict[str, int]:
        """Rejected rows by reason."""
        return _counts(self.rejects["reason"])

    @property
    def outliers(self) -> dict[str, int]:
        """Flagged sales by reason; one sale may have several."""
        flagged = self.sales.loc[self.sales["outlier_reasons"].str.len() > 0, "outlier_reasons"]
        return _counts(flagged.explode())


def open_source(section: ListingsSection, *, part_rows: int = PART_ROWS) -> Table:
    """Open the file or the query of a configuration.

    Raises:
        ListingsError: It cannot be read.
        ConfigError: Neither is configured, or a setting is wrong.
    """
    if section.query is not None:
        from data_pipeline.queries import open_query

        return open_query(section.query, section.database, part_rows=part_rows)
    if section.path is None:
        raise ConfigError("listings.path is missing", remedy='Set path = "sales.csv" under [listings].')
    return open_table(
        Path(section.path),
        encoding=section.encoding,
        sheet=section.sheet,
        crs=section.crs,
        part_rows=part_rows,
    )


def read_listings(
    section: ListingsSection,
    *,
    today: date | None = None,
    runner: ShardRunner | None = None,
    removed: frozenset[str] | set[str] = frozenset(),
    geocode: Geocode | None = None,
    part_rows: int = PART_ROWS,
) -> Listings:
    """Read and validate the listings of a configuration.

    The result is the same whatever the runner and the size of the parts.

    Args:
        section: The ``[listings]`` section.
        today: Sales after this day are rejected; None is the real today.
        runner: Who judges the parts; None judges them here.
        removed: Ids of houses that stay out.
        geocode: Finds the places of addresses, where the source has no
            coordinates; without it, those rows are rejected.
        part_rows: Rows in a part, about.

    Returns:
        Houses, sales and rejects; areas are in square metres.

    Raises:
        ListingsError: The source cannot be read, or a column is not there.
        ConfigError: A setting of the section is wrong.
    """
    table = open_source(section, part_rows=part_rows)
    geographic, projected = _system(section.crs)
    mapping = map_columns(section, table.header, where=table.where, projected=projected)
    check_attributes(section.extra_attributes, table.header, where=table.where)
    rules = replace(_rules(section, mapping, today or date.today(), removed), metres=projected)
    sample, parts = first_rows(table.parts([*_wanted(rules, table), *mapping.other_ids]), SAMPLE_ROWS)
    formats = look_at(_sample_texts(sample, rules), section)
    id_warnings = check_ids(sample, mapping, table.where)
    rules = replace(rules, dates=formats.dates, decimal=formats.decimal)
    judged = _Collected()
    for part in map_shards(partial(judge_part, rules), parts, runner):
        judged.add(part)
    frame, rejects = judged.frames(rules)
    place_warnings: list[str] = []
    if not rules.located:
        if geocode is None:
            count = frame["address"].nunique()
            place_warnings.append(f"{count:,} addresses are to be looked up; none of them was asked for here")
        frame, missed = located(frame, rules, geocode)
        rejects.append(missed)
    frame, repeated = without_repeats(frame, section.same_price_days)
    rejects.append(repeated)
    every_reject = _all_rejects(rejects, table)
    houses, sales, far_apart = houses_of(frame)
    sales["previous_sale_id"] = previous_sales(sales)
    sales = flag_outliers(sales)
    return Listings(
        houses=houses,
        sales=sales,
        rejects=every_reject,
        rows=judged.rows + len(table.malformed),
        mapping=mapping,
        unreadable={
            mapping.names.get(name, name): count for name, count in judged.unreadable.items() if count
        },
        notes=[f"source: {table.kind}", *_unit_notes(section, rules), *formats.notes, *judged.notes(rules)],
        warnings=[
            *mapping.warnings,
            *formats.warnings,
            *id_warnings,
            *judged.value_warnings(rules),
            *place_warnings,
            *implausible(sales, section, geographic=geographic, far_apart=far_apart),
        ],
    )


def read_new_listings(
    path: str | Path, section: ListingsSection, *, attributes: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read houses that are to be estimated: no price is needed.

    Args:
        path: The file, with columns named as in the training listings.
        section: The ``[listings]`` section that the model was trained with.
        attributes: Extra attributes that the model uses; one that the file
            lacks is missing for every house.

    Returns:
        A sale frame without `price` (where there is no date, `sale_date` is
        NaT and `sale_id` the `house_id`; where there is no id, the id is
        ``"row <line>"``), with `source_row`; and the rejected rows as
        :data:`REJECT_COLUMNS`.

    Raises:
        ListingsError: The file cannot be read, or lacks coordinates.
    """
    path = Path(path)
    table = open_table(path, encoding=section.encoding, sheet=None, crs=section.crs)
    there = {
        ours: name for ours, name in section.columns.items() if {name, *id_parts(name)} & set(table.header)
    }
    lenient = section.model_copy(update={"columns": there, "arms_length": {}, "geocoder": None})
    _, projected = _system(section.crs)
    mapping = map_columns(
        lenient, table.header, where=table.where, required=("latitude", "longitude"), projected=projected
    )
    names = {
        ours: name for ours, name in mapping.names.items() if ours not in ("price", "listing_url", "unit")
    }
    known = [name for name in attributes if name not in (*SALE_COLUMNS, "source_row")]
    rules = Rules(
        mapping=names,
        extra_attributes=tuple(known),
        sale_year=section.sale_year,
        area_unit=section.area_unit,
        crs=section.crs,
        metres=projected,
        bounds=section.bounds,
        sold=False,
    )
    sample, parts = first_rows(table.parts(_wanted(rules, table)), SAMPLE_ROWS)
    formats = look_at(_sample_texts(sample, rules), section)
    rules = replace(rules, dates=formats.dates, decimal=formats.decimal)
    judged = _Collected()
    for part in parts:
        judged.add(judge_part(rules, part))
    frame, rejects = judged.frames(rules)
    frame, repeated = without_repeats(frame, 0)
    houses = frame.drop(columns=[name for name in ("listing_url", "unit", "price") if name in frame])
    houses["address"] = houses["address"].astype(object).where(houses["address"].notna(), None)
    return houses, _all_rejects([*rejects, repeated], table)


class _Collected:
    """What the parts came to."""

    def __init__(self) -> None:
        self.rows = 0
        self.unreadable: dict[str, int] = {}
        self.month_only = 0
        self.values: dict[str, set[str]] = {}
        self._kept: list[pd.DataFrame] = []
        self._rejects: list[pd.DataFrame] = []

    def add(self, part: Judged) -> None:
        self.rows += len(part.kept) + len(part.rejects)
        for name, count in part.unreadable.items():
            self.unreadable[name] = self.unreadable.get(name, 0) + count
        self.month_only += part.month_only
        for name, found in part.values.items():
            self.values.setdefault(name, set()).update(found)
        self._kept.append(part.kept)
        if len(part.rejects):
            self._rejects.append(part.rejects)

    def frames(self, rules: Rules) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
        """The kept rows as one frame, and the rejects by part; the parts are let go."""
        if not self._kept:
            empty = pd.DataFrame({name: pd.Series(dtype="str") for name in rules.wanted}, dtype="str")
            self._kept = [judge_part(rules, empty).kept]
        filled = [kept for kept in self._kept if len(kept)] or self._kept[:1]
        kept = pd.concat(filled, ignore_index=True) if len(filled) > 1 else filled[0]
        rejects, self._kept, self._rejects = self._rejects, [], []
        return kept, rejects

    def notes(self, rules: Rules) -> list[str]:
        if not self.month_only:
            return []
        year = f" of {rules.sale_year}" if rules.sale_year and "year" not in rules.mapping else ""
        return [f"{self.month_only:,} dates are known to the month only{year}: stored as its first day"]

    def value_warnings(self, rules: Rules) -> list[str]:
        warnings = []
        for column, accepted in rules.arms_length.items():
            found = self.values.get(column, set())
            warnings += [
                f"{value!r} of listings.arms_length never occurs in column {column!r}, "
                f"which has: {', '.join(sorted(found)[:20])}"
                for value in sorted(accepted - found)
            ]
        return warnings


def _rules(
    section: ListingsSection, mapping: ColumnMapping, today: date, removed: frozenset[str] | set[str]
) -> Rules:
    return Rules(
        mapping=mapping.names,
        extra_attributes=tuple(section.extra_attributes),
        dates=DateRules(),
        sale_year=section.sale_year,
        area_unit=section.area_unit,
        crs=DEGREES if mapping.names.get("latitude", "").startswith("geometry_") else section.crs,
        bounds=section.bounds,
        arms_length={name: frozenset(values) for name, values in section.arms_length.items()},
        minimum_price=section.minimum_price,
        removed=frozenset(removed),
        today=today,
        located="latitude" in mapping.names,
    )


def _wanted(rules: Rules, table: Table) -> list[str]:
    return [name for name in rules.wanted if name in table.header]


def _system(crs: str) -> tuple[bool, bool]:
    """Whether coordinates are degrees, and whether they are metres or feet."""
    if crs == DEGREES:
        return True, False
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        known = CRS.from_user_input(crs)
    except CRSError:
        raise ConfigError(
            f"{crs!r} is no known coordinate reference system",
            where="listings.crs",
            remedy='Give it as an EPSG code, for example crs = "EPSG:25832".',
        ) from None
    if not known.is_geographic and not known.is_projected:
        raise ConfigError(
            f"{crs!r} ({known.name}) has no coordinates on a map",
            where="listings.crs",
            remedy='Give a geographic or projected system, for example crs = "EPSG:25832".',
        )
    return bool(known.is_geographic), bool(known.is_projected)


def _sample_texts(sample: pd.DataFrame, rules: Rules) -> dict[str, pd.Series]:
    texts = {
        ours: as_text(sample[name])
        for ours, name in rules.mapping.items()
        if name in sample.columns and ours not in (*TEXTS, "id")
    }
    if "id" in rules.mapping and not sample.empty:
        texts["id"] = joined_id(sample, rules.mapping["id"])
    return texts | {name: as_text(sample[name]) for name in rules.extra_attributes if name in sample.columns}


def _unit_notes(section: ListingsSection, rules: Rules) -> list[str]:
    notes = [f"prices: {section.currency}"]
    if "area" in rules.mapping:
        stored = "" if section.area_unit == "m2" else ", stored in m2"
        notes.append(f"areas: {section.area_unit}{stored}")
    if rules.located:
        notes.append(f"coordinates: {rules.crs}" + ("" if rules.crs == DEGREES else f", stored in {DEGREES}"))
    return notes


def _all_rejects(rejects: list[pd.DataFrame], table: Table) -> pd.DataFrame:
    ragged = pd.DataFrame(table.malformed, columns=["row", "detail"])
    ragged = ragged.assign(house_id=None, reason="malformed_row")
    parts = [part for part in (*rejects, ragged) if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(REJECT_COLUMNS))
    joined = pd.concat(parts).sort_values("row", ignore_index=True, kind="stable")
    joined["house_id"] = joined["house_id"].astype(object).where(joined["house_id"].notna(), None)
    return joined.assign(source=table.name)[list(REJECT_COLUMNS)]


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}
