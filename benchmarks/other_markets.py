"""Foreign markets priced from attributes alone: what of their files is kept, and how near the estimates come.

Each market goes the whole way with its example configuration. The figures are
aggregate; nothing that belongs to one house is written.

    python benchmarks/other_markets.py --out docs/results/other-markets.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from db.store import last_step
from housevis import pipeline
from housevis.core.config import load_config
from housevis.core.machine import machine_facts
from housevis.core.progress import console
from housevis.pipeline.project import open_project
from housevis.runs import find_run, package_versions, write_json

PROJECT = Path(__file__).resolve().parents[1]
STUDY = ("mdape", "cod", "prd", "prb", "median_ratio")


def measure_market(name: str, runs: Path) -> dict[str, Any]:
    """Run one example from listings to report and gather its figures."""
    config = load_config(PROJECT / "examples" / f"{name}.toml")
    with open_project(config, runs) as project:
        pipeline.run(project)
        ingested = last_step(project.engine, "ingest")
    assert ingested is not None
    figures = find_run(runs, config.name).metrics()
    split = figures["split"]
    return {
        "title": config.atlas.title or config.name,
        "command": f"housevis run examples/{name}.toml",
        "currency": config.listings.currency,
        "mapped_columns": len(config.listings.columns),
        "attributes": config.pricing.attributes,
        "rows": ingested["rows"],
        "sales": ingested["sales"],
        "rejected": ingested["rejected"],
        "houses": ingested["houses"],
        "earlier_sales": split["earlier_sales"],
        "later_sales": split["later_sales"],
        "share": figures["headline"]["share_without"],
        "ratio_study": {name: figures["ratio_study"][name] for name in STUDY},
        "interval": figures["interval"],
        "sets": [
            {"name": row["name"], "share": row["without"], "mdape": row["mdape_without"]}
            for row in figures["ablation"]
        ],
    }


def main() -> int:
    """Measure the markets and write their figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markets", nargs="+", default=["melbourne", "miami"], help="names of examples")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "other-markets.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="housevis-") as runs:
        markets = [measure_market(name, Path(runs)) for name in options.markets]
    found = {
        "command": "python benchmarks/other_markets.py",
        "machine": machine_facts(),
        "versions": package_versions(),
        "markets": markets,
    }
    write_json(options.out, found)
    console.print_json(data=markets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
