"""The servers of the tile benchmarks: nginx on loopback, and one that limits or misbehaves.

    python benchmarks/tile_fetch/servers.py FOLDER --port 8099 --limit 50 --count window
    python benchmarks/tile_fetch/servers.py FOLDER --port 8099 --faults --seed 1 --log requests.log

FOLDER holds tiles as ``z/x/y.EXT``. The second kind is a process of its own,
plain asyncio; it writes one line per request: seconds, tile, what it answered.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

FAULTS = {"500": 0.05, "429": 0.03, "cut": 0.02, "stall": 0.01}
"""Drawn for each request."""

FIXED = {"404": 0.01, "corrupt": 0.005, "blank": 0.005}
"""Of the tiles; these stay with the tile."""

STALL_SECONDS = 10.0
_TYPES = {"webp": "image/webp", "png": "image/png", "jpg": "image/jpeg"}


def unpack(archive: Path, folder: Path) -> list[tuple[int, int, int]]:
    """Write the tiles of an MBTiles file as files ``z/x/y.EXT``; returns them as (z, x, y)."""
    with sqlite3.connect(f"file:{archive}?mode=ro&immutable=1", uri=True) as connection:
        kind = dict(connection.execute("SELECT name, value FROM metadata"))["format"]
        tiles = []
        rows = connection.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles")
        for zoom, x, row, data in rows:
            y = 2**zoom - 1 - row
            place = folder / str(zoom) / str(x)
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{y}.{kind}").write_bytes(data)
            tiles.append((zoom, x, y))
    return sorted(tiles)


def tile_files(folder: Path) -> dict[tuple[int, int, int], Path]:
    return {
        (int(path.parts[-3]), int(path.parts[-2]), int(path.stem)): path for path in folder.glob("*/*/*.*")
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, workers: int, log: Path | None = None) -> Iterator[str]:
    """nginx over a folder of tiles; yields the address template."""
    kind = next(iter(tile_files(folder).values())).suffix[1:]
    port, base = free_port(), folder.parent / "nginx"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    logging = f"access_log {log} requests buffer=64k flush=1s" if log else "access_log off"
    temporary = "".join(
        f"{name}_temp_path {base}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (base / "nginx.conf").write_text(f"""
