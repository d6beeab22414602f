"""Named checks that stop a run whose attributes already know the price, or the time after the sale.

A figure of such a run would be excellent and worth nothing. Two checks look
at the attributes, each with a name and a result that the run keeps:

* ``price-derived attribute``: a column that gives the price back, alone or
  times, over or plus another column (:func:`check_price_derived`);
* ``attribute dated after the sale``: years and dates that lie after the sale
  (:func:`housevis.pricing.attribute_dates.check_dates`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau

from housevis.pricing.attributes import ATTRIBUTE_SETS, encode

PRICE_DERIVED: Final = "price-derived attribute"
PASSED, STOPPED, NOT_JUDGED = "passed", "stopped", "not judged"

SAME_PRICE: Final = 0.01
"""A relation gives a price back that is within ±1 % of it, for one constant of proportion."""
SHARE_GIVEN_BACK: Final = 0.75
"""Three of four sales given back: the column is made of the price. A quarter may be wrong or stale."""
SHARE_IN_ORDER: Final = 0.995
"""So many pairs of sales in the order of their prices: the column is the price in other words."""
FEWEST_SALES: Final = 30
"""Fewer sales with a value say nothing."""
SALES_LOOKED_AT: Final = 4000
"""More sales than that are sampled evenly: shares of three quarters need no more."""
_LEAST_SPREAD = 0.05
_FEWEST_LEVELS = 5
_LEAST_PAIRS = 0.25
_FEWEST_OF_A_MONTH = 20
EXAMPLES: Final = 5
"""Example sales that a finding names."""
_PLAIN: Final = frozenset(ATTRIBUTE_SETS["G, Bed, Bath, T, A"])
SALE_DATE: Final = "sale_date"
_PRICE_WORDS = re.compile(r"price|prc|value|cost|per|psf|psm|ppsf|tax", re.IGNORECASE)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """One attribute that leaks.

    Attributes:
        column: The attribute.
        what: What is wrong with it, as a sentence without a final full stop.
        share: Share of the sales with a value that are concerned.
        sales: Number of sales concerned, of those looked at.
        examples: A few of them: ``sale_id`` and the values that show it.
        beside: The other attribute of the relation, where it takes two and
            either may be the one made of the price.
    """

    column: str
    what: str
    share: float
    sales: int
    examples: tuple[dict[str, Any], ...]
    beside: str | None = None


@dataclass(frozen=True)
class LeakCheck:
    """A check and its result.

    Attributes:
        name: Name of the check.
        result: ``"passed"``, ``"stopped"`` or ``"not judged"``.
        says: The result in a sentence.
        columns: The attributes that were looked at.
        findings: What was found; none unless the result is ``"stopped"``.
    """

    name: str
    result: str
    says: str
    columns: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    def without_examples(self) -> dict[str, Any]:
        """The check as plain values for JSON, with nothing in it that belongs to one house."""
        kept = asdict(self)
        for finding in kept["findings"]:
            del finding["examples"]
        return kept


def check_price_derived(sales: pd.DataFrame, attributes: Sequence[str]) -> LeakCheck:
    """Look for attributes that give the sale price back.

    An attribute is made of the price where, with one constant of proportion,

    * the attribute, one over it, or the price of which it is the natural or
      decimal logarithm,
    * that times or over another attribute, or the sum of two attributes,

    lies within ±1 % of the price for three of four sales (also with one
    constant per month of sale: prices adjusted to a date); or where, of all
    pairs of sales that differ in the attribute, 99.5 % are in the order of
    their prices or against it (ranks, bands and powers of the price). An
    assessor's value or an asking price comes near, not that near.

    Args:
        sales: Sale frame, n rows.
        attributes: Names of the attributes to look at.

    Returns:
        The check; ``"not judged"`` where there are too few sales or where
        prices hardly differ.
    """
    columns = tuple(attributes)
    price = sales["price"].to_numpy(dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(price) & (price > 0))
    log_price = np.log(price[rows])
    if len(rows) < FEWEST_SALES or _narrowest(log_price) < _LEAST_SPREAD:
        says = "too few sales, or prices that hardly differ: no relation to the price can be told from chance"
        return LeakCheck(PRICE_DERIVED, NOT_JUDGED, says, columns)
    sample = sales.iloc[rows]
    table = _Table(sample.reset_index(drop=True), log_price, encode(sample, columns).reset_index(drop=True))
    alone = [finding for name in columns if (finding := _made_of_price(table, name)) is not None]
    guilty = {finding.column for finding in alone}
    pairs = _pairs_made_of_price(table, [name for name in columns if name not in guilty])
    findings = (*alone, *pairs)
    if findings:
        return LeakCheck(PRICE_DERIVED, STOPPED, sentences(findings), columns, findings)
    says = f"none of {len(columns)} attributes gives the price back, alone or with another"
    return LeakCheck(PRICE_DERIVED, PASSED, says, columns)


@dataclass(frozen=True)
class _Table:
    """Sales with a price, the logarithm of it ``(n,)``, and their attributes ``(n, F)``."""

    sales: pd.DataFrame
    log_price: Floats
    values: pd.DataFrame

    def months(self, rows: NDArray[np.int64]) -> Floats | None:
        if SALE_DATE not in self.sales:
            return None
        dates = pd.to_datetime(self.sales[SALE_DATE].iloc[rows])
        return np.asarray(dates.dt.year * 12 + dates.dt.month, dtype=np.float64)

    def examples(self, rows: NDArray[np.int64], names: Sequence[str]) -> tuple[dict[str, Any], ...]:
        found = rows[:EXAMPLES]
        return tuple(
            {"sale_id": str(self.sales["sale_id"].iloc[row]) if "sale_id" in self.sales else str(row)}
            | {name: float(self.values[name].iloc[row]) for name in names}
            | {"price": float(self.sales["price"].iloc[row])}
            for row in found
        )


def _sampled(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most :data:`SALES_LOOKED_AT` of the rows, evenly."""
    if len(rows) <= SALES_LOOKED_AT:
        return rows
    return rows[np.linspace(0, len(rows) - 1, SALES_LOOKED_AT).astype(np.int64)]


