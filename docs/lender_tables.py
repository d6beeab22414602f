"""Tables of who lends the weights of an explanation: nearest, random, one vector for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table, percent

Figures = Mapping[str, Any]

_LENDERS = ("nearest", "mean of 5 nearest", "random", "global")
_KINDS = {"all channels": "all, signed", "top channels": "top {top_channels}"}
_SCALARS = {
    "loss-against": "the loss, as published",
    "ordering": "the order of the pair",
    "dearer": '"dearer"',
}


def _interval(value: Mapping[str, float], form: str = ".3f") -> str:
    estimate, low, high = (f"{value[name]:{form}}" for name in ("estimate", "low", "high"))
    zero = f"{0:{form}}"
    if {estimate, low, high} <= {zero, zero.replace("+", "-")}:
        return zero
    return f"{estimate} ({low} to {high})"


def _asked(figures: Figures) -> dict[str, Figures]:
    remedies = {f"rank siamese, {name}": row for name, row in figures["remedies"].items() if "SHAP" in name}
    others = {name: row for name, row in figures["remedies"].items() if "SHAP" not in name}
    return {**figures["learners"], **remedies, **others}


def lenders(figures: Figures) -> str:
    """Agreement by lender, the rank-one fact, the signs, and in a town the heat on the true drivers."""
    asked = _asked(figures)
    agreement = markdown_table(
        ["what is asked", "channels", *_LENDERS, "nearest less random", "nearest less global"],
        [
            [
                name,
                title.format(**figures),
                *(f"{row[kind][lender]['estimate']:.3f}" for lender in _LENDERS),
                *(_interval(row[kind][f"nearest less {other}"], "+.3f") for other in ("random", "global")),
            ]
            for name, row in asked.items()
            for kind, title in _KINDS.items()
        ],
    )
    learners = figures["learners"]
    flips = markdown_table(
        ["sign of a house's weights", *learners, "the nearest house has it", "a random house has it"],
        [
            [
                title,
                *(_interval(row["signs"][scalar]["flips"]) for row in learners.values()),
                *(
                    " / ".join(percent(row["signs"][scalar][lender]["estimate"]) for row in learners.values())
                    for lender in ("nearest", "random")
                ),
            ]
            for scalar, title in _SCALARS.items()
        ],
    )
    better = [
        name
        for name, row in learners.items()
        if row["all channels"]["nearest less random"]["low"] > 0
        and row["top channels"]["nearest less random"]["low"] > 0
    ]
    found = " and ".join(better) or "no learner"
    parts = [
        f"{figures['houses']} houses of later sales, {figures['taught']:,} that may lend, "
        f"{figures['backbone']}, learned from: {figures['target']}. Mean rank correlation with the house's "
        "own map, of the differences with the 95 % interval over houses:",
        agreement,
        f"The nearest house beats a random one, with the interval above 0, for: {found}.",
        "Part of all weights that lies along one direction: "
        + ", ".join(f"{name} {100 * row['share_of_first_direction']:.1f} %" for name, row in asked.items())
        + ".",
        "Houses whose sign turns round between two draws of 50 pairs, and how often a lender has the sign of "
        f"the house ({' / '.join(learners)}):",
        flips,
    ]
    if all("lift" in row for row in asked.values()):
        heat = [
            [
                name,
                *(f"{row['lift'][lender]['estimate']:.2f}" for lender in ("own", *_LENDERS)),
                _interval(row["lift"]["nearest less random"], "+.2f"),
            ]
            for name, row in asked.items()
        ]
        parts += [
            f"Heat of the top-{figures['top_channels']} maps on the true drivers, times a uniform map:",
            markdown_table(["what is asked", "own", *_LENDERS, "nearest less random"], heat),
        ]
    return "\n\n".join([*parts, f"Command: `{figures['command']}`."])
