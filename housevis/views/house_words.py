"""Sentences that the printed report of a house and its page in the browser share."""

from __future__ import annotations

from datetime import date

import pandas as pd


def taken_words(taken: date | None, sold: pd.Timestamp) -> str:
    """When a picture was taken, seen from the sale.

    Args:
        taken: The day, or None where it is not known.
        sold: The day of the sale.
    """
    if taken is None:
        return "The day it was taken is not known: it may predate the sale."
    days = (sold - pd.Timestamp(taken)).days
    size = abs(days) / 365.25
    apart = f"{size:.0f} years" if size >= 1.5 else f"{12 * size:.0f} months"
    side = "before the sale" if days > 0 else "after the sale"
    return f"Taken about {taken:%B %Y}, " + (f"{apart} {side}." if abs(days) >= 45 else "near the sale.")
