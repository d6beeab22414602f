"""The pictures of houses: which image each house has, and where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from sqlalchemy import Engine, delete, select

from db.bulk import batches, floats, in_byte_order, integers, read_frame, table_of, texts, upsert
from db.models import Image
from db.session import read_transaction, write_transaction

_COLUMNS = (
    ("house_id", texts),
    ("framing", texts),
    ("zoom", integers),
    ("image_key", texts),
    ("west", floats),
    ("south", floats),
    ("east", floats),
    ("north", floats),
    ("metres_per_pixel", floats),
    ("missing_tiles", integers),
    ("native_metres_per_pixel", floats),
    ("provider", texts),
)
_KINDS = {
    **{name: "float64" for name, _ in _COLUMNS},
    **dict.fromkeys(("house_id", "framing"), "str"),
    "zoom": "int64",
    **dict.fromkeys(("image_key", "provider"), "object"),
}


def save_images(engine: Engine, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
    """Insert or update pictures; the columns are those of :class:`db.models.Image`."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([dict(row) for row in rows])
    names = [name for name, _ in _COLUMNS]
    with write_transaction(engine) as connection:
        upsert(connection, Image, names, batches(frame, _COLUMNS))


def read_images(engine: Engine, framing: str, zoom: int) -> pd.DataFrame:
    """The pictures of one framing and zoom by house; `image_key` is None where there is no imagery."""
    table = table_of(Image)
    statement = select(*(table.c[name] for name in _KINDS)).where(
        table.c.framing == framing, table.c.zoom == zoom
    )
    with read_transaction(engine) as connection:
        ordered = statement.order_by(in_byte_order(table.c.house_id, engine.dialect.name))
        return read_frame(connection, ordered, _KINDS)


def forget_images(engine: Engine, framing: str, zoom: int) -> None:
    """Drop the pictures of one framing and zoom, because the imagery changed."""
    table = table_of(Image)
    with write_transaction(engine) as connection:
        connection.execute(delete(table).where(table.c.framing == framing, table.c.zoom == zoom))
