"""Tables of the market index: carried estimates on sample markets and on King County."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table, share

Figures = Mapping[str, Any]

_METHODS = {
    "month": "number of the month as an attribute",
    "no time": "no time at all",
    "hedonic": "`hedonic`",
    "repeat-sales": "`repeat-sales`",
    "rolling-residual": "`rolling-residual`",
}


def market_index_towns(figures: Figures) -> str:
    """Median ratio by month after the last sale, for every size of town."""
    parts = []
    for size in figures["towns"]:
        parts.append(
            f"{len(size['towns'])} towns of {size['houses']:,} houses, steady markets, months ahead:"
        )
        header = ["a month", "time", "1", "2", "3", "3, without noise", "3, lowest to highest town"]
        parts.append(markdown_table(header, [_steady_row(row) for row in size["steady"]]))
        parts.append("The same towns, turning where the later sales begin, refitted every month:")
        header = ["a month, then back", "time", "1st month", "2nd", "3rd", "4th", "4th, without noise"]
        parts.append(markdown_table(header, [_turning_row(row) for row in size["turning"]]))
    machine = figures["machine"]
    parts.append(
        f"Command: `{figures['command']}`. Machine: {machine['processor']}, {machine['cores']} cores."
    )
    return "\n\n".join(parts)


def market_index_king_county(figures: Figures) -> str:
    """Forward splits inside the earlier sales, later sales, and their months."""
    rows = []
    found = [part for part in figures["king_county"] if part is not None]
    for part in found:
        for row in part["methods"]:
            names = [part["attributes"], _METHODS[row["method"]]]
            if "refused" in row:
                rows.append([*names, "refused: too few pairs", "", ""])
                continue
            by_month = " ".join(f"{month['median_ratio']:.3f}" for month in row["months"])
            rows.append([*names, _three(row["forward"]), _three(row["later"]), by_month])
    if not found:
        return "The data were not at hand."
    first, last = (found[0]["methods"][0]["months"][end]["month"] for end in (0, -1))
    header = ["attributes", "time", "forward, earlier sales", "later sales", "median ratio by later month"]
    return "\n\n".join(
        [
            markdown_table(header, rows),
            f"Share within ±10 % / MdAPE in percent / median ratio. Forward: {_cuts(found[0])} of the "
            f"{found[0]['earlier_sales']:,} earlier sales teach, the rest are judged, all cuts together. "
            f"Later: {found[0]['later_sales']:,} sales, {first} to {last}.",
        ]
    )


def _cuts(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{100 * share:.0f} %" for share in part["forward_shares"])


def _steady_row(row: Mapping[str, Any]) -> list[str]:
    last = row["months"][-1]
    return [
        f"{row['monthly_change']:+g} %",
        _METHODS[row["method"]],
        *(f"{month['median_ratio']:.3f}" for month in row["months"]),
        f"{last['median_ratio_without_noise']:.3f}",
        f"{last['lowest_town']:.3f} to {last['highest_town']:.3f}",
    ]


def _turning_row(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['monthly_change']:+g} %",
        _METHODS[row["method"]],
        *(f"{month['median_ratio']:.3f}" for month in row["months"]),
        f"{row['months'][-1]['median_ratio_without_noise']:.3f}",
    ]


def _three(figures: Mapping[str, float]) -> str:
    return f"{share(figures['share'])} / {share(figures['mdape'])} / {figures['median_ratio']:.3f}"
