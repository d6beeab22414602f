"""Pictures of 10,000 pixels a side, and small files that say they are larger still, are refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from PIL import Image
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import NOT_WHOLE, TOO_LARGE, decode_tile, why_no_picture
from data_pipeline.download import RetryRules
from data_pipeline.fetch import fetch_tiles
from data_pipeline.house_pictures import HousePicture, image_of_picture
from data_pipeline.pictures import picture_status
from data_pipeline.sources.copying import copy_pictures
from data_pipeline.sources.picture_folder import PictureFolder
from db.store import read_tile_rows


def large(kind: str, side: int = 10_000) -> bytes:
    buffer = io.BytesIO()
    Image.new("1" if kind == "PNG" else "L", (side, side)).save(buffer, kind)
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    """A whole PNG whose header promises far more rows than it holds."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = zlib.compress(bytes(2_000_000), 9)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb(side: int) -> bytes:
    """A progressive JPEG, which a decoder keeps whole in memory, with another size in its header."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 60)).save(buffer, "JPEG", progressive=True)
    data = bytearray(buffer.getvalue())
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


LARGE: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: large("PNG"),
    "JPEG": lambda: large("JPEG"),
    "GIF": lambda: large("GIF"),
    "PNG bomb": lambda: png_bomb(10_000),
    "PNG bomb beyond all limits": lambda: png_bomb(200_000),
    "JPEG bomb": lambda: jpeg_bomb(65_500),
}


pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


@pytest.fixture(scope="module", params=LARGE)
def picture(request: pytest.FixtureRequest) -> bytes:
    return LARGE[request.param]()


def test_it_is_refused_everywhere_with_its_reason(picture: bytes, archive: TileArchive) -> None:
    assert picture_status(picture) is None
    assert decode_tile(picture) is None
    assert why_no_picture(picture) == TOO_LARGE == "a picture of more than 67 million pixels"
    assert image_of_picture(HousePicture("a", picture, 0.1), 47.6, -122.3, 224, archive) is None


def test_what_is_no_picture_has_another_reason() -> None:
    assert why_no_picture(b"<html>") == why_no_picture(large("PNG", 300)[:90]) == NOT_WHOLE


def test_a_tile_of_a_hostile_server_is_named_with_the_reason(
    picture: bytes,
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    tiles = kit.block_of_tiles(2, 1)
    server = faulty_server(
        lambda tile, attempt: kit.Reply(body=picture if tile == tiles[0] else kit.picture(tile))
    )
    rules = RetryRules(attempts=2, connect_timeout=5, read_timeout=10, deadline=30, backoff=0.01)
    report = fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=rules)
    assert (report.ok, report.failed, report.errors) == (1, 1, {TOO_LARGE: 1})
    rows = read_tile_rows(sqlite_engine, tiles[0].z)
    row = rows[rows["status"] == "failed"].iloc[0]
    assert mercantile.Tile(row["x"], row["y"], row["zoom"]) == tiles[0]
    assert row["error"] == TOO_LARGE
    assert set(archive.tiles(tiles[0].z)) == {tiles[1]}


def test_a_house_picture_is_named_with_the_reason(
    picture: bytes, archive: TileArchive, tmp_path: Path, kit: SimpleNamespace
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "large.png").write_bytes(picture)
    (folder / "good.png").write_bytes(kit.picture(mercantile.Tile(1, 1, 1)))
    report, without = copy_pictures(["large", "good"], PictureFolder(folder, 0.2), archive)
    assert (report.ok, report.failed, report.errors) == (1, 1, {TOO_LARGE: 1})
    assert without == [f"large (large.png: {TOO_LARGE})"]
    assert archive.house_pictures.count() == 1
