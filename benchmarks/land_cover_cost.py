"""What telling the ground costs beside the maps of the `explain` step.

A town goes through the pipeline once; its maps are then made again with a
clock around what the land cover adds.

    python benchmarks/land_cover_cost.py
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from result_facts import RESULTS, result_facts, use_threads
from sample_market import PROJECT, town_config

from housevis import pipeline
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.land_cover import LandCoverReader
from housevis.pipeline.project import open_project
from housevis.runs import list_runs, write_json


class Clock:
    """Adds up the seconds that calls of one function take."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*values: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*values, **named)
            self.seconds.append(time.perf_counter() - started)
            return result

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs" / "land-cover-cost")
    parser.add_argument("--out", type=Path, default=RESULTS / "land-cover-cost.json")
    options = parser.parse_args()
    use_threads()
    covers, shares = Clock(), Clock()
    with open_project(town_config(1, "efficientnet-lite0"), options.runs) as project:
        for step in (pipeline.ingest, pipeline.tiles, pipeline.embed, pipeline.train, pipeline.explain):
            step(project)
        shutil.rmtree(list_runs(project.workspace)[-1].maps)
        with (
            patch.object(LandCoverReader, "covers", covers.around(LandCoverReader.covers)),
            patch.object(UnderHeat, "of", shares.around(UnderHeat.of)),
        ):
            figures = pipeline.explain(project).figures
    houses, step_ms = figures["houses"], 1000 / figures["images_per_second"]
    # The first call makes the network ready; the others are what a house costs.
    batches = len(covers.seconds)
    segment = 1000 * sum(covers.seconds[1:]) / (houses * (batches - 1) / batches)
    measure = 1000 * sum(shares.seconds) / houses
    write_json(
        options.out,
        {
            **result_facts(),
            "houses": houses,
            "step_ms": step_ms,
            "first_seconds": covers.seconds[0],
            "segment_ms": segment,
            "measure_ms": measure,
            "share_of_step": (segment + measure) / step_ms,
        },
    )
    print(f"{segment:.2f} ms + {measure:.2f} ms of {step_ms:.1f} ms a house")


if __name__ == "__main__":
    main()
