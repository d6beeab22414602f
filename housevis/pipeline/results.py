"""What a step gives back: its figures, and the lines that the command prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepResult:
    """The outcome of one step.

    Attributes:
        step: The step's name, which is the command's name too.
        lines: What to print, one sentence or row each.
        figures: The same as values.
        seconds: Wall-clock seconds; of the earlier run where `skipped`.
        skipped: True if the step was finished before and nothing was done.
    """

    step: str
    lines: list[str]
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: bool = False


def percent(share: float) -> str:
    """A share as text with one decimal, for example ``"63.2 %"``."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign."""
    return f"{100 * difference:+.1f} points"
