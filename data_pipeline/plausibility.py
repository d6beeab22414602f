"""What looks wrong in a whole file: units, ids, places. Nothing is rejected for it; it is said."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_pipeline.columns import ColumnMapping
from data_pipeline.judging import joined_id
from data_pipeline.parsing import SQUARE_METRES, as_text
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ListingsError

SHORTENED = r"^\d(?:\.\d+)?[eE]\+?\d{1,2}$"
"""What a spreadsheet makes of a long number: 6.2228E+11."""

_MANY = 0.01
_LARGEST_MEDIAN = 500.0
_SMALLEST_MEDIAN = 30.0
_CHEAPEST_MEDIAN = 5_000.0
SAME_PLACE_DEGREES = 0.02
"""A house that its rows place farther apart than this is probably two houses."""


def check_ids(sample: pd.DataFrame, mapping: ColumnMapping, where: str) -> list[str]:
    """A spreadsheet that shortens long numbers makes different houses look the same.

    Args:
        sample: The first rows.
        mapping: Which column is the id.
        where: The source, for messages.

    Returns:
        A warning for each other column of ids that is shortened.

    Raises:
        ListingsError: The ids are shortened.
    """
    if sample.empty:
        return []
    ids = joined_id(sample, mapping.names["id"])
    shortened = ids[ids.str.match(SHORTENED, na=False)]
    if shortened.duplicated().sum() > len(ids) * _MANY:
        place = f"{mapping.names.get('latitude', 'latitude')}, {mapping.names.get('longitude', 'longitude')}"
        raise ListingsError(
            f"a spreadsheet has shortened the ids ({shortened.iloc[0]}), so different houses look the same: "
            f"{len(shortened):,} rows have {shortened.nunique():,} different ids",
            where=f"{where}, column {mapping.names['id']!r}",
            remedy="Export the ids as text, or build them from other columns, for example "
            f'listings.columns.id = "{place}".',
        )
    warnings = []
    for name in mapping.other_ids:
        unused = as_text(sample[name])
        rounded = unused[unused.str.match(SHORTENED, na=False)]
        if rounded.duplicated().sum() > len(unused) * _MANY:
            warnings.append(
                f"column {name!r} is not unique: a spreadsheet has rounded it ({rounded.iloc[0]}), so "
                f"{len(rounded):,} rows have {rounded.nunique():,} different values; it is not used"
            )
    return warnings


def implausible(
    sales: pd.DataFrame, section: ListingsSection, *, geographic: bool, far_apart: int
) -> list[str]:
    """Warnings about the sales as a whole.

    Args:
        sales: The kept sales.
        section: The ``[listings]`` section.
        geographic: Whether the coordinates were given in degrees.
        far_apart: Houses that their rows place far apart.
    """
    if sales.empty:
        return []
    found = [*_areas(sales, section), *_prices(sales, section), *_far_apart(far_apart)]
    if geographic:
        found += _coarse(sales)
    return found


def _areas(sales: pd.DataFrame, section: ListingsSection) -> list[str]:
    median = sales["area_m2"].median()
    if not np.isfinite(median):
        return []
    written = median / SQUARE_METRES[section.area_unit]
    if median > _LARGEST_MEDIAN and section.area_unit == "m2":
        return [
            f"half of the areas are above {written:,.0f} m2: set listings.area_unit = 'ft2' if it is feet"
        ]
    if median < _SMALLEST_MEDIAN and section.area_unit == "ft2":
        return [
            f"half of the areas are below {written:,.0f} ft2: set listings.area_unit = 'm2' if it is metres"
        ]
    return []


def _prices(sales: pd.DataFrame, section: ListingsSection) -> list[str]:
    median = sales["price"].median()
    if median >= _CHEAPEST_MEDIAN:
        return []
    return [
        f"half of the prices are below {median:,.0f} {section.currency}: "
        "rents, or thousands, or another decimal mark (listings.decimal)?"
    ]


def _far_apart(far_apart: int) -> list[str]:
    if not far_apart:
        return []
    return [
        f"{far_apart:,} ids stand for places that are more than {SAME_PLACE_DEGREES} degrees apart: "
        "is the id really one of a house?"
    ]


def _coarse(sales: pd.DataFrame) -> list[str]:
    """Coordinates that are rounded so much that a picture would show another house."""
    latitude = sales["latitude"].to_numpy()
    coarse = np.abs(latitude * 100 - np.round(latitude * 100)) < 1e-9
    if coarse.mean() < 0.9:
        return []
    return ["the latitudes have two decimals or fewer, about a kilometre: pictures would show other houses"]
