"""Tiles per second against nginx on loopback: housevis, a bare loop, contextily, img2dataset.

    python benchmarks/tile_fetch/throughput.py TILES.mbtiles LISTINGS.csv --peers VENV/bin/python

All contenders take their turn in each round, so that a busy machine slows all
of them. nginx writes an access log, from which the requests are counted. The
"raw" contender (bare sockets in several processes) shows that nginx is not the
limit. contextily asks for the tile of each house, in the order of the listings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from servers import nginx, unpack, write_results

from data_pipeline.tiles import tile_of
from housevis.core.machine import machine_facts

PROJECT = Path(__file__).resolve().parents[2]
OWN = ("housevis", "bare", "raw")
PEERS = ("contextily", "contextily-best", "img2dataset")


def house_tiles(listings: Path, zoom: int) -> list[tuple[int, int, int]]:
    """The tile of each house, in the order of the listings; a house counts once."""
    frame = pd.read_csv(listings)
    names = {name.lower(): name for name in frame.columns}
    places = frame.drop_duplicates(names["id"])[[names["lat"], names["long"]]]
    found = (tile_of(lat, long, zoom) for lat, long in places.itertuples(index=False))
    return [(tile.z, tile.x, tile.y) for tile in found]


def turn(name: str, python: str, url: str, tiles: Path, width: int, log: Path) -> dict:
    """One contender once."""
    log.write_bytes(b"")
    command = [python, str(Path(__file__).with_name("contenders.py")), name, url, str(tiles)]
    environment = {
        **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
        "PYTHONPATH": str(PROJECT) if name in OWN else "",
        "HOUSEVIS_PROGRESS": "off",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    done = subprocess.run(
        [*command, "--width", str(width)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer_versions(python: str) -> dict[str, str]:
    code = (
        "import json, importlib.metadata as m; "
        "print(json.dumps({n: m.version(n) for n in ('contextily', 'img2dataset', 'requests')}))"
    )
    return json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive", type=Path, help="MBTiles file with the tiles of the houses")
    parser.add_argument("listings", type=Path, help="CSV with id, lat, long")
    parser.add_argument("--peers", help="Python with contextily and img2dataset")
    parser.add_argument("--width", type=int, default=8, help="connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--houses", type=int, help="only the first of the listings")
    parser.add_argument(
        "--contextily-houses", type=int, default=1500, help="it is slow, and its rate is even"
    )
    parser.add_argument("--nginx-workers", type=int, default=1)
    parser.add_argument("--results", type=Path, default=PROJECT / "docs/results/tile-fetch.json")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # nginx gives up being root
        folder, log = Path(scratch) / "tiles", Path(scratch) / "access.log"
        served = unpack(arguments.archive, folder)
        there = set(served)
        houses = house_tiles(arguments.listings, served[0][0])[: arguments.houses]
        houses = [tile for tile in houses if tile in there]
        lists = {
            "distinct": sorted(set(houses)),
            "few": houses[: arguments.contextily_houses],
        }
        files = {}
        for name, tiles in lists.items():
            files[name] = Path(scratch) / f"{name}.json"
            files[name].write_text(json.dumps(tiles))
        names = [*OWN, *(PEERS if arguments.peers else ())]
        turns: dict[str, list[dict]] = {name: [] for name in names}
        with nginx(folder, arguments.nginx_workers, log) as url:
            for _ in range(arguments.rounds):
                for name in names:
                    python = sys.executable if name in OWN else arguments.peers
                    few = name.startswith("contextily")
                    figures = turn(
                        name, python, url, files["few" if few else "distinct"], arguments.width, log
                    )
                    subprocess.run(["sleep", "1.2"], check=True)
                    figures["requests_seen_by_nginx"] = len(log.read_text().splitlines())
                    figures["tiles_per_second"] = round(figures["tiles"] / figures["seconds"], 1)
                    turns[name].append(figures)
                    print(name, figures, file=sys.stderr)
    medians = {
        name: round(statistics.median(one["tiles_per_second"] for one in found), 1)
        for name, found in turns.items()
    }
    ours = medians["housevis"]
    results = {
        "command": "python benchmarks/tile_fetch/throughput.py "
        + " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:]),
        "houses": len(houses),
        "distinct_tiles": len(lists["distinct"]),
        "connections": arguments.width,
        "nginx_workers": arguments.nginx_workers,
        "settings": {
            "contextily": f"one call per house, {len(lists['few'])} houses; 1 connection, its cache on",
            "contextily-best": f"distinct tiles of the same houses, no cache, {arguments.width} threads",
            "img2dataset": f"{arguments.width} threads, a process per core, no resizing, no encoding, files",
            "bare": f"{arguments.width} threads, a requests.Session each; bytes thrown away",
            "raw": f"{arguments.width} processes, bare sockets: what nginx can do at least",
            "housevis": "checks every picture, SHA-256, archive and manifest",
        },
        "median_tiles_per_second": medians,
        "ratio_to": {name: round(ours / rate, 2) for name, rate in medians.items() if name != "housevis"},
        "requests_of_housevis": [one["requests_seen_by_nginx"] for one in turns["housevis"]],
        "turns": {
            name: [{key: round(value, 3) for key, value in one.items()} for one in found]
            for name, found in turns.items()
        },
        "machine": machine_facts(),
        "versions": {
            **{name: version(name) for name in ("urllib3", "requests", "pillow", "simplejpeg", "sqlalchemy")},
            "python": platform.python_version(),
            **(peer_versions(arguments.peers) if arguments.peers else {}),
        },
    }
    write_results(arguments.results, results)


if __name__ == "__main__":
    main()
