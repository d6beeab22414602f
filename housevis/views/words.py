"""Words and amounts that the pages share, and text made safe for script files."""

from __future__ import annotations

import json
import math
from typing import Any, Final
from unicodedata import bidirectional

from data_pipeline.parsing import SQUARE_METRES

ATTRIBUTE_LABELS = {
    "latitude": "Location",
    "longitude": "Location",
    "location": "Location",
    "bedrooms": "Bedrooms",
    "bathrooms": "Bathrooms",
    "area_m2": "Living area",
    "sale_month": "Month of sale",
    "picture": "Aerial picture",
}
"""Attribute -> its name on a page; drivers with one label are added up."""

REJECT_LABELS = {
    "missing_id": "No house id",
    "missing_coordinate": "No coordinates",
    "impossible_coordinate": "Coordinates that are nowhere on Earth",
    "missing_price": "No price",
    "invalid_price": "Price is no number",
    "nonpositive_price": "Price is zero or negative",
    "missing_date": "No sale date",
    "invalid_date": "Sale date cannot be read",
    "future_date": "Sale date lies in the future",
    "duplicate_sale": "The same sale twice",
    "impossible_room_count": "Impossible number of bedrooms",
    "impossible_area": "Impossible area",
}
"""Reject reason of the listings reader -> words."""

TILE_LABELS = {
    "ok": "Fetched",
    "blank": "Blank (nothing photographed)",
    "missing": "Not offered by the provider",
    "failed": "Failed after several tries",
}
"""Tile status -> words."""

STAGE_LABELS = {
    "ingest": "Read the listings",
    "tiles": "Fetch the imagery",
    "embed": "Turn pictures into features",
    "train": "Train the models",
    "explain": "Build the grad-weights and the attention maps",
    "evaluate": "Measure on later sales",
    "atlas": "Build the map",
    "report": "Build the report",
}
"""Step of the pipeline -> what it does."""

COVER_LABELS = {
    "roof": "Roofs",
    "road": "Roads and paving",
    "tree": "Trees",
    "lawn": "Lawn and other low green",
    "water": "Water",
    "pool": "Pools",
    "bare": "Bare ground",
}
"""Class of land cover -> words."""

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='7' fill='%230b5cad'/%3E"
    "%3Cpath d='M6 17 16 8l10 9v9h-7v-6h-6v6H6z' fill='white'/%3E%3C/svg%3E"
)
"""The pages' icon, so that a browser asks for none."""

_TURNING: Final = frozenset({"R", "AL", "AN", "LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes of characters that can reorder what stands beside them."""

CURRENCY_SYMBOLS = {"USD": "$", "CAD": "CA$", "AUD": "A$", "NZD": "NZ$", "EUR": "€", "GBP": "£", "JPY": "¥"}


def label(name: str, labels: dict[str, str]) -> str:
    """The words for `name`, or the name itself with blanks where it is not listed."""
    words = labels.get(name)
    if words is None:
        words = name.replace("_", " ").strip()
        words = words[:1].upper() + words[1:]
    return words


def money(amount: float, currency: str, *, digits: int | None = None, signed: bool = False) -> str:
    """An amount as text, for example ``$452,000``.

    Args:
        amount: The amount in the currency.
        currency: ISO 4217 code.
        digits: Significant digits to round to; None rounds to whole units.
        signed: Put a plus before what is above 0.
    """
    rounded = float(round(amount))
    if digits is not None and amount != 0:
        rounded = round(amount, digits - 1 - math.floor(math.log10(abs(amount))))
    sign = "−" if rounded < 0 else "+" if signed and rounded > 0 else ""
    symbol = CURRENCY_SYMBOLS.get(currency, f"{currency} ")
    return f"{sign}{symbol}{abs(rounded):,.0f}"


def ground_unit(area_unit: str) -> tuple[float, str]:
    """The ground that legends of value maps speak of: its square metres, and what it is called.

    Args:
        area_unit: ``"m2"`` or ``"ft2"``.
    """
    return (1000 * SQUARE_METRES["ft2"], "1,000 sq ft") if area_unit == "ft2" else (100.0, "100 m²")


def isolated(text: str) -> str:
    """A text between invisible marks, so that its writing direction does not reach the words around it.

    For places that hold no elements, such as a title; elsewhere ``<bdi>`` does the same.
    """
    return f"\u2068{text}\u2069" if any(bidirectional(sign) in _TURNING for sign in text) else text


def percent(share: float, decimals: int = 1) -> str:
    """A fraction as a percentage, for example ``52.1 %``."""
    return f"{share * 100:.{decimals}f} %"


def points(difference: float) -> str:
    """A difference of two fractions as signed percentage points, for example ``+2.1``."""
    return f"{difference * 100:+.1f}".replace("-", "−")


def script_json(value: Any) -> str:
    """JSON that can stand in a script file or element whatever texts it holds.

    Everything outside ASCII and ``< > &`` is written as an escape, so that no
    text can close the script or start markup.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
