"""Tables of the tests of a model: every method under every test, and the run's model part by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table, share

Figures = Mapping[str, Any]
Row = Mapping[str, Any]


def validation(figures: Figures) -> str:
    """Pooled figures of every method under every test, then the parts of the run's model."""
    pooled = [row for row in figures["rows"] if row["part"] == "all"]
    parts = [row for row in figures["rows"] if row["part"] != "all" and row["is_run_model"]]
    header = ["test", "method", "sales", "within ±10 %", "95 % interval", "MdAPE"]
    header += ["median ratio", "COD", "difference in points", "to"]
    part_header = ["test", "part", "learned from", "judged", "within ±10 %", "MdAPE", "median ratio"]
    machine = figures["machine"]
    return "\n\n".join(
        [
            markdown_table(header, [_method(row) for row in pooled]),
            "The run's model, part by part:",
            markdown_table(part_header, [_part(row) for row in parts]),
            f"{figures['sales']:,} sales, {figures['earlier_sales']:,} of them before "
            f"{figures['cutoff']}. Attributes: {', '.join(figures['pricing']['attributes'])}. "
            f"Command: `{figures['command']}`, {figures['fits']} fits; the run's own `train` took "
            f"{figures['train_seconds']:,.0f} s. "
            f"Machine: {machine['processor']}, {machine['cores']} cores.",
        ]
    )


def _method(row: Row) -> list[str]:
    name = f"**{row['method']}**" if row["is_run_model"] else row["method"]
    return [
        row["test"],
        name,
        f"{row['sales']:,}",
        share(row["pe10"]),
        f"{share(row['pe10_low'])} to {share(row['pe10_high'])}",
        share(row["mdape"]),
        f"{row['median_ratio']:.3f}",
        f"{row['cod']:.1f}",
        _difference(row),
        row["against"] or "",
    ]


def _difference(row: Row) -> str:
    if row["difference"] is None:
        return ""
    value, low, high = (100 * row[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _part(row: Row) -> list[str]:
    return [
        row["test"],
        row["part"],
        f"{row['taught']:,.0f}",
        f"{row['sales']:,}",
        share(row["pe10"]),
        share(row["mdape"]),
        f"{row['median_ratio']:.3f}",
    ]
