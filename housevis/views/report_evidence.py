"""What the report says of single houses, of fairness and of the market, made ready for its page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from housevis.pricing.miss_diagnosis import TOO_HIGH, TOO_LOW, Wording
from housevis.pricing.picture_gain import ALL, NOT_JUDGED
from housevis.pricing.ratio_groups import COVERED
from housevis.pricing.representativeness import LARGE_DIFFERENCE
from housevis.pricing.sale_groups import AREA, ESTIMATE, KIND
from housevis.views.curve_charts import level_chart, lorenz_chart, tenths_chart
from housevis.views.market_map import MarketMap, market_maps
from housevis.views.moved_houses import MovedPicture, MovedPictures
from housevis.views.ratio_tables import MOST_ROWS
from housevis.views.words import ATTRIBUTE_LABELS, ground_unit, label, money, percent, points

LEVEL_BAND: Final = (0.95, 1.05)
"""A tenth's level is to lie within 5 % of that of all (IAAO)."""

RATIO_BAND: Final = (0.90, 1.10)

_GAIN_HEADINGS: Final = {
    ESTIMATE: ("By estimated price, in tenths", "Estimate"),
    AREA: ("By area", "Area"),
    KIND: ("By kind of house", "Kind"),
}


@dataclass(frozen=True)
class MarketLevel:
    """The level of prices by month.

    Attributes:
        table: ``date``, ``level``, ``low``, ``high``, log units.
        how: What it is, in a sentence.
        last_sale: Beyond that day it is carried; None where it is not.
    """

    table: pd.DataFrame
    how: str
    last_sale: pd.Timestamp | None = None


