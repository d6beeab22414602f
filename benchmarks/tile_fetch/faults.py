"""A server that misbehaves, and kill -9 at five random moments: is every tile right in the end?

    python benchmarks/tile_fetch/faults.py TILES.mbtiles --tiles 20000

Per request 5 % 500, 3 % 429, 2 % connections cut in mid-body, 1 % stalls of
10 s; with the tile 1 % 404, 0.5 % corrupt pictures, 0.5 % blank ones. The
manifest and the archive are compared with the server's own request log and
its files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

import mercantile
from servers import FAULTS, FIXED, fixed_fault, python_server, read_log, tile_files, unpack, write_results

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.providers import Provider
from db.session import open_database
from db.store import read_tile_rows
from housevis.core.machine import machine_facts

PROJECT = Path(__file__).resolve().parents[2]
Tile = tuple[int, int, int]
STATUS = {"404": "missing", "blank": "blank", "corrupt": "failed", None: "ok"}


def enough_tiles(archive: Path, folder: Path, count: int) -> list[Tile]:
    """As many tiles as asked for: the archive's, then the same pictures at other places."""
    tiles = unpack(archive, folder)
    files = tile_files(folder)
    shift = max(x for _, x, _ in tiles) - min(x for _, x, _ in tiles) + 1
    turn = 1
    while len(tiles) < count:
        for z, x, y in sorted(files)[: count - len(tiles)]:
            place = folder / str(z) / str(x + turn * shift)
            place.mkdir(exist_ok=True)
            os.link(files[z, x, y], place / f"{y}{files[z, x, y].suffix}")
            tiles.append((z, x + turn * shift, y))
        turn += 1
    return tiles[:count]


def fetch(work: Path, url: str, listed: Path, width: int) -> None:
    """One session, in a process of its own."""
    tiles = [mercantile.Tile(x, y, z) for z, x, y in json.loads(listed.read_text())]
    provider = Provider("bench", url, "x", allows_storage=True, allows_ml=True, requests_per_second=None)
    with TileArchive.create(work / "tiles.mbtiles", {"name": "bench"}) as archive:
        engine = open_database(work / "housevis.sqlite")
        fetch_tiles(tiles, provider, archive, engine, connections=width)
        engine.dispose()


def manifest(work: Path, zoom: int) -> dict[Tile, dict]:
    if not (work / "housevis.sqlite").is_file():
        return {}
    engine = open_database(work / "housevis.sqlite")
    rows = read_tile_rows(engine, zoom).to_dict("records")
    engine.dispose()
    return {(row["zoom"], row["x"], row["y"]): row for row in rows}


