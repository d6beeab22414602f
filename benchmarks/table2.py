"""C Table 2 on any database: every attribute set, feature learner and regressor, with and without pictures.

The later sales (40 % by date) are judged; nothing is tuned on them. Which
features count as the best is decided by cross-validation among the earlier
sales. The configuration's workspace holds the sales and the embedded
pictures, as `housevis ingest`, `tiles` and `embed` leave them; a second
configuration may add another backbone's features of the same houses, and
`--scores` features that `housevis finetune --folds` has cross-fitted.

    python benchmarks/table2.py CONFIG [CONFIG] --runs runs --out docs/results/table2.json
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil
from table2_bench import Bench, learned_features
from table2_estimates import BOOSTING, Part
from table2_learners import PAPER, read_scores
from table2_market import Market, read_market
from table2_parts import (
    measure_blocks,
    measure_draws,
    measure_shuffled,
    measure_strongest,
    rank_accuracies,
    select,
)

from housevis.core.config import load_config
from housevis.core.errors import HousevisError
from housevis.core.machine import machine_facts
from housevis.core.processes import LocalRunner
from housevis.core.progress import console, error_console
from housevis.pricing.regressors import REGRESSORS
from housevis.runs import package_versions, write_json

PROJECT = Path(__file__).resolve().parents[1]
LARGE_ARRAY = 4 * 2**20
"""Bytes from which a worker gives an array's memory back at once; the C library would keep 300 MiB."""


def measure(bench: Bench) -> dict[str, Any]:
    """All parts of the table."""
    market = bench.market
    distinct = {learner.fit_key: learner for learner in bench.learners}
    train, folds = market.train, market.sold.folds
    targets = bench.targets(train, folds, bench.log_price)
    bench.choose_penalties(targets)
    tasks = [bench.task(learner, train, folds, targets) for learner in distinct.values()]
    found = dict(zip(distinct, bench.taught(tasks, "feature learners"), strict=True))
    visual, scores = learned_features(bench, found)
    selection = select(bench, visual)
    best, best_fitted = selection["best"], selection["best_fitted"]

    later = [Part(market.train, market.later, visual)]
    sets = list(market.sets)
    estimates = bench.estimates(later, bench.cells(list(visual), sets), "table")
    for regressor in REGRESSORS:
        if regressor != BOOSTING:
            cells = bench.cells(list(dict.fromkeys((PAPER, best))), sets, regressor)
            estimates |= bench.estimates(later, cells, regressor)
    rows = [bench.row(cell, estimates) for cell in estimates]
    return {
        **rank_accuracies(bench, visual, scores, estimates, found),
        "selection": selection,
        "rows": rows,
        "draws": measure_draws(bench, best, visual[best]),
        "strongest": measure_strongest(bench, best, visual[best]),
        "blocks": measure_blocks(bench, best_fitted),
        "shuffled": measure_shuffled(bench, best_fitted),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the workspaces")
    parser.add_argument(
        "--scores", type=Path, nargs="*", default=[], help="Parquet files of cross-fitted features"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="learners whose names hold one of these texts"
    )
    parser.add_argument("--workers", type=int, help="processes at once; one for each core")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(LARGE_ARRAY))
    try:
        configs = [load_config(path) for path in options.configs]
        with (
            tempfile.TemporaryDirectory(prefix="housevis-") as folder,
            LocalRunner(options.workers) as runner,
            MemoryWatch() as watch,
        ):
            market = read_market(configs, options.runs, Path(folder))
            scores = {file.stem: read_scores(file, market.sales) for file in options.scores}
            found = measure(Bench(market, Path(folder), runner, scores, options.only))
        found = {
            "command": " ".join(["python benchmarks/table2.py", *(path.name for path in options.configs)]),
            "machine": machine_facts(),
            "versions": package_versions(),
            "seconds": round(time.perf_counter() - started, 1),
            "processor_seconds": processor_seconds(),
            "peak_memory_mib": watch.peak_mib,
            "market": market_facts(market),
            **found,
        }
    except HousevisError as problem:
        error_console.print(str(problem))
        return problem.exit_code
    if options.out:
        write_json(options.out, found)
    console.print(rendered(found))
    return 0


def processor_seconds() -> int:
    """Of this process and of its workers, which must have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in used))


class MemoryWatch:
    """The most memory that this process and its workers held together while the block ran.

    Pages that several processes share count once, as the kernel reckons it (Pss).
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self.peak_mib = 0
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        here = psutil.Process()
        while not self._stop.wait(self._seconds):
            held = sum(map(_held, [here, *here.children(recursive=True)]))
            self.peak_mib = max(self.peak_mib, round(held / 2**20))


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def market_facts(market: Market) -> dict[str, Any]:
    """What the table was measured on."""
    return {
        "name": market.config.name,
        "currency": market.config.listings.currency,
        "sales": len(market.sales),
        "train": int(market.train.sum()),
        "later": int(market.later.sum()),
        "cutoff": f"{market.sold.cutoff:%Y-%m-%d}",
        "backbones": market.backbones,
        "without_picture": {name: int((~shown).sum()) for name, shown in market.present.items()},
        "sets": {name: list(names) for name, names in market.sets.items()},
    }


def rendered(found: dict[str, Any]) -> str:
    """All tables as Markdown."""
    sys.path.insert(0, str(PROJECT / "docs"))
    from table2_tables import TABLES

    return "\n\n".join(build(found) for build in TABLES.values())


if __name__ == "__main__":
    sys.exit(main())
