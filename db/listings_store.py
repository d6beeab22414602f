"""Houses, sales and rejected rows: replaced as a whole, read as frames."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd
from sqlalchemy import Connection, Engine, String, Text, cast, select

from db.bulk import (
    BATCH,
    batches,
    code_lists,
    create_staging,
    dates,
    drop_staging,
    floats,
    in_byte_order,
    insert,
    integers,
    merge,
    number_objects,
    read_batches,
    read_frame,
    texts,
)
from db.models import House, Reject, Removal, Sale
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

_HOUSE_COLUMNS = (
    ("house_id", texts),
    ("latitude", floats),
    ("longitude", floats),
    ("address", texts),
    ("unit", texts),
    ("listing_url", texts),
)
_SALE_COLUMNS = (
    ("sale_id", texts),
    ("house_id", texts),
    ("sale_date", dates),
    ("price", floats),
    ("bedrooms", floats),
    ("bathrooms", floats),
    ("area_m2", floats),
    ("source_row", integers),
    ("previous_sale_id", texts),
    ("outlier_reasons", code_lists),
    ("outlier_rules", texts),
)
_REJECT_COLUMNS = (
    ("source", texts),
    ("row", integers),
    ("house_id", texts),
    ("reason", texts),
    ("detail", texts),
)


def replace_listings(
    engine: Engine, houses: pd.DataFrame, sales: pd.DataFrame, rejects: pd.DataFrame
) -> None:
    """Make the stored listings equal to these, in one transaction.

    Houses and sales that stay keep what hangs on them (pictures, estimates);
    those that are gone take it with them, and a house that moved loses its
    pictures.

    Args:
        engine: The database.
        houses: `house_id`, `latitude`, `longitude`, `address`, `listing_url`
            and, where there are any, `unit`.
        sales: A sale frame with `source_row` and, where they are known,
            :data:`SALE_FLAGS`; every column beyond the known ones is kept as
            an attribute.
        rejects: `source`, `row`, `house_id`, `reason`, `detail`.

    Raises:
        DatabaseError: The database refuses; the old listings stay.
    """
    with write_transaction(engine) as connection:
        new_houses = _stage_houses(connection, houses)
        new_sales = _stage_sales(connection, sales)
        connection.exec_driver_sql(
            "DELETE FROM images WHERE house_id IN (SELECT houses.id FROM houses"  # noqa: S608
            f" JOIN {new_houses} AS new ON new.id = houses.id"
            " WHERE new.latitude <> houses.latitude OR new.longitude <> houses.longitude)"
        )
        _delete_all_but(connection, "sales", new_sales)
        _delete_all_but(connection, "houses", new_houses)
        merge(connection, House, ["id", *(name for name, _ in _HOUSE_COLUMNS[1:])], new_houses)
        merge(connection, Sale, _stored_sale_columns(), new_sales)
        connection.exec_driver_sql("DELETE FROM rejects")
        insert(
            connection, "rejects", [name for name, _ in _REJECT_COLUMNS], batches(rejects, _REJECT_COLUMNS)
        )
        drop_staging(connection, new_sales)
        drop_staging(connection, new_houses)


def read_sales(engine: Engine) -> pd.DataFrame:
    """All sales with their house's place, ordered by date, then by id.

    Returns:
        A sale frame: :data:`SALE_COLUMNS`, then one float column per extra
        attribute.
    """
    statement = select(
        Sale.id,
        Sale.house_id,
        House.latitude,
        House.longitude,
        cast(Sale.sale_date, String),
        Sale.price,
        Sale.bedrooms,
        Sale.bathrooms,
        Sale.area_m2,
        House.address,
        cast(Sale.attributes, Text),
    ).join(House, House.id == Sale.house_id)
    kinds = {
        **dict.fromkeys(SALE_COLUMNS, "float64"),
        **dict.fromkeys(("sale_id", "house_id"), "str"),
        "sale_date": "datetime64[us]",
        **dict.fromkeys(("address", "attributes"), "object"),
    }
    with read_transaction(engine) as connection:
        ordered = statement.order_by(Sale.sale_date, in_byte_order(Sale.id, engine.dialect.name))
        parts = [_with_attributes(part) for part in read_batches(connection, ordered, kinds)]
    return pd.concat(parts, ignore_index=True)


def read_sale_flags(engine: Engine) -> pd.DataFrame:
    """What is known about each sale besides, by sale id: `sale_id` and :data:`SALE_FLAGS`."""
    statement = select(Sale.id, Sale.previous_sale_id, Sale.outlier_reasons, Sale.outlier_rules)
    kinds = {"sale_id": "str", **dict.fromkeys(SALE_FLAGS, "object")}
    with read_transaction(engine) as connection:
        ordered = statement.order_by(in_byte_order(Sale.id, engine.dialect.name))
        return read_frame(connection, ordered, kinds)


def read_houses(engine: Engine) -> pd.DataFrame:
    """All houses by id: `house_id`, `latitude`, `longitude`, `address`, `listing_url`, `unit`."""
    columns = (House.id, House.latitude, House.longitude, House.address, House.listing_url, House.unit)
    kinds = {
        "house_id": "str",
        **dict.fromkeys(("latitude", "longitude"), "float64"),
        **dict.fromkeys(("address", "listing_url", "unit"), "object"),
    }
    with read_transaction(engine) as connection:
        ordered = select(*columns).order_by(in_byte_order(House.id, engine.dialect.name))
        return read_frame(connection, ordered, kinds)


def read_rejects(engine: Engine) -> pd.DataFrame:
    """All rejected rows in file order: `source`, `row`, `house_id`, `reason`, `detail`."""
    statement = select(Reject.source, Reject.row, Reject.house_id, Reject.reason, Reject.detail)
    kinds = {"source": "str", "row": "int64", "house_id": "object", "reason": "str", "detail": "str"}
    with read_transaction(engine) as connection:
        return read_frame(connection, statement.order_by(Reject.row, Reject.id), kinds)


def removed_houses(engine: Engine) -> set[str]:
    """Ids of the houses that were removed and stay out."""
    with read_transaction(engine) as connection:
        return set(connection.scalars(select(Removal.house_id).distinct()))


def _stored_sale_columns() -> list[str]:
    return ["id", *(name for name, _ in _SALE_COLUMNS[1:]), "attributes"]


def _stage_houses(connection: Connection, houses: pd.DataFrame) -> str:
    columns = ["id", *(name for name, _ in _HOUSE_COLUMNS[1:])]
    staging = create_staging(connection, House, columns)
    insert(connection, staging, columns, batches(houses, _HOUSE_COLUMNS))
    return staging


def _stage_sales(connection: Connection, sales: pd.DataFrame) -> str:
    known = {*SALE_COLUMNS, *SALE_FLAGS, "source_row"}
    extra = [name for name in sales.columns if name not in known]
    columns = _stored_sale_columns()
    staging = create_staging(connection, Sale, columns)
    attributes = (
        number_objects(sales.iloc[start : start + BATCH][extra]) for start in range(0, len(sales), BATCH)
    )
    rows = (
        [(*row, values) for row, values in zip(batch, objects, strict=True)]
        for batch, objects in zip(batches(sales, _SALE_COLUMNS), attributes, strict=True)
    )
    insert(connection, staging, columns, rows)
    return staging


def _delete_all_but(connection: Connection, table: str, kept: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {kept}")
    connection.exec_driver_sql(
        f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM {kept} AS new WHERE new.id = {table}.id)"  # noqa: S608
    )


def _with_attributes(sales: pd.DataFrame) -> pd.DataFrame:
    objects: Iterable[str] = sales.pop("attributes")
    attributes = pd.DataFrame([json.loads(text) for text in objects], index=sales.index)
    return pd.concat([sales, attributes.astype("float64")], axis=1)
