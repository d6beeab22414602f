"""A finished run under every test of `housevis validate`, as figures for the docs.

    housevis run examples/king-county.toml
    python benchmarks/validation.py examples/king-county.toml

The folder of the runs is `runs`, or that of the environment variable
HOUSEVIS_RUNS. A stopped measurement goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from result_facts import RESULTS, result_facts, use_threads

from housevis.core.config import load_config
from housevis.core.errors import HousevisError
from housevis.core.progress import console, error_console
from housevis.pipeline.project import open_project
from housevis.pipeline.validating import ORIGINS, validate
from housevis.pricing.validation import EVERYTHING, REFERENCES, TESTS
from housevis.runs import find_run, read_parquet, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Validate the run of a configuration and write its figures; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--tests", default=",".join(TESTS), metavar="NAMES")
    parser.add_argument("--origins", type=int, default=ORIGINS, metavar="N")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    options = parser.parse_args(arguments)
    use_threads()
    try:
        config = load_config(options.config)
        with open_project(config, Path(os.environ.get("HOUSEVIS_RUNS", "runs"))) as project:
            result = validate(project, tests=options.tests.split(","), origins=options.origins)
            run = find_run(project.workspace.folder.parent, str(result.figures["run_id"]))
    except HousevisError as problem:
        error_console.print(f"Error: {problem}", markup=False)
        return problem.exit_code
    for line in result.lines:
        console.print(line, markup=False)
    split = run.steps()["train"]["figures"]
    table = read_parquet(Path(result.figures["file"]))
    refitted = table[table["test"].isin(REFERENCES) & (table["part"] != EVERYTHING) & table["is_run_model"]]
    figures = {
        **result_facts(),
        "name": config.name,
        "pricing": config.pricing.model_dump(mode="json"),
        "uses_pictures": config.uses_pictures,
        "origins": options.origins,
        "fits": len(refitted),
        "train_seconds": run.steps()["train"]["seconds"],
        **{name: split[name] for name in ("sales", "earlier_sales", "later_sales", "cutoff")},
        "rows": plain_rows(table),
    }
    write_json(options.out or RESULTS / f"validation-{config.name}.json", figures)
    return 0


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON values; None where there is no figure."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


if __name__ == "__main__":
    sys.exit(main())
