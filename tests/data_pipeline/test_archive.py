"""MBTiles archives: writing, reading, foreign and damaged files."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import mercantile
import pytest

from data_pipeline.archive import TileArchive
from housevis.core.errors import ImageryError

TILE = mercantile.Tile(41_000, 91_000, 18)


def test_tiles_come_back_and_rows_are_turned_over(tmp_path: Path) -> None:
    path = tmp_path / "t.mbtiles"
    with TileArchive.create(path, {"name": "n", "format": "png", "attribution": "me"}) as archive:
        archive.write([(TILE, b"picture")])
        assert archive.read(18, TILE.x, TILE.y) == b"picture"
    with sqlite3.connect(path) as connection:
        row = connection.execute("SELECT zoom_level, tile_column, tile_row FROM tiles").fetchone()
    assert row == (18, 41_000, 2**18 - 1 - 91_000)
    with TileArchive(path) as archive:
        assert (archive.attribution, archive.format, archive.provider) == ("me", "png", "unknown")
        assert list(archive.tiles(18)) == [TILE]
        assert archive.read(18, 0, 0) is None
        with pytest.raises(ImageryError, match="reading only"):
            archive.write([(TILE, b"x")])


def test_a_closed_archive_is_one_file(tmp_path: Path) -> None:
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        archive.write([(TILE, b"picture")])
    assert [path.name for path in tmp_path.iterdir()] == ["t.mbtiles"]


def test_opening_again_keeps_tiles_and_renews_metadata(tmp_path: Path) -> None:
    path = tmp_path / "t.mbtiles"
    with TileArchive.create(path, {"name": "one", "attribution": "me"}) as archive:
        archive.write([(TILE, b"picture")])
    with TileArchive.create(path, {"name": "two"}) as archive:
        assert archive.metadata["name"] == "two"
        assert archive.metadata["attribution"] == "me"
        assert archive.read(18, TILE.x, TILE.y) == b"picture"


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.mbtiles"
    tiles = [mercantile.Tile(x, 7, 10) for x in range(50)]
    with TileArchive.create(path, {"name": "n"}) as archive:
        archive.write([(tile, str(tile.x).encode()) for tile in tiles])
    found: list[bool] = []

    def read(archive: TileArchive) -> None:
        found.append(all(archive.read(10, tile.x, 7) == str(tile.x).encode() for tile in tiles))

    with TileArchive(path) as archive:
        threads = [threading.Thread(target=read, args=(archive,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [True] * 8


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.mbtiles"
    path.write_bytes(content)
    with pytest.raises(ImageryError, match="no MBTiles archive"):
        TileArchive(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageryError, match="no such tile archive"):
        TileArchive(tmp_path / "none.mbtiles")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ImageryError, match="cannot be written"):
        TileArchive.create(tmp_path / "file" / "t.mbtiles", {})


@pytest.mark.shared
def test_an_archive_on_a_disk_that_cannot_be_written_to(shared_data: Path) -> None:
    with TileArchive(shared_data / "data" / "king-county" / "tiles-z18.mbtiles") as archive:
        assert archive.format == "webp"
        assert "Esri" in archive.attribution
        assert sum(1 for _ in archive.tiles(18)) == 13_904
