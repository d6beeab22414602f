"""The table of what a map costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

_MEGABYTE = 1e6


def atlas_cost(figures: Mapping[str, Any]) -> str:
    """Time, bytes and seconds in a browser of the map of a real county."""
    built, browser = figures["built"], figures["browser"]
    machine = figures["machine"]

    def seconds(name: str) -> str:
        return f"{browser[name]['median']} ({browser[name]['slowest']})"

    rows = [
        ["houses", f"{figures['houses']:,}"],
        ["built: seconds, processor seconds", f"{built['seconds']}, {built['processor_seconds']}"],
        ["peak memory, MiB", f"{built['peak_mib']:,}"],
        ["files, MB", f"{figures['files']:,}, {figures['folder_bytes'] / _MEGABYTE:.0f}"],
        ["first view: MB", f"{browser['first_view_bytes'] / _MEGABYTE:.2f}"],
        ["first paint: seconds (slowest)", seconds("seconds_to_first_paint")],
        ["all houses on the map: seconds (slowest)", seconds("seconds_to_all_houses")],
        ["layout shift", f"{browser['layout_shift']}"],
        ["a house found and its card open: seconds (slowest)", seconds("seconds_to_a_house")],
        ["what that loads: kB", f"{browser['house_bytes'] / 1000:.0f}"],
        ["addresses asked for, and errors", f"{browser['asked_for_or_errors']}"],
    ]
    about = (
        f"Machine: {machine['processor']}, {machine['cores']} cores, load {built['load_before']} before the "
        f"build, {browser['load_before']} before Chromium; {browser['times']} openings from disk, offline. "
        f"Command: `{figures['command']}`."
    )
    return f"{markdown_table(['figure', 'value'], rows)}\n\n{about}"
