"""Bulk reading and writing of the tables, as pandas frames.

Each writing function is one transaction: it happens as a whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from db.models import Base, Estimate, House, Image, Reject, Removal, Sale, Step, Tile
from db.session import read_transaction, write_transaction

SALE_COLUMNS = (
    "sale_id",
    "house_id",
    "latitude",
    "longitude",
    "sale_date",
    "price",
    "bedrooms",
    "bathrooms",
    "area_m2",
    "address",
)
"""The columns of every sale frame, before the extra attributes."""

SALE_FLAGS = ("previous_sale_id", "outlier_reasons", "outlier_rules")
"""What is known about a sale besides; a model never sees it."""

_BATCH = 10_000
_KEY_BATCH = 500


def replace_listings(
    engine: Engine, houses: pd.DataFrame, sales: pd.DataFrame, rejects: pd.DataFrame
) -> None:
    """Make the stored listings equal to these, in one transaction.

    Houses and sales that stay keep what hangs on them (pictures, estimates);
    those that are gone take it with them, and a house that moved loses its
    pictures.

    Args:
        engine: The database.
        houses: `house_id`, `latitude`, `longitude`, `address`, `listing_url`.
        sales: A sale frame with `source_row`; every column beyond the known
            ones is kept as an attribute.
        rejects: `source`, `row`, `house_id`, `reason`, `detail`.

    Raises:
        DatabaseError: The database refuses; the old listings stay.
    """
    known = {*SALE_COLUMNS, *SALE_FLAGS, "source_row"}
    extra = [name for name in sales.columns if name not in known]
    with write_transaction(engine) as connection:
        stored = {row[0]: (row[1], row[2]) for row in connection.execute(_house_places())}
        places = dict(
            zip(houses["house_id"], zip(houses["latitude"], houses["longitude"], strict=True), strict=True)
        )
        moved = [key for key, place in places.items() if key in stored and stored[key] != place]
        _delete_keys(connection, Image, "house_id", moved)
        _delete_keys(connection, House, "id", [key for key in stored if key not in places])
        _upsert(connection, House, ["id"], _house_rows(houses))

        stored_sales = set(connection.scalars(select(Sale.id)))
        _delete_keys(connection, Sale, "id", stored_sales.difference(sales["sale_id"]))
        in_order = sales.sort_values("sale_id")
        _upsert(connection, Sale, ["id"], _sale_rows(in_order, extra))

        connection.execute(delete(Reject))
        _insert(connection, Reject, _records(rejects[["source", "row", "house_id", "reason", "detail"]]))


def read_sales(engine: Engine) -> pd.DataFrame:
    """All sales with their house's place, ordered by date, then by id.

    Returns:
        A sale frame: :data:`SALE_COLUMNS`, then one float column per extra
        attribute.
    """
    statement = (
        select(
            Sale.id,
            Sale.house_id,
            House.latitude,
            House.longitude,
            Sale.sale_date,
            Sale.price,
            Sale.bedrooms,
            Sale.bathrooms,
            Sale.area_m2,
            House.address,
            Sale.attributes,
        )
        .join(House, House.id == Sale.house_id)
        .order_by(Sale.sale_date, Sale.id)
    )
    with read_transaction(engine) as connection:
        rows = connection.execute(statement).all()
    frame = pd.DataFrame(rows, columns=[*SALE_COLUMNS, "attributes"])
    attributes = pd.DataFrame(list(frame.pop("attributes")), index=frame.index).astype("float64")
    frame["sale_date"] = pd.to_datetime(frame["sale_date"])
    for name in ("latitude", "longitude", "price", "bedrooms", "bathrooms", "area_m2"):
        frame[name] = frame[name].astype("float64")
    frame["address"] = frame["address"].astype(object).where(frame["address"].notna(), None)
    return pd.concat([frame, attributes], axis=1)


def read_sale_flags(engine: Engine) -> pd.DataFrame:
    """What is known about each sale besides, by sale id: `sale_id` and :data:`SALE_FLAGS`."""
    statement = select(Sale.id, Sale.previous_sale_id, Sale.outlier_reasons, Sale.outlier_rules)
    with read_transaction(engine) as connection:
        rows = connection.execute(statement.order_by(Sale.id)).all()
    frame = pd.DataFrame(rows, columns=["sale_id", *SALE_FLAGS])
    for name in ("previous_sale_id", "outlier_rules"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame


def removed_houses(engine: Engine) -> set[str]:
    """Ids of the houses that were removed and stay out."""
    with read_transaction(engine) as connection:
        return set(connection.scalars(select(Removal.house_id).distinct()))


def read_houses(engine: Engine) -> pd.DataFrame:
    """All houses by id: `house_id`, `latitude`, `longitude`, `address`, `listing_url`."""
    statement = select(House.id, House.latitude, House.longitude, House.address, House.listing_url)
    columns = ["house_id", "latitude", "longitude", "address", "listing_url"]
    with read_transaction(engine) as connection:
        frame = pd.DataFrame(connection.execute(statement.order_by(House.id)).all(), columns=columns)
    for name in ("address", "listing_url"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame.astype({"latitude": "float64", "longitude": "float64"})


def read_rejects(engine: Engine) -> pd.DataFrame:
    """All rejected rows in file order: `source`, `row`, `house_id`, `reason`, `detail`."""
    statement = select(Reject.source, Reject.row, Reject.house_id, Reject.reason, Reject.detail)
    with read_transaction(engine) as connection:
        rows = connection.execute(statement.order_by(Reject.row, Reject.id)).all()
    return pd.DataFrame(rows, columns=["source", "row", "house_id", "reason", "detail"])


def finished_step(engine: Engine, name: str, fingerprint: str) -> dict[str, Any] | None:
    """The figures of a step that finished on exactly this input, else None."""
    statement = select(Step.figures).where(Step.name == name, Step.fingerprint == fingerprint)
    with read_transaction(engine) as connection:
        return connection.scalar(statement)


def last_step(engine: Engine, name: str) -> dict[str, Any] | None:
    """The figures of a step's last finish, whatever its input was, else None."""
    with read_transaction(engine) as connection:
        return connection.scalar(select(Step.figures).where(Step.name == name))


