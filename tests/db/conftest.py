"""A database of each kind: SQLite in a folder, PostgreSQL from a real server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine

from db.session import open_database


def _as_postgres(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the tests."""
    for tool in ("initdb", "pg_ctl", *(["runuser"] if os.geteuid() == 0 else [])):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, so there is no PostgreSQL to test with")
    folder = Path(tempfile.mkdtemp(prefix="housevis-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, log = str(folder / "data"), str(folder / "log")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    made = subprocess.run(
        _as_postgres("initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8"),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if made.returncode:
        pytest.skip(f"initdb does not work here: {made.stderr.strip()[-200:]}")
    start = _as_postgres("pg_ctl", "-D", data, "-l", log, "-w", "-o", settings, "start")
    subprocess.run(start, check=True, capture_output=True, cwd=folder)
    yield f"postgresql://tester@127.0.0.1:{port}"
    stop = _as_postgres("pg_ctl", "-D", data, "-m", "immediate", "stop")
    subprocess.run(stop, check=False, capture_output=True, cwd=folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        engine = open_database(tmp_path / "test.sqlite")
    else:
        server = request.getfixturevalue("postgresql_server")
        name = f"t{uuid.uuid4().hex}"
        admin = sqlalchemy.create_engine(
            f"{server.replace('postgresql', 'postgresql+psycopg')}/postgres", isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        engine = open_database(f"{server}/{name}")
    yield engine
    engine.dispose()
