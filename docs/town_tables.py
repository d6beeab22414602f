"""Tables of what the estimates give back of the price drivers that are planted in sample markets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import gain, markdown_table, share

Figures = Mapping[str, Any]

_DRIVERS = ("pool", "water", "canopy", "arterial")
_LEVELS = ("attributes", "location", "market")


def _with_interval(estimate: float, low: float, high: float) -> str:
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"


def planted_drivers(figures: Figures) -> str:
    """Recovered / planted by recipe, then town by town for the recipe that is recommended."""
    recipes, towns = figures["mean"], figures["towns"]
    seeds = [str(town["seed"]) for town in towns]
    by_recipe = markdown_table(
        ["settings", *_DRIVERS, "drivers within 1.5", "gain"],
        [
            [
                recipe["recipe"],
                *(_with_interval(**recipe["recovered"][driver]) for driver in _DRIVERS),
                f"{recipe['within_factor']} of {recipe['drivers']}",
                f"{100 * recipe['gain']:+.1f}",
            ]
            for recipe in recipes
        ],
    )
    levels = markdown_table(
        ["settings", *_LEVELS],
        [
            [recipe["recipe"], *(_with_interval(**recipe["recovered"][level]) for level in _LEVELS)]
            for recipe in recipes
        ],
    )
    chosen = figures["recommended"]
    rows = []
    for town in towns:
        (entry,) = (entry for entry in town["recipes"] if entry["recipe"] == chosen)
        found = {part["part"]: part for part in entry["recovered"]}
        cells = (
            _with_interval(found[driver]["recovered"], found[driver]["low"], found[driver]["high"])
            for driver in _DRIVERS
        )
        rows.append([str(town["seed"]), *cells, share(entry["share_with"]), gain(entry["gain"])])
    by_town = markdown_table(["town", *_DRIVERS, "within ±10 %", "gain, 95 % interval"], rows)
    return "\n\n".join(
        [
            f"Recovered / planted in the estimates of later sales, mean of the towns {', '.join(seeds)} "
            "with its 95 % interval; the gain is that of the pictures, in points of the share within ±10 %:",
            by_recipe,
            f"Town by town with *{chosen}*:",
            by_town,
            "The parts of the price that the listings tell:",
            levels,
            f"Command: `{figures['command']}`.",
        ]
    )
