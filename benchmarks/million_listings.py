"""A million listings, read, stored and planned: SQLite beside a real PostgreSQL server.

Makes a CSV of house sales all over a country (seeded; with missing and wrong
values as real exports have them), then, for each database in a process of its
own: `housevis ingest` and `housevis tiles --plan`. Wall time, processor time
and peak memory are those of that process and its children, so of everything
but the database server. Both databases are compared row for row.

    python benchmarks/million_listings.py

The PostgreSQL server is made in a temporary folder by initdb and pg_ctl, runs
with its usual settings and is gone afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from sqlalchemy import Engine, select

from db.bulk import BATCH, in_byte_order, table_of
from db.models import House, Reject, Sale
from db.session import open_database
from housevis.core.machine import machine_facts

PACKAGES = ("housevis", "numpy", "pandas", "pyarrow", "psycopg", "sqlalchemy")
ROWS_AT_ONCE = 100_000
STREETS = ("Main Street", "Oak Avenue", "Church Lane", "Station Road", "Mill Hill", "Park Drive")
COLUMNS = (
    "id", "date", "price", "latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "address", "grade",
)  # fmt: skip

COMPARED = (House, Sale, Reject)
"""Tables that have to be equal, but for `rejects.id`, a counter of each database."""


def write_listings(path: Path, rows: int, seed: int) -> None:
    """Write house sales all over a country.

    Houses stand in towns whose sizes differ as real ones do. A tenth of the
    houses sell twice. One row in fifty lacks something or is wrong.
    """
    generator = np.random.default_rng(seed)
    towns = max(rows // 500, 5)
    centres = np.stack([generator.uniform(36, 48, towns), generator.uniform(-120, -76, towns)], axis=1)
    share = generator.pareto(1.2, towns) + 0.2
    houses = max(int(rows * 0.9), 1)
    town = generator.choice(towns, houses, p=share / share.sum())
    spread = 0.004 * np.sqrt(np.bincount(town, minlength=towns))[town] / 4
    place = centres[town] + generator.normal(0, 1, (houses, 2)) * spread[:, None]
    number = generator.permutation(houses)
    level = generator.normal(12.4, 0.35, towns)[town]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for start in range(0, rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, rows - start)
            row = np.arange(start, start + count)
            house = np.where(row < houses, row, generator.integers(0, houses, count))
            # A house's second sale falls into later years than its first.
            day = np.where(row < houses, 0, 2600) + generator.integers(0, 2500, count)
            bedrooms = generator.integers(1, 7, count)
            area = np.round(generator.lognormal(4.9, 0.35, count), 1)
            price = np.round(
                np.exp(level[house] + 0.6 * np.log(area / 130) + generator.normal(0, 0.2, count)), -2
            )
            date = (np.datetime64("2009-01-01") + day.astype("timedelta64[D]")).astype(str)
            street = np.asarray(STREETS)[house % len(STREETS)]
            columns = {
                "id": [f"H{value:08d}" for value in number[house]],
                "date": date,
                "price": [f"{value:.0f}" for value in price],
                "latitude": [f"{value:.6f}" for value in place[house, 0]],
                "longitude": [f"{value:.6f}" for value in place[house, 1]],
                "bedrooms": bedrooms.astype(str),
                "bathrooms": (np.round(bedrooms / 2) / 1.0 + 1).astype(str),
                "area_m2": area.astype(str),
                "address": [f"{value % 400 + 1} {name}" for value, name in zip(house, street, strict=True)],
                "grade": generator.integers(1, 14, count).astype(str),
            }
            frame = pd.DataFrame({name: np.asarray(columns[name], dtype=object) for name in COLUMNS})
            _spoil(frame, generator)
            frame.to_csv(file, index=False, header=False, lineterminator="\n")


def _spoil(frame: pd.DataFrame, generator: np.random.Generator) -> None:
    """Leave out and falsify values in one row of fifty."""
    wrong = {
        "price": ("", "n/a", "0", "-5"),
        "date": ("", "31.02.2014", "2099-01-01"),
        "latitude": ("", "91.5"),
        "bedrooms": ("", "33"),
        "area_m2": ("", "0"),
        "id": ("",),
    }
    for name, values in wrong.items():
        chosen = generator.random(len(frame)) < 1 / 300
        frame.loc[chosen, name] = generator.choice(values, int(chosen.sum()))


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The address of a PostgreSQL server that lives for the block, with its usual settings."""
    root = os.geteuid() == 0

    def as_postgres(*command: str) -> list[str]:
        return ["runuser", "-u", "postgres", "--", *command] if root else list(command)

    folder = Path(tempfile.mkdtemp(prefix="housevis-postgresql-"))
    if root:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    made = as_postgres("initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8")
    subprocess.run(made, check=True, capture_output=True, cwd=folder)
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    start = as_postgres("pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-o", settings, "start")
    subprocess.run(start, check=True, capture_output=True, cwd=folder)
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        stop = as_postgres("pg_ctl", "-D", data, "-m", "immediate", "stop")
        subprocess.run(stop, check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def measure(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command and measure it with all its children.

    Returns:
        Seconds of wall and processor time, and the highest sum of the
        memory (MiB) that its processes had for themselves and shared.
    """
    environment = {**os.environ, "HOUSEVIS_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    with (folder / "out").open("w") as out:
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        peak = 0
        seen: dict[int, float] = {}
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            memory = 0
            for process in _tree(watched):
                try:
                    memory += process.memory_info().rss
                    times = process.cpu_times()
                    seen[process.pid] = times.user + times.system
                except psutil.Error:
                    continue
            peak = max(peak, memory)
            time.sleep(0.05)
    wall = time.perf_counter() - started
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{(folder / 'out').read_text()}")
    return {
        "seconds": round(wall, 1),
        "processor_seconds": round(sum(seen.values()), 1),
        "peak_mib": round(peak / 2**20),
        "said": (folder / "out").read_text().splitlines(),
    }


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def table_digests(engine: Engine) -> dict[str, dict[str, Any]]:
    """Rows and hex SHA-256 of every compared table, its rows in the order of their keys."""
    digests = {}
    for model in COMPARED:
        table = table_of(model)
        columns = [column for column in table.columns if (table.name, column.name) != ("rejects", "id")]
        key = [table.c.row, table.c.reason] if model is Reject else [table.c.id]
        texts = [column.type.python_type is str for column in key]
        order = [
            in_byte_order(column, engine.dialect.name) if is_text else column
            for column, is_text in zip(key, texts, strict=True)
        ]
        digest, rows = hashlib.sha256(), 0
        with engine.connect().execution_options(yield_per=BATCH) as connection:
            for row in connection.execute(select(*columns).order_by(*order)):
                digest.update(repr(tuple(row)).encode())
                rows += 1
        digests[table.name] = {"rows": rows, "sha256": digest.hexdigest()}
    return digests


def run_database(kind: str, address: str | None, folder: Path, listings: Path) -> dict[str, Any]:
    """Ingest and plan into one database; what it took, and what is in it."""
    place = folder / kind
    place.mkdir()
    database = f"database = {json.dumps(address)}\n" if address else ""
    (place / "country.toml").write_text(
        f'name = "country"\n{database}\n[listings]\npath = {json.dumps(str(listings))}\n'
        'extra_attributes = ["grade"]\n\n[imagery]\nprovider = "usgs-imagery"\nzoom = 18\n'
    )
    command = [sys.executable, "-c", "from housevis.cli import main; main()"]
    ingest = measure([*command, "ingest", "country.toml"], place)
    plan = measure([*command, "tiles", "country.toml", "--plan"], place)
    engine = open_database(address or place / "runs" / "country" / "housevis.sqlite")
    tables = table_digests(engine)
    engine.dispose()
    return {
        "ingest": ingest,
        "plan": plan,
        "seconds": round(ingest["seconds"] + plan["seconds"], 1),
        "peak_mib": max(ingest["peak_mib"], plan["peak_mib"]),
        "tables": tables,
    }


def _needed(run: dict[str, Any]) -> list[str]:
    """Houses and tiles of a plan; its other lines tell of the disk and of time."""
    return run["plan"]["said"][:2]


def compare(rows: int, seed: int) -> dict[str, Any]:
    """Everything that is measured."""
    with tempfile.TemporaryDirectory(prefix="housevis-million-") as name:
        folder = Path(name)
        listings = folder / "listings.csv"
        write_listings(listings, rows, seed)
        size = listings.stat().st_size
        found = {"sqlite": run_database("sqlite", None, folder, listings)}
        with postgresql_server() as address:
            found["postgresql"] = run_database("postgresql", address, folder, listings)
    return {
        "command": f"python benchmarks/million_listings.py --rows {rows} --seed {seed}",
        "rows": rows,
        "listings_mib": round(size / 2**20, 1),
        "identical": found["sqlite"]["tables"] == found["postgresql"]["tables"],
        "identical_plans": _needed(found["sqlite"]) == _needed(found["postgresql"]),
        "within_bars": all(run["seconds"] < 300 and run["peak_mib"] < 2048 for run in found.values()),
        "bars": {"seconds": 300, "peak_mib": 2048, "cores": 2},
        "databases": found,
        "cores_used": len(os.sched_getaffinity(0)),
        "machine": machine_facts(),
        "versions": {name: version(name) for name in PACKAGES}
        | {"postgresql": subprocess.check_output(["postgres", "--version"], text=True).strip()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("docs/results/million-listings.json"))
    arguments = parser.parse_args()
    results = compare(arguments.rows, arguments.seed)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    if not (results["identical"] and results["identical_plans"]):
        raise SystemExit("the two databases differ")


if __name__ == "__main__":
    main()
