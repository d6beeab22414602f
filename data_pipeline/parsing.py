"""From the text of a listings file to numbers and dates, a whole column at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

_MISSING = ("na", "nan", "null", "none", "<na>", "nat")
_GROUPED = r"^-?\d{1,3}(?:,\d{3})+(?:\.\d+)?$"
_CURRENCY = r"(?:[$€£¥]|\b(?:usd|cad|aud|eur|gbp|nzd|chf)\b)"
_TRUTHS = {"true": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "n": 0.0}


def without_missing(text: pd.Series) -> pd.Series:
    """The strings, with the usual words for "missing" (``NA``, ``null``) taken out."""
    if not text.notna().any():
        return text
    return text.mask(text.str.lower().isin(_MISSING))


def numbers(text: pd.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Read numbers; ``1,234,567`` and ``$ 450000`` count, ``450000,50`` does not.

    Returns:
        Values, NaN where there is none, and whether there was a text that is
        no finite number.
    """
    text = without_missing(text)
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    there = text.notna().to_numpy()
    values[~there] = np.nan
    odd = there & ~np.isfinite(values)
    if odd.any():
        rest = text[odd].str.lower().str.replace(_CURRENCY, "", regex=True).str.strip()
        truths = rest.map(_TRUTHS).to_numpy(dtype=np.float64, na_value=np.nan)
        rest = rest.where(~rest.str.match(_GROUPED), rest.str.replace(",", "", regex=False))
        read = pd.to_numeric(rest, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        values[odd] = np.where(np.isnan(truths), read, truths)
    unreadable = there & ~np.isfinite(values)
    values[unreadable] = np.nan
    return values, unreadable


def dates(text: pd.Series, date_format: str | None) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
    """Read calendar dates; the time of day and its zone are left out.

    Args:
        text: Strings.
        date_format: As for ``strptime``; None reads ISO 8601 (``2014-05-02``,
            ``20140502T000000``, ``2014-05``) and nothing else, because
            ``3/4/2016`` has two meanings.

    Returns:
        ``datetime64[ns]`` dates, NaT where there is none, and whether there
        was a text that is no date.
    """
    text = without_missing(text)
    there = text.notna()
    if date_format is not None:
        read = pd.to_datetime(text, format=date_format, errors="coerce", utc="%z" in date_format)
        if read.dt.tz is not None:
            read = read.dt.tz_localize(None)
    else:
        read = pd.Series(pd.NaT, index=text.index, dtype="datetime64[s]")
        shapes = (
            (r"^\d{4}-\d{2}-\d{2}(?:$|[T ])", 10, "%Y-%m-%d"),
            (r"^\d{8}(?:$|T)", 8, "%Y%m%d"),
            (r"^\d{4}-\d{2}$", 7, "%Y-%m"),
        )
        for pattern, length, shape in shapes:
            fits = text.str.match(pattern, na=False)
            if fits.any():
                read[fits] = pd.to_datetime(
                    text[fits].str.slice(0, length), format=shape, errors="coerce"
                ).astype("datetime64[s]")
    read = read.dt.normalize()
    readable = read.notna() & (read >= pd.Timestamp(1700, 1, 1)) & (read <= pd.Timestamp(2261, 1, 1))
    read = read.where(readable).astype("datetime64[ns]")
    return read, (there & ~readable).to_numpy()
