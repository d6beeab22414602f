"""What telling the ground costs beside the maps of the `explain` step.

A town goes through the pipeline once; its maps are then made again, in turn
without the land cover and with it. Processor time is counted, because it does
not depend on what else the machine does.

    python benchmarks/land_cover_cost.py
"""

from __future__ import annotations

import argparse
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from result_facts import RESULTS, result_facts, use_threads
from sample_market import PROJECT, town_config

from housevis import pipeline
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.land_cover import LandCoverReader
from housevis.pipeline.project import Project, open_project
from housevis.runs import list_runs, write_json


def _no_covers(_: LandCoverReader, pictures: np.ndarray, __: Any) -> np.ndarray:
    return np.zeros((len(pictures), 56, 56), np.uint8)


def _nothing_known(covers: np.ndarray, *_: Any) -> UnderHeat:
    return UnderHeat.unknown(len(covers))


def milliseconds_a_house(project: Project, with_land_cover: bool) -> float:
    """Processor time of the step by house, its maps made again."""
    shutil.rmtree(list_runs(project.workspace)[-1].maps)
    with ExitStack() as stack:
        if not with_land_cover:
            stack.enter_context(patch.object(LandCoverReader, "covers", _no_covers))
            stack.enter_context(patch.object(UnderHeat, "of", _nothing_known))
        started = time.process_time()
        figures = pipeline.explain(project).figures
        return 1000 * (time.process_time() - started) / figures["houses"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs" / "land-cover-cost")
    parser.add_argument("--out", type=Path, default=RESULTS / "land-cover-cost.json")
    options = parser.parse_args()
    use_threads()
    spent: dict[bool, list[float]] = {False: [], True: []}
    with open_project(town_config(1, "efficientnet-lite0"), options.runs) as project:
        for step in (pipeline.ingest, pipeline.tiles, pipeline.embed, pipeline.train, pipeline.explain):
            step(project)
        for _ in range(options.rounds):
            for with_land_cover in (False, True):
                spent[with_land_cover].append(milliseconds_a_house(project, with_land_cover))
                print(f"{with_land_cover}: {spent[with_land_cover][-1]:.2f} ms", flush=True)
    without, whole = (float(np.median(spent[key])) for key in (False, True))
    figures = {
        "rounds": options.rounds,
        "without_ms": without,
        "with_ms": whole,
        "share_of_step": (whole - without) / whole,
    }
    facts = result_facts() | {"command": "python benchmarks/land_cover_cost.py"}
    write_json(options.out, {**facts, **figures})


if __name__ == "__main__":
    main()
