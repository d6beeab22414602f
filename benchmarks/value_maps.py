"""Attention and value maps of the towns against the truth: where, which sign, and whether they add up.

Every town goes through the pipeline with the demo's configuration; a town
that is there already is only read. Heat is pooled over the houses of later
sales, on the true masks, as in `benchmarks/sample_market.py`.

    python benchmarks/value_maps.py --towns 1 2 3 4 5
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sample_market import PROJECT, town_config, write_towns

from housevis import pipeline
from housevis.pipeline.project import open_project
from housevis.runs import list_runs

STEPS = (
    pipeline.ingest,
    pipeline.tiles,
    pipeline.embed,
    pipeline.train,
    pipeline.explain,
    pipeline.evaluate,
)


def measure_town(seed: int, runs_folder: Path) -> dict[str, Any]:
    """What `evaluate` finds of the maps of one town."""
    with open_project(town_config(seed, "efficientnet-lite0"), runs_folder) as project:
        for step in STEPS:
            step(project)
        town = list_runs(project.workspace)[-1].metrics()["town"]
    lifts: dict[str, dict[str, float | None]] = {}
    for share in town["attention"]:
        lifts.setdefault(share["method"], {})[share["region"]] = share["lift"]
    return {"seed": seed, "lift": lifts, "value_map": town["value_map"]}


def mean_of_towns(towns: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the towns; of the errors the largest."""
    values = [town["value_map"] for town in towns]
    return {
        "lift": {
            method: {
                region: float(np.mean([town["lift"][method][region] for town in towns])) for region in lifts
            }
            for method, lifts in towns[0]["lift"].items()
        },
        "right": float(np.mean([value["right"] for value in values])),
        "refused": float(np.mean([value["refused"] for value in values])),
        "largest_error": max(value["largest_error"] for value in values),
        "drivers": {
            driver: {
                name: sum(value["drivers"][driver][name] for value in values)
                for name in ("count", "refused", "right")
            }
            for driver in values[0]["drivers"]
        },
    }


def main() -> int:
    """Measure the towns and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--towns", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="seeds of the towns")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "value-maps.json")
    options = parser.parse_args()
    towns = [measure_town(seed, options.runs) for seed in options.towns]
    write_towns(options.out, mean_of_towns(towns), towns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
