"""All steps in order, and what they print together."""

from __future__ import annotations

import time
from collections.abc import Callable

from housevis.core.progress import error_console
from housevis.pipeline.data_steps import check_stored_attributes, ingest, tiles
from housevis.pipeline.embedding import embed
from housevis.pipeline.evaluating import evaluate, write_results
from housevis.pipeline.explaining import explain
from housevis.pipeline.pages import atlas
from housevis.pipeline.project import Project
from housevis.pipeline.report_page import report
from housevis.pipeline.results import StepResult
from housevis.pipeline.training import train
from housevis.runs import find_run, promote

STEPS = (ingest, tiles, embed, train, explain, evaluate, atlas, report)
"""Every step, in the order they run."""

PICTURE_STEPS = (tiles, embed, explain)
"""Those that a project without pictures leaves out."""


def steps_of(project: Project) -> list[Callable[[Project], StepResult]]:
    """The steps that a project takes, in order."""
    return [step for step in STEPS if project.config.uses_pictures or step not in PICTURE_STEPS]


def run(project: Project, show: Callable[[StepResult], None] | None = None) -> StepResult:
    """Run every step from listings to report; what is finished is not done again.

    A project without pictures takes only the steps that need none.

    The run becomes the one that its configuration's name stands for.

    Args:
        project: An open project.
        show: Called with the result of each step as soon as it is finished.

    Returns:
        What there is to say of the whole run; figures by step name.

    Raises:
        HousevisError: As the step that failed.
    """
    started = time.perf_counter()
    results = []
    for step in steps_of(project):
        result = step(project)
        state = "done before" if result.skipped else f"{result.seconds:.1f} s"
        error_console.print(f"{result.step}: {state}", markup=False)
        if show is not None:
            show(result)
        if step is ingest:
            check_stored_attributes(project)
        results.append(result)
    run_id = results[-1].figures["run_id"]
    finished = find_run(project.workspace.folder.parent, run_id)
    promote(project.workspace, finished)
    write_results(project, finished)
    seconds = time.perf_counter() - started
    lines = [f"run {run_id} finished in {seconds:.0f} s"]
    return StepResult("run", lines, {result.step: dict(result.figures) for result in results}, seconds)
