"""A million synthetic houses by viewport: 50 people who pan at four zooms, one request every 2 s each.

The server runs in a process of its own, without logs, as `housevis serve` runs
it otherwise. The pans are the same in every run: drawn once from a seed. Cold
means a server that has answered nothing before; warm is the same pans again.
At last nobody pauses: the rate at which the server is saturated.

    python benchmarks/serve_million.py                   a short version, some 90 s
    python benchmarks/serve_million.py --seconds 300     5 minutes cold and 5 minutes warm
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import uvicorn
from command_cost import started
from http_clients import Spent, Times, user
from result_facts import RESULTS, result_facts, use_threads

from housevis.runs import write_json
from housevis.views.atlas_colours import ERROR_LIMITS, effect_limits, price_limits
from housevis.views.heat_tiles import HeatTiles
from housevis.views.served import ServedRun, ShelvedRun
from housevis.views.server import create_app, server_config
from housevis.views.server_guard import Limits
from housevis.views.viewport import Viewport

ZOOMS = (10, 12, 14, 16)
SCREEN = (1440, 900)
STEP = 0.35
FILTERS = ("", "", "", "&price_from=400000&price_to=900000", "&bedrooms_from=3&confidence=high")


def synthetic_houses(count: int, seed: int = 1) -> pd.DataFrame:
    """Houses around 300 centres of a region about as large as King County."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 0.22, (300, 2)) + np.array([47.5, -122.2])
    near = random.integers(0, len(centres), count)
    price = np.exp(random.normal(13, 0.5, count))
    estimate = price * np.exp(random.normal(0, 0.15, count))
    return pd.DataFrame(
        {
            "house_id": np.char.add("S", np.arange(count).astype(str)),
            "latitude": centres[near, 0] + random.normal(0, 0.03, count),
            "longitude": centres[near, 1] + random.normal(0, 0.04, count),
            "price": price,
            "estimate": estimate,
            "low": estimate * 0.8,
            "high": estimate * 1.25,
            "sale_date": pd.Timestamp("2014-05-01") + pd.to_timedelta(random.integers(0, 390, count), "D"),
            "bedrooms": random.integers(1, 7, count).astype(float),
            "confidence": random.choice(np.array(["high", "medium", "low"], dtype=object), count),
            "effect": random.normal(0, 9_000, count),
        }
    )


def served_houses(count: int, folder: Path) -> ShelvedRun:
    """The synthetic houses as a run without pictures and without a model."""

    def refuse(*_: object) -> Any:
        raise NotImplementedError

    houses = synthetic_houses(count)
    limits = {
        "price": price_limits(houses["price"].to_numpy()),
        "error": ERROR_LIMITS,
        "effect": effect_limits(houses["effect"].to_numpy()),
    }
    (folder / "atlas").mkdir(parents=True, exist_ok=True)
    (folder / "atlas" / "index.html").write_text("<!DOCTYPE html>")
    run = ServedRun(
        run_id="synthetic",
        name="synthetic",
        title="Synthetic houses",
        currency="USD",
        area_unit="m2",
        interval=0.9,
        notice=None,
        attribution=None,
        folder=folder,
        viewport=Viewport(houses, limits),
        fields=(),
        maps=dict[str, HeatTiles](),
        details=lambda _: None,
        what_if=refuse,
        estimate=refuse,
    )
    return ShelvedRun("synthetic", folder, lambda: 0, lambda: run)


def run_server(port: int, count: int, folder: Path) -> None:
    """Serve until killed."""
    run = served_houses(count, folder)
    run.current()
    limits = Limits(requests_per_second=1e9, burst=1e9)
    uvicorn.Server(server_config(create_app([run], limits=limits), "127.0.0.1", port)).run()


def pan(number: int, seed: int = 2) -> list[str]:
    """What one person asks for: pans at one zoom after the other, now and then with a filter."""
    random = np.random.default_rng([seed, number])
    paths = []
    for zoom in random.permutation(ZOOMS).tolist() * 20:
        wide = SCREEN[0] / 256 * 360 / 2**zoom
        high = SCREEN[1] / 256 * 360 / 2**zoom * np.cos(np.radians(47.5))
        place = random.normal(0, 0.2, 2) + np.array([47.5, -122.2])
        chosen = FILTERS[int(random.integers(len(FILTERS)))]
        for _ in range(8):
            place = place + random.uniform(-STEP, STEP, 2) * (high, wide)
            box = (place[1] - wide / 2, place[0] - high / 2, place[1] + wide / 2, place[0] + high / 2)
            paths.append(f"/api/houses?bbox={','.join(f'{edge:.5f}' for edge in box)}&zoom={zoom}{chosen}")
    return paths


async def ask_all(port: int, users: int, seconds: float, pause: float) -> Times:
    """All people at once, spread over the pause."""
    times, start = Times(), time.perf_counter() + 0.1
    end = start + seconds
    jobs = [
        user(port, pan(number), pause, start + pause * number / users, end, times) for number in range(users)
    ]
    await asyncio.gather(*jobs)
    return times


def peak_memory(process: int) -> int:
    """The most bytes that a process has held at a time, from its start on."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def phase(server: psutil.Process, port: int, users: int, seconds: float, pause: float) -> dict[str, Any]:
    """One phase with its figures."""
    spent = Spent(server)
    started = time.perf_counter()
    times = asyncio.run(ask_all(port, users, seconds, pause))
    rate = len(times.seconds) / (time.perf_counter() - started)
    return {**times.figures(), "requests_per_second": round(rate, 1), **spent.figures()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--houses", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "serve-million.json")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/housevis-serve-million"))
    parser.add_argument("--server-at", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_threads()
    if options.server_at:
        run_server(options.server_at, options.houses, options.folder)
        return
    load = os.getloadavg()[0]
    given = ["--houses", str(options.houses), "--folder", str(options.folder)]
    with started(lambda port: [sys.executable, __file__, "--server-at", str(port), *given]) as begun:
        server, port, ready = begun.process, begun.port, begun.seconds
        idle = server.memory_info().rss
        cold = phase(server, port, options.users, options.seconds, options.pause)
        warm = phase(server, port, options.users, options.seconds, options.pause)
        saturated = phase(server, port, options.users, min(options.seconds, 20.0), 0.0)
        memory = {"ready": idle, "peak": peak_memory(server.pid)}
    result = {
        **result_facts(),
        "load_before": round(load, 1),
        "houses": options.houses,
        "users": options.users,
        "pause_seconds": options.pause,
        "seconds_per_phase": options.seconds,
        "zooms": list(ZOOMS),
        "seconds_until_ready": round(ready, 1),
        "memory_mib": {name: round(size / 2**20) for name, size in memory.items()},
        "cold": cold,
        "warm": warm,
        "saturated": saturated,
    }
    write_json(options.out, result)
    for name in ("cold", "warm", "saturated"):
        print(name, result[name])
    print(f"load before {load:.1f}, memory {result['memory_mib']} MiB, ready after {ready:.1f} s")


if __name__ == "__main__":
    main()
