"""From the text of a listings file to numbers, a whole column at a time.

Every rule looks at one value alone, so the result does not depend on how the
file was cut into parts; what the whole column has to say (the decimal mark)
is decided before, see :mod:`data_pipeline.formats`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
DecimalMark = Literal[".", ","]

SQUARE_METRES = {"m2": 1.0, "ft2": 0.3048**2}
"""Square metres in one unit of area."""

PRICE_LIMIT = 1e15
"""More than this is no price in any currency, but a broken number."""

_CONTROLS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
_BREAKS = r"\s*[\t-\r\x85\u2028\u2029]\s*"
_MISSING = ("na", "nan", "null", "none", "<na>", "nat")
_SPACES = "[\u0020\u00a0\u2009\u202f'’]"
_CURRENCY = (
    r"(?:[円元]|(?:us|au|a|nz|nt|hk|ca|c|s|r|mx)?\$|[€£¥₹₽₩₪₺฿₫₴]|zł|"
    r"\b(?:usd|cad|aud|eur|euro|euros|gbp|nzd|chf|sek|nok|dkk|pln|czk|huf|jpy|cny|inr|brl|mxn|zar|sgd|hkd)\b|"
    r"\bkr\b\.?|\bfr\b\.?|[.,]-+(?=\D*$)|\bk\.k\.|\bv\.o\.n\.|\bvb\b)"
)
_MULTIPLES = {
    **{"k": 1e3, "m": 1e6, "mio": 1e6, "mn": 1e6, "million": 1e6},
    **{"万": 1e4, "億": 1e8},
}
_TRUTHS = {"true": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "n": 0.0}
_AREA_UNIT = (
    r"^(?P<value>[^a-zµ²]*?\d)\s*(?P<unit>m2|㎡|平米|m²|m\^2|sqm|sq\.? ?m\.?|qm|mq|sq\.? ?met(?:er|re)s?|"
    r"sqft|sq\.? ?ft\.?|ft2|ft²|sf|square f(?:ee|oo)t)\.?$"
)
_ROOMS = r"^(?P<value>\d+(?:[.,]\d+)?)\s*[A-Za-zÀ-ÿ][^\d]*$"
_PAIR = r"(?:^|[(\[])\s*(-?\d+(?:\.\d+)?)(?:\s*[,;]\s*|\s+)(-?\d+(?:\.\d+)?)(?:\s+-?[\d.]+)?\s*(?:$|[)\]])"
"""Two numbers that are the whole text or stand in brackets; a height may follow."""

_DEGREES = (
    r"^(?P<before>[nsew])?\s*(?P<sign>-)?(?P<degrees>\d{1,3}(?:[.,]\d+)?)\s*°?\s*"
    r"(?:(?P<minutes>\d{1,2}(?:[.,]\d+)?)\s*['′’]\s*(?:(?P<seconds>\d{1,2}(?:[.,]\d+)?)\s*(?:[\"″”]|'')\s*)?)?"
    r"(?P<after>[nsew])?$"
)


def stripped(text: pd.Series) -> pd.Series:
    """The strings without blanks and null characters at their ends; an empty one is missing."""
    values = text.str.replace("\0", "", regex=False).str.strip()
    return values.mask(values == "")


def as_text(column: pd.Series) -> pd.Series:
    """A column of any kind as strings, each value by itself; whole numbers lose their ``.0``."""
    if isinstance(column.dtype, pd.StringDtype):
        return stripped(column.astype("str"))
    if pd.api.types.is_datetime64_any_dtype(column):
        days = column.dt.tz_localize(None) if column.dt.tz is not None else column
        text = np.datetime_as_string(days.to_numpy().astype("datetime64[D]")).astype(object)
        return pd.Series(text, index=column.index).where(column.notna(), None).astype("str")
    if pd.api.types.is_integer_dtype(column) and isinstance(column.dtype, np.dtype):
        return column.astype("str")
    there = column.notna()
    values = column.astype(object).where(there, None).map(_one_text, na_action="ignore")
    return stripped(values.astype("str"))


def printable(text: pd.Series) -> pd.Series:
    """The strings without control characters: line breaks and tabs become a blank, others U+FFFD."""
    odd = text.str.contains(_CONTROLS, na=False)
    if not odd.any():
        return text
    clean = text[odd].str.replace(_BREAKS, " ", regex=True).str.replace(_CONTROLS, "\ufffd", regex=True)
    return text.where(~odd, clean.reindex(text.index))


def _one_text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 1e15:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def without_missing(text: pd.Series) -> pd.Series:
    """The strings, with the usual words for "missing" (``NA``, ``null``) taken out."""
    if not text.notna().any():
        return text
    return text.mask(text.str.lower().isin(_MISSING))


def numbers(text: pd.Series, decimal: DecimalMark = ".") -> tuple[Floats, Flags]:
    """Read numbers such as ``1,234,567``, ``$ 450000`` and ``1 234 567 €``.

    Args:
        text: Strings.
        decimal: Decimal mark. With ``"."``, ``450000,50`` is no number; with
            ``","``, ``450.000,50`` is four hundred and fifty thousand and a half.

    Returns:
        Values, NaN where there is none, and whether there was a text that is
        no finite number.
    """
    text = without_missing(text)
    there = text.notna().to_numpy()
    first = text if decimal == "." else text.where(~text.str.contains(r"[.,]", na=False))
    values = pd.to_numeric(first, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    odd = there & ~np.isfinite(values)
    if odd.any():
        rest = text[odd].str.lower().str.replace(_CURRENCY, "", regex=True).str.strip()
        truths = rest.map(_TRUTHS).to_numpy(dtype=np.float64, na_value=np.nan)
        values[odd] = np.where(np.isnan(truths), _plain(rest, decimal), truths)
    unreadable = there & ~np.isfinite(values)
    values[unreadable] = np.nan
    return values, unreadable


def _plain(text: pd.Series, decimal: DecimalMark) -> Floats:
    """Numbers with or without marks between thousands, NaN where a text is none."""
    thousands = "," if decimal == "." else "."
    mark, other = ("\\" + decimal if decimal == "." else ","), ("\\." if thousands == "." else ",")
    grouped = text.str.match(rf"^-?\d{{1,3}}(?:(?:{other}|{_SPACES})\d{{3}})+(?:{mark}\d+)?$")
    millions = text.str.match(rf"^-?\d{{1,3}}(?:{mark}\d{{3}}){{2,}}$")
    known = grouped | millions | text.str.match(rf"^[-+]?(?:\d+{mark}?\d*|{mark}\d+)(?:e[-+]?\d+)?$")
    digits = text.where(known)
    digits = digits.where(~millions, digits.str.replace(decimal, "", regex=False))
    digits = digits.where(~grouped, digits.str.replace(rf"{other}|{_SPACES}", "", regex=True))
    if decimal == ",":
        digits = digits.str.replace(",", ".", regex=False)
    return pd.to_numeric(digits, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def prices(text: pd.Series, decimal: DecimalMark = ".") -> tuple[Floats, Flags]:
    """Read prices: numbers, and ``450k``, ``1.2m`` or ``3000万円`` for thousands and millions.

    A word such as ``TRUE`` is no price, nor is an amount that no currency has houses for.
    """
    values, odd = numbers(text, decimal)
    words = text.str.lower().isin(_TRUTHS).to_numpy(dtype=bool)
    values[words], odd = np.nan, odd | words
    if odd.any():
        rest = text[odd].str.lower().str.replace(_CURRENCY, "", regex=True).str.strip()
        parts = rest.str.extract(r"^(?P<value>[\d.,]*\d)\s*(?P<unit>k|m|mio|mn|million|万|億)\.?$")
        factor = parts["unit"].map(_MULTIPLES)
        read = _plain(parts["value"].fillna(""), decimal) * factor.to_numpy(dtype=np.float64)
        odd = _fill_in(values, odd, read)
    beyond = np.abs(values) > PRICE_LIMIT
    values[beyond] = np.nan
    return values, odd | beyond


def rooms(text: pd.Series, decimal: DecimalMark = ".") -> tuple[Floats, Flags]:
    """Read counts of rooms: numbers, and ``3 bed`` or ``2½``."""
    values, odd = numbers(text, decimal)
    if odd.any():
        rest = text[odd].str.replace("½", ".5", regex=False)
        number = rest.str.extract(_ROOMS)["value"].fillna(rest).str.replace(",", ".", regex=False)
        read = pd.to_numeric(number, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        odd = _fill_in(values, odd, np.where(np.isfinite(read), read, np.nan))
    return values, odd


def areas(text: pd.Series, unit: str, decimal: DecimalMark = ".") -> tuple[Floats, Flags]:
    """Read areas into square metres; a unit that is written with the number counts."""
    values, odd = numbers(text, decimal)
    values *= SQUARE_METRES[unit]
    if odd.any():
        parts = text[odd].str.lower().str.extract(_AREA_UNIT)
        read, _ = numbers(parts["value"], decimal)
        feet = parts["unit"].str.contains("f", regex=False, na=False).to_numpy(dtype=bool)
        read = read * np.where(feet, SQUARE_METRES["ft2"], SQUARE_METRES["m2"])
        odd = _fill_in(values, odd, read)
    return values, odd


def coordinates(text: pd.Series) -> tuple[Floats, Flags]:
    """Read coordinates: numbers with a point or a comma, ``25.88° N``, ``80°09'22" W``."""
    text = without_missing(text)
    there = text.notna().to_numpy()
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    odd = there & ~np.isfinite(values)
    values[~np.isfinite(values)] = np.nan
    if odd.any():
        rest = text[odd]
        single = rest.str.match(r"^-?\d+,\d+$")
        read = pd.to_numeric(rest.where(single).str.replace(",", ".", regex=False), errors="coerce")
        odd = _fill_in(values, odd, read.to_numpy(dtype=np.float64, na_value=np.nan))
    if odd.any():
        parts = text[odd].str.lower().str.extract(_DEGREES)
        degrees, minutes, seconds = (
            pd.to_numeric(parts[name].str.replace(",", ".", regex=False), errors="coerce").to_numpy(
                dtype=np.float64, na_value=np.nan
            )
            for name in ("degrees", "minutes", "seconds")
        )
        read = degrees + np.nan_to_num(minutes) / 60 + np.nan_to_num(seconds) / 3600
        letter = parts["after"].fillna(parts["before"])
        minus = (letter.isin(["s", "w"]) | parts["sign"].notna()).to_numpy(dtype=bool)
        read = np.where(letter.notna() | np.isfinite(minutes), np.where(minus, -read, read), np.nan)
        odd = _fill_in(values, odd, read)
    return values, odd


def places(text: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Split places into latitudes and longitudes, as strings.

    ``POINT (-122.3 47.6)`` and GeoJSON have the longitude first; a pair such as
    ``(47.6, -122.3)``, alone or behind an address, has the latitude first. What
    is neither stays whole, so that it is rejected as what it is.
    """
    found = text.str.extract(_PAIR)
    longitude_first = text.str.contains(r"\bpoint\b", case=False, regex=True, na=False)
    latitude = found[0].where(~longitude_first, found[1])
    longitude = found[1].where(~longitude_first, found[0])
    return latitude.fillna(text), longitude.fillna(text)


def _fill_in(values: Floats, odd: Flags, read: Floats) -> Flags:
    """Put the values that were read after all into their places; what stays odd."""
    values[odd] = np.where(np.isfinite(read), read, np.nan)
    return odd & np.isnan(values)
