"""Tables of the houses' maps: value and attention, what a random network changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table, percent

Figures = Mapping[str, Any]

_REGIONS = ("any driver", "pool", "water", "canopy", "arterial")


def _interval(value: Mapping[str, float]) -> str:
    return f"{value['estimate']:+.3f} ({value['low']:+.3f} to {value['high']:+.3f})"


def value_maps(figures: Figures) -> str:
    """Heat of attention and value maps on the true drivers, and the signs."""
    mean, towns = figures["mean"], figures["towns"]
    heat = markdown_table(
        ["heat on the true drivers, times a uniform map", *_REGIONS],
        [
            [method, *(f"{lifts[region]:.2f}" for region in _REGIONS)]
            for method, lifts in mean["lift"].items()
        ],
    )
    signs = markdown_table(
        ["town", "attention", "value map", "signs right", "refused", "largest error of the sum"],
        [
            [
                str(town["seed"]),
                f"{town['lift']['transferred']['any driver']:.2f}",
                f"{town['lift']['value map']['any driver']:.2f}",
                f"{100 * town['value_map']['right']:.1f} % of {town['value_map']['count']}",
                f"{100 * town['value_map']['refused']:.1f} %",
                f"{100 * town['value_map']['largest_error']:.5f} %",
            ]
            for town in towns
        ],
    )
    drivers = ", ".join(
        f"{name} {percent(value['right'] / value['count'])} of {value['count']:,}"
        for name, value in mean["drivers"].items()
        if value["count"]
    )
    names = ", ".join(str(town["seed"]) for town in towns)
    return "\n\n".join(
        [
            f"Houses of later sales, mean of the towns {names}:",
            heat,
            "Signs are those of pools, waters and arterials that cover at least 1 % of a picture; "
            "a refused map counts as wrong:",
            signs,
            f"By driver: {drivers}. Command: `{figures['command']}`.",
        ]
    )


def randomisation(figures: Figures) -> str:
    """Rank correlation with the original map after a part of the network was randomised."""
    rows = [
        [name, *(_interval(value[part]) for part in ("head", "trunk"))]
        for name, value in figures["methods"].items()
    ]
    table = markdown_table(["rank correlation with the original", "random head", "random trunk"], rows)
    return (
        f"{table}\n\n{figures['houses']} houses, {figures['seeds']} random heads. "
        f"Command: `{figures['command']}`."
    )
