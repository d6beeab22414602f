"""One contender of the throughput benchmark in a process of its own; prints one line of JSON.

Only the fetching is timed, not the start of Python. Every contender ends with
the bytes (or pixels) of each tile in hand, or on disk where that is its way.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Tile = tuple[int, int, int]


def housevis(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """The whole engine: checks, SHA-256, archive, manifest."""
    import mercantile

    from data_pipeline.archive import TileArchive
    from data_pipeline.fetch import fetch_tiles
    from data_pipeline.providers import Provider
    from db.session import open_database

    provider = Provider("bench", url, "x", allows_storage=True, allows_ml=True, requests_per_second=None)
    wanted = [mercantile.Tile(x, y, z) for z, x, y in tiles]
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(Path(folder) / "housevis.sqlite")
        with TileArchive.create(Path(folder) / "tiles.mbtiles", {"name": "bench"}) as archive:
            begin = time.perf_counter()
            report = fetch_tiles(wanted, provider, archive, engine, connections=width)
            seconds = time.perf_counter() - begin
        engine.dispose()
    return {"tiles": report.ok, "seconds": seconds, "requests": report.requests}


def bare(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """ThreadPoolExecutor and a requests.Session per thread; the bytes are thrown away."""
    import requests

    own = threading.local()

    def get(tile: Tile) -> int:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        z, x, y = tile
        return len(own.session.get(url.format(z=z, x=x, y=y), timeout=30).content)

    begin = time.perf_counter()
    with ThreadPoolExecutor(width) as pool:
        done = sum(1 for size in pool.map(get, tiles) if size)
    return {"tiles": done, "seconds": time.perf_counter() - begin}


def contextily(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """As its documentation shows: one call per house, its defaults (1 connection, cache in this session)."""
    del width
    import contextily as cx

    begin = time.perf_counter()
    for tile in tiles:
        cx.bounds2img(*_inside(tile), zoom=tile[0], source=url, ll=True)
    return {"tiles": len(set(tiles)), "seconds": time.perf_counter() - begin}


def contextily_best(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """The quickest way found: distinct tiles only, no cache, called from as many threads."""
    import contextily as cx

    def get(tile: Tile) -> None:
        cx.bounds2img(*_inside(tile), zoom=tile[0], source=url, ll=True, use_cache=False)

    distinct = sorted(set(tiles))
    begin = time.perf_counter()
    with ThreadPoolExecutor(width) as pool:
        list(pool.map(get, distinct))
    return {"tiles": len(distinct), "seconds": time.perf_counter() - begin}


def img2dataset(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """The same list of addresses, kept as they are: files, no resizing, no encoding."""
    from img2dataset import download

    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "urls.txt"
        listed.write_text("\n".join(url.format(z=z, x=x, y=y) for z, x, y in tiles) + "\n")
        begin = time.perf_counter()
        download(
            url_list=str(listed),
            output_folder=str(Path(folder) / "out"),
            processes_count=len(os.sched_getaffinity(0)),
            thread_count=width,
            resize_mode="no",
            skip_reencode=True,
            output_format="files",
            input_format="txt",
            number_sample_per_shard=2000,
            enable_wandb=False,
        )
        seconds = time.perf_counter() - begin
        kept = sum(1 for path in (Path(folder) / "out").glob("*/*") if path.suffix not in {".json", ".txt"})
    return {"tiles": kept, "seconds": seconds}


def raw(url: str, tiles: list[Tile], width: int) -> dict[str, Any]:
    """Bare sockets in several processes: what the server can do at least."""
    parts = [tiles[number::width] for number in range(width)]
    begin = time.perf_counter()
    with multiprocessing.Pool(width) as pool:
        done = sum(pool.starmap(_raw, [(url, part) for part in parts]))
    return {"tiles": done, "seconds": time.perf_counter() - begin}


def _raw(url: str, tiles: list[Tile]) -> int:
    address = urlsplit(url)
    done = 0
    with socket.create_connection((address.hostname, address.port)) as connection:
        for z, x, y in tiles:
            path = address.path.format(z=z, x=x, y=y)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            data = connection.recv(65536)
            head = data.find(b"\r\n\r\n")
            place = data.find(b"Content-Length: ") + 16
            left = int(data[place : data.find(b"\r", place)]) - (len(data) - head - 4)
            while left > 0:
                left -= len(connection.recv(65536))
            done += data[9:12] == b"200"
    return done


def _inside(tile: Tile) -> tuple[float, float, float, float]:
    """A small window in the middle of a tile: west, south, east, north."""
    import mercantile

    z, x, y = tile
    west, south, east, north = mercantile.bounds(x, y, z)
    middle, across = (west + east) / 2, (south + north) / 2
    return middle - 1e-6, across - 1e-6, middle + 1e-6, across + 1e-6


CONTENDERS = {
    "housevis": housevis,
    "bare": bare,
    "contextily": contextily,
    "contextily-best": contextily_best,
    "img2dataset": img2dataset,
    "raw": raw,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(CONTENDERS))
    parser.add_argument("url")
    parser.add_argument("tiles", type=Path, help="JSON list of [z, x, y]")
    parser.add_argument("--width", type=int, default=8)
    arguments = parser.parse_args()
    tiles = [tuple(tile) for tile in json.loads(arguments.tiles.read_text())]
    before = os.times()
    figures = CONTENDERS[arguments.name](arguments.url, tiles, arguments.width)
    after = os.times()
    figures["processor_seconds"] = sum(after[:4]) - sum(before[:4])
    print("\n" + json.dumps(figures))


if __name__ == "__main__":
    main()
