"""Read and validate listings: every row becomes a sale or a reject with a reason.

Reason codes, in the order in which they are judged: ``malformed_row``,
``missing_id``, ``missing_coordinate``, ``impossible_coordinate``,
``missing_price``, ``invalid_price``, ``nonpositive_price``, ``missing_date``,
``invalid_date``, ``future_date``, ``impossible_room_count``,
``impossible_area``, ``duplicate_sale``. Missing rooms and areas are no reason:
they stay missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.columns import check_attributes, id_parts, map_columns
from data_pipeline.parsing import dates, numbers, without_missing
from data_pipeline.tables import read_table
from data_pipeline.tiles import LATITUDE_LIMIT
from db.store import SALE_COLUMNS
from housevis.core.config import ListingsSection
from housevis.core.errors import ConfigError, ListingsError

SQUARE_METRES = {"m2": 1.0, "ft2": 0.3048**2}
"""Square metres in one unit of area."""

ROOM_LIMIT = 20
"""More bedrooms or bathrooms than this is a typing error, not a house."""

AREA_LIMIT = 100_000.0
"""Square metres; no house is larger."""

HOUSE_COLUMNS = ("house_id", "latitude", "longitude", "address", "listing_url")
REJECT_COLUMNS = ("source", "row", "house_id", "reason", "detail")

_ID_LENGTH = 200
_SHORTENED = r"^\d(?:\.\d+)?[eE]\+\d{2}$"
_DETAIL_LENGTH = 200


@dataclass(frozen=True)
class Listings:
    """What a listings file held.

    Attributes:
        houses: :data:`HOUSE_COLUMNS`, one row per house; a house that sold
            more than once is where its latest sale says it is.
        sales: A sale frame with `source_row` (line of the file).
        rejects: :data:`REJECT_COLUMNS`.
        rows: Data rows in the file, always ``len(sales) + len(rejects)``.
        column_mapping: Our name -> the file's name of each column.
        unreadable: Optional values that were there and no number, by the
            file's column; they count as missing.
    """

    houses: pd.DataFrame
    sales: pd.DataFrame
    rejects: pd.DataFrame
    rows: int
    column_mapping: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows != len(self.sales) + len(self.rejects):
            raise AssertionError(
                f"{self.rows} rows became {len(self.sales)} sales and {len(self.rejects)} rejects"
            )

    @property
    def reasons(self) -> dict[str, int]:
        """Rejected rows by reason."""
        counts = self.rejects["reason"].value_counts().sort_index()
        return {str(reason): int(count) for reason, count in counts.items()}


class _Judge:
    """Collects the first reason against each row."""

    def __init__(self, index: pd.Index) -> None:
        self.reason = np.full(len(index), "", dtype=object)
        self.detail = np.full(len(index), "", dtype=object)

    @property
    def passed(self) -> npt.NDArray[np.bool_]:
        return self.reason == ""

    def reject(self, bad: npt.ArrayLike, reason: str, detail: pd.Series | str) -> None:
        mask = np.asarray(bad, dtype=bool) & self.passed
        if not mask.any():
            return
        self.reason[mask] = reason
        if isinstance(detail, str):
            self.detail[mask] = detail
        else:
            self.detail[mask] = (
                detail[mask].astype(object).fillna("").astype(str).str.slice(0, _DETAIL_LENGTH)
            )


def read_listings(section: ListingsSection, *, today: date | None = None) -> Listings:
    """Read and validate the listings of a configuration.

    Args:
        section: The ``[listings]`` section.
        today: Sales after this day are rejected; None is the real today.

    Returns:
        Houses, sales and rejects; areas are in square metres.

    Raises:
        ListingsError: The file cannot be read, or a column is not there.
        ConfigError: A setting of the section is wrong.
    """
    if section.path is None:
        raise ConfigError("listings.path is missing", remedy='Set path = "sales.csv" under [listings].')
    path = Path(section.path)
    table, malformed = read_table(path, section.encoding)
    header = [str(name) for name in table.columns]
    mapping = map_columns(section, header, where=str(path))
    check_attributes(section.extra_attributes, header, where=str(path))
    text = _columns_of(table, mapping)
    _check_ids(text["id"], mapping["id"], str(path))
    judge = _Judge(table.index)
    frame = pd.DataFrame(index=table.index)
    unreadable: dict[str, int] = {}
    _judge_id(frame, text["id"], judge)
    _judge_place(frame, text, judge)
    _judge_price(frame, text["price"], judge)
    _judge_date(frame, text["date"], judge, section.date_format, today or date.today())
    _judge_rooms_and_area(frame, text, section.area_unit, judge, unreadable)
    _add_texts(frame, text)
    _add_attributes(frame, table, section.extra_attributes, unreadable)
    frame["source_row"] = table.index.to_numpy()
    _judge_duplicates(frame, judge)
    houses, sales = _houses(frame.loc[judge.passed])
    rejects = _rejects(frame, judge, malformed, path.name)
    named = {mapping.get(ours, ours): count for ours, count in unreadable.items() if count}
    return Listings(houses, sales, rejects, len(table) + len(malformed), mapping, named)


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
    table, malformed = read_table(path, section.encoding)
    header = [str(name) for name in table.columns]
    there = {ours: name for ours, name in section.columns.items() if {name, *id_parts(name)} & set(header)}
    lenient = section.model_copy(update={"columns": there})
    mapping = map_columns(lenient, header, where=str(path), required=("latitude", "longitude"))
    text = _columns_of(table, mapping)
    judge = _Judge(table.index)
    frame = pd.DataFrame(index=table.index)
    rows = pd.Series([f"row {line}" for line in table.index], index=table.index, dtype="str")
    _judge_id(frame, text.get("id", rows), judge)
    _judge_place(frame, text, judge)
    if "date" in text:
        frame["sale_date"], unread = dates(text["date"], section.date_format)
        judge.reject(unread, "invalid_date", text["date"])
    else:
        frame["sale_date"] = pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns]")
    _judge_rooms_and_area(frame, text, section.area_unit, judge, {})
    _add_texts(frame, text)
    known = [name for name in attributes if name not in frame.columns]
    _add_attributes(frame, table, [name for name in known if name in header], {})
    for name in known:
        if name not in header:
            frame[name] = np.nan
    frame["source_row"] = table.index.to_numpy()
    _judge_duplicates(frame, judge)
    houses = frame.loc[judge.passed].drop(columns="listing_url").reset_index(drop=True)
    return houses, _rejects(frame, judge, malformed, path.name)


def _columns_of(table: pd.DataFrame, mapping: dict[str, str]) -> dict[str, pd.Series]:
    text = {ours: table[name] for ours, name in mapping.items() if name in table.columns}
    if "id" in mapping and "id" not in text:
        first, *rest = id_parts(mapping["id"])
        joined = table[first]
        for name in rest:
            joined = joined + ", " + table[name]
        text["id"] = joined
    return text


def _check_ids(ids: pd.Series, name: str, where: str) -> None:
    """A spreadsheet that shortens long numbers makes different houses look the same."""
    shortened = ids[ids.str.match(_SHORTENED, na=False)]
    if shortened.duplicated().sum() > len(ids) / 100:
        raise ListingsError(
            f"a spreadsheet has shortened the ids ({shortened.iloc[0]}), so different houses look the same",
            where=f"{where}, column {name!r}",
            remedy="Export the ids as text, or build them from other columns, for example "
            'listings.columns.id = "latitude, longitude" with the names in the file.',
        )


def _judge_id(frame: pd.DataFrame, text: pd.Series, judge: _Judge) -> None:
    text = without_missing(text)
    frame["house_id"] = text
    judge.reject(text.isna(), "missing_id", "")
    judge.reject(
        (text.str.len() > _ID_LENGTH).fillna(False), "missing_id", f"longer than {_ID_LENGTH} characters"
    )


def _judge_place(frame: pd.DataFrame, text: dict[str, pd.Series], judge: _Judge) -> None:
    latitude, odd_latitude = numbers(text["latitude"])
    longitude, odd_longitude = numbers(text["longitude"])
    frame["latitude"], frame["longitude"] = latitude, longitude
    written = text["latitude"].fillna("") + ", " + text["longitude"].fillna("")
    judge.reject(odd_latitude | odd_longitude, "impossible_coordinate", written + " (no number)")
    judge.reject(np.isnan(latitude) | np.isnan(longitude), "missing_coordinate", "")
    swapped = (np.abs(latitude) > LATITUDE_LIMIT) & (np.abs(longitude) <= LATITUDE_LIMIT)
    judge.reject(swapped & (np.abs(latitude) <= 180), "impossible_coordinate", written + " (swapped?)")
    outside = (np.abs(latitude) > LATITUDE_LIMIT) | (np.abs(longitude) > 180)
    judge.reject(outside, "impossible_coordinate", written)
    judge.reject((latitude == 0) & (longitude == 0), "impossible_coordinate", "0, 0 is no place of a house")


def _judge_price(frame: pd.DataFrame, text: pd.Series, judge: _Judge) -> None:
    price, odd = numbers(text)
    frame["price"] = price
    judge.reject(odd, "invalid_price", text)
    judge.reject(np.isnan(price), "missing_price", "")
    judge.reject(price <= 0, "nonpositive_price", text)


def _judge_date(
    frame: pd.DataFrame, text: pd.Series, judge: _Judge, date_format: str | None, today: date
) -> None:
    frame["sale_date"], odd = dates(text, date_format)
    hint = "" if date_format else " (set listings.date_format)"
    judge.reject(odd, "invalid_date", text + hint)
    judge.reject(frame["sale_date"].isna(), "missing_date", "")
    judge.reject(frame["sale_date"] > pd.Timestamp(today), "future_date", text)


def _judge_rooms_and_area(
    frame: pd.DataFrame,
    text: dict[str, pd.Series],
    area_unit: str,
    judge: _Judge,
    unreadable: dict[str, int],
) -> None:
    for name in ("bedrooms", "bathrooms"):
        values, odd = numbers(text[name]) if name in text else (np.full(len(frame), np.nan), np.array([]))
        frame[name] = values
        unreadable[name] = int(odd.sum())
        if name in text:
            judge.reject(
                (values < 0) | (values > ROOM_LIMIT), "impossible_room_count", text[name] + f" {name}"
            )
    values, odd = numbers(text["area"]) if "area" in text else (np.full(len(frame), np.nan), np.array([]))
    frame["area_m2"] = values * SQUARE_METRES[area_unit]
    unreadable["area"] = int(odd.sum())
    if "area" in text:
        impossible = (frame["area_m2"] <= 0) | (frame["area_m2"] > AREA_LIMIT)
        judge.reject(impossible, "impossible_area", text["area"] + f" {area_unit}")


def _add_texts(frame: pd.DataFrame, text: dict[str, pd.Series]) -> None:
    for name in ("address", "listing_url"):
        if name in text:
            frame[name] = text[name].astype(object).where(text[name].notna(), None)
        else:
            frame[name] = pd.Series([None] * len(frame), index=frame.index, dtype=object)


def _add_attributes(
    frame: pd.DataFrame, table: pd.DataFrame, names: Sequence[str], unreadable: dict[str, int]
) -> None:
    for name in names:
        frame[name], odd = numbers(table[name])
        unreadable[name] = int(odd.sum())


def _judge_duplicates(frame: pd.DataFrame, judge: _Judge) -> None:
    """Give every row its `sale_id`; the first of equal ones is kept."""
    day = frame["sale_date"].dt.strftime("%Y-%m-%d")
    house = frame["house_id"]
    frame.insert(0, "sale_id", house.where(day.isna(), house + "@" + day.astype("str").fillna("")))
    passed = judge.passed
    identity = frame.loc[passed, "sale_id"]
    again = np.zeros(len(frame), dtype=bool)
    again[passed] = identity.duplicated().to_numpy()
    if not again.any():
        return
    first = frame.loc[passed].drop_duplicates("sale_id").set_index("sale_id")
    repeated = frame.loc[again]
    detail = "same house and date as row " + repeated["sale_id"].map(first["source_row"]).astype(str)
    if "price" in frame.columns:
        other = repeated["price"].to_numpy() != repeated["sale_id"].map(first["price"]).to_numpy()
        detail = detail + np.where(other, ", other price", "")
    judge.reject(again, "duplicate_sale", detail.reindex(frame.index))


def _houses(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    sales = frame.reset_index(drop=True)
    latest = sales.sort_values(["sale_date", "source_row"]).drop_duplicates("house_id", keep="last")
    houses = latest[list(HOUSE_COLUMNS)].sort_values("house_id", ignore_index=True)
    by_id = houses.set_index("house_id")
    for name in ("latitude", "longitude", "address"):
        sales[name] = sales["house_id"].map(by_id[name])
    sales["address"] = sales["address"].astype(object).where(sales["address"].notna(), None)
    sales = sales.drop(columns="listing_url")
    ordered = [*SALE_COLUMNS, *(name for name in sales.columns if name not in SALE_COLUMNS)]
    return houses, sales[ordered]


def _rejects(frame: pd.DataFrame, judge: _Judge, malformed: pd.DataFrame, source: str) -> pd.DataFrame:
    out = ~judge.passed
    ids = frame["house_id"].astype(object).where(frame["house_id"].notna(), None)
    judged = pd.DataFrame(
        {
            "row": frame.index[out].to_numpy(dtype=np.int64),
            "house_id": ids.to_numpy(dtype=object)[out],
            "reason": judge.reason[out],
            "detail": judge.detail[out],
        }
    )
    ragged = malformed.assign(house_id=None, reason="malformed_row")
    parts = [part for part in (judged, ragged) if len(part)]
    rejects = pd.concat(parts).sort_values("row", ignore_index=True) if parts else judged
    return rejects.assign(source=source)[list(REJECT_COLUMNS)]
