"""Opening databases: new, old, foreign, damaged, unreachable."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Engine

from db.models import Base
from db.session import HEAD, MIGRATIONS, open_database, write_transaction
from db.store import read_images, read_sale_flags, read_sales, read_tile_rows
from housevis.core.errors import DatabaseError


def test_migrations_build_exactly_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "new" / "folder" / "a.sqlite")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_foreign_keys_hold(engine: Engine) -> None:
    statement = "INSERT INTO images (house_id, framing, zoom) VALUES ('nobody', 'tile', 18)"
    with pytest.raises(DatabaseError), write_transaction(engine) as connection:
        connection.exec_driver_sql(statement)


def test_opening_again_keeps_the_data(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with open_database(path).begin() as connection:
        connection.exec_driver_sql("INSERT INTO houses (id, latitude, longitude) VALUES ('a', 1, 2)")
    with open_database(f"sqlite:///{path}").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM houses").scalar() == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"this is no database, only a text of more than a few bytes" * 50)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="damaged") as caught:
        open_database(path)
    assert caught.value.where == str(path)
    assert path.read_bytes() == before


def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    open_database(path).dispose()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(bytes(content))
    with pytest.raises(DatabaseError):
        open_database(path)


def test_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (id INTEGER)")
    with pytest.raises(DatabaseError, match=r"another program.*bookmarks"):
        open_database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    open_database(path).dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="newer housevis"):
        open_database(path)


@pytest.mark.parametrize(
    "address", ["mysql://u:secret@localhost/x", "nonsense://x", "postgresql://u:secret@127.0.0.1:1/x"]
)
def test_addresses_that_cannot_work_never_show_the_password(address: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_database(address)
    assert "secret" not in str(caught.value)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        open_database(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatabaseError, match="folder"):
        open_database(tmp_path / "file" / "a.sqlite")


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    code = "import sys; from db.session import open_database; open_database(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "a.sqlite")]
    root = Path(__file__).resolve().parents[2]
    processes = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    tables = sqlalchemy.inspect(open_database(tmp_path / "a.sqlite")).get_table_names()
    assert set(tables) == {*Base.metadata.tables, "alembic_version"}


def test_a_database_of_the_first_version_keeps_its_rows(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO houses (id, latitude, longitude) VALUES ('a', 47.5, -122.25)")
        connection.exec_driver_sql(
            "INSERT INTO sales (id, house_id, sale_date, price, attributes, source_row) "
            "VALUES ('a@2014-05-02', 'a', '2014-05-02', 100000, '{\"grade\": 7.0}', 2)"
        )
        connection.exec_driver_sql("INSERT INTO images (house_id, framing, zoom) VALUES ('a', 'tile', 18)")
        connection.exec_driver_sql(
            "INSERT INTO tiles (zoom, x, y, provider, status, attempts, bytes, fetched_at) "
            "VALUES (18, 1, 2, 'p', 'ok', 1, 10, '2026-01-01 00:00:00')"
        )
    again = open_database(engine.url.render_as_string(hide_password=False))
    assert read_sales(again)[["sale_id", "grade"]].to_numpy().tolist() == [["a@2014-05-02", 7.0]]
    assert read_sale_flags(again).to_numpy().tolist() == [["a@2014-05-02", None, [], None]]
    assert read_images(again, "tile", 18)["provider"].tolist() == [None]
    assert read_tile_rows(again, 18)[["x", "etag"]].to_numpy().tolist() == [[1, None]]
    again.dispose()


def test_a_new_revision_can_be_written(tmp_path: Path) -> None:
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    config = Config()
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    engine = open_database(tmp_path / "a.sqlite")
    with write_transaction(engine) as connection:
        config.attributes["connection"] = connection
        script = command.revision(config, "Something new", autogenerate=True, rev_id="9999")
    assert isinstance(script, Script)
    assert script.down_revision == HEAD
    compile(Path(script.path).read_text(), script.path, "exec")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://tester:very@secret@127.0.0.1/houses",
        "postgresql://tester:secret@127.0.0.1:port/houses",
    ],
)
def test_an_address_that_cannot_be_read_shows_no_password(address: str) -> None:
    with pytest.raises(DatabaseError) as problem:
        open_database(address)
    assert "secret" not in str(problem.value)
