"""The tables of what the server answers in how much time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

_TIMES = ["p50, ms", "p95, ms", "p99, ms", "slowest, ms"]


def _times(figures: Mapping[str, Any]) -> list[str]:
    return [f"{figures[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "slowest_ms")]


def _about(figures: Mapping[str, Any]) -> str:
    machine = figures["machine"]
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, load {figures['load_before']} before. "
        f"Command: `{figures['command']}`."
    )


def million_houses(figures: Mapping[str, Any]) -> str:
    """Viewports of very many houses: cold, warm, and without a pause."""
    rows = [
        [
            name,
            f"{phase['answers']:,}",
            f"{phase['requests_per_second']:.0f}",
            *_times(phase),
            f"{phase['server_share_of_a_core']:.2f}",
            f"{phase['load_generator_share_of_a_core']:.2f}",
        ]
        for name, phase in (
            ("cold", figures["cold"]),
            ("warm", figures["warm"]),
            ("without a pause", figures["saturated"]),
        )
    ]
    header = ["phase", "answers", "per second", *_TIMES, "cores of the server", "cores of the load generator"]
    memory = figures["memory_mib"]
    about = (
        f"{figures['houses']:,} houses, {figures['users']} users with one question every "
        f"{figures['pause_seconds']:g} s, {figures['seconds_per_phase']:.0f} s cold and again warm, zooms "
        f"{', '.join(map(str, figures['zooms']))}. Memory of the server: {memory['peak']:,} MiB at most. "
        f"{_about(figures)}"
    )
    return f"{markdown_table(header, rows)}\n\n{about}"


def estimates(figures: Mapping[str, Any]) -> str:
    """New houses, house details and what-ifs of one run."""
    rows = [
        [name, f"{part['answers']:,}", *_times(part)]
        for name, part in (
            ("estimate of a new house, explained", figures["estimate"]),
            ("everything about a sold house", figures["house"]),
            ("what if", figures["what_if"]),
        )
    ]
    about = (
        f"Backbone {figures['backbone']}; {figures['with_picture']} of the new houses have a picture in the "
        f"archive, {figures['with_attention']} an attention map. The very first estimate, while models are "
        f"still being read, took {figures['first_estimate_ms'] / 1000:.0f} s. Memory "
        f"{figures['memory_mib']:,} MiB. {_about(figures)}"
    )
    return f"{markdown_table(['question', 'answers', *_TIMES], rows)}\n\n{about}"