def _narrowest(values: Floats) -> float:
    """Half the width of the narrowest range that holds three quarters of the values."""
    ordered = np.sort(values)
    held = max(int(np.ceil(SHARE_GIVEN_BACK * len(ordered))), 2)
    return float((ordered[held - 1 :] - ordered[: len(ordered) - held + 1]).min()) / 2


def _given_back(residual: Floats) -> NDArray[np.bool_] | None:
    """The sales whose residual lies in a range of ±1 % that holds three quarters; None where none does."""
    if _narrowest(residual) > SAME_PRICE:
        return None
    ordered = np.sort(residual)
    held = max(int(np.ceil(SHARE_GIVEN_BACK * len(ordered))), 2)
    widths = ordered[held - 1 :] - ordered[: len(ordered) - held + 1]
    start = int(np.argmin(widths))
    middle = (ordered[start] + ordered[start + held - 1]) / 2
    return np.asarray(np.abs(residual - middle) <= SAME_PRICE + 1e-12)


def _made_of_price(table: _Table, name: str) -> Finding | None:
    values = table.values[name].to_numpy()
    rows = _sampled(np.flatnonzero(np.isfinite(values) & (values != 0)))
    if len(rows) >= FEWEST_SALES:
        x, log_price = values[rows], table.log_price[rows]
        months = table.months(rows)
        for relation, logarithm in _forms_alone(name, x):
            residual = log_price - logarithm
            hits, said = _given_back(residual), relation
            if hits is None and months is not None:
                hits = _given_back(_less_month(residual, months))
                said = f"{relation}, with one constant for each month"
            if hits is not None:
                return _finding(table, name, (name,), f"the price is {said}", rows, hits)
    rows = _sampled(np.flatnonzero(np.isfinite(values)))
    in_order = _share_in_order(values[rows], table.log_price[rows])
    if in_order is None or max(in_order, 1 - in_order) < SHARE_IN_ORDER:
        return None
    way = "the dearer, the higher" if in_order > 0.5 else "the dearer, the lower"
    what = f"it puts the sales in the order of their prices ({way})"
    return _finding(table, name, (name,), what, rows, np.ones(len(rows), dtype=bool))


