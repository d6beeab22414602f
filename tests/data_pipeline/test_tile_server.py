"""The tile server over real HTTP."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mercantile
import pytest
import requests

from data_pipeline.archive import TileArchive
from data_pipeline.tile_server import TileServer, main
from housevis.core.errors import ImageryError

ROOT = Path(__file__).resolve().parents[2]
TILE = mercantile.Tile(41_000, 91_000, 18)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "served.mbtiles"
    with TileArchive.create(path, {"name": "n", "format": "jpg"}) as archive:
        archive.write([(TILE, b"picture")])
    return path


def test_tiles_are_served_with_kept_connections(filled: Path) -> None:
    with TileArchive(filled) as archive, TileServer(archive) as server, requests.Session() as session:
        url = server.url.format(z=TILE.z, x=TILE.x, y=TILE.y)
        assert url.endswith(".jpg")
        first = session.get(url)
        assert (first.status_code, first.content) == (200, b"picture")
        assert first.headers["Content-Type"] == "image/jpeg"
        assert session.get(url, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
        assert session.head(url).headers["Content-Length"] == "7"
        for odd in ("/18/0/0.jpg", "/18/1", "/99/0/0.jpg", "/1/5/0.png", "/../etc/passwd", "/"):
            assert session.get(f"http://127.0.0.1:{server.port}{odd}").status_code == 404
        assert server.requests == 9


def test_a_port_that_is_taken(filled: Path) -> None:
    with (
        TileArchive(filled) as archive,
        TileServer(archive) as server,
        pytest.raises(ImageryError, match="cannot listen"),
    ):
        TileServer(archive, server.port)


def test_it_runs_as_a_module(filled: Path) -> None:
    command = [sys.executable, "-m", "data_pipeline.tile_server", str(filled), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(url.format(z=TILE.z, x=TILE.x, y=TILE.y), timeout=10).content == b"picture"
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_a_missing_file_is_one_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path / "none.mbtiles")]) == 1
    assert "no such tile archive" in capsys.readouterr().err
