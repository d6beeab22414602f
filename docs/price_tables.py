"""Table of the parts of the strongest attributes-only price model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import gain, markdown_table, share


def price_model(figures: Mapping[str, Any]) -> str:
    """What each part of the price model brings, inside the earlier sales and on the later ones."""
    rows = [
        [
            row["attributes"],
            row["model"],
            share(row["cross_validated"]["share"]),
            share(row["forward"]["share"]),
            share(row["later"]["share"]),
            "" if row["model"] == "default settings" else gain(row["gain"]),
            f"{100 * row['later']['mdape']:.2f}",
            f"{row['later']['median_ratio']:.3f}",
        ]
        for row in figures["rows"]
    ]
    header = ["attributes", "model", "by house", "forward", "later sales", "gain there, 95 % interval"]
    table = markdown_table([*header, "MdAPE there", "median ratio there"], rows)
    return f"{table}\n\nCommand: `{figures['command']}`."