def _forms_alone(name: str, values: Floats) -> Iterator[tuple[str, Floats]]:
    """What of the price an attribute may be, and the logarithm of the price up to a constant ``(n,)``."""
    logarithm = np.log(np.abs(values))
    yield f"a constant times {name!r}", logarithm
    yield f"a constant over {name!r}", -logarithm
    yield f"what {name!r} is the logarithm of", values
    yield f"what {name!r} is the decimal logarithm of", values * np.log(10)


def _less_month(residual: Floats, months: Floats) -> Floats:
    """Residuals less the median of their month; those of months of few sales are left out as they are far."""
    groups = pd.Series(residual).groupby(months)
    found = residual - groups.transform("median").to_numpy()
    return np.where(groups.transform("size").to_numpy() >= _FEWEST_OF_A_MONTH, found, residual)


def _share_in_order(values: Floats, log_price: Floats) -> float | None:
    """Share of the pairs that differ in both which are in order; None where the values hardly differ."""
    count = len(values)
    if count < FEWEST_SALES or len(np.unique(values)) < _FEWEST_LEVELS:
        return None
    pairs = count * (count - 1) / 2
    tied, tied_price = _tied_pairs(values), _tied_pairs(log_price)
    both = np.unique(np.column_stack([values, log_price]), axis=0, return_counts=True)[1]
    judged = pairs - tied - tied_price + float((both * (both - 1) / 2).sum())
    if judged < _LEAST_PAIRS * pairs:
        return None
    tau = float(kendalltau(values, log_price).statistic)
    surplus = tau * np.sqrt((pairs - tied) * (pairs - tied_price))
    return float((1 + surplus / judged) / 2)


def _tied_pairs(values: Floats) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def _pairs_made_of_price(table: _Table, names: Sequence[str]) -> list[Finding]:
    """Attributes that give the price back together with another; each is reported once."""
    found: dict[str, Finding] = {}
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if first in found or second in found:
                continue
            finding = _pair_made_of_price(table, first, second)
            if finding is not None:
                found[finding.column] = finding
    return list(found.values())


def _pair_made_of_price(table: _Table, first: str, second: str) -> Finding | None:
    x, z = table.values[first].to_numpy(), table.values[second].to_numpy()
    rows = _sampled(np.flatnonzero(np.isfinite(x) & np.isfinite(z) & (x != 0) & (z != 0)))
    if len(rows) < FEWEST_SALES:
        return None
    x, z, log_price = x[rows], z[rows], table.log_price[rows]
    for relation, logarithm in _forms_together(first, x, second, z):
        hits = _given_back(log_price - logarithm)
        if hits is not None:
            column = max((first, second), key=_suspicion)
            return _finding(table, column, (first, second), f"the price is {relation}", rows, hits)
    return None


def _forms_together(first: str, x: Floats, second: str, z: Floats) -> Iterator[tuple[str, Floats]]:
    log_x, log_z = np.log(np.abs(x)), np.log(np.abs(z))
    yield f"a constant times {first!r} times {second!r}", log_x + log_z
    yield f"a constant times {first!r} over {second!r}", log_x - log_z
    yield f"a constant times {second!r} over {first!r}", log_z - log_x
    for base, factor in (("natural", 1.0), ("decimal", np.log(10))):
        yield f"{second!r} times what {first!r} is the {base} logarithm of", factor * x + log_z
        yield f"{first!r} times what {second!r} is the {base} logarithm of", factor * z + log_x
    if (x + z > 0).all():
        yield f"a constant times the sum of {first!r} and {second!r}", np.log(x + z)


def _finding(
    table: _Table,
    column: str,
    names: Sequence[str],
    what: str,
    rows: NDArray[np.int64],
    hits: NDArray[np.bool_],
) -> Finding:
    others = [name for name in names if name != column and name not in _PLAIN]
    examples = table.examples(rows[hits], names)
    return Finding(column, what, float(hits.mean()), int(hits.sum()), examples, others[0] if others else None)


def _suspicion(name: str) -> int:
    """Which of two attributes was made of the price: rather one that no listing has of its own."""
    return 0 if name in _PLAIN else 1 + (_PRICE_WORDS.search(name) is not None)


def sentences(findings: Sequence[Finding]) -> str:
    """All findings as one sentence."""
    return "; ".join(f"{finding.column!r}: {finding.what}" for finding in findings)
