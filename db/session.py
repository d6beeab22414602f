"""Opening a database: SQLite by default, PostgreSQL for a team.

Opening creates the file where there is none and brings the tables to the
newest version with Alembic.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from db.addresses import read_address, shown_address, told_cause
from housevis.core.errors import DatabaseError

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
HEAD = "0002"
"""The newest revision; a test holds it equal to the head of the migrations."""

_CACHE_KIBIBYTES = 131_072
_LOCK_NUMBER = 702_418_355


def open_database(address: str | Path) -> Engine:
    """Open a database, create it if need be, and bring its tables up to date.

    Args:
        address: A path of an SQLite file, or an SQLAlchemy address such as
            ``postgresql://user:password@host/name``.

    Returns:
        The engine. SQLite runs in WAL mode with foreign keys enforced.

    Raises:
        DatabaseError: The address is malformed, the server cannot be reached,
            the file is damaged, belongs to another program or was made by a
            newer housevis.
    """
    url = _url(address)
    shown = _shown(url)
    try:
        engine = _engine(url)
        _migrate(engine, shown)
    except (ArgumentError, NoSuchModuleError) as problem:
        raise DatabaseError(
            f"this is no usable database address ({problem.__class__.__name__})",
            where=shown,
            remedy="Give a file path, or postgresql://user:password@host/name.",
        ) from None
    except ImportError:
        raise DatabaseError(
            "the driver of this kind of database is not installed",
            where=shown,
            remedy="Install it: pip install 'housevis[postgresql]'.",
        ) from None
    except SQLAlchemyError as problem:
        raise _explained(problem, url, shown) from None
    return engine


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction that takes SQLite's write lock at its start, so that it waits and never fails late.

    Raises:
        DatabaseError: The database refuses: locked, full, damaged or away.
            Nothing of the transaction is kept.
    """
    try:
        with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
            yield connection
    except (DBAPIError, engine.dialect.loaded_dbapi.Error) as problem:
        raise _explained(problem, engine.url, _shown(engine.url)) from None


@contextmanager
def driver_connection(engine: Engine) -> Iterator[Any]:
    """The driver's own connection, for many small transactions; they are the caller's to begin and end.

    Raises:
        DatabaseError: As :func:`write_transaction`. What was not committed is not kept.
    """
    errors = (DBAPIError, engine.dialect.loaded_dbapi.Error)
    try:
        with closing(engine.raw_connection()) as connection:
            yield connection
    except errors as problem:
        raise _explained(problem, engine.url, _shown(engine.url)) from None


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database.

    Raises:
        DatabaseError: The database cannot be read.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as problem:
        raise _explained(problem, engine.url, _shown(engine.url)) from None


@contextmanager
def plain_connection(engine: Engine) -> Iterator[Connection]:
    """A connection without a transaction, for what no database does inside of one.

    Raises:
        DatabaseError: The database refuses.
    """
    sqlite = engine.dialect.name == "sqlite"
    options = {"sqlite_begin": ""} if sqlite else {"isolation_level": "AUTOCOMMIT"}
    try:
        with engine.execution_options(**options).connect() as connection:
            yield connection
    except DBAPIError as problem:
        raise _explained(problem, engine.url, _shown(engine.url)) from None


def _url(address: str | Path) -> URL:
    if isinstance(address, Path) or "://" not in address:
        return URL.create("sqlite+pysqlite", database=str(address))
    url = read_address(address)
    if url is None:
        raise DatabaseError(
            "this is no usable database address",
            where="database",
            remedy="Give a file path, or postgresql://user:password@host/name, with %40 for an @ inside.",
        )
    if url.drivername == "sqlite":
        return url.set(drivername="sqlite+pysqlite")
    return url


def _shown(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    return shown_address(url)


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.database and url.database != ":memory:":
            folder = Path(url.database).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise DatabaseError(
                    f"the folder of the database cannot be made ({problem.strerror})",
                    where=str(folder),
                    remedy="Choose a folder that can be written to.",
                ) from None
        engine = sqlalchemy.create_engine(url, connect_args={"timeout": 60})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    raise DatabaseError(
        f"housevis keeps its data in SQLite or PostgreSQL, not in {backend}",
        where=_shown(url),
        remedy="Give a file path, or postgresql://user:password@host/name.",
    )


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if statement := connection.get_execution_options().get("sqlite_begin", "BEGIN"):
        connection.exec_driver_sql(statement)


def _migrate(engine: Engine, shown: str) -> None:
    with engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        found = _revision(connection) if "alembic_version" in tables else None
    if found == HEAD:
        return
    if found is None and tables and engine.dialect.name == "sqlite" and "alembic_version" not in tables:
        raise DatabaseError(
            f"this SQLite file belongs to another program (it has a table {min(tables)!r})",
            where=shown,
            remedy="Choose another path for the database of housevis.",
        )
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError:
            raise DatabaseError(
                f"the database has the unknown version {found!r}, so a newer housevis made it",
                where=shown,
                remedy="Use that version of housevis, or choose another database.",
            ) from None


def _revision(connection: Connection) -> str | None:
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _explained(problem: Exception, url: URL, shown: str) -> DatabaseError:
    text = told_cause(problem, url)
    if url.get_backend_name() != "sqlite":
        return DatabaseError(
            f"the database refuses: {text}",
            where=shown,
            remedy="Check that the server runs, and the address, user and password.",
        )
    if "not a database" in text or "malformed" in text:
        return DatabaseError(
            "this is no SQLite database, or it is damaged",
            where=shown,
            remedy="Restore it from a copy, or move it away and run the pipeline again.",
        )
    if "locked" in text:
        return DatabaseError(
            "another process has been writing to the database for too long",
            where=shown,
            remedy="Wait until it has finished, then run the command again.",
        )
    return DatabaseError(
        f"the database cannot be used: {text}",
        where=shown,
        remedy="Check that the folder can be written to and the disk is not full.",
    )
