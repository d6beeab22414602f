"""`validate`: tests of the model beyond the one split by date, part by part."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from housevis.core.errors import RunError, UsageError
from housevis.core.progress import error_console, progress_bar
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult, percent, points
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses, stored_estimates
from housevis.pipeline.training import learner_penalties
from housevis.pipeline.validation_parts import finished_part, judge_part, parts_of
from housevis.pricing.validation import EVERYTHING, REFERENCES, TESTS, figures_of_test
from housevis.runs import Run, read_parquet, write_parquet

VALIDATION = "validation.parquet"
"""The table in a run's folder, see :func:`housevis.pricing.validation.figures_of_test`."""
ORIGINS = 4
"""Origins of the rolling origin."""


def validate(project: Project, *, tests: Sequence[str] = TESTS, origins: int = ORIGINS) -> StepResult:
    """Judge the run's model under other tests, with simple methods beside it.

    Every finished part is kept in the run's folder, so that a stopped
    command loses one part at most. The rows of tests that are not asked for
    stay as they are.

    Args:
        project: An open project whose `evaluate` step is finished.
        tests: Names of :data:`housevis.pricing.validation.TESTS`; hyphens do for spaces.
        origins: Number of origins of the rolling origin.

    Returns:
        Figures ``run_id``, ``file``, ``fits`` (models fitted now) and
        ``rows``, the pooled rows of the tests asked for.

    Raises:
        UsageError: A test is unknown, or there is no origin.
        RunError: `evaluate` is not finished.
        ModelError: Too few sales, days or blocks.
    """
    wanted = _chosen(tests)
    if origins < 1:
        raise UsageError("a rolling origin needs one origin at least", where="--origins", remedy="Take 4.")
    started = time.perf_counter()
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="evaluate")
    parts = [part for test in wanted for part in parts_of(test, sold, project.config, origins)]
    found = {part.file: finished_part(run, sold, part) for part in parts}
    missing = [part for part in parts if found[part.file] is None]
    fits = sum(part.model_id is None for part in missing)
    _say_cost(run, sold, len(parts), len(missing), fits)
    judged = _judged(run, sold)
    penalties = learner_penalties(project, run, sold) if project.config.uses_pictures else None
    with progress_bar("validate", len(parts), done=len(parts) - len(missing)) as bar:
        for part in missing:
            bar.describe(f"{part.test}, {part.name}")
            found[part.file] = judge_part(run, sold, part, project.config, penalties, judged)
            bar.advance()
    estimates = judged.set_index("sale_id")["estimate"]
    rows = []
    for test in wanted:
        of_test = [part for part in parts if part.test == test]
        rows.append(
            figures_of_test(
                test,
                {part.name: table for part in of_test if (table := found[part.file]) is not None},
                {part.name: int(part.teach.sum()) for part in of_test},
                estimates if test in REFERENCES else None,
                repeats=project.config.pricing.bootstrap,
                seed=project.config.seed,
            )
        )
    table = _with_other_tests(run, pd.concat(rows, ignore_index=True))
    write_parquet(table, run.folder / VALIDATION)
    asked = table[table["test"].isin(wanted)]
    pooled = asked[asked["part"] == EVERYTHING]
    figures = {
        "run_id": run.run_id,
        "file": str(run.folder / VALIDATION),
        "fits": fits,
        "rows": pooled.to_dict("records"),
    }
    lines = [*_lines(pooled), f"all rows: {run.folder / VALIDATION}; `housevis report CONFIG` shows them"]
    return StepResult("validate", lines, figures, time.perf_counter() - started, skipped=not missing)


def read_validation(run: Run) -> pd.DataFrame | None:
    """The tests of a run's model; None where there are none.

    Raises:
        RunError: The file is damaged.
    """
    path = Path(run.folder / VALIDATION)
    return read_parquet(path) if path.is_file() else None


def _chosen(tests: Sequence[str]) -> list[str]:
    names = [" ".join(name.replace("-", " ").lower().split()) for name in tests]
    unknown = [name for name in names if name not in TESTS]
    if unknown or not names:
        raise UsageError(
            f"there is no test {unknown[0]!r}" if unknown else "no test is named",
            where="--tests",
            remedy=f"The tests are: {', '.join(test.replace(' ', '-') for test in TESTS)}.",
        )
    return [test for test in TESTS if test in names]


def _say_cost(run: Run, sold: SoldHouses, parts: int, missing: int, fits: int) -> None:
    before = f"; {parts - missing} of {parts} parts were finished before" if missing < parts else ""
    if not fits:
        error_console.print(f"validate: no model to fit{before}", markup=False)
        return
    each = float(run.steps()["train"]["seconds"]) / len(sold.evaluation_models())
    took = f"about {max(each, 1):.0f} s each, as `train` took: {_duration(fits * each)} in all"
    error_console.print(f"validate: {fits} models to fit, {took}{before}", markup=False)


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds >= 90 else f"about {max(seconds, 1):.0f} s"


def _judged(run: Run, sold: SoldHouses) -> pd.DataFrame:
    judged = stored_estimates(run, sold)
    if judged is None:
        raise RunError(
            "the estimates of this run are not of these sales",
            where=str(run.estimates),
            remedy="Run `housevis run CONFIG` again.",
        )
    return judged


def _with_other_tests(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of this time, and those that are there of other tests, in the order of the tests."""
    before = read_validation(run)
    if before is not None:
        before = before[~before["test"].isin(table["test"])]
        if len(before):
            table = pd.concat([before, table], ignore_index=True)
    order = table["test"].map({test: position for position, test in enumerate(TESTS)})
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _lines(pooled: pd.DataFrame) -> list[str]:
    lines = []
    for test, rows in pooled.groupby("test", sort=False):
        own = rows[rows["is_run_model"]].iloc[0]
        lines.append(
            f"{test} ({own['sales']:,} sales): {percent(own['pe10'])} within ±10 %, "
            f"MdAPE {percent(own['mdape'])}, COD {own['cod']:.1f}{_compared(own)}"
        )
        lines += [
            f"  {row['method']}: {percent(row['pe10'])}, MdAPE {percent(row['mdape'])} "
            f"({points(row['difference'])}, {points(row['difference_low'])} "
            f"to {points(row['difference_high'])})"
            for _, row in rows[~rows["is_run_model"]].iterrows()
        ]
    return lines


def _compared(own: pd.Series[Any]) -> str:
    if not own["against"]:
        return ""
    return (
        f"; {points(own['difference'])} against {own['against']} on the same sales "
        f"({points(own['difference_low'])} to {points(own['difference_high'])})"
    )
