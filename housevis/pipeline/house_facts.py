"""What the printed report of a house and its page in the browser say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.parsing import SQUARE_METRES
from housevis.core.config import Config
from housevis.explain.heatmap import heatmaps_of
from housevis.pipeline.attention import AttentionMaps
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.views.heat import DRAWN_STATUSES, drawn_scale
from housevis.views.house_report import HouseMap
from housevis.views.words import ATTRIBUTE_LABELS, label

_FACTS: Final = ("bedrooms", "bathrooms", "area_m2")


def text_or_none(value: Any) -> str | None:
    """A text of a table; None where there is none, or an empty one."""
    return None if value is None or value is pd.NA or value != value or not str(value) else str(value)


def listed_facts(sale: pd.Series[Any], config: Config) -> list[tuple[str, str]]:
    """Names and values, in words, of what every listing tells of a house."""
    found = []
    for name in _FACTS:
        value = float(sale[name])
        if not np.isfinite(value):
            continue
        if name == "area_m2":
            feet = config.listings.area_unit == "ft2"
            size = value / SQUARE_METRES[config.listings.area_unit]
            found.append(("living area", f"{size:,.0f} {'sq ft' if feet else 'm²'}"))
        else:
            found.append((label(name, ATTRIBUTE_LABELS).lower(), f"{value:g}"))
    return found


def confidence_of(record: pd.Series[Any] | Mapping[Any, Any]) -> tuple[str | None, list[str]]:
    """The grade of an estimate and its reasons; None and nothing in runs without grades."""
    written = text_or_none(record.get("confidence_reasons")) or ""
    return text_or_none(record.get("confidence")), [reason for reason in written.split("; ") if reason]


def drivers_of(judged: pd.DataFrame) -> list[list[tuple[str, float]]]:
    """Attribute and amount, currency, of every row of a table of estimates, as they stand in it."""
    columns = driver_columns(judged)
    names = [column.removeprefix(DRIVER_PREFIX) for column in columns]
    return [
        [(name, amount) for name, amount in zip(names, row, strict=True) if np.isfinite(amount)]
        for row in judged[columns].to_numpy(np.float64).tolist()
    ]


def map_scale(maps: AttentionMaps, values: NDArray[np.float32], status: str, *, signed: bool) -> float:
    """The value of the strongest colour, the same for all houses of a run.

    Args:
        maps: The maps of the run.
        values: Those to be drawn, ``maps.heats`` or ``maps.values``.
        status: The column of ``maps.houses`` that says which of them are.
        signed: Whether negative values mean something.
    """
    return drawn_scale(values, maps.houses[status].to_numpy(), signed=signed)


def house_maps(
    maps: AttentionMaps,
    values: NDArray[np.float32],
    status: str,
    unit: str,
    scale: float,
    rows: list[int] | slice = slice(None),
) -> list[HouseMap]:
    """Maps of some houses as they are drawn, or why they are not.

    Args:
        maps: The maps of the run.
        values: Those to be drawn, ``maps.heats`` or ``maps.values``.
        status: The column of ``maps.houses`` that says what they are worth.
        unit: ``"attention"`` or a currency.
        scale: From :func:`map_scale`.
        rows: The houses among those of the maps; all by default.
    """
    chosen = values[rows]
    if not len(chosen):
        return []
    found = heatmaps_of(
        chosen,
        np.zeros(4),
        unit=unit,
        method=status,
        signed=unit != "attention",
        statuses=maps.houses[status].iloc[rows].tolist(),
    )
    return [
        HouseMap(
            each.values,
            scale,
            "" if each.status in DRAWN_STATUSES else each.note or "There is no map of this house.",
        )
        for each in found
    ]
