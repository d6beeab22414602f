"""From the text of a listings file to calendar dates.

A date that has one meaning is read as it is: ``2016-03-12``, ``20160312``,
``2016/3/12``, ``12.3.2016`` (points go with the day first), ``12-Mar-2016``,
``March 12, 2016``, ``2016-03`` (the first of the month). ``3/4/2016`` has two
meanings, ``42441`` could be any number: those are read only where the column
as a whole says how, see :mod:`data_pipeline.formats`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.parsing import without_missing

Order = Literal["day first", "month first", "unknown"]
Counting = Literal["days since 1900", "milliseconds since 1970", "none"]

EARLIEST, LATEST = pd.Timestamp(1700, 1, 1), pd.Timestamp(2261, 1, 1)

SLASHED = r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})(?:$|[ tT,])"
"""Two small numbers and a year: day and month, or month and day."""

SERIAL = r"^[2-6]\d{4}(?:\.\d+)?$"
"""What a spreadsheet makes of a date: days since 1899-12-30, here 1954 to 2091."""

MILLISECONDS = r"^\d{12,13}$"

_YEAR_FIRST = r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:$|[ tT])"
_POINTS = r"^(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})(?:$|[ tT,])"
_DAY_NAME_YEAR = r"^(\d{1,2})(?:st|nd|rd|th|\.)?[-/ ]*([a-zß-ÿ]{3,})\.?[-/ ,]*(\d{4}|\d{2})(?:$|[ tT,])"
_NAME_DAY_YEAR = r"^([a-zß-ÿ]{3,})\.?[-/ ]*(\d{1,2})(?:st|nd|rd|th)?[-/ ,]+(\d{4})(?:$|[ tT,])"
_MONTHS = (
    ("jan", "ene", "gen"),
    ("feb", "fev", "fév", "febr"),
    ("mar", "mär", "mrz", "mrt", "maa"),
    ("apr", "avr", "abr"),
    ("may", "mai", "mei", "mag"),
    ("jun", "juin", "giu"),
    ("jul", "juil", "lug"),
    ("aug", "aou", "aoû", "ago"),
    ("sep", "set"),
    ("oct", "okt", "ott", "out"),
    ("nov",),
    ("dec", "dez", "déc", "dic"),
)
_MONTH_OF = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names}


@dataclass(frozen=True)
class DateRules:
    """How dates that have more than one meaning are read.

    Attributes:
        format: As for ``strptime``; it alone counts where it is set.
        order: Of day and month in ``3/4/2016``.
        counting: What a bare number counts.
    """

    format: str | None = None
    order: Order = "unknown"
    counting: Counting = "none"


def dates(text: pd.Series, rules: DateRules) -> tuple[pd.Series, npt.NDArray[np.bool_], int]:
    """Read calendar dates; the time of day and its zone are left out.

    Returns:
        ``datetime64[s]`` dates, NaT where there is none; whether there was a
        text that is no date; and how many dates are known to the month only.
    """
    text = without_missing(text)
    there = text.notna().to_numpy()
    month_only = 0
    if rules.format is not None:
        read = pd.to_datetime(text, format=rules.format, errors="coerce", utc="%z" in rules.format)
        if read.dt.tz is not None:
            read = read.dt.tz_localize(None)
        days = read.to_numpy().astype("datetime64[s]")
        if not any(code in rules.format for code in ("%d", "%j", "%x", "%c", "%e")):
            month_only = int(read.notna().sum())
    else:
        days, month_only = _without_format(text, there, rules)
    read = pd.Series(days.astype("datetime64[D]").astype("datetime64[s]"), index=text.index)
    readable = read.notna() & (read >= EARLIEST) & (read <= LATEST)
    return read.where(readable), there & ~readable.to_numpy(), month_only


def first_of_months(
    year: npt.NDArray[np.float64], month: npt.NDArray[np.float64], day: npt.NDArray[np.float64]
) -> npt.NDArray[np.datetime64]:
    """Calendar dates of whole numbers, NaT where there is no such day."""
    whole = np.isfinite(year) & np.isfinite(month) & np.isfinite(day)
    whole &= (year % 1 == 0) & (month % 1 == 0) & (day % 1 == 0)
    whole &= (year >= EARLIEST.year) & (year <= LATEST.year) & (month >= 1) & (month <= 12)
    whole &= (day >= 1) & (day <= 31)
    years = np.where(whole, year, 1970).astype(np.int64) - 1970
    months = np.where(whole, month, 1).astype(np.int64) - 1
    begins = (years * 12 + months).astype("datetime64[M]")
    result = begins.astype("datetime64[D]") + (np.where(whole, day, 1).astype(np.int64) - 1)
    whole &= result.astype("datetime64[M]") == begins
    result[~whole] = np.datetime64("NaT")
    return result.astype("datetime64[s]")


def _without_format(
    text: pd.Series, there: npt.NDArray[np.bool_], rules: DateRules
) -> tuple[npt.NDArray[np.datetime64], int]:
    days = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[s]")
    left = there.copy()
    month_only = 0
    for pattern, length, shape in (
        (r"^\d{4}-\d{2}-\d{2}(?:$|[T ])", 10, "%Y-%m-%d"),
        (r"^\d{8}(?:$|T)", 8, "%Y%m%d"),
        (r"^\d{4}-\d{2}$", 7, "%Y-%m"),
    ):
        fits = left & text.str.match(pattern, na=False).to_numpy(dtype=bool)
        if fits.any():
            part = text[fits].str.slice(0, length)
            days[fits] = pd.to_datetime(part, format=shape, errors="coerce").to_numpy().astype("M8[s]")
            month_only += int((~np.isnat(days[fits])).sum()) if length == 7 else 0
            left &= ~fits
        if not left.any():
            return days, month_only
    slashed = {"day first": (2, 1, 0), "month first": (2, 0, 1)}.get(rules.order)
    shapes = [(_YEAR_FIRST, (0, 1, 2)), (_POINTS, (2, 1, 0)), (_DAY_NAME_YEAR, (2, 1, 0))]
    shapes += [(_NAME_DAY_YEAR, (2, 0, 1))] + ([(SLASHED, slashed)] if slashed else [])
    for regular, places in shapes:
        if not left.any():
            break
        found = text[left].str.lower().str.extract(regular)
        year, month, day = (_part(found[place]) for place in places)
        read = first_of_months(_in_century(year, found[places[0]]), month, day)
        days[left] = read
        left &= np.isnat(days)
    if rules.counting != "none" and left.any():
        days[left] = _counted(text[left], rules.counting)
    return days, month_only


def _part(text: pd.Series) -> npt.NDArray[np.float64]:
    """Year, month or day as a number; a name is that of a month."""
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    named = np.isnan(values) & text.notna().to_numpy()
    if named.any():
        names = text[named]
        longest = names.str.slice(0, 4).map(_MONTH_OF).fillna(names.str.slice(0, 3).map(_MONTH_OF))
        values[named] = longest.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _in_century(year: npt.NDArray[np.float64], text: pd.Series) -> npt.NDArray[np.float64]:
    short = (text.str.len() == 2).fillna(False).to_numpy(dtype=bool)
    return np.where(short, year + np.where(year < 69, 2000, 1900), year)


def _counted(text: pd.Series, counting: Counting) -> npt.NDArray[np.datetime64]:
    pattern = SERIAL if counting == "days since 1900" else MILLISECONDS
    values = pd.to_numeric(text.where(text.str.match(pattern, na=False)), errors="coerce")
    count = values.to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(count)
    whole = np.where(known, count, 0)
    if counting == "days since 1900":
        result = np.datetime64("1899-12-30") + np.floor(whole).astype("timedelta64[D]")
    else:
        result = np.datetime64("1970-01-01") + np.floor(whole / 86_400_000).astype("timedelta64[D]")
    result = result.astype("datetime64[s]")
    result[~known] = np.datetime64("NaT")
    return result
