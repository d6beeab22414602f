"""How long `housevis serve` takes for an estimate of a new house, for a house page, and for a what-if.

The server is the command itself in a process of its own; one person asks one
question after the other over loopback. New houses lie at places of sold ones,
a few metres away, with the attributes of others, so that their tiles are in
the archive and nothing of them is known.

    python benchmarks/serve_estimates.py king-county-all-attributes --runs runs
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
from command_cost import HOUSEVIS, started
from http_clients import Client, Spent, Times
from result_facts import RESULTS, result_facts, use_threads

from housevis.pipeline.comparables import read_supporting_sales
from housevis.pipeline.serving import changeable
from housevis.runs import Run, find_run, write_json


def questions(run: Run, count: int) -> list[dict[str, Any]]:
    """New houses: places of sold ones moved by a few metres, attributes of others."""
    random = np.random.default_rng(3)
    sales = read_supporting_sales(run)
    places = sales[sales["picture_key"] != ""].sample(count, random_state=1)
    others = sales.sample(count, random_state=2)[changeable(run.config())].astype(float)
    moved = random.normal(0, 3e-5, (count, 2))
    return [
        {
            "latitude": float(latitude) + float(move[0]),
            "longitude": float(longitude) + float(move[1]),
            "valuation_date": f"{sale_date:%Y-%m-%d}",
            "attributes": {name: None if np.isnan(value) else value for name, value in attributes.items()},
        }
        for latitude, longitude, sale_date, move, attributes in zip(
            places["latitude"],
            places["longitude"],
            places["sale_date"],
            moved,
            others.to_dict("records"),
            strict=True,
        )
    ]


async def ask(port: int, asked: list[tuple[str, dict[str, Any] | None]], times: Times) -> list[bytes]:
    """Ask one question after the other."""
    client, bodies = Client(port), []
    for path, body in asked:
        started = time.perf_counter()
        status, answer = await client.ask(path, body)
        times.note(time.perf_counter() - started, status, len(answer))
        bodies.append(answer)
    return bodies


def timed(
    server: psutil.Process, port: int, asked: list[tuple[str, dict[str, Any] | None]]
) -> tuple[dict[str, Any], list[bytes]]:
    """Figures of some questions, and the answers."""
    spent, times = Spent(server), Times()
    bodies = asyncio.run(ask(port, asked, times))
    return {**times.figures(), **spent.figures()}, bodies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    use_threads()
    run = find_run(options.runs, options.run)
    load = os.getloadavg()[0]

    def command(port: int) -> list[str]:
        given = ["--runs", str(options.runs), "--port", str(port), "--requests-per-second", "1e6"]
        return [*HOUSEVIS, "serve", options.run, *given]

    with started(command, errors=subprocess.DEVNULL) as begun:
        server, port, ready = begun.process, begun.port, begun.seconds
        new = [("/api/estimate", question) for question in questions(run, options.count)]
        first, _ = timed(server, port, new[:1])
        timed(server, port, new[1:6])
        estimates, answers = timed(server, port, new)
        ids = read_supporting_sales(run)["house_id"].astype(str).drop_duplicates()
        some = ids.sample(options.count, random_state=4).tolist()
        pages, _ = timed(server, port, [(f"/api/houses/{quote(each, safe='')}", None) for each in some])
        change = {"attributes": {changeable(run.config())[0]: 3.0}}
        asked = [(f"/api/houses/{quote(each, safe='')}/what-if", change) for each in some]
        timed(server, port, asked[: options.count // 4])
        what_ifs, _ = timed(server, port, asked)
        memory = server.memory_info().rss
    found = [json.loads(answer) for answer in answers]
    result = {
        **result_facts(),
        "load_before": round(load, 1),
        "run": run.run_id,
        "backbone": run.record["backbone"]["name"] if run.record["backbone"] else None,
        "seconds_until_ready": round(ready, 1),
        "first_estimate_ms": first["slowest_ms"],
        "estimate": estimates,
        "with_picture": sum(answer["used_picture"] for answer in found),
        "with_attention": sum(bool(answer["attention"]) for answer in found),
        "with_comparables": sum(bool(answer["comparables"]) for answer in found),
        "house": pages,
        "what_if": what_ifs,
        "memory_mib": round(memory / 2**20),
    }
    name = run.record.get("name", options.run)
    write_json(options.out or RESULTS / f"serve-estimates-{name}.json", result)
    for part in ("estimate", "house", "what_if"):
        print(part, result[part])
    print({key: result[key] for key in ("load_before", "first_estimate_ms", "memory_mib", "with_picture")})


if __name__ == "__main__":
    main()
