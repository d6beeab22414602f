"""Tables of the price model: what its parts bring, and what exact drivers cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def tree_shap(figures: Mapping[str, Any]) -> str:
    """Time and exactness of the drivers of all sold houses."""
    peer, machine = figures["lightgbm"], figures["machine"]
    rows = [
        ["houses, each explained by the model that has not seen its sale", f"{figures['houses']:,}"],
        ["trees of a model, features", f"{peer['trees']:,}, {peer['features']}"],
        ["seconds for all", f"{figures['seconds']:.1f}"],
        ["processor time a house, ms", f"{figures['processor_milliseconds_a_house']:.2f}"],
        ["the same by LightGBM, ms", f"{peer['processor_milliseconds_a_house']:.2f}"],
        ["largest difference to LightGBM's values, log units", f"{peer['worst_difference_log']:.0e}"],
        [
            f"largest difference of base and drivers to the estimate, {figures['currency']}",
            f"{figures['worst_difference']:.0e}",
        ],
        ["houses where it reaches half a cent", f"{figures['differing_by_a_cent']:,}"],
    ]
    table = markdown_table(["figure", "value"], rows)
    where = f"{machine['processor']}, one thread of {machine['cores']} cores"
    load = f"load {figures['load_before']:.1f} before"
    return f"{table}\n\nMachine: {where}, {load}. Command: `{figures['command']}`."


def interval_width(figures: Mapping[str, Any]) -> str:
    """Coverage and width of the ranges beside single widths."""
    rows = []
    for market in figures["markets"]:
        adaptive = market["adaptive"]["log_width"]
        for name in ("adaptive", "one width", "split-conformal"):
            row = market[name]
            narrower = 1 - adaptive / row["log_width_at_equal_coverage"]
            rows.append(
                [
                    market["market"],
                    name,
                    share(row["covered"]),
                    *(_from_to(row[by]) for by in ("by_estimate", "by_area", "by_price")),
                    f"{row['log_width']:.3f}",
                    "" if name == "adaptive" else f"{100 * narrower:.1f} %",
                ]
            )
    header = ["market", "ranges", "covered, %", "tenths of the estimate", "areas", "tenths of the price"]
    table = markdown_table([*header, "mean log width", "adaptive is narrower by"], rows)
    return f"{table}\n\nCommand: `{figures['command']}`."


def _from_to(shares: Sequence[float]) -> str:
    return f"{share(min(shares))} to {share(max(shares))}"
