"""What a whole column says about how its values are written.

The first rows of the file decide, always the same number of them, so that the
decision does not depend on how the file is cut into parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from data_pipeline.dates import MILLISECONDS, SERIAL, SLASHED, DateRules, Order
from data_pipeline.parsing import DecimalMark, without_missing
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError

SAMPLE_ROWS = 10_000
"""Rows that are looked at."""

_GAPS = " \u00a0'’"
_COMMA_MARK = (
    rf"(?:^|[^\d.,])-?(?:\d{{1,3}}(?:[.{_GAPS}]\d{{3}})*|\d+),\d{{1,2}}(?:$|[^\d.,])"
    r"|\d\.\d{3},\d|\d\.\d{3}\.\d{3}|^-?\d{4,},\d+$"
)
_POINT_MARK = (
    rf"(?:^|[^\d.,])-?(?:\d{{1,3}}(?:[,{_GAPS}]\d{{3}})*|\d+)\.\d{{1,2}}(?:$|[^\d.,])"
    r"|\d,\d{3}\.\d|\d,\d{3},\d{3}|^-?\d+\.\d{4,}$|^-?\d{4,}\.\d+$"
)
_THOUSANDS_WITH_POINTS = r"^\D*[1-9]\d{0,2}(?:\.\d{3})+\D*$"
_MOST = 0.9
_CURRENCY_SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN"}
_CURRENCY_CODE = r"\b(USD|CAD|AUD|EUR|GBP|NZD|CHF|SEK|NOK|DKK|PLN|CZK|HUF|JPY|CNY|INR|BRL|MXN|ZAR|SGD|HKD)\b"


@dataclass(frozen=True)
class Formats:
    """How the columns of a file are written.

    Attributes:
        dates: How dates are read.
        decimal: Our name of a column -> its decimal mark.
        notes: What was found, as sentences for a reader.
        warnings: What contradicts the configuration.
    """

    dates: DateRules
    decimal: dict[str, DecimalMark]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def look_at(sample: Mapping[str, pd.Series], section: ListingsSection) -> Formats:
    """Decide how values are written.

    Args:
        sample: Our name of a column, or the file's name of an extra
            attribute -> its first :data:`SAMPLE_ROWS` values as strings.
        section: What is configured counts, whatever the values look like.
    """
    notes: list[str] = []
    rules = DateRules(format=section.date_format)
    if section.date_format is not None:
        _check_date_format(section.date_format)
        notes.append(f"dates: {section.date_format} (configured)")
    elif "date" in sample:
        rules, note = _date_rules(without_missing(sample["date"]).dropna())
        notes.append(f"dates: {note}")
    if section.decimal is not None:
        decimal: dict[str, DecimalMark] = dict.fromkeys(sample, section.decimal)
        notes.append(f"decimal mark: {section.decimal!r} (configured)")
    else:
        decimal = _decimal_marks(sample)
        commas = sorted(name for name, mark in decimal.items() if mark == ",")
        if commas:
            notes.append(f"decimal mark: ',' in {', '.join(commas)} (guessed from the values)")
    return Formats(rules, decimal, notes, _currency_warnings(sample.get("price"), section.currency))


def _check_date_format(written: str) -> None:
    try:
        pd.to_datetime(pd.Series(["2020-01-02"]), format=written, errors="coerce")
    except ValueError:
        raise ConfigError(
            f"{written!r} is no format of dates",
            where="listings.date_format",
            remedy='Write it as for strptime, for example "%d/%m/%Y".',
        ) from None


def _date_rules(text: pd.Series) -> tuple[DateRules, str]:
    if text.empty:
        return DateRules(), "there are none"
    if text.str.match(SERIAL).mean() >= _MOST:
        return DateRules(counting="days since 1900"), "day numbers of a spreadsheet (guessed)"
    if text.str.match(MILLISECONDS).mean() >= _MOST:
        return DateRules(counting="milliseconds since 1970"), "milliseconds since 1970 (guessed)"
    slashed = text.str.extract(SLASHED).dropna()
    if slashed.empty:
        return DateRules(), "as written; each has one meaning"
    first = slashed[0].astype("int64")
    second = slashed[1].astype("int64")
    day_first, month_first = (first > 12) & (second <= 12), (second > 12) & (first <= 12)
    year = "%Y" if (slashed[2].str.len() == 4).all() else "%y"
    orders: dict[tuple[bool, bool], Order] = {(True, False): "day first", (False, True): "month first"}
    order = orders.get((bool(day_first.any()), bool(month_first.any())), "unknown")
    if order == "unknown":
        return DateRules(), f"{slashed.index.size} of them have two meanings; set listings.date_format"
    example = text[(day_first | month_first).reindex(text.index, fill_value=False)].iloc[0]
    written = f"%d/%m/{year}" if order == "day first" else f"%m/%d/{year}"
    return DateRules(order=order), f"{written} (guessed: {example} can only be {order})"


def _decimal_marks(sample: Mapping[str, pd.Series]) -> dict[str, DecimalMark]:
    """The mark of each column: by its own values, else by those of the whole file."""
    comma: dict[str, int] = {}
    point: dict[str, int] = {}
    counts: dict[str, int] = {}
    for name, text in sample.items():
        if name in ("latitude", "longitude", "date", "id"):
            continue
        values = without_missing(text).dropna()
        counts[name] = len(values)
        comma[name] = int(values.str.contains(_COMMA_MARK).sum()) if len(values) else 0
        point[name] = int(values.str.contains(_POINT_MARK).sum()) if len(values) else 0
        if name == "price" and not comma[name] and not point[name] and len(values):
            comma[name] = int(values.str.match(_THOUSANDS_WITH_POINTS).sum())
    file_has_points = any(point.values())
    file_has_commas = any(comma.values())
    marks: dict[str, DecimalMark] = {}
    for name in counts:
        if comma[name] > point[name]:
            mostly = comma[name] > counts[name] / 2
            marks[name] = "," if mostly or not file_has_points else "."
        elif point[name]:
            marks[name] = "."
        else:
            marks[name] = "," if file_has_commas and not file_has_points else "."
    return marks


def _currency_warnings(text: pd.Series | None, currency: str) -> list[str]:
    if text is None or not text.notna().any():
        return []
    values = text.dropna()
    found = set(values.str.upper().str.extract(_CURRENCY_CODE)[0].dropna())
    found |= {code for sign, code in _CURRENCY_SIGNS.items() if values.str.contains(sign, regex=False).any()}
    others = sorted(code for code in found if code != currency.upper())
    if not others:
        return []
    return [
        f"prices are marked {', '.join(others)}, and listings.currency is {currency}; "
        "housevis converts no currencies"
    ]
