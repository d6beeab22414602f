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
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from table2_bench import Bench, learned_features
from table2_estimates import BOOSTING, Part
from table2_learners import PAPER, read_scores
from table2_market import Market, read_market
from table2_parts import measure_blocks, measure_shuffled, measure_strongest, rank_accuracies, select

from housevis.core.config import load_config
from housevis.core.errors import HousevisError
from housevis.core.machine import machine_facts
from housevis.core.processes import LocalRunner
from housevis.core.progress import console, error_console
from housevis.pricing.regressors import REGRESSORS
from housevis.runs import package_versions, write_json

PROJECT = Path(__file__).resolve().parents[1]


def measure(bench: Bench) -> dict[str, Any]:
    """All parts of the table."""
    market = bench.market
    distinct = {learner.fit_key: learner for learner in bench.learners}
    tasks = [bench.task(learner, market.train, market.sold.folds) for learner in distinct.values()]
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
        "strongest": measure_strongest(bench, best, visual[best]),
        "blocks": measure_blocks(bench, best_fitted, found),
        "shuffled": measure_shuffled(bench, best_fitted, found),
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
    parser.add_argument("--workers", type=int, help="processes at once; one for each core")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        configs = [load_config(path) for path in options.configs]
        with (
            tempfile.TemporaryDirectory(prefix="housevis-") as folder,
            LocalRunner(options.workers) as runner,
        ):
            market = read_market(configs, options.runs, Path(folder))
            scores = {file.stem: read_scores(file, market.sales) for file in options.scores}
            found = measure(Bench(market, Path(folder), runner, scores))
            workers = runner.workers
        found = {
            "command": " ".join(["python benchmarks/table2.py", *(path.name for path in options.configs)]),
            "machine": machine_facts(),
            "versions": package_versions(),
            "seconds": round(time.perf_counter() - started, 1),
            "peak_memory_mib": peak_memory(workers),
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


def peak_memory(workers: int) -> int:
    """MiB that this process and its workers took together, each at its worst: a bound of the real peak.

    Args:
        workers: How many there were; they must have ended.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round((own + workers * largest_child) / 1024)


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
