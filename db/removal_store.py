"""Taking houses out of the database for good, and the list of those that were."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, delete, func, select, tuple_, update
from sqlalchemy import insert as insert_into

from db.bulk import read_frame
from db.models import Estimate, House, Image, Reject, Removal, Sale, Step, Tile
from db.session import plain_connection, read_transaction, write_transaction
from housevis.core.errors import DatabaseError

_KEYS_AT_ONCE = 500
_TABLES = ("houses", "sales", "rejects", "images", "estimates", "removals", "tiles", "steps")
FINISHED = "finished_at"
"""Key of a receipt whose removal is finished."""


def count_house_rows(engine: Engine, house_ids: Collection[str]) -> dict[str, int]:
    """How many rows of each table belong to some houses."""
    with read_transaction(engine) as connection:
        return _count(connection, list(house_ids))


def house_places(engine: Engine, house_ids: Collection[str]) -> pd.DataFrame:
    """The places of some houses: `house_id`, `latitude`, `longitude`."""
    statement = select(House.id, House.latitude, House.longitude).where(House.id.in_(list(house_ids)))
    kinds = {"house_id": "str", "latitude": "float64", "longitude": "float64"}
    with read_transaction(engine) as connection:
        return read_frame(connection, statement, kinds)


def lonely_image_keys(engine: Engine, house_ids: Collection[str]) -> set[str]:
    """Contents of pictures, of any framing and zoom, that only these houses have."""
    wanted = list(house_ids)
    own = select(Image.image_key).where(Image.house_id.in_(wanted), Image.image_key.is_not(None))
    shared = select(Image.image_key).where(Image.house_id.not_in(wanted), Image.image_key.in_(own))
    with read_transaction(engine) as connection:
        lonely = set(connection.scalars(own)) - set(connection.scalars(shared))
    return {key for key in lonely if key is not None}


def begin_removal(engine: Engine, receipts: Mapping[str, dict[str, Any]]) -> None:
    """Put houses on the list of removed ones, so that they stay out from now on.

    Args:
        engine: The database.
        receipts: House id -> what is known so far; of a house that is on the
            list already, it replaces what was known.
    """
    with write_transaction(engine) as connection:
        listed = set(connection.scalars(select(Removal.house_id).where(Removal.house_id.in_(list(receipts)))))
        now = datetime.now(UTC)
        for house_id, receipt in receipts.items():
            if house_id in listed:
                _put_receipt(connection, house_id, receipt)
            else:
                row = {"house_id": house_id, "removed_at": now, "receipt": receipt}
                connection.execute(insert_into(Removal).values(row))


def read_removals(engine: Engine) -> dict[str, dict[str, Any]]:
    """The receipts of all removed houses, by house id; see :data:`FINISHED`."""
    with read_transaction(engine) as connection:
        rows = connection.execute(select(Removal.house_id, Removal.receipt).order_by(Removal.id))
        return {house_id: receipt or {} for house_id, receipt in rows}


def unfinished_removals(engine: Engine) -> list[str]:
    """Houses whose removal was begun and is not finished."""
    return [house_id for house_id, receipt in read_removals(engine).items() if not receipt.get(FINISHED)]


def delete_houses(
    engine: Engine, receipts: Mapping[str, dict[str, Any]], tiles: Sequence[tuple[int, int, int]]
) -> None:
    """Delete all rows of some houses in one transaction, with what only they needed.

    SQLite writes zeros over the deleted rows. The next `ingest` reads the
    listings again.

    Args:
        engine: The database.
        receipts: The houses, with what is known of their removal now.
        tiles: Rows of the manifest that go too: zoom, x, y.
    """
    house_ids = list(receipts)
    with write_transaction(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        sales = select(Sale.id).where(Sale.house_id.in_(house_ids))
        connection.execute(delete(Estimate).where(Estimate.sale_id.in_(sales)))
        connection.execute(delete(Image).where(Image.house_id.in_(house_ids)))
        connection.execute(delete(Sale).where(Sale.house_id.in_(house_ids)))
        connection.execute(delete(House).where(House.id.in_(house_ids)))
        connection.execute(delete(Reject).where(Reject.house_id.in_(house_ids)))
        connection.execute(delete(Step).where(Step.name == "ingest"))
        for start in range(0, len(tiles), _KEYS_AT_ONCE):
            keys = tuple_(Tile.zoom, Tile.x, Tile.y).in_(list(tiles[start : start + _KEYS_AT_ONCE]))
            connection.execute(delete(Tile).where(keys))
        for house_id, receipt in receipts.items():
            _put_receipt(connection, house_id, receipt)


def erase_freed_space(engine: Engine) -> None:
    """Make deleted rows unreadable in the files of the database.

    SQLite is written anew without them, and its journal is emptied.
    PostgreSQL marks their space for new rows; its write-ahead log and its
    backups are its administrator's.

    Raises:
        DatabaseError: Another program has the database open, or the disk is full.
    """
    with plain_connection(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"VACUUM {', '.join(_TABLES)}")
            return
        connection.exec_driver_sql("VACUUM")
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
    if busy:
        raise DatabaseError(
            "the journal of the database cannot be emptied, because another program reads it",
            where=str(engine.url.database),
            remedy="Close that program, then run the command again: it finishes the removal.",
        )


def finish_removal(engine: Engine, receipts: Mapping[str, dict[str, Any]]) -> None:
    """Store the final receipts of removed houses."""
    with write_transaction(engine) as connection:
        for house_id, receipt in receipts.items():
            _put_receipt(connection, house_id, receipt)


def _put_receipt(connection: Connection, house_id: str, receipt: dict[str, Any]) -> None:
    connection.execute(update(Removal).where(Removal.house_id == house_id).values(receipt=receipt))


def _count(connection: Connection, house_ids: list[str]) -> dict[str, int]:
    sales = select(Sale.id).where(Sale.house_id.in_(house_ids))
    conditions = {
        "houses": (House, House.id.in_(house_ids)),
        "sales": (Sale, Sale.house_id.in_(house_ids)),
        "rejects": (Reject, Reject.house_id.in_(house_ids)),
        "images": (Image, Image.house_id.in_(house_ids)),
        "estimates": (Estimate, Estimate.sale_id.in_(sales)),
    }
    return {
        name: connection.scalar(select(func.count()).select_from(model).where(condition)) or 0
        for name, (model, condition) in conditions.items()
    }