worker_processes {workers}; daemon off; pid {base}/pid; error_log {base}/error.log;
events {{ worker_connections 1024; }}
http {{
  {temporary} log_format requests "$uri $status"; {logging};
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; etag on;
  open_file_cache max=40000 inactive=3600s; open_file_cache_valid 3600s;
  types {{ {_TYPES[kind]} {kind}; }}
  server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}; }}
}}
""")
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(base), "-c", str(base / "nginx.conf")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.{kind}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def python_server(folder: Path, log: Path, *options: str) -> Iterator[str]:
    """The server of this module as its own process; yields the address template."""
    kind = next(iter(tile_files(folder).values())).suffix[1:]
    port = free_port()
    command = [sys.executable, __file__, str(folder), "--port", str(port), "--log", str(log), *options]
    process = subprocess.Popen(command)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.{kind}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")


class Limit:
    """Counts requests as servers do: ``window`` (each second anew), ``sliding`` or ``bucket``."""

    def __init__(self, rate: int, count: str, burst: int) -> None:
        self.rate, self.count, self.burst = rate, count, burst
        self.times: deque[float] = deque()
        self.window, self.used = 0, 0
        self.tokens, self.filled = float(burst), time.monotonic()

    def allows(self) -> bool:
        """Count one request; False if it is one too many."""
        now = time.monotonic()
        if self.count == "window":
            if int(now) != self.window:
                self.window, self.used = int(now), 0
            self.used += 1
            return self.used <= self.rate
        if self.count == "sliding":
            while self.times and self.times[0] <= now - 1.0:
                self.times.popleft()
            if len(self.times) < self.rate:
                self.times.append(now)
                return True
            return False
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def fixed_fault(z: int, x: int, y: int, seed: int) -> str | None:
    """What stays with a tile: ``404``, ``corrupt``, ``blank`` or None."""
    digest = hashlib.sha256(f"{seed}/{z}/{x}/{y}".encode()).digest()
    place, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in FIXED.items():
        edge += share
        if place < edge:
            return name
    return None


def corrupted(data: bytes, z: int, x: int, y: int, seed: int) -> bytes:
    """One of three kinds of damage, always the same for a tile: cut, changed bytes, a page of text."""
    draw = random.Random(f"{seed}/{z}/{x}/{y}")
    kind = draw.randrange(3)
    if kind == 0:
        return data[: draw.randrange(len(data) // 5, len(data) - 32)]
    if kind == 1:
        damaged = bytearray(data)
        begin = draw.randrange(64, len(data) // 2)
        damaged[begin : begin + 256] = draw.randbytes(len(damaged[begin : begin + 256]))
        return bytes(damaged)
    return b"<html><body>Service temporarily unavailable</body></html>"


def blank_picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    format = {"webp": "WEBP", "png": "PNG", "jpg": "JPEG"}[kind]
    Image.new("RGB", (256, 256), (204, 204, 204)).save(buffer, format)
    return buffer.getvalue()


class Server:
    """Answers from files, within a limit or with faults."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.files = tile_files(arguments.folder)
        self.kind = next(iter(self.files.values())).suffix[1:]
        self.blank = blank_picture(self.kind)
        self.limit = Limit(arguments.limit, arguments.count, arguments.burst) if arguments.limit else None
        self.faults, self.seed = arguments.faults, arguments.seed
        self.stall = arguments.stall
        self.draw = random.Random(arguments.seed)
        self.log = arguments.log.open("a", buffering=1)
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if not await self.answer(head.split(" ", 2)[1], writer):
                    break
        writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False if the connection is to be cut."""
        z, x, y = (int(part) for part in path.split("?")[0].rsplit(".", 1)[0].strip("/").split("/")[-3:])
        what, code, body, headers = self.decide(z, x, y)
        self.log.write(f"{time.time():.4f} {z}/{x}/{y} {what}\n")
        if what == "stall":
            await asyncio.sleep(self.stall)
        sent = body[: len(body) // 2] if what == "cut" else body
        writer.write(
            f"HTTP/1.1 {code} x\r\nContent-Type: {_TYPES[self.kind]}\r\nContent-Length: {len(body)}\r\n"
            f"{headers}\r\n".encode()
            + sent
        )
        await writer.drain()
        return what != "cut"

    def decide(self, z: int, x: int, y: int) -> tuple[str, int, bytes, str]:
        """What is logged, the code, the whole body, further headers."""
        path = self.files.get((z, x, y))
        if self.limit is not None and not self.limit.allows():
            return "429", 429, b"slow down", "Retry-After: 1\r\n"
        what = "ok"
        if self.faults:
            place, edge = self.draw.random(), 0.0
            for name, share in FAULTS.items():
                edge += share
                if place < edge:
                    what = name
                    break
            if what in ("500", "429"):
                return what, int(what), b"sorry", ""
        fixed = fixed_fault(z, x, y, self.seed) if self.faults else None
        if path is None or fixed == "404":
            return "404" if what == "ok" else what, 404, b"none", ""
        body = path.read_bytes()
        if fixed == "blank":
            body = self.blank
        elif fixed == "corrupt":
            body = corrupted(body, z, x, y, self.seed)
        return what if what != "ok" else fixed or "ok", 200, body, ""


async def _run(arguments: argparse.Namespace) -> None:
    server = Server(arguments)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", arguments.port, backlog=512)
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    async with listening:
        await done.wait()
        server.log.close()


def read_log(path: Path) -> list[tuple[float, tuple[int, int, int], str]]:
    """The request log: time, (z, x, y), what was answered."""
    entries = []
    for line in path.read_text().splitlines():
        moment, tile, what = line.split()
        z, x, y = (int(part) for part in tile.split("/"))
        entries.append((float(moment), (z, x, y), what))
    return entries


def write_results(path: Path, results: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(results, indent=2) + "\n")
    temporary.replace(path)
    print(json.dumps(results, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="requests per second; beyond it 429 with Retry-After: 1")
    parser.add_argument("--count", choices=["window", "sliding", "bucket"], default="window")
    parser.add_argument("--burst", type=int, default=10, help="of the bucket")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--stall", type=float, default=STALL_SECONDS, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(_run(arguments))


if __name__ == "__main__":
    main()
