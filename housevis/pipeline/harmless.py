"""Tables that a spreadsheet can open: no text of a listing runs as a formula."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the begin of a formula, some of them in wide letters."""


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """A copy in which no text, and no heading, can run as a formula in a spreadsheet.

    Such a text has an apostrophe before it; numbers and dates stay as they are.
    """
    safe = table.copy()
    for position in range(table.shape[1]):
        column = table.iloc[:, position]
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
            values = [_with_apostrophe(value) for value in column.tolist()]
            safe.isetitem(position, pd.array(values, dtype=object))
    safe.columns = pd.Index([_with_apostrophe(str(name)) for name in table.columns])
    return safe


def _with_apostrophe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(STARTS_FORMULA) else value
