"""The table of what a report costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

_MEGABYTE = 1e6


def report_cost(figures: Mapping[str, Any]) -> str:
    """Time, memory and bytes of the report of a real county."""
    report, tables, offline = figures["report"], figures["tables"], figures["offline"]
    machine = figures["machine"]
    rows = [
        ["sales", f"{figures['sales']:,}"],
        ["the report: seconds, processor seconds", f"{report['seconds']}, {report['processor_seconds']}"],
        ["peak memory, MiB", f"{report['peak_mib']:,}"],
        ["size, MB", f"{report['bytes'] / _MEGABYTE:.2f}"],
        [f"its {tables['tables']} tables as CSV, Parquet and Excel besides: seconds", f"{tables['seconds']}"],
        [
            "CSV, Excel: MB",
            f"{tables['csv_bytes'] / _MEGABYTE:.1f}, {tables['excel_bytes'] / _MEGABYTE:.1f}",
        ],
        ["opened by Chromium without a connection: seconds", f"{offline['seconds_to_open']}"],
        ["addresses asked for, and errors", f"{offline['asked_for_or_errors']}"],
        ["printed pages (A4)", f"{offline['printed_pages']}"],
    ]
    about = (
        f"Machine: {machine['processor']}, {machine['cores']} cores, one thread, load "
        f"{figures['load_before']} before. Command: `{figures['command']}`."
    )
    return f"{markdown_table(['figure', 'value'], rows)}\n\n{about}"
