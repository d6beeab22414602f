"""How figures look in the tables of the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def percent(value: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * value:.0f} %"


def share(value: float | None) -> str:
    """A share in percent with one decimal; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def gain(interval: Mapping[str, float] | None) -> str:
    """A gain in points with its interval; empty for None."""
    if interval is None:
        return ""
    estimate, low, high = (100 * interval[name] for name in ("estimate", "low", "high"))
    return f"{estimate:+.1f} ({low:+.1f} to {high:+.1f})"
