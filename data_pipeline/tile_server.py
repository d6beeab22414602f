"""A small tile server on loopback: an MBTiles archive or the sample market over real HTTP.

``python -m data_pipeline.tile_server FILE.mbtiles --port 8000`` runs one.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from data_pipeline.archive import TileArchive
from data_pipeline.frames import TileSource
from housevis.core.errors import HousevisError, ImageryError

_PATH = re.compile(r"^/(\d{1,2})/(\d{1,9})/(\d{1,9})(?:\.[a-z]{3,4})?(?:\?.*)?$")
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}


class TileServer:
    """Serves ``/{z}/{x}/{y}.EXT`` from a tile source while the block runs.

    HTTP/1.1 with kept connections; ``ETag`` and ``If-None-Match``; 404 where
    there is no tile. It listens on 127.0.0.1 only.

    Args:
        source: Hands out the tiles, from any thread.
        port: Port; 0 takes a free one.

    Raises:
        ImageryError: The port is taken.
    """

    def __init__(self, source: TileSource, port: int = 0) -> None:
        self._counter = itertools.count()
        self._asked = 0
        try:
            self._server = _Server(("127.0.0.1", port), _handler(source, self))
        except (OSError, OverflowError) as problem:
            raise ImageryError(
                f"the tile server cannot listen ({problem})",
                where=f"127.0.0.1:{port}",
                remedy="Choose another port, or 0 for any free one.",
            ) from None
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/{{z}}/{{x}}/{{y}}.{source.format}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="tile-server", daemon=True
        )

    @property
    def requests(self) -> int:
        """Requests that were answered."""
        return self._asked

    def count(self) -> None:
        """Count one request."""
        self._asked = next(self._counter) + 1

    def __enter__(self) -> TileServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


def _handler(source: TileSource, server: TileServer) -> type[BaseHTTPRequestHandler]:
    media_type = _TYPES.get(source.format, "application/octet-stream")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 60

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            server.count()
            match = _PATH.match(self.path)
            z, x, y = (int(part) for part in match.groups()) if match else (0, 0, -1)
            inside = match is not None and z <= 30 and x < 2**z and y < 2**z
            data = source.read(z, x, y) if inside else None
            if data is None:
                self._send("404 Not Found", "text/plain", "", b"no such tile\n", with_body)
                return
            tag = f'"{hashlib.blake2b(data, digest_size=8).hexdigest()}"'
            if self.headers.get("If-None-Match") == tag:
                self._send("304 Not Modified", media_type, tag, b"", False)
            else:
                self._send("200 OK", media_type, tag, data, with_body)

        def _send(self, status: str, media: str, tag: str, body: bytes, with_body: bool) -> None:
            head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
            if tag:
                head += f"ETag: {tag}\r\nCache-Control: max-age=3600\r\n"
            self.wfile.write(head.encode("ascii") + b"\r\n" + (body if with_body else b""))

        def log_message(self, format: str, *args: Any) -> None:
            """Keep no log: addresses may hold keys."""

    return Handler


def main(arguments: list[str] | None = None) -> int:
    """Serve an MBTiles file until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_pipeline.tile_server", description=main.__doc__)
    parser.add_argument("file", help="MBTiles file")
    parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1, 0 for a free one")
    options = parser.parse_args(arguments)
    try:
        with TileArchive(options.file) as archive, TileServer(archive, options.port) as server:
            print(server.url, flush=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except HousevisError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
