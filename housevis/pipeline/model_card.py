"""The model card of a report: what a reader must know before using the model."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import pandas as pd

import housevis
from housevis.pipeline.project import Project
from housevis.pipeline.report_figures import LATER
from housevis.pricing.ratio_groups import NOT_JUDGED, OUTSIDE, in_words
from housevis.pricing.sale_groups import AREA, KIND, QUARTER
from housevis.runs import Run
from housevis.views.report_evidence import CardRow
from housevis.views.words import ATTRIBUTE_LABELS, label

_MOST_WEAK: Final = 8
_CODE: Final = (".py", ".jinja", ".css")


def model_card(
    project: Project, run: Run, table: pd.DataFrame, studies: pd.DataFrame | None
) -> tuple[CardRow, ...]:
    """What a reader must know before using the model.

    Args:
        project: The project.
        run: The run.
        table: Of :func:`housevis.pipeline.report_figures.judged_sales`.
        studies: The ratio studies by group.
    """
    config, record = project.config, run.record
    pricing = record["config"]["pricing"]
    later = table["sample"] == LATER
    names = dict.fromkeys(label(name, ATTRIBUTE_LABELS) for name in pricing["attributes"])
    features = f"Attributes: {', '.join(names)}."
    model = (
        f"Gradient boosting on the log price, {pricing['rounds']:,} rounds of {pricing['leaves']} leaves, "
        f"objective {pricing['objective']}; the estimate is the model's price for the day of the sale."
    )
    pictured = int(table["used_picture"].sum())
    pictures = (
        f"Pictures: features of {record['backbone']['name']}, learned from "
        f"{' and '.join(record['config']['siamese']['targets'])}; {pictured:,} sales have one."
        if record.get("backbone")
        else "Pictures: none are used."
    )
    cutoff = pd.Timestamp(record["cutoff"])
    span = f"{day_in_words(table['sale_date'].min())} to {day_in_words(table['sale_date'].max())}"
    split = (
        f"{int((~later).sum()):,} sales before {day_in_words(cutoff)} teach; "
        f"the {int(later.sum()):,} later ones only judge."
    )
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    rows = [
        CardRow(
            "Meant for",
            (
                "Estimates of the market price of houses of this market, for screening, for a first opinion, "
                "and for checking values that somebody else has set.",
            ),
        ),
        CardRow(
            "Not for",
            (
                "An appraisal, a loan or a tax bill without a person who looks at the house; houses of "
                "another market; land without a house; the question what a change to a house would bring: "
                "drivers and maps show association, not cause.",
            ),
        ),
        CardRow("Data", (f"{len(table):,} sales of {table['house_id'].nunique():,} houses, {span}.", split)),
        CardRow("Model", (model, features, pictures)),
        CardRow(
            "Measured",
            (
                "On sales that happened after all sales the models learned from. No shown estimate is by a "
                "model that learned from that house.",
                "Intervals of figures: 95 % bootstraps over the sales, of gains paired. Ranges of prices: "
                f"conformal, to hold {config.pricing.interval:.0%} of the prices.",
            ),
        ),
        CardRow("Weak groups", tuple(weak_groups(studies))),
        CardRow(
            "Made with",
            (
                f"{versions}." if versions else "Versions were not kept.",
                f"Seed {record['config']['seed']}; run {run.run_id}, made on "
                f"{moment_in_words(record['created_at'])}.",
                f"SHA-256 of the data {_short(record.get('sales_fingerprint'))}, of configuration and data "
                f"{_short(record['fingerprint'])}, of the code of this report {_short(code_fingerprint())}.",
            ),
        ),
    ]
    return tuple(rows)


def weak_groups(studies: pd.DataFrame | None) -> list[str]:
    """Groups in which a figure lies outside its range beyond chance, the largest first."""
    if studies is None:
        return ["Not known: this run has no ratio studies by group."]
    found = []
    for (by, name), rows in studies[studies["by"].isin([AREA, KIND, QUARTER])].groupby(
        ["by", "group"], sort=False
    ):
        if (rows["verdict"] == OUTSIDE).any():
            said = in_words(rows)
            if said not in (NOT_JUDGED, "within the ranges") and not _is_noise(said):
                found.append(
                    (int(rows["sales"].iloc[0]), f"{name} ({by}, {rows['sales'].iloc[0]:,} sales): {said}.")
                )
    found.sort(key=lambda each: -each[0])
    sentences = [f"{text[:1].upper()}{text[1:]}" for _, text in found[:_MOST_WEAK]]
    if len(found) > _MOST_WEAK:
        sentences.append(f"{len(found) - _MOST_WEAK} more are in the table of ratio studies.")
    return sentences or ["No area, kind or quarter that is judged lies outside its ranges beyond chance."]


def _is_noise(said: str) -> bool:
    """Whether everything that is said of a group may be chance, or noise in the prices."""
    return all(
        part.startswith("perhaps") or part.endswith("noise in the prices gives") for part in said.split("; ")
    )


@cache
def code_fingerprint() -> str:
    """SHA-256 over the package's own Python files, templates and styles."""
    digest = hashlib.sha256()
    root = Path(housevis.__file__).parent
    files = [path for ending in _CODE for path in root.rglob(f"*{ending}")]
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _short(fingerprint: Any) -> str:
    return str(fingerprint)[:12] if fingerprint else "not kept"


def moment_in_words(moment: str) -> str:
    """A moment as a reader writes it, for example ``22 November 2026, 02:17 UTC``."""
    stamp = pd.Timestamp(moment)
    return f"{day_in_words(stamp)}, {stamp:%H:%M}{' UTC' if stamp.tzinfo is not None else ''}"


def day_in_words(date: pd.Timestamp) -> str:
    """A day as a reader writes it, for example ``4 May 2015``."""
    return f"{date:%d %B %Y}".lstrip("0")
