"""Listings out of a SQL database.

The address of the database is a secret: it is in no message, and what the
server says is searched for it before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import CursorResult
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from data_pipeline.tables import PART_ROWS, Table, frames
from db.addresses import read_address, shown_address, told_cause
from housevis.core.errors import ConfigError, ListingsError


def open_query(query: str, database: SecretStr | None, *, part_rows: int = PART_ROWS) -> Table:
    """Open the result of a query as a table.

    Args:
        query: One statement that gives rows. It runs in a transaction that is
            rolled back.
        database: SQLAlchemy address, such as ``postgresql://user:password@host/name``.
        part_rows: Rows in a part.

    Raises:
        ConfigError: The address is missing, malformed, or its driver is not installed.
        ListingsError: The database or the query fails. Reading the parts raises it too.
    """
    url = _url(database)
    shown = shown_address(url)
    with _result(query, url, shown) as result:
        header = [str(name) for name in tuple(result.keys())]

    def parts(wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        with _result(query, url, shown) as result:
            blocks = result.partitions(part_rows)
            yield from frames(chain.from_iterable(blocks), header, wanted, 2, part_rows)

    return Table("query", f"listings.query at {shown}", f"SQL ({url.get_backend_name()})", header, parts)


@contextmanager
def _result(query: str, url: URL, shown: str) -> Iterator[CursorResult[Any]]:
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except ImportError:
        raise ConfigError(
            "the driver of this kind of database is not installed",
            where="listings.database",
            remedy="Install it, for example: pip install 'housevis[postgresql]'.",
        ) from None
    except (ArgumentError, NoSuchModuleError):
        raise _no_address() from None
    try:
        options = {"stream_results": True, "no_parameters": True}
        with engine.connect().execution_options(**options) as connection:
            result = connection.exec_driver_sql(query)
            if not result.returns_rows:
                raise ListingsError(
                    "the query gives no rows",
                    where=f"listings.query at {shown}",
                    remedy="It must be one SELECT statement.",
                )
            yield result
    except SQLAlchemyError as problem:
        raise ListingsError(
            f"the query fails: {told_cause(problem, url).rstrip('.')}",
            where=f"listings.query at {shown}",
            remedy="Check listings.query, the address in listings.database, and that the server runs.",
        ) from None
    finally:
        engine.dispose()


def _url(database: SecretStr | None) -> URL:
    if database is None:
        raise ConfigError(
            "listings.query is set, and there is no database to send it to",
            where="listings.database",
            remedy='Set database = "${LISTINGS_DATABASE}" under [listings], and that variable to it.',
        )
    address = database.get_secret_value()
    if "://" not in address:
        address = f"sqlite:///{address}"
    url = read_address(address)
    if url is None:
        raise _no_address()
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        raise ListingsError(
            "there is no such SQLite file",
            where=f"listings.database, {url.database}",
            remedy="Check the path; one that is not absolute starts from the current folder.",
        )
    return url


def _no_address() -> ConfigError:
    return ConfigError(
        "this is no usable database address",
        where="listings.database",
        remedy="Give an address such as postgresql://user:password@host/name, with %40 for an @ in it.",
    )
