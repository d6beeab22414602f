"""A server that answers 429 + Retry-After beyond 50 requests a second: limit configured, limit unknown.

    python benchmarks/tile_fetch/rate_limit.py TILES.mbtiles

The server is a process of its own that counts in windows of a second, in
sliding ones, or with a token bucket; the figures come from its request log.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import mercantile
from servers import python_server, read_log, unpack, write_results

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.providers import Provider
from db.session import open_database
from housevis.core.machine import machine_facts

PROJECT = Path(__file__).resolve().parents[2]
COUNTS = ("window", "sliding", "bucket")


def one_run(
    folder: Path, tiles: list[tuple[int, int, int]], limit: int, count: str, rate: float | None, width: int
) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "requests.log"
        with python_server(folder, log, "--limit", str(limit), "--count", count) as url:
            provider = Provider(
                "bench", url, "x", allows_storage=True, allows_ml=True, requests_per_second=None
            )
            engine = open_database(Path(scratch) / "housevis.sqlite")
            with TileArchive.create(Path(scratch) / "tiles.mbtiles", {"name": "bench"}) as archive:
                begin = time.monotonic()
                report = fetch_tiles(
                    [mercantile.Tile(x, y, z) for z, x, y in tiles],
                    provider,
                    archive,
                    engine,
                    connections=width,
                    requests_per_second=rate,
                )
                seconds = time.monotonic() - begin
            engine.dispose()
        entries = read_log(log)
    first = entries[0][0]
    late = [what for moment, _, what in entries if moment - first > 30]
    refused = sum(what == "429" for _, _, what in entries)
    return {
        "server_counts": count,
        "client_knows_limit": rate is not None,
        "tiles": len(tiles),
        "ok": report.ok,
        "failed": report.failed,
        "requests": len(entries),
        "seconds": round(seconds, 1),
        "tiles_per_second": round(report.ok / seconds, 2),
        "share_of_limit": round(report.ok / seconds / limit, 4),
        "answers_429": refused,
        "share_429_after_30_s": round(late.count("429") / max(len(late), 1), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive", type=Path, help="MBTiles file")
    parser.add_argument("--seconds", type=float, default=90, help="length of each run")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--width", type=int, default=8, help="connections")
    parser.add_argument("--counts", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--results", type=Path, default=PROJECT / "docs/results/tile-fetch-rate.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tiles"
        tiles = unpack(arguments.archive, folder)[: int(arguments.seconds * arguments.limit)]
        runs = [
            one_run(folder, tiles, arguments.limit, count, rate, arguments.width)
            for count in arguments.counts
            for rate in (float(arguments.limit), None)
        ]
    results = {
        "command": "python benchmarks/tile_fetch/rate_limit.py "
        + " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:]),
        "limit_per_second": arguments.limit,
        "connections": arguments.width,
        "bars": {
            "known": "share_of_limit >= 0.95 and no 429",
            "unknown": "share_of_limit >= 0.85 and share_429_after_30_s <= 0.02",
        },
        "runs": runs,
        "machine": machine_facts(),
        "versions": {name: version(name) for name in ("urllib3", "sqlalchemy", "pillow")},
    }
    write_results(arguments.results, results)


if __name__ == "__main__":
    main()
