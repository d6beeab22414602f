"""Ratio studies by group: for whom estimates are too high, too low, uneven, or less sure than they say.

Which figure is judged in which group:

* The ranges of the IAAO (:data:`housevis.pricing.metrics.IAAO_RANGES`), and
  its rule that the level of every group lies within 5 % of the level of all.
* Inside a decile all values are alike, so PRD, PRB and MKI say nothing there
  and are printed only.
* Elsewhere the three are judged by the ranges, and what they would be if dear
  and cheap houses were treated alike stands beside them
  (:mod:`housevis.pricing.equal_treatment`).
* Grouped by sale price nothing is judged: a house that sold dear by chance
  stands in a dear decile with an estimate that is rightly lower.
* The share of prices inside their intervals: within 2 points of the nominal
  one over all sales, within 5 points in a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.pricing import metrics
from housevis.pricing.equal_treatment import VERTICAL, if_treated_alike
from housevis.pricing.metrics import FEWEST_SALES_JUDGED, IAAO_RANGES, Interval
from housevis.pricing.price_nearness import nearness_to_prices
from housevis.pricing.sale_groups import AREA, ESTIMATE, KIND, PRICE, QUARTER, Grouping, groupings

ALL, NEARNESS = "all", "nearness to price"
"""What the rows of the whole market, and those of the test of sales chasing, are grouped by."""

INSIDE, OUTSIDE, PERHAPS, NOT_JUDGED = "inside", "outside", "outside, chance not excluded", "not judged"
"""Verdicts on a figure. `PERHAPS`: it lies outside its range, but its 95 % interval reaches into it."""

LEVEL: Final = "level_to_all"
"""Median ratio of a group / median ratio of all sales."""

IF_ALIKE: Final = "_if_alike"
"""Ends the name of a figure as it would be if dear and cheap houses were treated alike."""

COVERED: Final = "covered"
"""Share of sale prices inside their intervals."""

FEWEST_SALES_COVERED: Final = 200
"""Coverage is judged from so many sales on in areas, quarters and kinds."""

COLUMNS: Final = (
    "by", "group", "position", "from", "to", "sales", "figure", "value", "low", "high", "range_low",
    "range_high", "verdict",
)  # fmt: skip
"""Columns of the table: one row per group and figure."""

_LEVEL_RANGE: Final = (0.95, 1.05)


def ratio_groups(
    sales: pd.DataFrame,
    *,
    area: str | None = None,
    kind: str | None = None,
    nominal: float = 0.9,
    repeats: int = 500,
    seed: int = 1,
) -> pd.DataFrame:
    """Ratio studies of all sales and of every group.

    Args:
        sales: One row per sale with ``estimate`` and ``price`` (currency,
            above zero) and, each where known, ``low`` with ``high`` (the
            price interval), ``sale_date``, ``latitude`` with ``longitude``,
            and attributes.
        area: Attribute that says the area; see :func:`groupings`.
        kind: Attribute that says the kind of house; see :func:`groupings`.
        nominal: Share of prices that the intervals are to hold.
        repeats: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        One row per group and figure, columns :data:`COLUMNS`. ``from`` and
        ``to`` are the smallest and largest value of a decile (currency, NaN
        elsewhere), ``low`` and ``high`` the 95 % interval of ``value``: of a
        bootstrap, of the Wilson score for shares of intervals, and of the
        exchanges for figures that end in ``_if_alike``. ``range_low`` and
        ``range_high`` are NaN and ``verdict`` None where a figure has no
        range. Groups without sales have no rows.

    Raises:
        ModelError: There are no sales.
        ConfigError: An attribute that is named is not there, or no grouping.
    """
    sales = sales.reset_index(drop=True)
    rows = list(_rows(ALL, "all sales", 0, sales, None, nominal, repeats, seed))
    middle = next(row["value"] for row in rows if row["figure"] == "median_ratio")
    for grouping in groupings(sales, area=area, kind=kind):
        for position in np.unique(grouping.group).tolist():
            chosen = sales[grouping.group == position]
            name, ends = grouping.names[position], _ends(grouping, position)
            for row in _rows(grouping.by, name, position, chosen, middle, nominal, repeats, seed):
                rows.append(row | ends)
    if {"low", "high"} <= set(sales):
        rows += _nearness_rows(sales, nominal)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"from": "float64", "to": "float64"})


def verdict(
    value: float, low: float, high: float, limits: tuple[float, float] | None, *, enough: bool
) -> str | None:
    """What is said of a figure with its interval; None where it has no range.

    Args:
        value: The figure.
        low: Lower end of its interval.
        high: Upper end of it.
        limits: The range, bounds inclusive.
        enough: Whether there are enough sales to judge.
    """
    if limits is None:
        return None
    if not enough or not np.isfinite(value):
        return NOT_JUDGED
    if limits[0] <= value <= limits[1]:
        return INSIDE
    return PERHAPS if low <= limits[1] and high >= limits[0] else OUTSIDE


def in_words(figures: pd.DataFrame) -> str:
    """One sentence on a group: what lies outside its range, and which way.

    Args:
        figures: The rows of one group, of :func:`ratio_groups`.

    Returns:
        Such as ``"7 % too low; perhaps uneven (COD 15.4)"``; *perhaps* where
        chance is not excluded, ``"within the ranges"`` where nothing is
        outside, ``"not judged"`` where nothing was judged.
    """
    rows = figures.set_index("figure")
    judged = rows[rows["verdict"].notna() & (rows["verdict"] != NOT_JUDGED)]
    if judged.empty:
        return NOT_JUDGED
    wrong = judged[judged["verdict"] != INSIDE]
    if {"median_ratio", LEVEL} <= set(wrong.index):
        wrong = wrong.drop(index=LEVEL)
    said = [
        f"{_perhaps([row['verdict']])}{_complaint(str(name), row)}"
        for name, row in wrong.iterrows()
        if name not in VERTICAL
    ]
    return "; ".join([*said, *_vertical_complaints(rows, wrong)]) or "within the ranges"


def _perhaps(verdicts: Sequence[Any]) -> str:
    return "" if OUTSIDE in verdicts else "perhaps "


def _vertical_complaints(rows: pd.DataFrame, wrong: pd.DataFrame) -> list[str]:
    """What PRD, PRB and MKI say together, and which of them say no more than noise in the prices."""
    named: dict[str, list[str]] = {"low": [], "high": [], "noise": []}
    for name in (name for name in VERTICAL if name in wrong.index):
        value = float(wrong.loc[name, "value"])  # type: ignore[arg-type]
        way = "low" if (value > 1 if name == "prd" else value < (0 if name == "prb" else 1)) else "high"
        if name + IF_ALIKE in rows.index:
            alike = rows.loc[name + IF_ALIKE]
            way = "noise" if alike["low"] <= value <= alike["high"] else way
        named[way].append(name)
    texts = {name: f"{name.upper()} {wrong.loc[name, 'value']:.3f}".replace("-", "−") for name in wrong.index}
    said = [
        f"{_perhaps([wrong.loc[name, 'verdict'] for name in named[way]])}dear houses too {way} "
        f"({', '.join(texts[name] for name in named[way])})"
        for way in ("low", "high")
        if named[way]
    ]
    if not said and named["noise"]:
        said = [f"{', '.join(texts[name] for name in named['noise'])}, as noise in the prices gives"]
    return said


def _complaint(name: str, row: pd.Series[Any]) -> str:
    value, above = float(row["value"]), row["value"] > row["range_high"]
    if name == "median_ratio":
        return f"{100 * abs(value - 1):.0f} % too {'high' if above else 'low'}"
    if name == LEVEL:
        return f"{100 * abs(value - 1):.0f} % {'above' if above else 'below'} the level of all"
    if name == "cod":
        return f"uneven (COD {value:.1f})" if above else f"more even than markets are (COD {value:.1f})"
    if name == COVERED:
        return f"ranges too {'wide' if above else 'narrow'} ({100 * value:.0f} % inside)"
    return f"more estimates equal their price than the ranges let expect ({100 * value:.1f} %)"


def _rows(
    by: str,
    name: str,
    position: int,
    sales: pd.DataFrame,
    middle: float | None,
    nominal: float,
    repeats: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The figures of one group; `middle` is the median ratio of all sales."""
    estimate, price = sales["estimate"].to_numpy(np.float64), sales["price"].to_numpy(np.float64)
    figures = metrics.bootstrap(metrics.STATISTICS, estimate, price, repeats=repeats, seed=seed)
    if middle is not None:
        own = figures["median_ratio"]
        figures[LEVEL] = Interval(own.estimate / middle, own.low / middle, own.high / middle)
    if {"low", "high"} <= set(sales):
        inside = (sales["low"] <= sales["price"]) & (sales["price"] <= sales["high"])
        figures[COVERED] = metrics.share_interval(inside.to_numpy())
    if _limits(by, "prb", nominal) is not None:
        alike = if_treated_alike(estimate, price, seed=seed)
        figures |= {name + IF_ALIKE: found for name, found in alike.items()}
    for figure, found in figures.items():
        fewest = FEWEST_SALES_JUDGED
        if figure == COVERED and by in (AREA, QUARTER, KIND):
            fewest = FEWEST_SALES_COVERED
        limits = _limits(by, figure, nominal)
        yield _row(by, name, position, len(sales), figure, found, limits, enough=len(sales) >= fewest)


