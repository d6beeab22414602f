"""Small tiles, small archives, and a tile server that misbehaves on command."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.providers import Provider
from db.session import open_database

ZOOM = 18


@lru_cache(maxsize=2000)
def picture(tile: mercantile.Tile, kind: str = "PNG") -> bytes:
    """A textured tile that differs from all others."""
    coarse = np.random.default_rng([tile.x, tile.y]).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    pixels = coarse.repeat(4, axis=0).repeat(4, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def flat_picture(colour: tuple[int, int, int] = (200, 200, 200), kind: str = "PNG") -> bytes:
    """A tile of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(buffer, kind)
    return buffer.getvalue()


def block_of_tiles(columns: int, rows: int, *, x: int = 41_900, y: int = 91_500) -> list[mercantile.Tile]:
    """Neighbouring tiles at zoom 18."""
    return [mercantile.Tile(x + i, y + j, ZOOM) for j in range(rows) for i in range(columns)]


@dataclass
class Reply:
    """What the faulty server says to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    """Bytes that are promised and not sent."""
    delay: float = 0.0


Script = Callable[[mercantile.Tile, int], Reply]


class FaultyServer:
    """A real HTTP server on loopback; `script(tile, attempt)` decides each reply, attempts from 1."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: Counter[mercantile.Tile] = Counter()
        self.paths: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._stopping = threading.Event()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{{z}}/{{x}}/{{y}}.png"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def requests(self) -> int:
        return sum(self.seen.values())

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                z, x, y = self.path.split("?")[0].removesuffix(".png").strip("/").split("/")[-3:]
                tile = mercantile.Tile(int(x), int(y), int(z))
                with outer._lock:
                    outer.seen[tile] += 1
                    outer.paths.append(self.path)
                    attempt = outer.seen[tile]
                reply = outer.script(tile, attempt)
                outer._stopping.wait(reply.delay)
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body) + reply.cut))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                if reply.cut:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def faulty_server() -> Iterator[Callable[[Script], FaultyServer]]:
    """Starts faulty servers that end with the test."""
    servers: list[FaultyServer] = []

    def start(script: Script) -> FaultyServer:
        servers.append(FaultyServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    engine = open_database(tmp_path / "housevis.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[TileArchive]:
    """An empty archive, open for writing."""
    with TileArchive.create(tmp_path / "tiles.mbtiles", {"name": "test"}) as created:
        yield created


def allowing(url: str, **changes: Any) -> Provider:
    """A provider on loopback whose terms allow everything."""
    settings = {"requests_per_second": None, "allows_storage": True, "allows_ml": True} | changes
    return Provider("test", url, "Test imagery", **settings)


@pytest.fixture
def kit() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(
        picture=picture,
        flat_picture=flat_picture,
        block_of_tiles=block_of_tiles,
        Reply=Reply,
        allowing=allowing,
    )
