"""The report of a run: one file that explains itself and prints."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from housevis.core.errors import LeakError
from housevis.core.storage import write_file
from housevis.pricing.metrics import IAAO_RANGES, within_iaao_range
from housevis.views.charts import agreement_chart, error_chart, hexagon_shape
from housevis.views.data import check_out_of_sample
from housevis.views.driver_tables import driver_matrices, place_rows, place_sentences
from housevis.views.market_map import FEWEST_SALES
from housevis.views.ratio_tables import overall_sentences, ratio_tables
from housevis.views.report_data import RatioStatistics, ReportData
from housevis.views.report_evidence import shown_evidence
from housevis.views.validation import validation_tables
from housevis.views.words import (
    ATTRIBUTE_LABELS,
    COVER_LABELS,
    ICON,
    REJECT_LABELS,
    STAGE_LABELS,
    TILE_LABELS,
    label,
    money,
    percent,
    points,
)

RATIO_ROWS = (
    ("median_ratio", "Median ratio", "The middle estimate divided by its price; 1 is neither high nor low"),
    ("cod", "COD", "Coefficient of dispersion: mean distance of ratios from their median, in percent"),
    ("prd", "PRD", "Price-related differential: above 1, dear houses are estimated too low"),
    ("prb", "PRB", "Price-related bias: change of the ratio when the value doubles"),
)
"""Rows of the ratio study: field, name, meaning."""

_CONTENTS_HERE = "<!-- contents -->"

FORMATS = {"median_ratio": "{:.3f}", "cod": "{:.1f}", "prd": "{:.3f}", "prb": "{:+.3f}"}
"""Decimals of a figure of the ratio study."""


def build_report(data: ReportData, path: Path) -> int:
    """Write the report as one HTML file that needs nothing beside it.

    Args:
        data: What to report.
        path: The file; its folder is made if it is not there.

    Returns:
        The size of the file in bytes.

    Raises:
        LeakError: An estimate in the charts is not out of sample.
    """
    check_out_of_sample(data.estimates, data.training_sales, data.training_houses)
    check_shown_houses(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, render_report(data))


def check_shown_houses(data: ReportData) -> None:
    """Refuse single houses that are not among the checked later sales.

    Raises:
        LeakError: Names the first.
    """
    if data.evidence is None:
        return
    checked = set(data.estimates["sale_id"])
    for table in (data.evidence.misses, data.evidence.moved):
        for sale_id in table["sale_id"] if table is not None else ():
            if sale_id not in checked:
                raise LeakError(
                    f"sale {sale_id} cannot be shown: it is not among the later sales that were checked",
                    where="report",
                    remedy="Run `housevis report CONFIG` again.",
                )


def render_report(data: ReportData) -> str:
    """The report as text; see :func:`build_report`."""
    environment = Environment(
        loader=PackageLoader("housevis.views"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, points=points, money=money)
    shown = None
    if data.evidence is not None:
        shown = shown_evidence(data.evidence, data.ratio_groups, data.currency, data.interval)
    price = data.estimates["price"].to_numpy(dtype=float)
    estimate = data.estimates["estimate"].to_numpy(dtype=float)
    style = (files("housevis.views") / "static" / "report.css").read_text(encoding="utf-8")
    rejected = sum(data.rejects.values())
    attention = data.pictures.attention if data.pictures else ()
    deviation = data.pictures.backbone_deviation if data.pictures else ""
    page = environment.get_template("report.html.jinja").render(
        data=data,
        icon=ICON,
        style=Markup(style),  # noqa: S704
        finding=finding(data),
        agreement=agreement_chart(price, estimate, data.currency),
        errors=error_chart(price, estimate),
        hexagon=hexagon_shape(),
        ratios=ratio_rows(data.ratios),
        group_sentences=overall_sentences(data.ratio_groups) if data.ratio_groups is not None else [],
        group_tables=ratio_tables(data.ratio_groups, data.currency) if data.ratio_groups is not None else [],
        validation_tables=validation_tables(data.validation) if data.validation is not None else [],
        drivers=_driver_rows(data),
        **_driver_tables(data),
        attention=sorted(attention, key=lambda score: -score.heat_ratio),
        covers=_cover_rows(data),
        deviations=[*([deviation] if deviation else []), *data.deviations],
        rejected=rejected,
        evidence=data.evidence,
        shown=shown,
        nominal=data.interval,
        fewest=FEWEST_SALES,
        cell_width=_cell_width(data),
        rejects=_counted(data.rejects, REJECT_LABELS),
        tiles=_counted(data.pictures.tiles, TILE_LABELS) if data.pictures else [],
        stages=[(label(name, STAGE_LABELS), seconds) for name, seconds in data.stages.items()],
        seconds=sum(data.stages.values()),
    )
    return page.replace(_CONTENTS_HERE, _contents(page))


def finding(data: ReportData) -> str:
    """One sentence: what the pictures changed, and whether chance explains it."""
    headline = data.headline
    if headline.gain_low is None or headline.gain_high is None:
        return "This run uses no pictures: every estimate rests on the attributes of the listings alone."
    if headline.gain_low > 0:
        return "The pictures help: the whole interval lies above zero."
    if headline.gain_high < 0:
        return "The pictures hurt in this run: the whole interval lies below zero."
    return "The interval includes zero: chance alone could explain the difference."


def ratio_rows(ratios: RatioStatistics) -> list[dict[str, Any]]:
    """Rows of the ratio study with the IAAO range and whether the figure lies in it."""
    verdicts = {True: "inside", False: "outside", None: "not judged"}
    rows = []
    for field, name, meaning in RATIO_ROWS:
        value = getattr(ratios, field)
        low, high = IAAO_RANGES[field]
        verdict = verdicts[within_iaao_range(field, value, ratios.sales)]
        rows.append(
            {
                "name": name,
                "meaning": meaning,
                "value": FORMATS[field].format(value).replace("-", "−"),
                "range": f"{low:g} to {high:g}".replace("-", "−"),
                "verdict": verdict,
            }
        )
    return rows


def _driver_tables(data: ReportData) -> dict[str, Any]:
    places = data.driver_tables.location_and_picture if data.driver_tables is not None else None
    return {
        "driver_matrices": driver_matrices(data.driver_tables, data.currency),
        "place_rows": place_rows(places, data.currency),
        "place_sentences": place_sentences(places, data.currency),
    }


def _cell_width(data: ReportData) -> str:
    """How wide a cell of the maps is, with its unit."""
    cells = data.evidence.cells if data.evidence is not None else None
    if cells is None or cells.empty:
        return ""
    metres = math.sqrt(3) * float(cells["radius"].iloc[0])
    return f"{metres / 1000:.1f} km" if metres >= 950 else f"{round(metres, -1):.0f} m"


def _contents(page: str) -> Markup:
    """Links to the sections of a page, in their order."""
    found = re.findall(r'<h2 id="([\w-]+)">(.*?)</h2>', page, flags=re.DOTALL)
    links = "".join(f'<li><a href="#{name}">{" ".join(text.split())}</a></li>' for name, text in found)
    return Markup(f'<nav class="contents" aria-label="Contents"><ol>{links}</ol></nav>')  # noqa: S704


def _driver_rows(data: ReportData) -> list[dict[str, Any]]:
    ordered = sorted(data.drivers, key=lambda driver: -driver.mean_absolute)
    largest = ordered[0].mean_absolute if ordered and ordered[0].mean_absolute > 0 else 1.0
    return [
        {
            "name": label(driver.name, ATTRIBUTE_LABELS),
            "amount": driver.mean_absolute,
            "share": driver.mean_absolute_share,
            "width": 100 * driver.mean_absolute / largest,
            "picture": driver.name == "picture",
        }
        for driver in ordered
    ]


def _cover_rows(data: ReportData) -> list[dict[str, Any]]:
    covers = data.pictures.covers if data.pictures else ()
    return [{"name": label(each.cover, COVER_LABELS), "summary": each} for each in covers if each.houses]


def _counted(counts: Any, labels: dict[str, str]) -> list[tuple[str, int]]:
    present = [(label(name, labels), count) for name, count in counts.items() if count]
    return sorted(present, key=lambda row: -row[1])
