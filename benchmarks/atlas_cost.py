"""What the map of a finished run costs: time to build, bytes and seconds of its first view, bytes of a house.

The command runs in a process of its own, as a user would start it, with the
map and its pictures taken away before. Chromium opens the page from disk without a connection.

    HOUSEVIS_RUNS=runs python benchmarks/atlas_cost.py examples/king-county-all-attributes.toml
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from command_cost import chromium, timed
from playwright.sync_api import Browser, sync_playwright
from result_facts import RESULTS, result_facts, use_threads

from housevis.core.config import load_config
from housevis.runs import find_run, write_json
from housevis.views.atlas_manifest import MANIFEST, read_manifest

TIMES = 5
WIDTH, HEIGHT = 1440, 900


def opened(browser: Browser, page: Path) -> dict[str, Any]:
    """One opening of the map without a connection, and of one house on it."""
    context = browser.new_context(offline=True, viewport={"width": WIDTH, "height": HEIGHT})
    view = context.new_page()
    loaded: list[Path] = []
    wrong: list[str] = []

    def note(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme == "file":
            loaded.append(Path(unquote(parts.path)))
        elif parts.scheme != "data":
            wrong.append(address)

    view.on("request", lambda each: note(each.url))
    view.on("pageerror", lambda each: wrong.append(str(each)))
    view.on("console", lambda each: wrong.append(each.text))
    view.goto(page.resolve().as_uri())
    view.wait_for_selector("body.ready")
    times = view.evaluate(
        "() => ({ painted: performance.getEntriesByName('first-contentful-paint')[0].startTime, "
        "ready: performance.getEntriesByName('housevis-ready')[0].startTime })"
    )
    shift = view.evaluate(
        "() => new Promise((told) => { let sum = 0; new PerformanceObserver((list) => { "
        "for (const entry of list.getEntries()) sum += entry.value; })"
        ".observe({ type: 'layout-shift', buffered: true }); setTimeout(() => told(sum), 200); })"
    )
    first = sum(path.stat().st_size for path in set(loaded))
    seen = set(loaded)
    started = time.perf_counter()
    view.fill("#search", view.evaluate("housevis.houses.house[housevis.houses.house.length >> 1]"))
    view.keyboard.press("Enter")
    view.wait_for_selector(".amounts")
    house_seconds = time.perf_counter() - started
    house = sum(path.stat().st_size for path in set(loaded) - seen)
    context.close()
    return {
        "painted": times["painted"] / 1000,
        "ready": times["ready"] / 1000,
        "layout_shift": shift,
        "first_view_bytes": first,
        "house_seconds": house_seconds,
        "house_bytes": house,
        "asked_for_or_errors": len(wrong),
    }


def measured(config_file: Path, runs: Path) -> dict[str, Any]:
    """The figures of the run that a configuration stands for."""
    run = find_run(runs, load_config(config_file).name)
    shutil.rmtree(run.atlas, ignore_errors=True)
    built = timed(["atlas", str(config_file), "--runs", str(runs)])
    files = read_manifest(run.atlas)
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        load = os.getloadavg()[0]
        views = [opened(browser, run.atlas / "index.html") for _ in range(TIMES)]
        browser.close()
    return {
        "houses": len(_houses(run.atlas)),
        "built": built,
        "files": len(files) + 1,
        "folder_bytes": sum(of["bytes"] for of in files.values()) + (run.atlas / MANIFEST).stat().st_size,
        "browser": {
            "load_before": round(load, 1),
            "times": TIMES,
            "window": [WIDTH, HEIGHT],
            "seconds_to_first_paint": _middle(views, "painted"),
            "seconds_to_all_houses": _middle(views, "ready"),
            "seconds_to_a_house": _middle(views, "house_seconds"),
            "layout_shift": round(max(view["layout_shift"] for view in views), 4),
            "first_view_bytes": views[0]["first_view_bytes"],
            "house_bytes": views[0]["house_bytes"],
            "asked_for_or_errors": sum(view["asked_for_or_errors"] for view in views),
        },
    }


def _houses(atlas: Path) -> list[str]:
    text = (atlas / "data" / "houses.js").read_text(encoding="utf-8")
    return list(json.loads(text[text.index("=") + 1 :].rstrip(";\n"))["house"])


def _middle(views: list[dict[str, Any]], name: str) -> dict[str, float]:
    values = [view[name] for view in views]
    return {"median": round(statistics.median(values), 2), "slowest": round(max(values), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "atlas-cost.json")
    options = parser.parse_args()
    use_threads()
    figures = measured(options.config, Path(os.environ.get("HOUSEVIS_RUNS", "runs")))
    write_json(options.out, result_facts() | figures)
    print(figures)


if __name__ == "__main__":
    main()
