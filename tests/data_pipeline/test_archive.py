"""MBTiles archives: writing, reading, foreign and damaged files."""

from __future__ import annotations

import gzip
import io
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import mercantile
import numpy as np
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import decode_tile
from data_pipeline.mbtiles import APPLICATION_ID
from data_pipeline.tiles import pack
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


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata as any program sees them."""
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT name, value FROM metadata"))


def foreign_archive(path: Path, statements: list[str], tiles: dict[mercantile.Tile, bytes]) -> None:
    """An MBTiles file as another program writes it; `statements` make what is beside `rows`."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rows (z integer, x integer, y integer, data blob)")
        connection.executemany(
            "INSERT INTO rows VALUES (?, ?, ?, ?)",
            [(tile.z, tile.x, 2**tile.z - 1 - tile.y, data) for tile, data in tiles.items()],
        )
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_written_archive_is_mbtiles_to_the_letter(tmp_path: Path, kit: SimpleNamespace) -> None:
    path = tmp_path / "town.mbtiles"
    tiles = [*kit.block_of_tiles(3, 2), mercantile.parent(kit.block_of_tiles(1, 1)[0])]
    with TileArchive.create(path, {"name": "Town", "attribution": "me"}) as archive:
        archive.write([(tile, kit.picture(tile)) for tile in tiles])
    found = metadata_of(path)
    assert found["name"] == "Town"
    assert found["format"] == "png"
    assert found["type"] in ("baselayer", "overlay")
    assert str(int(found["version"])) == found["version"]
    assert found["description"]
    assert (found["minzoom"], found["maxzoom"]) == ("17", "18")
    west, south, east, north = (float(edge) for edge in found["bounds"].split(","))
    for tile in tiles:
        box = mercantile.bounds(tile)
        assert west - 1e-6 <= box.west < box.east <= east + 1e-6
        assert south - 1e-6 <= box.south < box.north <= north + 1e-6
    longitude, latitude, zoom = found["center"].split(",")
    assert west <= float(longitude) <= east
    assert south <= float(latitude) <= north
    assert zoom == "18"
    assert path.read_bytes()[68:72] == b"MPBX" == APPLICATION_ID.to_bytes(4, "big")
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(tiles)")]
        assert columns == ["zoom_level", "tile_column", "tile_row", "tile_data"]
        assert [row[1] for row in connection.execute("PRAGMA table_info(metadata)")] == ["name", "value"]
        assert connection.execute("PRAGMA encoding").fetchone() == ("UTF-8",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_metadata_follow_what_is_in_the_file(tmp_path: Path, kit: SimpleNamespace) -> None:
    path = tmp_path / "t.mbtiles"
    near, far = kit.block_of_tiles(1, 1)[0], mercantile.Tile(1, 2, 3)
    with TileArchive.create(path, {"name": "n"}) as archive:
        archive.write([(near, kit.picture(near))])
    first = metadata_of(path)
    with TileArchive.create(path, {}) as archive:
        archive.write([(far, kit.picture(far))])
    assert metadata_of(path)["minzoom"] == "3"
    with TileArchive.create(path, {}) as archive:
        archive.remove([far])
        assert archive.count() == 1
    assert metadata_of(path) == first


@pytest.mark.parametrize("side", [256, 512])
def test_gdal_opens_it_and_sees_the_same_pixels_at_the_same_place(
    tmp_path: Path, kit: SimpleNamespace, side: int
) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.env import Env

    with Env() as environment:
        if "MBTiles" not in environment.drivers():
            pytest.skip("this build of GDAL cannot read MBTiles")
    path = tmp_path / "t.mbtiles"
    generator = np.random.default_rng(8)
    tiles = {
        tile: generator.integers(0, 255, (side, side, 3), dtype=np.uint8) for tile in kit.block_of_tiles(3, 2)
    }
    with TileArchive.create(path, {"name": "n"}) as archive:
        for tile, pixels in tiles.items():
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            archive.write([(tile, buffer.getvalue())])
    with rasterio.open(path) as dataset:
        assert dataset.driver == "MBTiles"
        assert dataset.crs.to_epsg() == 3857
        assert dataset.res[0] == pytest.approx(40_075_016.685578 / 2**18 / side)
        for tile, pixels in tiles.items():
            box = mercantile.xy_bounds(tile)
            window = dataset.window(box.left, box.bottom, box.right, box.top).round_offsets().round_lengths()
            assert (dataset.read([1, 2, 3], window=window).transpose(1, 2, 0) == pixels).all()


def test_archives_of_other_programs_are_read(tmp_path: Path, kit: SimpleNamespace) -> None:
    path = tmp_path / "foreign.mbtiles"
    tiles = {tile: kit.picture(tile, "JPEG") for tile in kit.block_of_tiles(2, 2)}
    zipped = {tile: gzip.compress(data) for tile, data in tiles.items()}
    foreign_archive(
        path,
        [
            "CREATE VIEW tiles AS SELECT z AS zoom_level, x AS tile_column, y AS tile_row, data AS tile_data"
            " FROM rows",
            "CREATE VIEW metadata AS SELECT 'format' AS name, 'image/jpeg' AS value"
            " UNION ALL SELECT 'name', 'Foreign' UNION ALL SELECT 'bounds', NULL",
        ],
        zipped,
    )
    with TileArchive(path) as archive:
        assert archive.format == "jpg"
        assert archive.metadata["name"] == "Foreign"
        assert (archive.tile_size, archive.native_zoom, archive.count()) == (256, None, 4)
        assert dict(archive.stored()) == tiles
        assert set(archive.tiles(18)) == set(tiles)
        assert archive.zooms() == [18]
        assert archive.extent()["maxzoom"] == "18"
        for tile, data in tiles.items():
            assert archive.read(tile.z, tile.x, tile.y) == data


def test_what_looks_compressed_and_is_not_stays_as_it_is(tmp_path: Path) -> None:
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        archive.write([(TILE, b"\x1f\x8bnothing of gzip")])
        assert archive.read(TILE.z, TILE.x, TILE.y) == b"\x1f\x8bnothing of gzip"


@pytest.mark.parametrize("named", ["512", "nonsense", "", "99999"])
def test_the_size_of_a_tile_is_named_or_looked_up(tmp_path: Path, named: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (512, 512), (9, 99, 9)).save(buffer, "WEBP")
    with TileArchive.create(tmp_path / "t.mbtiles", {"housevis_tile_size": named}) as archive:
        archive.write([(TILE, buffer.getvalue())])
        assert archive.tile_size == (512 if named != "99999" else 256)
        pixels = decode_tile(buffer.getvalue(), archive.tile_size)
        assert pixels is not None
        assert len(pixels) == archive.tile_size


def test_tiles_come_in_the_order_of_the_file(tmp_path: Path, kit: SimpleNamespace) -> None:
    tiles = [*kit.block_of_tiles(4, 3), mercantile.Tile(3, 4, 5)]
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        archive.write([(tile, bytes([number])) for number, tile in enumerate(reversed(tiles))])
        assert [tile for tile, _ in archive.stored()] == sorted(tiles, key=lambda t: (t.z, t.x, -t.y))
        columns, rows = (np.array([getattr(tile, axis) for tile in tiles[:-1]]) for axis in "xy")
        assert (archive.keys(18) == np.sort(pack(columns, rows))).all()
        assert len(archive.keys(17)) == 0


def test_a_truncated_archive_is_damaged(tmp_path: Path, kit: SimpleNamespace) -> None:
    path = tmp_path / "t.mbtiles"
    with TileArchive.create(path, {"name": "n"}) as archive:
        archive.write([(tile, kit.picture(tile)) for tile in kit.block_of_tiles(5, 5)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageryError, match="damaged"), TileArchive(path) as archive:
        assert sum(1 for _ in archive.stored())


def test_rows_that_are_no_tiles_do_no_harm(tmp_path: Path, kit: SimpleNamespace) -> None:
    path = tmp_path / "foreign.mbtiles"
    tile = kit.block_of_tiles(1, 1)[0]
    foreign_archive(
        path,
        [
            "INSERT INTO rows VALUES (NULL, 1, 1, 'x'), ('high', 1, 1, x'00'), (18, 'far', 1, x'00'),"
            " (1000000, 1, 1, x'00'), (18, 1, 1, 'text'), (18, 2, 1, NULL), (18, 3, 1, 4.5)",
            "CREATE VIEW tiles AS SELECT z AS zoom_level, x AS tile_column, y AS tile_row, data AS tile_data"
            " FROM rows",
            "CREATE TABLE metadata (name text, value text)",
        ],
        {tile: kit.picture(tile)},
    )
    with TileArchive(path) as archive:
        found = dict(archive.stored())
        assert found.pop(tile) == kit.picture(tile)
        assert sorted(found.values()) == [b"4.5", b"text"]
        assert archive.zooms() == [18]
        assert archive.read(18, 1, 2**18 - 2) == b"text"
