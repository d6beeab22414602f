"""The manifest of tiles: what became of each request."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Result, Row, bindparam, delete, select, update

from db.bulk import BATCH, read_frame, stored_time, table_of, upsert, upsert_statement
from db.models import Tile
from db.session import driver_connection, read_transaction, write_transaction

_COLUMNS = (
    *("zoom", "x", "y", "provider", "status", "http_status", "attempts", "bytes"),
    *("sha256", "fetched_at", "error", "etag", "last_modified"),
)
_KINDS = {
    **dict.fromkeys(_COLUMNS, "object"),
    **dict.fromkeys(("zoom", "x", "y", "attempts", "bytes"), "int64"),
    **dict.fromkeys(("provider", "status"), "str"),
}


def save_tiles(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or update rows of the tile manifest, see :class:`db.models.Tile`.

    Made for many small calls.

    Args:
        engine: The database.
        rows: Columns that a row lacks become null.
    """
    tuples = _tuples(rows, engine.dialect.name)
    parts = (tuples[start : start + BATCH] for start in range(0, len(tuples), BATCH))
    with write_transaction(engine) as connection:
        upsert(connection, Tile, _COLUMNS, parts)


class ManifestWriter:
    """Writes rows of the manifest in many small transactions over one connection.

    Made by :func:`open_manifest`.

    Args:
        connection: The driver's connection.
        dialect: SQLAlchemy's name of the kind of database.
    """

    def __init__(self, connection: Any, dialect: str) -> None:
        self._connection = connection
        self._dialect = dialect
        self._statement = upsert_statement(dialect, Tile, _COLUMNS)

    def save(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or update rows in one transaction, as :func:`save_tiles` does."""
        tuples = _tuples(rows, self._dialect)
        cursor = self._connection.cursor()
        try:
            if self._dialect == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(self._statement, tuples)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            cursor.close()


@contextmanager
def open_manifest(engine: Engine) -> Iterator[ManifestWriter]:
    """A writer of the tile manifest; it keeps its connection while the block runs.

    Raises:
        DatabaseError: The database refuses; transactions that ended stay.
    """
    with driver_connection(engine) as connection:
        yield ManifestWriter(connection, engine.dialect.name)


def _tuples(rows: Sequence[Mapping[str, Any]], dialect: str) -> list[tuple[Any, ...]]:
    return [
        tuple(stored_time(row[name], dialect) if name == "fetched_at" else row.get(name) for name in _COLUMNS)
        for row in rows
    ]


def read_tile_statuses(engine: Engine, zoom: int) -> dict[tuple[int, int], str]:
    """The manifest of one zoom: (x, y) -> ``ok``, ``blank``, ``missing`` or ``failed``."""
    statement = select(Tile.x, Tile.y, Tile.status).where(Tile.zoom == zoom)
    with read_transaction(engine) as connection:
        found = connection.execution_options(yield_per=BATCH).execute(statement)
        return {(x, y): status for x, y, status in found}


def read_tile_rows(engine: Engine, zoom: int) -> pd.DataFrame:
    """The whole manifest of one zoom, by x, then y; the columns are those of :class:`db.models.Tile`."""
    table = table_of(Tile)
    statement = select(*(table.c[name] for name in _COLUMNS)).where(table.c.zoom == zoom)
    with read_transaction(engine) as connection:
        return read_frame(connection, statement.order_by(table.c.x, table.c.y), _KINDS)


def iterate_tile_hashes(engine: Engine) -> Generator[Row[Any], None, None]:
    """Rows of the manifest one by one: `zoom`, `x`, `y`, `status`, `sha256`; little is held at once.

    They come by zoom, then x, then y from the largest: as tiles lie in MBTiles.
    """
    statement = select(Tile.zoom, Tile.x, Tile.y, Tile.status, Tile.sha256)
    ordered = statement.order_by(Tile.zoom, Tile.x, Tile.y.desc())
    with read_transaction(engine) as connection:
        rows: Result[Any] = connection.execution_options(yield_per=BATCH).execute(ordered)
        yield from rows


def mark_failed(engine: Engine, tiles: Sequence[tuple[int, int, int, str]]) -> None:
    """Mark tiles, as (zoom, x, y, why), as failed, so that they are fetched again."""
    table = table_of(Tile)
    statement = (
        update(table)
        .where(
            table.c.zoom == bindparam("z"), table.c.x == bindparam("column"), table.c.y == bindparam("row")
        )
        .values(status="failed", error=bindparam("why"), bytes=0, sha256=None, etag=None, last_modified=None)
    )
    rows = [dict(zip(("z", "column", "row", "why"), tile, strict=True)) for tile in tiles]
    with write_transaction(engine) as connection:
        connection.execute(statement, rows)


def manifest_digest(engine: Engine, zoom: int) -> str:
    """Hex SHA-256 over which tiles of one zoom are there, and their content."""
    statement = select(Tile.x, Tile.y, Tile.status, Tile.sha256).where(Tile.zoom == zoom)
    digest = hashlib.sha256()
    with read_transaction(engine) as connection:
        ordered = statement.order_by(Tile.x, Tile.y).execution_options(yield_per=BATCH)
        for row in connection.execute(ordered):
            digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def forget_tiles(engine: Engine) -> None:
    """Empty the tile manifest, because the archive starts anew."""
    with write_transaction(engine) as connection:
        connection.execute(delete(Tile))
