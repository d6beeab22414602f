"""Judging the rows of a part of the listings: each is kept, or rejected with the first reason against it.

The rules here look at one row alone, so that parts can be judged by several
workers; the rules that compare rows are in :mod:`data_pipeline.listings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.columns import DATE_PARTS, id_parts
from data_pipeline.dates import DateRules, dates, first_of_months
from data_pipeline.parsing import (
    DecimalMark,
    areas,
    as_text,
    coordinates,
    numbers,
    places,
    prices,
    printable,
    rooms,
    without_missing,
)
from data_pipeline.tiles import LATITUDE_LIMIT

ROOM_LIMIT = 20
"""More bedrooms or bathrooms than this is a typing error, not a house."""

AREA_LIMIT = 100_000.0
"""Square metres; no house is larger."""

ID_LENGTH = 200

DEGREES = "EPSG:4326"

TEXTS = ("address", "unit", "listing_url")

_DETAIL_LENGTH = 200
_SHOWN_VALUES = 50


@dataclass(frozen=True)
class Rules:
    """All that a worker needs to judge a part; it holds no secret and can be pickled.

    Attributes:
        mapping: Our name -> the file's name.
        extra_attributes: Further numeric columns.
        dates: How dates are read.
        decimal: Our name of a column, or the name of an extra attribute -> its decimal mark.
        sale_year: Year of all sales, where only months are given.
        area_unit: Unit of the area column.
        crs: Of the coordinate columns.
        metres: Whether `crs` is in metres or feet.
        bounds: West, south, east, north of the declared area.
        arms_length: Column of the file -> values at arm's length.
        minimum_price: A cheaper sale is not at arm's length.
        removed: Houses that stay out.
        today: Later sales are in the future.
        sold: Whether rows are sales; else they are houses to be estimated,
            which need neither price nor date.
        located: Whether the file has coordinates; else a geocoder finds them later.
    """

    mapping: dict[str, str]
    extra_attributes: tuple[str, ...] = ()
    dates: DateRules = field(default_factory=DateRules)
    decimal: dict[str, DecimalMark] = field(default_factory=dict)
    sale_year: int | None = None
    area_unit: str = "m2"
    crs: str = DEGREES
    metres: bool = False
    bounds: tuple[float, float, float, float] | None = None
    arms_length: dict[str, frozenset[str]] = field(default_factory=dict)
    minimum_price: float = 0.0
    removed: frozenset[str] = frozenset()
    today: date = date.max
    sold: bool = True
    located: bool = True

    @property
    def wanted(self) -> list[str]:
        """The columns of the file that are read, each once."""
        names: dict[str, None] = {}
        for ours, name in self.mapping.items():
            names |= dict.fromkeys([name] if ours != "id" else [name, *id_parts(name)])
        return list(names | dict.fromkeys([*self.extra_attributes, *self.arms_length]))


@dataclass(frozen=True)
class Judged:
    """What became of a part.

    Attributes:
        kept: `sale_id`, `house_id`, `latitude`, `longitude`, `sale_date`,
            `price`, `bedrooms`, `bathrooms`, `area_m2`, the texts, the extra
            attributes and `source_row`.
        rejects: `row`, `house_id`, `reason`, `detail`.
        unreadable: Optional values that were there and no number, by our name.
        month_only: Dates that are known to the month only.
        values: Values that occur in the columns of the arm's-length rule.
    """

    kept: pd.DataFrame
    rejects: pd.DataFrame
    unreadable: dict[str, int]
    month_only: int = 0
    values: dict[str, set[str]] = field(default_factory=dict)


class Judge:
    """Collects the first reason against each row."""

    def __init__(self, size: int) -> None:
        self.reason = np.full(size, "", dtype=object)
        self.detail = np.full(size, "", dtype=object)

    @property
    def passed(self) -> npt.NDArray[np.bool_]:
        """Rows without a reason so far."""
        return self.reason == ""

    def reject(self, bad: npt.ArrayLike, reason: str, detail: pd.Series | str) -> None:
        """Note a reason against the rows that have none yet."""
        mask = np.asarray(bad, dtype=bool) & self.passed
        if not mask.any():
            return
        self.reason[mask] = reason
        if isinstance(detail, str):
            self.detail[mask] = detail
        else:
            shown = detail[mask].astype(object).fillna("").astype(str).str.slice(0, _DETAIL_LENGTH)
            self.detail[mask] = shown.to_numpy(dtype=object)


def judge_part(rules: Rules, part: pd.DataFrame) -> Judged:
    """Judge the rows of one part.

    Args:
        rules: What to judge by.
        part: The columns ``rules.wanted``; the index is the line in the source.
    """
    text = {ours: as_text(part[name]) for ours, name in rules.mapping.items() if name in part.columns}
    if "id" in rules.mapping and "id" not in text:
        text["id"] = joined_id(part, rules.mapping["id"])
    text |= {name: printable(text[name]) for name in ("id", *TEXTS) if name in text}
    frame = pd.DataFrame(index=part.index)
    judge = Judge(len(part))
    unreadable: dict[str, int] = {}
    values: dict[str, set[str]] = {}
    _judge_id(frame, text, rules, judge)
    if rules.located:
        if rules.mapping["latitude"] == rules.mapping["longitude"]:
            text["latitude"], text["longitude"] = places(text["latitude"])
        read = [coordinates(text[name]) for name in ("latitude", "longitude")]
        frame["latitude"], frame["longitude"] = read[0][0], read[1][0]
        written = text["latitude"].fillna("") + ", " + text["longitude"].fillna("")
        judge.reject(read[0][1] | read[1][1], "impossible_coordinate", written + " (no number)")
        judge_place(frame, judge, rules, written)
    else:
        frame["latitude"], frame["longitude"] = np.nan, np.nan
    if rules.sold:
        _judge_price(frame, text["price"], rules, judge)
        _judge_arms_length(part, rules, judge, values)
    month_only = _judge_date(frame, text, rules, judge)
    _judge_rooms_and_area(frame, text, rules, judge, unreadable)
    for name in TEXTS:
        frame[name] = text.get(name, pd.Series(np.nan, index=frame.index, dtype="str"))
    for name in rules.extra_attributes:
        mark = rules.decimal.get(name, ".")
        frame[name], odd = numbers(as_text(part[name]), mark) if name in part.columns else _absent(len(part))
        unreadable[name] = int(odd.sum())
    frame["source_row"] = part.index.to_numpy(dtype=np.int64)
    frame.insert(0, "sale_id", _sale_ids(frame))
    passed = judge.passed
    rejects = rejected_rows(frame, judge)
    return Judged(frame.loc[passed].reset_index(drop=True), rejects, unreadable, month_only, values)


def joined_id(part: pd.DataFrame, name: str) -> pd.Series:
    """An id out of one column or several; it is missing where one of them is."""
    if name in part.columns:
        return as_text(part[name])
    first, *rest = id_parts(name)
    joined = without_missing(as_text(part[first]))
    for column in rest:
        joined = joined + ", " + without_missing(as_text(part[column]))
    return joined


def judge_place(frame: pd.DataFrame, judge: Judge, rules: Rules, written: pd.Series) -> None:
    """Judge coordinates; those of another system become degrees."""
    longitude, latitude = (frame[name].to_numpy(dtype=np.float64) for name in ("longitude", "latitude"))
    judge.reject(np.isnan(latitude) | np.isnan(longitude), "missing_coordinate", "")
    judge.reject((latitude == 0) & (longitude == 0), "impossible_coordinate", "0, 0 is no place of a house")
    if rules.crs != DEGREES:
        degrees = rules.metres & (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
        judge.reject(
            degrees, "impossible_coordinate", written + f" (degrees, and listings.crs is {rules.crs})"
        )
        longitude, latitude = to_degrees(longitude, latitude, rules.crs)
        frame["longitude"], frame["latitude"] = longitude, latitude
    else:
        metres = (np.abs(latitude) > 180) & (np.abs(longitude) > 180)
        judge.reject(metres, "impossible_coordinate", written + " (no degrees: set listings.crs)")
        swapped = (np.abs(latitude) > LATITUDE_LIMIT) & (np.abs(longitude) <= LATITUDE_LIMIT)
        judge.reject(swapped & (np.abs(latitude) <= 180), "impossible_coordinate", written + " (swapped?)")
    inside = (np.abs(latitude) <= LATITUDE_LIMIT) & (np.abs(longitude) <= 180)
    judge.reject(~inside, "impossible_coordinate", written)
    if rules.bounds is not None:
        west, south, east, north = rules.bounds
        within = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
        swapped = (latitude >= west) & (latitude <= east) & (longitude >= south) & (longitude <= north)
        judge.reject(~within & swapped, "outside_area", written + " (swapped?)")
        judge.reject(~within, "outside_area", written)


def to_degrees(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], crs: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Longitudes and latitudes (EPSG:4326) of coordinates in another system; infinite where none are."""
    from pyproj import Transformer

    transformer = Transformer.from_crs(crs, DEGREES, always_xy=True)
    longitude, latitude = transformer.transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


