"""Tables of what a layer4 trained on sales is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import gain, markdown_table, share

Figures = Mapping[str, Any]


def finetune(figures: Figures) -> str:
    """Rank accuracy of the scores on later sales, and what they add to attributes."""
    ranks = markdown_table(
        ["score", "rank accuracy, all pairs", "within 2 km and 15 % of area"],
        [
            [f"`{name}`", share(found["all pairs"]), share(found["comparable pairs"])]
            for name, found in figures["rank_accuracy"].items()
        ],
    )
    gains = markdown_table(
        ["attributes", "added", "without", "with", "gain, 95 % interval", "MdAPE without", "MdAPE with"],
        [
            [
                row["attributes"],
                row["scores"],
                share(row["share_without"]),
                share(row["share_with"]),
                gain(row["gain"]),
                share(row["mdape_without"]),
                share(row["mdape_with"]),
            ]
            for row in figures["gains"]
        ],
    )
    closing = f"{figures['later_sales']:,} later sales. Command: `{figures['command']}`."
    return "\n\n".join([ranks, gains, closing])