def _limits(by: str, figure: str, nominal: float) -> tuple[float, float] | None:
    """The range of a figure in a grouping; None where it is only printed."""
    if by == PRICE or (by == ESTIMATE and figure in VERTICAL):
        return None
    if figure == COVERED:
        allowed = 0.02 if by == ALL else 0.05
        return round(nominal - allowed, 9), round(min(nominal + allowed, 1.0), 9)
    return _LEVEL_RANGE if figure == LEVEL else IAAO_RANGES.get(figure)


def _nearness_rows(sales: pd.DataFrame, nominal: float) -> list[dict[str, Any]]:
    estimate, price, low, high = (
        sales[name].to_numpy(np.float64) for name in ("estimate", "price", "low", "high")
    )
    enough = len(sales) >= FEWEST_SALES_JUDGED
    rows = []
    for position, found in enumerate(nearness_to_prices(estimate, price, low, high, nominal)):
        group = (NEARNESS, f"within ±{100 * found.band:g} %", position, len(sales))
        limits = (0.0, found.peaked)
        rows.append(_row(*group, "share", found.share, limits, enough=enough))
        for figure in ("smooth", "peaked"):
            value = getattr(found, figure)
            bare = Interval(value, float("nan"), float("nan"))
            rows.append(_row(*group, f"expected_{figure}", bare, None, enough=enough))
    return rows


def _row(
    by: str,
    group: str,
    position: int,
    sales: int,
    figure: str,
    found: Interval,
    limits: tuple[float, float] | None,
    *,
    enough: bool,
) -> dict[str, Any]:
    low, high = limits or (float("nan"), float("nan"))
    return {
        "by": by,
        "group": group,
        "position": position,
        "sales": sales,
        "figure": figure,
        "value": found.estimate,
        "low": found.low,
        "high": found.high,
        "range_low": low,
        "range_high": high,
        "verdict": verdict(found.estimate, found.low, found.high, limits, enough=enough),
    }


def _ends(grouping: Grouping, position: int) -> dict[str, float]:
    if grouping.values is None:
        return {}
    inside = grouping.values[grouping.group == position]
    return {"from": float(inside.min()), "to": float(inside.max())}
