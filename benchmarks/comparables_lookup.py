"""What it costs to find the comparable sales of every sale of a run, and what they are worth.

The run must be finished. Nothing of it is changed. Beside time and memory: how
near the middle of six prices comes to the price of later sales, by what is
called comparable.

    OMP_NUM_THREADS=1 python benchmarks/comparables_lookup.py --config examples/king-county.toml --runs RUNS
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from result_facts import PROJECT, RESULTS, result_facts, use_threads

from housevis.core.config import load_config
from housevis.pipeline.comparables import comparables_of
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, current_run, load_sold_houses
from housevis.pricing import metrics
from housevis.pricing.nearest_sales import NearestSales, positions
from housevis.pricing.supporting_sales import COMPARABLES
from housevis.runs import read_parquet, write_json


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _quality(values: pd.Series, price: pd.Series) -> dict[str, Any]:
    found = values.to_numpy(dtype=float)
    return {
        "share": float(metrics.pe(found, price.to_numpy(dtype=float))),
        "mdape": float(metrics.mdape(found, price.to_numpy(dtype=float))),
    }


def _nearest(sold: SoldHouses) -> pd.Series:
    """The middle price of the six nearest earlier sales of other houses, for every later sale."""
    known = sold.sales[sold.training_rows(EARLIER)]
    later = sold.sales[~sold.is_earlier]
    codes = pd.Index(known["house_id"].unique())
    search = NearestSales(positions(known), codes.get_indexer(known["house_id"]).astype(np.int64))
    own = codes.get_indexer(later["house_id"]).astype(np.int64)[:, None]
    prices = known["price"].to_numpy(dtype=float)
    parts = [prices[each.sales] for each in search.search(positions(later), own, COMPARABLES)]
    return pd.Series(np.median(np.concatenate(parts), axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=PROJECT / "examples" / "king-county.toml")
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "comparables-lookup.json")
    options = parser.parse_args()
    use_threads()
    config = load_config(options.config)
    with open_project(config, options.runs, reads_only=True) as project:
        sold = load_sold_houses(project)
        run = current_run(project, sold, after="evaluate")
    before = _memory_mib()
    clock, processor = time.perf_counter(), time.process_time()
    table = comparables_of(config, run, sold)
    seconds, spent = time.perf_counter() - clock, time.process_time() - processor
    later = sold.sales[~sold.is_earlier].reset_index(drop=True)
    judged = read_parquet(run.estimates).set_index("sale_id")["estimate"].reindex(later["sale_id"])
    middle = table.groupby("sale_id")["adjusted_price"].median().reindex(later["sale_id"])
    plain = table.groupby("sale_id")["price"].median().reindex(later["sale_id"])
    of_later = table[table["sale_id"].isin(later["sale_id"])]
    figures = {
        "market": config.name,
        "sales": len(sold.sales),
        "comparables": len(table),
        "seconds": seconds,
        "processor_seconds": spent,
        "memory_before_mib": before,
        "memory_peak_mib": _memory_mib(),
        "metres": float(of_later["metres"].median()),
        "leaf_likeness": float(of_later["leaf_likeness"].mean()),
        "quality": {
            "six nearest sales": _quality(_nearest(sold), later["price"]),
            "six comparables, prices as they were": _quality(plain, later["price"]),
            "six comparables, adjusted": _quality(middle, later["price"]),
            "the model": _quality(judged, later["price"]),
        },
        "later_sales": len(later),
    }
    command = f"python benchmarks/comparables_lookup.py --config examples/{options.config.name}"
    write_json(options.out, {**result_facts(), "command": command, **figures})
    print(figures)


if __name__ == "__main__":
    main()
