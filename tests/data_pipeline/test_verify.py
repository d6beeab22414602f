"""The archive against its manifest: every kind of damage, done to real files."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.verify import verify_archive
from db.session import open_database
from db.store import read_tile_statuses, save_tiles
from housevis.core.errors import ImageryError


def row(tile: mercantile.Tile, data: bytes | None, status: str = "ok") -> dict[str, Any]:
    return {
        "zoom": tile.z,
        "x": tile.x,
        "y": tile.y,
        "provider": "test",
        "status": status,
        "http_status": 200,
        "attempts": 1,
        "bytes": len(data or b""),
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        "fetched_at": datetime.now(UTC),
        "error": None,
    }


@pytest.fixture
def stored(tmp_path: Path, sqlite_engine: Engine, kit: SimpleNamespace) -> dict[mercantile.Tile, bytes]:
    """An archive `tiles.mbtiles` of 300 tiles and their rows, all as it should be."""
    tiles = {tile: kit.picture(tile) for tile in kit.block_of_tiles(20, 15)}
    with TileArchive.create(tmp_path / "tiles.mbtiles", {"name": "n"}) as archive:
        archive.write(tiles.items())
    save_tiles(sqlite_engine, [row(tile, data) for tile, data in tiles.items()])
    return tiles


def write(path: Path, tiles: dict[mercantile.Tile, bytes]) -> None:
    with TileArchive.create(path, {}) as archive:
        archive.write(tiles.items())


def test_a_sound_archive(tmp_path: Path, sqlite_engine: Engine, stored: dict[mercantile.Tile, bytes]) -> None:
    absent = mercantile.Tile(5, 6, 18)
    save_tiles(sqlite_engine, [row(absent, None, "missing"), row(mercantile.Tile(5, 7, 18), None, "blank")])
    before = (tmp_path / "tiles.mbtiles").read_bytes()
    found = verify_archive(tmp_path / "tiles.mbtiles", sqlite_engine)
    assert found.is_sound
    assert (found.checked, found.sound, found.marked, found.examples) == (300, 300, 0, {})
    assert (tmp_path / "tiles.mbtiles").read_bytes() == before


def test_every_kind_of_damage_is_found_and_marked(
    tmp_path: Path, sqlite_engine: Engine, stored: dict[mercantile.Tile, bytes], kit: SimpleNamespace
) -> None:
    path = tmp_path / "tiles.mbtiles"
    changed, flipped, absent, broken, last = (list(stored)[i] for i in (0, 40, 77, 150, 299))
    foreign = mercantile.Tile(1, 2, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "DELETE FROM tiles WHERE tile_column = ? AND tile_row = ?", (absent.x, 2**18 - 1 - absent.y)
        )
    bytes_of = bytearray(stored[flipped])
    bytes_of[len(bytes_of) // 2] ^= 1
    cut = stored[broken][:500]
    write(
        path,
        {changed: kit.picture(last), flipped: bytes(bytes_of), broken: cut, foreign: kit.picture(foreign)},
    )
    save_tiles(sqlite_engine, [row(broken, cut)])
    found = verify_archive(path, sqlite_engine, workers=3)
    assert not found.is_sound
    assert (found.checked, found.sound, found.marked) == (301, 296, 4)
    assert (found.changed, found.broken, found.absent, found.unrecorded) == (2, 1, 1, 1)
    assert found.examples["absent"] == [f"18/{absent.x}/{absent.y}"]
    assert found.examples["unrecorded"] == ["3/1/2"]

    statuses = read_tile_statuses(sqlite_engine, 18)
    failed = {place for place, status in statuses.items() if status == "failed"}
    assert failed == {(tile.x, tile.y) for tile in (changed, flipped, absent, broken)}
    with TileArchive(path) as archive:
        assert archive.read(18, changed.x, changed.y) is None
        assert archive.read(18, last.x, last.y) == stored[last]
        assert archive.read(3, 1, 2) is not None
    again = verify_archive(path, sqlite_engine)
    assert (again.checked, again.sound, again.marked, again.unrecorded) == (297, 296, 0, 1)


def test_a_fetch_brings_back_what_was_marked(
    tmp_path: Path, sqlite_engine: Engine, kit: SimpleNamespace, faulty_server: Any
) -> None:
    server = faulty_server(lambda tile, _: kit.Reply(body=kit.picture(tile)))
    tiles = kit.block_of_tiles(6, 5)
    path = tmp_path / "tiles.mbtiles"

    def fetch() -> None:
        with TileArchive.create(path, {"name": "n"}) as archive:
            fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine)

    fetch()
    assert verify_archive(path, sqlite_engine).is_sound
    asked = server.requests
    write(path, {tiles[3]: kit.picture(tiles[4]), tiles[8]: b"damaged"})
    assert verify_archive(path, sqlite_engine).marked == 2
    fetch()
    assert server.requests == asked + 2
    found = verify_archive(path, sqlite_engine)
    assert (found.sound, found.is_sound) == (30, True)


def test_an_archive_that_is_cut_short_is_refused(
    tmp_path: Path, sqlite_engine: Engine, stored: dict[mercantile.Tile, bytes]
) -> None:
    path = tmp_path / "tiles.mbtiles"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageryError, match="damaged"):
        verify_archive(path, sqlite_engine)
    assert set(read_tile_statuses(sqlite_engine, 18).values()) == {"ok"}


def small_picture(*colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


places = st.tuples(st.integers(3, 5), st.integers(0, 7), st.integers(0, 7))


@settings(max_examples=15)
@given(st.sets(places, max_size=12), st.sets(places, max_size=12))
def test_archive_and_manifest_are_matched_tile_by_tile(
    tmp_path_factory: pytest.TempPathFactory,
    in_archive: set[tuple[int, int, int]],
    in_manifest: set[tuple[int, int, int]],
) -> None:
    folder = tmp_path_factory.mktemp("verify")
    tiles = {place: mercantile.Tile(place[1], place[2], place[0]) for place in in_archive | in_manifest}
    pictures = {place: small_picture(*place) for place in tiles}
    write(folder / "t.mbtiles", {tiles[place]: pictures[place] for place in in_archive})
    engine = open_database(folder / "t.sqlite")
    save_tiles(engine, [row(tiles[place], pictures[place]) for place in in_manifest])
    found = verify_archive(folder / "t.mbtiles", engine)
    engine.dispose()
    assert found.sound == len(in_archive & in_manifest)
    assert found.absent == found.marked == len(in_manifest - in_archive)
    assert found.unrecorded == len(in_archive - in_manifest)
    assert found.checked == len(tiles)
