"""What the report of a finished run costs: time, memory, bytes; and that it asks nobody for anything.

The command runs in a process of its own, as a user would start it, with the
report taken away before; then once more with all its tables. Chromium opens
the page without a connection and prints it.

    HOUSEVIS_RUNS=runs python benchmarks/report_cost.py examples/king-county.toml
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from command_cost import chromium, timed
from playwright.sync_api import sync_playwright
from result_facts import RESULTS, result_facts, use_threads

from housevis.core.config import load_config
from housevis.runs import Run, find_run, write_json

MEBIBYTE = 2**20


def opened_offline(page: Path) -> dict[str, Any]:
    """What Chromium says of the page without a connection: failed requests, errors, printed pages."""
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        context = browser.new_context(offline=True)
        opened = context.new_page()
        opened.on("request", lambda each: wrong.append(each.url) if each.url.startswith("http") else None)
        opened.on("pageerror", lambda each: wrong.append(str(each)))
        started = time.perf_counter()
        opened.goto(page.resolve().as_uri())
        loaded = time.perf_counter() - started
        printed = opened.pdf(format="A4", print_background=True, prefer_css_page_size=True)
        browser.close()
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    return {"seconds_to_open": round(loaded, 2), "asked_for_or_errors": len(wrong), "printed_pages": pages}


def measured(config_file: Path, runs: Path) -> dict[str, Any]:
    """The figures of the run that a configuration stands for."""
    run: Run = find_run(runs, load_config(config_file).name)
    estimates = pd.read_parquet(run.estimates)
    run.report.unlink(missing_ok=True)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = ["report", str(config_file), "--runs", str(runs)]
        cost = timed(place)
        out = Path(folder)
        tables = timed([*place, "--tables", str(out / "tables"), "--excel", str(out / "tables.xlsx")])
        sizes = {
            "tables": len(list((out / "tables").glob("*.parquet"))),
            "csv_bytes": sum(path.stat().st_size for path in (out / "tables").glob("*.csv")),
            "excel_bytes": (out / "tables.xlsx").stat().st_size,
        }
    return {
        "sales": len(estimates),
        "houses": int(estimates["house_id"].nunique()),
        "load_before": round(load, 1),
        "report": cost | {"bytes": run.report.stat().st_size},
        "tables": tables | sizes,
        "offline": opened_offline(run.report),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "report-cost.json")
    options = parser.parse_args()
    use_threads()
    figures = measured(options.config, Path(os.environ.get("HOUSEVIS_RUNS", "runs")))
    write_json(options.out, result_facts() | figures)
    print(figures)


if __name__ == "__main__":
    main()