@dataclass(frozen=True)
class CardRow:
    """A line of the model card: what is said, and of what."""

    item: str
    says: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What stands behind the sections on pictures, misses, fairness, market and model.

    Attributes:
        misses: Of :func:`housevis.pricing.miss_diagnosis.biggest_misses`.
        lorenz: Of :func:`housevis.pricing.equity.lorenz_curves`.
        gini_prices: Gini coefficient of the prices.
        gini_estimates: The same of the estimates, in the order of the prices.
        cells: Of :func:`housevis.views.market_map.map_cells`.
        level: The level of prices; None where no month can be told.
        valuation: As of which dates the estimates are, in a sentence.
        card: The model card.
        gain: Of :func:`housevis.pricing.picture_gain.picture_gain`; None without pictures.
        moved: Of :func:`housevis.pricing.picture_gain.moved_most`; None without pictures.
        moved_pictures: Their pictures.
        by_picture: Of :func:`housevis.pricing.representativeness.compare_by_picture`.
        grades: Of :func:`housevis.pricing.confidence_table.confidence_table`; None of an older run.
        doubts: Of :func:`housevis.pricing.confidence_table.reasons_table`; None of an older run.
        area_unit: ``"m2"`` or ``"ft2"``.
    """

    misses: pd.DataFrame
    lorenz: pd.DataFrame
    gini_prices: float
    gini_estimates: float
    cells: pd.DataFrame | None
    level: MarketLevel | None
    valuation: str
    card: tuple[CardRow, ...]
    gain: pd.DataFrame | None = None
    moved: pd.DataFrame | None = None
    moved_pictures: MovedPictures | None = None
    by_picture: pd.DataFrame | None = None
    grades: pd.DataFrame | None = None
    doubts: pd.DataFrame | None = None
    area_unit: str = "m2"


@dataclass(frozen=True)
class GainTable:
    """One table of gains: heading, heading of the column with the groups, rows of texts, groups left out."""

    heading: str
    column: str
    rows: tuple[dict[str, Any], ...]
    left_out: int = 0


@dataclass(frozen=True)
class ShownEvidence:
    """The parts of the page, drawn and worded; what there is nothing of is empty or None."""

    gain_tables: list[GainTable]
    gain_sentence: str
    moved: list[dict[str, Any]]
    moved_legend: str
    moved_ends: tuple[str, str, str]
    misses: list[tuple[str, list[dict[str, str]]]]
    ratio_curve: Markup | None
    coverage_curve: Markup | None
    lorenz: Markup
    level: Markup | None
    maps: list[MarketMap]
    by_picture: list[dict[str, str]]
    by_picture_counts: tuple[int, int] | None
    grades: list[dict[str, str]]
    doubts: list[dict[str, str]]


def shown_evidence(
    evidence: Evidence, studies: pd.DataFrame | None, currency: str, nominal: float
) -> ShownEvidence:
    """Draw and word everything.

    Args:
        evidence: What to show.
        studies: The ratio studies by group, for the curves by tenth.
        currency: ISO 4217 code of all amounts.
        nominal: Share of prices that the ranges are to hold.
    """
    moved, legend, ends = _moved(evidence, currency)
    return ShownEvidence(
        gain_tables=_gain_tables(evidence.gain, currency) if evidence.gain is not None else [],
        gain_sentence=_gain_sentence(evidence.gain) if evidence.gain is not None else "",
        moved=moved,
        moved_legend=legend,
        moved_ends=ends,
        misses=_miss_tables(evidence.misses, currency),
        ratio_curve=_ratio_curve(studies),
        coverage_curve=_coverage_curve(studies, nominal),
        lorenz=lorenz_chart(evidence.lorenz),
        level=_level(evidence.level),
        maps=market_maps(evidence.cells) if evidence.cells is not None else [],
        by_picture=_by_picture(evidence, currency),
        by_picture_counts=_counts(evidence.by_picture),
        grades=_graded(evidence.grades, "grade"),
        doubts=_graded(evidence.doubts, "reason"),
    )


def _gain_tables(gain: pd.DataFrame, currency: str) -> list[GainTable]:
    tables = []
    for by, (heading, column) in _GAIN_HEADINGS.items():
        found = gain[gain["by"] == by]
        if found.empty:
            continue
        largest = found.sort_values("sales", ascending=False, kind="stable").head(MOST_ROWS)
        shown = largest.sort_values("position")
        rows = tuple(_gain_row(row, currency, gain_reach(gain)) for row in shown.to_dict("records"))
        tables.append(GainTable(heading, column, rows, len(found) - len(rows)))
    return tables


def _graded(table: pd.DataFrame | None, named: str) -> list[dict[str, str]]:
    rows = [] if table is None else table.to_dict("records")
    shares = ("share", "pe10", "mdape", "covered", "width")
    return [
        {"name": str(row[named]), "sales": f"{row['sales']:,}"}
        | {name: percent(row[name]) for name in shares}
        for row in rows
    ]


def gain_reach(gain: pd.DataFrame) -> float:
    """Where the drawn intervals of gains end on both sides: a round fraction that holds most of them."""
    judged = gain.loc[gain["verdict"] != NOT_JUDGED, ["low", "high"]].abs().max(axis=1)
    widest = float(judged.quantile(0.95)) if len(judged) else 0.0
    return next((reach for reach in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if reach >= widest), 1.0)


def _gain_row(row: dict[Any, Any], currency: str, reach: float) -> dict[str, Any]:
    name = row["group"]
    if not math.isnan(row["from"]):
        name = _range(row["from"], row["to"], currency)
    start = 50 + 50 * max(-1.0, min(row["low"] / reach, 1.0))
    end = 50 + 50 * max(-1.0, min(row["high"] / reach, 1.0))
    middle = 50 + 50 * max(-1.0, min(row["gain"] / reach, 1.0))
    return {
        "name": name,
        "sales": f"{row['sales']:,}",
        "without": percent(row["without"]),
        "with": percent(row["with"]),
        "gain": points(row["gain"]),
        "interval": f"{points(row['low'])} to {points(row['high'])}",
        "verdict": row["verdict"],
        "judged": row["verdict"] != NOT_JUDGED,
        "start": start,
        "width": max(end - start, 0.6),
        "middle": middle,
    }


def _gain_sentence(gain: pd.DataFrame) -> str:
    groups = gain[(gain["by"] != ALL) & gain["by"].isin(list(_GAIN_HEADINGS))]
    judged = groups[groups["verdict"] != NOT_JUDGED]
    counts = judged["verdict"].value_counts()
    reach = points(gain_reach(gain)).lstrip("+")
    return (
        f"Of {len(judged)} groups that are judged, the pictures help in {counts.get('helps', 0)} and hurt in "
        f"{counts.get('hurts', 0)} with an interval clear of zero. Of so many groups about "
        f"{max(round(len(judged) * 0.05), 1)} would be clear of zero by chance alone. The line is the paired "
        f"95 % interval, from −{reach} to +{reach} points with zero in the middle."
    )


def _moved(evidence: Evidence, currency: str) -> tuple[list[dict[str, Any]], str, tuple[str, str, str]]:
    if evidence.moved is None or evidence.moved.empty:
        return [], "", ("", "", "")
    drawn = evidence.moved_pictures
    cards = []
    for number, row in enumerate(evidence.moved.to_dict("records")):
        picture: MovedPicture | None = drawn.pictures.get(row["sale_id"]) if drawn else None
        cards.append(
            {
                "id": f"photo-{number}",
                "house": str(row["house_id"]),
                "date": f"{row['sale_date']:%d %B %Y}".lstrip("0"),
                "price": money(row["price"], currency),
                "estimate": money(row["estimate"], currency, digits=4),
                "without": money(row["without_picture"], currency, digits=4),
                "amount": money(row["picture"], currency, digits=3, signed=True),
                "share": f"{100 * row['picture_effect']:+.0f} %".replace("-", "−"),
                "around": _around(row.get("surroundings"), currency),
                "nearer": abs(math.log(row["estimate"] / row["price"]))
                < abs(math.log(row["without_picture"] / row["price"])),
                "raises": row["picture"] > 0,
                "picture": picture,
            }
        )
    if drawn is None or not drawn.legend:
        return cards, "", ("", "", "")
    size, ground = ground_unit(evidence.area_unit)
    low, high = (money(sign * drawn.most * size, currency, digits=2, signed=True) for sign in (-1, 1))
    return cards, drawn.legend, (low, high, ground)


def _around(amount: float | None, currency: str) -> str:
    """What the pictures around a house add, which its own map cannot show."""
    if amount is None or math.isnan(amount) or amount == 0:
        return ""
    return money(amount, currency, digits=3, signed=True)


def _miss_tables(misses: pd.DataFrame, currency: str) -> list[tuple[str, list[dict[str, str]]]]:
    headings = {TOO_HIGH: "Estimated too high", TOO_LOW: "Estimated too low"}
    tables = []
    for direction, heading in headings.items():
        rows = [
            {
                "house": str(row["house_id"]),
                "date": f"{row['sale_date']:%b %Y}",
                "price": money(row["price"], currency),
                "estimate": money(row["estimate"], currency, digits=3),
                "range": _range(row["low"], row["high"], currency),
                "error": f"{100 * row['error']:+.0f} %".replace("-", "−"),
                "reasons": _sentences(row["reasons"]),
            }
            for row in misses[misses["direction"] == direction].to_dict("records")
        ]
        if rows:
            tables.append((heading, rows))
    return tables


def _range(low: float, high: float, currency: str) -> str:
    return f"{money(low, currency, digits=3)} to {money(high, currency, digits=3)}"


def _sentences(reasons: str) -> str:
    return ". ".join(f"{each[:1].upper()}{each[1:]}" for each in reasons.split("; ")) + "."


def _tenths(studies: pd.DataFrame | None, figure: str) -> pd.DataFrame | None:
    if studies is None:
        return None
    found = studies[(studies["by"] == ESTIMATE) & (studies["figure"] == figure)]
    return found.sort_values("position") if len(found) else None


def _ratio_curve(studies: pd.DataFrame | None) -> Markup | None:
    rows = _tenths(studies, "median_ratio")
    if rows is None or studies is None:
        return None
    everything = studies[(studies["by"] == ALL) & (studies["figure"] == "median_ratio")]
    level = float(everything["value"].iloc[0]) if len(everything) else 1.0
    return tenths_chart(
        rows,
        (LEVEL_BAND[0] * level, LEVEL_BAND[1] * level),
        line=1.0,
        title="Median ratio by tenth of the estimate, with its interval",
        axis="Tenth of the estimates, 1 the cheapest",
        wide_band=RATIO_BAND,
    )


def _coverage_curve(studies: pd.DataFrame | None, nominal: float) -> Markup | None:
    rows = _tenths(studies, COVERED)
    if rows is None:
        return None
    return tenths_chart(
        rows,
        (nominal - 0.05, min(nominal + 0.05, 1.0)),
        line=nominal,
        title="Share of prices inside their range by tenth of the estimate",
        axis="Tenth of the estimates, 1 the cheapest",
        as_percent=True,
    )


def _level(level: MarketLevel | None) -> Markup | None:
    if level is None or len(level.table) < 2:
        return None
    return level_chart(level.table, last_sale=level.last_sale)


def _counts(by_picture: pd.DataFrame | None) -> tuple[int, int] | None:
    if by_picture is None or by_picture.empty:
        return None
    first = by_picture[by_picture["measure"] == "price"].iloc[0]
    return int(first["with_sales"]), int(first["without_sales"])


def _by_picture(evidence: Evidence, currency: str) -> list[dict[str, str]]:
    counts = _counts(evidence.by_picture)
    if evidence.by_picture is None or counts is None or counts[1] == 0:
        return []
    rows = []
    for row in evidence.by_picture.to_dict("records"):
        apart = row["difference"]
        rows.append(
            {
                "name": {"price": "Price", "sale_date": "Date of sale"}.get(
                    row["measure"], label(row["measure"], ATTRIBUTE_LABELS)
                ),
                "with": _median(row["measure"], row["with_median"], evidence.area_unit, currency),
                "without": _median(row["measure"], row["without_median"], evidence.area_unit, currency),
                "difference": "–" if math.isnan(apart) else f"{apart:+.2f}".replace("-", "−"),
                "verdict": "not judged"
                if math.isnan(apart) or counts[1] < 30
                else "notable"
                if abs(apart) > LARGE_DIFFERENCE
                else "small",
            }
        )
    return rows


def _median(measure: str, value: float, area_unit: str, currency: str) -> str:
    if math.isnan(value):
        return "–"
    if measure == "price":
        return money(value, currency)
    if measure == "sale_date":
        return f"{pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=int(value)):%d %b %Y}".lstrip("0")
    if measure == "area_m2":
        return Wording(area_unit=area_unit).value(measure, value)
    return f"{value:g}"