def rejected_rows(frame: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """The rows with a reason: `row`, `house_id`, `reason`, `detail`."""
    out = ~judge.passed
    ids = frame.loc[out, "house_id"].astype(object)
    return pd.DataFrame(
        {
            "row": frame["source_row"].to_numpy(dtype=np.int64)[out],
            "house_id": ids.where(ids.notna(), None).to_numpy(dtype=object),
            "reason": judge.reason[out],
            "detail": judge.detail[out],
        }
    )


def _sale_ids(frame: pd.DataFrame) -> pd.Series:
    """House and day; the house alone where there is no day."""
    days = np.datetime_as_string(frame["sale_date"].to_numpy().astype("datetime64[D]"))
    day = pd.Series(days, index=frame.index).astype("str")
    house = frame["house_id"]
    return house.where(frame["sale_date"].isna(), house + "@" + day)


def _judge_id(frame: pd.DataFrame, text: dict[str, pd.Series], rules: Rules, judge: Judge) -> None:
    if "id" in text:
        ids = without_missing(text["id"])
    else:
        ids = pd.Series([f"row {line}" for line in frame.index], index=frame.index, dtype="str")
    frame["house_id"] = ids
    judge.reject(ids.isna(), "missing_id", "")
    too_long = (ids.str.len() > ID_LENGTH).fillna(False)
    judge.reject(too_long, "missing_id", f"longer than {ID_LENGTH} characters")
    if rules.removed:
        judge.reject(ids.isin(list(rules.removed)), "removed_house", "taken out with housevis remove")


def _judge_price(frame: pd.DataFrame, text: pd.Series, rules: Rules, judge: Judge) -> None:
    price, odd = prices(text, rules.decimal.get("price", "."))
    frame["price"] = price
    judge.reject(odd, "invalid_price", text)
    judge.reject(np.isnan(price), "missing_price", "")
    judge.reject(price <= 0, "nonpositive_price", text)
    judge.reject(
        price < rules.minimum_price, "not_arms_length", text + f" (minimum {rules.minimum_price:,.0f})"
    )


def _judge_arms_length(part: pd.DataFrame, rules: Rules, judge: Judge, values: dict[str, set[str]]) -> None:
    for column, accepted in rules.arms_length.items():
        text = as_text(part[column])
        known = text.dropna().unique()
        values[column] = {str(value) for value in known[:_SHOWN_VALUES]} | (accepted & set(known))
        judge.reject(~text.isin(list(accepted)), "not_arms_length", f"{column}: " + text.fillna("(empty)"))


def _judge_date(frame: pd.DataFrame, text: dict[str, pd.Series], rules: Rules, judge: Judge) -> int:
    """Returns how many dates are known to the month only."""
    if "date" in text:
        written = text["date"]
        frame["sale_date"], odd, month_only = dates(written, rules.dates)
    elif "month" in text and ("year" in text or rules.sale_year is not None):
        frame["sale_date"], odd, month_only, written = _date_of_parts(text, rules)
    else:
        frame["sale_date"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[s]")
        written, odd, month_only = pd.Series("", index=frame.index), np.zeros(len(frame), dtype=bool), 0
    hint = "" if rules.dates.format else " (set listings.date_format)"
    judge.reject(odd, "invalid_date", written + hint)
    if rules.sold:
        judge.reject(frame["sale_date"].isna(), "missing_date", "")
        judge.reject(frame["sale_date"] > pd.Timestamp(rules.today), "future_date", written)
    return month_only


def _date_of_parts(
    text: dict[str, pd.Series], rules: Rules
) -> tuple[pd.Series, npt.NDArray[np.bool_], int, pd.Series]:
    parts = {name: numbers(text[name]) for name in DATE_PARTS if name in text}
    size = len(text["month"])
    year = parts["year"][0] if "year" in parts else np.full(size, float(rules.sale_year or 0))
    month = parts["month"][0]
    day = parts["day"][0] if "day" in parts else np.ones(size)
    read = pd.Series(first_of_months(year, month, day), index=text["month"].index)
    missing = np.isnan(year) | np.isnan(month) | np.isnan(day)
    unreadable = np.logical_or.reduce([odd for _, odd in parts.values()])
    written = text["month"].fillna("")
    for name in ("year", "day"):
        if name in text:
            written = written + f", {name} " + text[name].fillna("")
    odd = read.isna().to_numpy() & (~missing | unreadable)
    return read, odd, 0 if "day" in parts else int(read.notna().sum()), "month " + written


def _judge_rooms_and_area(
    frame: pd.DataFrame, text: dict[str, pd.Series], rules: Rules, judge: Judge, unreadable: dict[str, int]
) -> None:
    for name in ("bedrooms", "bathrooms"):
        values, odd = rooms(text[name], rules.decimal.get(name, ".")) if name in text else _absent(len(frame))
        frame[name] = values
        unreadable[name] = int(odd.sum())
        if name in text:
            impossible = (values < 0) | (values > ROOM_LIMIT)
            judge.reject(impossible, "impossible_room_count", text[name] + f" {name}")
    values, odd = (
        areas(text["area"], rules.area_unit, rules.decimal.get("area", "."))
        if "area" in text
        else _absent(len(frame))
    )
    frame["area_m2"] = values
    unreadable["area"] = int(odd.sum())
    if "area" in text:
        impossible = (values <= 0) | (values > AREA_LIMIT)
        judge.reject(impossible, "impossible_area", text["area"] + f" {rules.area_unit}")


def _absent(size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    return np.full(size, np.nan), np.zeros(size, dtype=bool)
