"""Progress bars: one look everywhere, silent where nobody watches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from housevis.core.interrupts import stop_if_interrupted

console = Console(highlight=False, soft_wrap=True, emoji=False)
"""Where results are printed (standard output)."""

error_console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
"""Where progress and errors are printed (standard error)."""


class ProgressBar:
    """One running bar; call :meth:`advance` as units of work finish."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = task

    def advance(self, units: int = 1) -> None:
        """Count `units` more as done.

        Raises:
            KeyboardInterrupt: The command was asked to stop in the meantime.
        """
        stop_if_interrupted()
        self._progress.advance(self._task, units)  # type: ignore[arg-type]

    def describe(self, description: str) -> None:
        """Change the text in front of the bar."""
        self._progress.update(self._task, description=description)  # type: ignore[arg-type]


@contextmanager
def progress_bar(description: str, total: int | None, done: int = 0) -> Iterator[ProgressBar]:
    """Show a progress bar on standard error while the block runs.

    Args:
        description: What is being done, for example ``"tiles"``.
        total: Units of work in all, or None if unknown.
        done: Units that an earlier run finished already.

    Yields:
        The bar. It draws nothing if ``HOUSEVIS_PROGRESS=off`` or standard
        error is no terminal.
    """
    hidden = os.environ.get("HOUSEVIS_PROGRESS") == "off" or not error_console.is_terminal
    progress = Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=error_console,
        disable=hidden,
        transient=False,
    )
    with progress:
        task = progress.add_task(description, total=total, completed=done)
        yield ProgressBar(progress, task)