def sessions(
    work: Path, url: str, listed: Path, tiles: list[Tile], log: Path, width: int, kills: int, seed: int
) -> tuple[list[dict], list[float]]:
    """Kill and resume; what was under way at each kill, and when each session began."""
    draw = random.Random(seed)
    begins, found = [], []
    share = len(tiles) // (kills + 1)
    for number in range(kills + 1):
        asked = len(read_log(log)) if log.exists() else 0
        begins.append(time.time())
        child = subprocess.Popen(
            [sys.executable, __file__, "--session", str(work), url, str(listed), str(width)],
            env=os.environ | {"HOUSEVIS_PROGRESS": "off"},
        )
        if number == kills:
            if child.wait():
                raise RuntimeError("the last session failed")
            break
        moment = asked + draw.randrange(share // 4, share)
        while child.poll() is None and (not log.exists() or count_lines(log) < moment):
            time.sleep(0.01 + draw.random() * 0.02)
        child.kill()
        child.wait()
        time.sleep(0.5)
        rows = manifest(work, tiles[0][0])
        entries = [entry for entry in read_log(log) if entry[0] >= begins[-1]]
        begun = {tile for _, tile, _ in entries}
        stored = {tile for tile, row in rows.items() if row["status"] != "failed"}
        found.append(
            {
                "requests_before": len(entries) + asked,
                "settled_before": len(stored),
                "under_way": len({tile for tile in begun if tile not in rows}),
                "settled": stored,
                "time": time.time(),
            }
        )
    return found, begins


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def judged(work: Path, folder: Path, tiles: list[Tile], log: Path, begins: list[float], seed: int) -> dict:
    """Compare manifest, archive, the server's log and its files."""
    rows = manifest(work, tiles[0][0])
    files = tile_files(folder)
    entries = read_log(log)
    asked: dict[Tile, list[tuple[float, str]]] = defaultdict(list)
    for moment, tile, what in entries:
        asked[tile].append((moment, what))
    wrong_status, wrong_bytes, wrong_attempts, wrong_answer = [], [], [], []
    with TileArchive(work / "tiles.mbtiles") as archive:
        stored = {(tile.z, tile.x, tile.y) for tile in archive.tiles(tiles[0][0])}
        for tile in tiles:
            row = rows.get(tile)
            expected = STATUS[fixed_fault(*tile, seed)]
            if row is None or row["status"] != expected:
                wrong_status.append([tile, None if row is None else row["status"], expected])
                continue
            data = archive.read(*tile)
            right = files[tile].read_bytes() if expected == "ok" else None
            if data != right or (right is not None and hashlib.sha256(right).hexdigest() != row["sha256"]):
                wrong_bytes.append(tile)
            last = max(number for number, begin in enumerate(begins) if asked[tile][-1][0] >= begin)
            in_session = [what for moment, what in asked[tile] if moment >= begins[last]]
            if row["attempts"] != len(in_session):
                wrong_attempts.append([tile, int(row["attempts"]), len(in_session)])
            fits = {"ok", "stall", fixed_fault(*tile, seed) or "ok"}
            if expected != "failed" and in_session[-1] not in fits:
                wrong_answer.append([tile, in_session[-1]])
    return {
        "tiles": len(tiles),
        "requests": len(entries),
        "answers": dict(sorted(Counter(what for _, _, what in entries).items())),
        "statuses": dict(sorted(Counter(row["status"] for row in rows.values()).items())),
        "errors": dict(Counter(row["error"] for row in rows.values() if row["status"] == "failed")),
        "wrong_status": wrong_status,
        "wrong_bytes_in_archive": wrong_bytes,
        "in_archive_without_ok": len(stored - {tile for tile, row in rows.items() if row["status"] == "ok"}),
        "attempts_that_differ_from_the_log": wrong_attempts,
        "last_answers_that_do_not_fit": wrong_answer,
        "lost": len(set(tiles) - set(rows)),
    }


def main() -> None:
    if sys.argv[1:2] == ["--session"]:
        work, url, listed, width = sys.argv[2:]
        fetch(Path(work), url, Path(listed), int(width))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive", type=Path, help="MBTiles file")
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--width", type=int, default=16, help="connections")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stall", type=float, default=10.0, help="seconds")
    parser.add_argument("--results", type=Path, default=PROJECT / "docs/results/tile-fetch-faults.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, work, log = Path(scratch) / "tiles", Path(scratch) / "work", Path(scratch) / "requests.log"
        work.mkdir()
        tiles = enough_tiles(arguments.archive, folder, arguments.tiles)
        listed = Path(scratch) / "tiles.json"
        listed.write_text(json.dumps(tiles))
        options = ("--faults", "--seed", str(arguments.seed), "--stall", str(arguments.stall))
        begin = time.monotonic()
        with python_server(folder, log, *options) as url:
            kills, begins = sessions(
                work, url, listed, tiles, log, arguments.width, arguments.kills, arguments.seed
            )
        seconds = time.monotonic() - begin
        figures = judged(work, folder, tiles, log, begins, arguments.seed)
        later = read_log(log)
    again = []
    for kill in kills:
        settled, moment = kill.pop("settled"), kill.pop("time")
        kill["settled_asked_again"] = len({tile for at, tile, _ in later if at > moment and tile in settled})
        again.append(kill)
    results = {
        "command": "python benchmarks/tile_fetch/faults.py "
        + " ".join(Path(word).name if "/" in word else word for word in sys.argv[1:]),
        "faults_per_request": FAULTS,
        "faults_of_tiles": FIXED,
        "connections": arguments.width,
        "bound_of_tiles_under_way": arguments.width,
        "kills": again,
        "seconds": round(seconds, 1),
        **figures,
        "passed": not any(
            figures[name]
            for name in (
                *("wrong_status", "wrong_bytes_in_archive", "in_archive_without_ok", "lost"),
                *("attempts_that_differ_from_the_log", "last_answers_that_do_not_fit"),
            )
        )
        and all(k["settled_asked_again"] == 0 and k["under_way"] <= arguments.width for k in again),
        "machine": machine_facts(),
        "versions": {name: version(name) for name in ("urllib3", "sqlalchemy", "pillow", "simplejpeg")},
    }
    write_results(arguments.results, results)
    sys.exit(0 if results["passed"] else 1)


if __name__ == "__main__":
    main()
