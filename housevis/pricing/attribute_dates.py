"""The check of attributes that are dated after the sale they describe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import ConfigError
from housevis.pricing.attributes import encode, known_attributes
from housevis.pricing.leak_checks import EXAMPLES, PASSED, SALE_DATE, STOPPED, Finding, LeakCheck, sentences

DATED_AFTER_SALE: Final = "attribute dated after the sale"
SHARE_AFTER_SALE: Final = 0.01
ROWS_AFTER_SALE: Final = 2
"""Up to two sales, or one in a hundred, may be dated later: sold off plan, renovated at once, mistyped."""

_SHARE_OF_YEARS = 0.95
_YEARS = (1600, 2200)
_DATE_WORDS = re.compile(
    r"yea?r|(^|[^a-z])yr|date|built|build|renov|remodel|jahr|jaar|ann[eé]e|a[nñ]o([^a-z]|$)|datum|fecha",
    re.IGNORECASE,
)

Floats = NDArray[np.float64]


def check_dates(
    sales: pd.DataFrame, attributes: Sequence[str], attribute_dates: Mapping[str, str] | None = None
) -> LeakCheck:
    """Look for attributes that are dated after the sale they describe.

    An attribute is a date where its name says so (year, yr, date, built,
    renovated and their like) and 95 % of its values are years from 1600 to
    2200, or months and days as ``YYYYMM`` and ``YYYYMMDD``; 0 means that there
    is none. A year is compared with the year of the sale, a month with its
    month, a day with its day. One in a hundred of the dated sales may lie
    after the sale, and in any case two of them: houses sold off plan,
    renovated by the buyer at once, or mistyped. More stop the run.

    Args:
        sales: Sale frame, n rows.
        attributes: Names of the attributes to look at.
        attribute_dates: Attribute -> the column that holds the date at which it
            was known, itself such a date, or ``sale_date`` for one that is
            known at the sale whatever its values.

    Raises:
        ConfigError: `attribute_dates` names an attribute or a column that the
            sales do not have, or a column that holds no dates.
    """
    stated = dict(attribute_dates or {})
    _check_stated(sales, attributes, stated)
    values = encode(sales, attributes)
    findings, looked_at = [], []
    for name in attributes:
        column = stated.get(name, name)
        if column == SALE_DATE:
            looked_at.append(name)
            continue
        if name not in stated and not _is_date(name, values[name].to_numpy()):
            continue
        looked_at.append(name)
        dates = encode(sales, [column])[column].to_numpy()
        finding = _dated_after(sales, name, column, dates, values[name].to_numpy())
        if finding is not None:
            findings.append(finding)
    columns = tuple(looked_at)
    if findings:
        return LeakCheck(DATED_AFTER_SALE, STOPPED, sentences(findings), columns, tuple(findings))
    if not columns:
        return LeakCheck(DATED_AFTER_SALE, PASSED, "no attribute is a date or has one", columns)
    says = f"{', '.join(columns)}: not after the sale, but for at most 1 in 100"
    return LeakCheck(DATED_AFTER_SALE, PASSED, says, columns)


def _check_stated(sales: pd.DataFrame, attributes: Sequence[str], stated: Mapping[str, str]) -> None:
    known = known_attributes(sales)
    for name, column in stated.items():
        missing = [each for each in (name, column) if each not in known and each != SALE_DATE]
        if missing or name not in attributes:
            raise ConfigError(
                f"the sales have no attribute {(missing or [name])[0]!r}",
                where="pricing.attribute_dates",
                remedy='Write attribute = "column of its date"; both must be attributes, such as '
                'extra_attributes of [listings], or the date may be "sale_date".',
            )
        dates = (
            sales[column].to_numpy() if column == SALE_DATE else encode(sales, [column])[column].to_numpy()
        )
        if column != SALE_DATE and not _holds_dates(dates):
            raise ConfigError(
                f"the column {column!r} holds no dates",
                where="pricing.attribute_dates",
                remedy="Dates are numbers: a year (2015), a month (201503) or a day (20150331).",
            )


def _is_date(name: str, values: Floats) -> bool:
    return _DATE_WORDS.search(name) is not None and _holds_dates(values)


def _holds_dates(values: Floats) -> bool:
    given = values[np.isfinite(values) & (values != 0)]
    return len(given) > 0 and float((_written_as(given) > 0).mean()) >= _SHARE_OF_YEARS


def _written_as(values: Floats) -> NDArray[np.int64]:
    """How a date is written ``(n,)``: 1 for years, 100 with months, 10000 with days, 0 for no date."""
    found = np.zeros(len(values), dtype=np.int64)
    whole = np.isfinite(values) & (values == np.floor(values))
    for factor in (1, 100, 10_000):
        year = values // factor
        fits = whole & (year >= _YEARS[0]) & (year <= _YEARS[1])
        if factor > 1:
            month = (values // (factor // 100)) % 100
            fits &= (month >= 1) & (month <= 12)
        if factor == 10_000:
            fits &= (values % 100 >= 1) & (values % 100 <= 31)
        found[fits] = factor
    return found


def _dated_after(
    sales: pd.DataFrame, name: str, column: str, dates: Floats, values: Floats
) -> Finding | None:
    sold = pd.to_datetime(sales[SALE_DATE])
    written = _written_as(dates)
    day = (sold.dt.year * 10_000 + sold.dt.month * 100 + sold.dt.day).to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore"):
        limit = np.where(written > 0, day // (10_000 // np.maximum(written, 1)), np.inf)
    dated = (written > 0) & np.isfinite(values)
    after = np.flatnonzero(dated & (dates > limit))
    count = int(dated.sum())
    if len(after) <= max(ROWS_AFTER_SALE, SHARE_AFTER_SALE * count):
        return None
    share = len(after) / count
    examples = tuple(
        {
            "sale_id": str(sales["sale_id"].iloc[row]) if "sale_id" in sales else str(row),
            column: float(dates[row]),
            "sale_date": f"{sold.iloc[row]:%Y-%m-%d}",
        }
        for row in after[:EXAMPLES]
    )
    whose = "it" if column == name else f"its date {column!r}"
    what = f"{whose} lies after the sale for {len(after):,} of {count:,} dated sales ({share:.1%})"
    return Finding(name, what, share, len(after), examples)
