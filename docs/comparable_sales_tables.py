"""The tables of docs/comparables.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table, share


def comparables_lookup(figures: Mapping[str, Any]) -> str:
    """What the six comparables of a sale are worth, and what it costs to find them."""
    rows = [
        [name, share(quality["share"]), share(quality["mdape"])]
        for name, quality in figures["quality"].items()
    ]
    machine = figures["machine"]
    return "\n\n".join(
        [
            markdown_table(["value of a later sale", "within ±10 %, %", "MdAPE, %"], rows),
            f"{figures['later_sales']:,} later sales of {figures['market']}; the value is the middle "
            "(median) of six prices, or the estimate. "
            f"The comparables lie {figures['metres']:,.0f} m away in the middle and "
            f"share a leaf in {share(figures['leaf_likeness'])} % of the trees on average.",
            f"Cost: the {figures['comparables']:,} comparables of all {figures['sales']:,} sales took "
            f"{figures['processor_seconds']:.0f} s of processor time on one thread "
            f"({figures['seconds']:.0f} s by the clock of a shared machine), with at most "
            f"{figures['memory_peak_mib'] - figures['memory_before_mib']:,.0f} MiB of memory beyond what the "
            f"loaded sales and pictures take ({figures['memory_before_mib']:,.0f} MiB). "
            f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB. "
            f"Command: `{figures['command']}`.",
        ]
    )
