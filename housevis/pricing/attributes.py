"""Attributes of a sale as numbers that a regressor takes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.errors import ConfigError, ModelError

LOCATION: Final = ("latitude", "longitude")
"""G of the paper: the house's own coordinates, degrees in EPSG:4326."""

ATTRIBUTE_SETS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "G": LOCATION,
    "G, Bed, Bath": (*LOCATION, "bedrooms", "bathrooms"),
    "G, Bed, Bath, T": (*LOCATION, "bedrooms", "bathrooms", "sale_month"),
    "G, A": (*LOCATION, "area_m2"),
    "G, Bed, Bath, T, A": (*LOCATION, "bedrooms", "bathrooms", "sale_month", "area_m2"),
}
"""The attribute sets of C Table 2, in its order: G location, T sold year-month, A unit area."""

NOT_ATTRIBUTES: Final = frozenset({"sale_id", "house_id", "sale_date", "price", "address"})
"""Columns of a sale frame that tell which sale it is, or its price; no model takes them for attributes."""


def encode(sales: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """Turn the attributes of sales into numbers.

    Args:
        sales: Sale frame, n rows. ``sale_month`` needs the column
            ``sale_date`` (datetime); every other attribute is a numeric
            column of the frame.
        attributes: Names of the attributes, in the order wanted.

    Returns:
        Frame of float64 ``(n, len(attributes))`` with the index of `sales`;
        NaN where a value is missing. ``sale_month`` counts months since
        January 2000 (2014-05 is 172).

    Raises:
        ConfigError: An attribute is unknown, named twice or not numeric.
    """
    names = list(attributes)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"the attribute {repeated[0]!r} is named twice",
            where="pricing.attributes",
            remedy="Name each attribute once.",
        )
    columns = {name: _column(sales, name) for name in names}
    return pd.DataFrame(columns, index=sales.index, columns=names, dtype="float64")


def known_attributes(sales: pd.DataFrame) -> list[str]:
    """Names that :func:`encode` accepts for these sales, sorted."""
    names = {str(name) for name in sales.columns if _is_attribute(sales, name)}
    if "sale_date" in sales.columns:
        names.add("sale_month")
    return sorted(names)


def check_attributes(sales: pd.DataFrame, attributes: Sequence[str]) -> None:
    """Refuse attributes that these sales do not have, or hold no value of.

    Args:
        sales: Sale frame of all sales.
        attributes: Names of the attributes that are to be used.

    Raises:
        ConfigError: As for :func:`encode`, or an attribute is empty in every
            sale; the message has the line to put into the configuration.
    """
    encoded = encode(sales, attributes)
    empty = [name for name in attributes if encoded[name].isna().all()]
    if not empty:
        return
    kept = ", ".join(f'"{name}"' for name in attributes if name not in empty)
    raise ConfigError(
        f"the sales hold no value of {', '.join(map(repr, empty))}",
        where="pricing.attributes",
        remedy=f"Write attributes = [{kept}] into the section [pricing]."
        if kept
        else f"These sales have: {', '.join(present_attributes(sales))}.",
    )


def present_attributes(sales: pd.DataFrame) -> list[str]:
    """Those of :func:`known_attributes` that at least one sale has a value of."""
    known = known_attributes(sales)
    encoded = encode(sales, known)
    return [name for name in known if encoded[name].notna().any()]


def visual_names(dimension: int) -> tuple[str, ...]:
    """Names of the visual features: ``visual_1`` to ``visual_<dimension>``."""
    return tuple(f"visual_{number}" for number in range(1, dimension + 1))


def with_visual(attributes: pd.DataFrame, visual: NDArray[Any]) -> pd.DataFrame:
    """Put visual features beside encoded attributes.

    Args:
        attributes: Encoded attributes of n sales, from :func:`encode`.
        visual: Visual features ``(n, D)``; NaN in the rows of houses that
            have no picture.

    Returns:
        Frame of float64 with the columns of `attributes`, then
        ``visual_1`` to ``visual_D``.

    Raises:
        ModelError: The two have different numbers of rows.
    """
    if visual.ndim != 2 or len(visual) != len(attributes):
        raise ModelError(
            f"visual features of shape {visual.shape} do not fit {len(attributes)} sales",
            remedy="Give one row of visual features per sale, NaN where a house has no picture.",
        )
    right = pd.DataFrame(
        np.asarray(visual, dtype="float64"),
        index=attributes.index,
        columns=list(visual_names(visual.shape[1])),
    )
    return pd.concat([attributes, right], axis=1)


def model_table(sales: pd.DataFrame, attributes: Sequence[str], visual: NDArray[Any]) -> pd.DataFrame:
    """What a price model takes of sales: attributes, visual features, and which house was sold when.

    Args:
        sales: Sale frame, n rows.
        attributes: Names of the attributes.
        visual: Visual features ``(n, D)``, NaN where a house has no picture.

    Returns:
        The columns of :func:`encode` and :func:`with_visual`, then
        ``house_id`` and ``sale_date`` where the sales have them.

    Raises:
        ConfigError: As for :func:`encode`.
        ModelError: As for :func:`with_visual`.
    """
    known = [name for name in ("house_id", "sale_date") if name in sales.columns]
    return pd.concat([with_visual(encode(sales, attributes), visual), sales[known]], axis=1)


def _column(sales: pd.DataFrame, name: str) -> NDArray[np.float64]:
    if name in sales.columns and _is_attribute(sales, name):
        return sales[name].to_numpy(dtype="float64", na_value=np.nan)
    if name == "sale_month" and name not in sales.columns and "sale_date" in sales.columns:
        return _sale_month(sales["sale_date"])
    if name in sales.columns and name not in NOT_ATTRIBUTES:
        raise ConfigError(
            f"the attribute {name!r} holds text, not numbers",
            where="pricing.attributes",
            remedy="Leave it out, or give it as numbers in the listings.",
        )
    nearest = difflib.get_close_matches(name, known_attributes(sales), n=1, cutoff=0.5)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    raise ConfigError(
        f"unknown attribute {name!r}",
        where="pricing.attributes",
        remedy=f"{guess}These sales have: {', '.join(present_attributes(sales))}.",
    )


def _is_attribute(sales: pd.DataFrame, name: Any) -> bool:
    kind = sales[name].dtype
    return (
        name not in NOT_ATTRIBUTES
        and pd.api.types.is_numeric_dtype(kind)
        and not pd.api.types.is_complex_dtype(kind)
    )


def _sale_month(dates: pd.Series[Any]) -> NDArray[np.float64]:
    days = pd.to_datetime(dates)
    months = (days.dt.year - 2000) * 12 + (days.dt.month - 1)
    return np.asarray(months, dtype="float64")


def in_words(name: str) -> str:
    """An attribute as a reader calls it, for example ``living area``."""
    return "living area" if name == "area_m2" else name.replace("_", " ")
