"""Steps that have nothing to do where a project estimates from attributes alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult

Options = ParamSpec("Options")
Step = Callable[Concatenate[Project, Options], StepResult]


def for_pictures(name: str) -> Callable[[Step[Options]], Step[Options]]:
    """Let a step say in one line that there is nothing to do where no pictures are used.

    Args:
        name: The step's name, which is the command's name too.
    """

    def decorate(step: Step[Options]) -> Step[Options]:
        @functools.wraps(step)
        def guarded(project: Project, /, *args: Options.args, **kwargs: Options.kwargs) -> StepResult:
            if project.config.uses_pictures:
                return step(project, *args, **kwargs)
            return StepResult(name, [f"{name}: nothing to do, {NO_PICTURES}"], skipped=True)

        return guarded

    return decorate


NO_PICTURES = 'the configuration uses no pictures (visual_features = "none" in [pricing])'
"""Why such a step does nothing."""
