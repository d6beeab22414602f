"""What the report says of leakage: the named checks, and houses on both sides of the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CheckResult:
    """One named check.

    Attributes:
        name: Its name.
        result: ``"passed"``, ``"stopped"`` or ``"not judged"``.
        says: The result in a sentence.
    """

    name: str
    result: str
    says: str


@dataclass(frozen=True)
class SharedHeadline:
    """The headline over some of the later sales.

    Attributes:
        sales: Number of them.
        share: Share within ±10 %, of the estimates that the run shows; None of no sale.
        mdape: Median absolute percentage error, a fraction; None of no sale.
    """

    sales: int
    share: float | None
    mdape: float | None


@dataclass(frozen=True)
class Leakage:
    """The section of the report.

    Attributes:
        checks: The checks in their order.
        every: The headline over all later sales.
        apart: The headline over the later sales that share neither house nor
            picture with a sale that the models learned from.
    """

    checks: tuple[CheckResult, ...]
    every: SharedHeadline
    apart: SharedHeadline

    @classmethod
    def of(cls, figures: Mapping[str, Any] | None) -> Leakage | None:
        """What ``metrics.json`` holds under ``leakage``; None of a run made before it was kept."""
        if figures is None:
            return None
        checks = tuple(CheckResult(each["name"], each["result"], each["says"]) for each in figures["checks"])
        headlines = figures["headlines"]
        return cls(checks, SharedHeadline(**headlines["all"]), SharedHeadline(**headlines["apart"]))