def finish_step(engine: Engine, name: str, fingerprint: str, figures: Mapping[str, Any]) -> None:
    """Record that a step finished on this input, with its figures (JSON values)."""
    row = {
        "name": name,
        "fingerprint": fingerprint,
        "finished_at": datetime.now(UTC),
        "figures": dict(figures),
    }
    with write_transaction(engine) as connection:
        _upsert(connection, Step, ["name"], [row])


def save_images(engine: Engine, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
    """Insert or update pictures; the columns are those of :class:`db.models.Image`."""
    records = _records(rows) if isinstance(rows, pd.DataFrame) else [dict(row) for row in rows]
    with write_transaction(engine) as connection:
        _upsert(connection, Image, ["house_id", "framing", "zoom"], records)


def read_images(engine: Engine, framing: str, zoom: int) -> pd.DataFrame:
    """The pictures of one framing and zoom by house; `image_key` is None where there is no imagery."""
    table = _table(Image)
    statement = select(table).where(table.c.framing == framing, table.c.zoom == zoom)
    with read_transaction(engine) as connection:
        rows = connection.execute(statement.order_by(table.c.house_id)).all()
    frame = pd.DataFrame(rows, columns=[column.name for column in table.columns])
    frame["image_key"] = frame["image_key"].astype(object).where(frame["image_key"].notna(), None)
    return frame


def forget_images(engine: Engine, framing: str, zoom: int) -> None:
    """Drop the pictures of one framing and zoom, because the imagery changed."""
    table = _table(Image)
    with write_transaction(engine) as connection:
        connection.execute(delete(table).where(table.c.framing == framing, table.c.zoom == zoom))


def save_estimates(engine: Engine, run_id: str, frame: pd.DataFrame) -> None:
    """Replace the estimates of a run: `sale_id`, `model_id`, `estimate`, `low`, `high`."""
    columns = ["sale_id", "model_id", "estimate", "low", "high"]
    with write_transaction(engine) as connection:
        connection.execute(delete(Estimate).where(Estimate.run_id == run_id))
        _insert(connection, Estimate, ({"run_id": run_id, **row} for row in _records(frame[columns])))


def read_estimates(engine: Engine, run_id: str) -> pd.DataFrame:
    """The estimates of a run by sale: `sale_id`, `model_id`, `estimate`, `low`, `high`."""
    statement = select(
        Estimate.sale_id, Estimate.model_id, Estimate.estimate, Estimate.low, Estimate.high
    ).where(Estimate.run_id == run_id)
    with read_transaction(engine) as connection:
        rows = connection.execute(statement.order_by(Estimate.sale_id)).all()
    frame = pd.DataFrame(rows, columns=["sale_id", "model_id", "estimate", "low", "high"])
    return frame.astype({"estimate": "float64", "low": "float64", "high": "float64"})


def save_tiles(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or update rows of the tile manifest, see :class:`db.models.Tile`."""
    with write_transaction(engine) as connection:
        _upsert(connection, Tile, ["zoom", "x", "y"], [dict(row) for row in rows])


def read_tile_statuses(engine: Engine, zoom: int) -> dict[tuple[int, int], str]:
    """The manifest of one zoom: (x, y) -> ``ok``, ``blank``, ``missing`` or ``failed``."""
    statement = select(Tile.x, Tile.y, Tile.status).where(Tile.zoom == zoom)
    with read_transaction(engine) as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(statement)}


def read_tile_rows(engine: Engine, zoom: int) -> pd.DataFrame:
    """The whole manifest of one zoom, by x, then y; the columns are those of :class:`db.models.Tile`."""
    table = _table(Tile)
    statement = select(table).where(table.c.zoom == zoom).order_by(table.c.x, table.c.y)
    with read_transaction(engine) as connection:
        rows = connection.execute(statement).all()
    return pd.DataFrame(rows, columns=[column.name for column in table.columns])


def manifest_digest(engine: Engine, zoom: int) -> str:
    """Hex SHA-256 over which tiles of one zoom are there, and their content."""
    statement = select(Tile.x, Tile.y, Tile.status, Tile.sha256).where(Tile.zoom == zoom)
    digest = hashlib.sha256()
    with read_transaction(engine) as connection:
        for row in connection.execute(statement.order_by(Tile.x, Tile.y)):
            digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def forget_tiles(engine: Engine) -> None:
    """Empty the tile manifest, because the archive starts anew."""
    with write_transaction(engine) as connection:
        connection.execute(delete(Tile))


def count_rows(engine: Engine) -> dict[str, int]:
    """Rows per table name."""
    with read_transaction(engine) as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }


def _house_places() -> Any:
    return select(House.id, House.latitude, House.longitude)


def _house_rows(houses: pd.DataFrame) -> Iterator[dict[str, Any]]:
    columns = ["house_id", "latitude", "longitude", "address", "unit", "listing_url"]
    frame = houses.reindex(columns=columns).rename(columns={"house_id": "id"})
    for start in range(0, len(frame), _BATCH):
        yield from _records(frame.iloc[start : start + _BATCH])


def _sale_rows(sales: pd.DataFrame, extra: Sequence[str]) -> Iterator[dict[str, Any]]:
    columns = ["house_id", "price", "bedrooms", "bathrooms", "area_m2", "source_row"]
    for start in range(0, len(sales), _BATCH):
        part = sales.iloc[start : start + _BATCH]
        flags = part.reindex(columns=list(SALE_FLAGS))
        flags["outlier_reasons"] = [
            reasons if isinstance(reasons, list) else [] for reasons in flags["outlier_reasons"]
        ]
        frame = pd.concat([part[columns], flags], axis=1).assign(
            id=part["sale_id"], sale_date=pd.to_datetime(part["sale_date"]).dt.date
        )
        attributes = _records(part[list(extra)]) if extra else [{} for _ in range(len(part))]
        for row, values in zip(_records(frame), attributes, strict=True):
            yield {**row, "attributes": values}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    columns = {}
    for name in frame.columns:
        series = frame[name]
        values = series.tolist()
        if series.dtype == object:
            values = [value.item() if isinstance(value, np.generic) else value for value in values]
        for position in np.flatnonzero(series.isna().to_numpy()):
            values[position] = None
        columns[str(name)] = values
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _insert(connection: Connection, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    for batch in _batches(rows):
        connection.execute(insert(_table(model)), batch)


def _upsert(
    connection: Connection, model: type[Base], key: Sequence[str], rows: Iterable[dict[str, Any]]
) -> None:
    table = _table(model)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    changes = {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in key
    }
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=changes)
    for batch in _batches(rows):
        connection.execute(statement, batch)


def _delete_keys(connection: Connection, model: type[Base], column: str, keys: Iterable[str]) -> None:
    wanted = list(keys)
    field = _table(model).columns[column]
    for start in range(0, len(wanted), _KEY_BATCH):
        connection.execute(delete(model).where(field.in_(wanted[start : start + _KEY_BATCH])))
