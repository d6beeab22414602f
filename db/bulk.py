"""Moving many rows at once: plain tuples in batches, COPY on PostgreSQL.

Rows travel as tuples of what the driver stores, so that no object is made for
each of them. Dates and JSON travel as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, cast

import numpy as np
import pandas as pd
from sqlalchemy import JSON, Connection, Executable, Table

from db.models import Base

BATCH = 10_000
"""Rows that are in hand at once."""

_COPY_FROM = 1_000

Row = tuple[Any, ...]
Values = Callable[[pd.Series], list[Any]]


def table_of(model: type[Base]) -> Table:
    """The table behind a model."""
    return cast(Table, model.__table__)


def floats(series: pd.Series) -> list[float | None]:
    """Numbers, None where there is none."""
    values = series.to_numpy(dtype="float64", na_value=np.nan)
    numbers = values.astype(object)
    numbers[np.isnan(values)] = None
    return numbers.tolist()


def texts(series: pd.Series) -> list[str | None]:
    """Texts, None where there is none; the character NUL, which PostgreSQL cannot keep, is left out."""
    missing = series.isna().to_numpy()
    return [
        None if absent else str(value).replace("\0", "")
        for value, absent in zip(series.tolist(), missing, strict=True)
    ]


def integers(series: pd.Series) -> list[int | None]:
    """Whole numbers, None where there is none."""
    missing = series.isna().to_numpy()
    return [None if absent else int(value) for value, absent in zip(series.tolist(), missing, strict=True)]


def dates(series: pd.Series) -> list[str]:
    """Days as ``YYYY-MM-DD``."""
    days = pd.to_datetime(series).to_numpy().astype("datetime64[D]")
    return np.datetime_as_string(days).tolist()


def code_lists(series: pd.Series) -> list[str]:
    """Lists of codes as JSON; an empty one where there is none."""
    return [
        json.dumps([str(code) for code in value]) if isinstance(value, (list, tuple, np.ndarray)) else "[]"
        for value in series
    ]


def number_objects(frame: pd.DataFrame) -> list[str]:
    """One JSON object for each row: column name -> number or null."""
    if frame.columns.empty:
        return ["{}"] * len(frame)
    names = [str(name) for name in frame.columns]
    columns = [floats(frame[name]) for name in frame.columns]
    return [json.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def stored_time(moment: datetime, dialect: str) -> Any:
    """A time as the driver stores it: SQLite keeps text in UTC."""
    if dialect != "sqlite":
        return moment
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(" ", "microseconds")


def batches(frame: pd.DataFrame, columns: Sequence[tuple[str, Values]]) -> Iterator[list[Row]]:
    """The rows of a frame, :data:`BATCH` at a time.

    Args:
        frame: The frame.
        columns: Which columns to take, and how each becomes values. One that
            the frame lacks is None in every row.
    """
    for start in range(0, len(frame), BATCH):
        part = frame.iloc[start : start + BATCH]
        empty = pd.Series(None, index=part.index, dtype=object)
        values = [convert(part[name] if name in part.columns else empty) for name, convert in columns]
        yield list(zip(*values, strict=True))


def insert(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[list[Row]]) -> None:
    """Insert batches of rows: COPY on PostgreSQL, one prepared statement on SQLite."""
    listed = ", ".join(_quoted(columns))
    if connection.dialect.name == "postgresql":
        driver = cast(Any, connection.connection.driver_connection)
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({listed}) FROM STDIN") as copy:
            for batch in rows:
                for row in batch:
                    copy.write_row(row)
        return
    statement = f"INSERT INTO {table} ({listed}) VALUES ({_marks(connection.dialect.name, columns)})"  # noqa: S608
    for batch in rows:
        if batch:
            connection.exec_driver_sql(statement, batch)


def upsert(
    connection: Connection,
    model: type[Base],
    columns: Sequence[str],
    rows: Iterable[list[Row]],
) -> None:
    """Insert batches of rows, or update the rows that have their keys.

    Args:
        connection: A connection in a transaction.
        model: Whose table.
        columns: What the tuples hold; further columns become null.
        rows: Batches of tuples; no key twice in one batch.
    """
    iterator = iter(rows)
    first = next(iterator, None)
    if not first:
        return
    if connection.dialect.name == "postgresql" and len(first) >= _COPY_FROM:
        staging = create_staging(connection, model, columns)
        insert(connection, staging, columns, chain([first], iterator))
        merge(connection, model, columns, staging)
        drop_staging(connection, staging)
        return
    statement = upsert_statement(connection.dialect.name, model, columns)
    for batch in chain([first], iterator):
        connection.exec_driver_sql(statement, batch)


def upsert_statement(dialect: str, model: type[Base], columns: Sequence[str]) -> str:
    """The statement that inserts one tuple, or updates the row that has its key, as the driver takes it."""
    table = table_of(model)
    return (
        f"INSERT INTO {table.name} ({', '.join(_quoted(columns))}) VALUES ({_marks(dialect, columns)})"  # noqa: S608
        f" {_on_conflict(table)}"
    )


def create_staging(connection: Connection, model: type[Base], columns: Sequence[str]) -> str:
    """An empty temporary table with some columns of a model's table; its key is unique.

    Returns:
        Its name.
    """
    table = table_of(model)
    name = f"staged_{table.name}"
    dialect = connection.dialect
    described = [
        f'"{column.name}" {column.type.compile(dialect)}{"" if column.nullable else " NOT NULL"}'
        for column in table.columns
        if column.name in columns
    ]
    key = ", ".join(_quoted([column.name for column in table.primary_key]))
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({', '.join(described)}, PRIMARY KEY ({key}))")
    return name


def merge(connection: Connection, model: type[Base], columns: Sequence[str], staging: str) -> None:
    """Insert the rows of a staging table, or update the rows that differ from them."""
    table = table_of(model)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {staging}")
    listed = ", ".join(_quoted(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {staging} WHERE true"  # noqa: S608
        f" {_on_conflict(table)} {_where_changed(connection, table, columns)}"
    )


def drop_staging(connection: Connection, staging: str) -> None:
    """Drop a staging table."""
    connection.exec_driver_sql(f"DROP TABLE {staging}")


def read_batches(
    connection: Connection, statement: Executable, kinds: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    """Read a statement's rows, :data:`BATCH` at a time; one empty frame where there is none.

    Args:
        connection: Where to read.
        statement: What to read.
        kinds: Name and kind of each column in the statement's order:
            ``"float64"``, ``"int64"``, ``"str"`` (pandas text), ``"object"``
            (texts and None, or anything else) or ``"datetime64[us]"``.
    """
    result = connection.execution_options(yield_per=BATCH).execute(statement)
    found = False
    for rows in result.partitions():
        found = True
        columns = zip(kinds.items(), zip(*rows, strict=True), strict=True)
        yield pd.DataFrame({name: _series(values, kind) for (name, kind), values in columns})
    if not found:
        yield pd.DataFrame({name: _series((), kind) for name, kind in kinds.items()})


def read_frame(connection: Connection, statement: Executable, kinds: Mapping[str, str]) -> pd.DataFrame:
    """All rows of a statement, see :func:`read_batches`."""
    return pd.concat(list(read_batches(connection, statement, kinds)), ignore_index=True)


def in_byte_order(column: Any, dialect: str) -> Any:
    """A text column to order by, so that every database gives the same order whatever its language."""
    return column.collate("C") if dialect == "postgresql" else column


def _series(values: Sequence[Any], kind: str) -> pd.Series:
    if kind in ("str", "object"):
        return pd.Series(list(values), dtype=kind)
    return pd.Series(np.array(values, dtype=kind))


def _on_conflict(table: Table) -> str:
    key = [column.name for column in table.primary_key]
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in _names(table) if name not in key)
    return f"ON CONFLICT ({', '.join(_quoted(key))}) DO UPDATE SET {updates}"


def _where_changed(connection: Connection, table: Table, columns: Sequence[str]) -> str:
    """The clause that leaves rows alone that are as they should be."""
    differs = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    conditions = []
    for column in table.columns:
        if column.name not in columns or column.primary_key:
            continue
        old, new = f'{table.name}."{column.name}"', f'excluded."{column.name}"'
        if isinstance(column.type, JSON):
            old, new = f"CAST({old} AS TEXT)", f"CAST({new} AS TEXT)"
        conditions.append(f"{old} {differs} {new}")
    return f"WHERE {' OR '.join(conditions)}"


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _quoted(columns: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in columns]


def _marks(dialect: str, columns: Sequence[str]) -> str:
    return ", ".join(["%s" if dialect == "postgresql" else "?"] * len(columns))
