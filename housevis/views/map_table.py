"""The table of a built map, read back for the server: settings of its page, and the place of each sale."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.core.errors import StorageError
from housevis.views.viewport import Viewport

TABLE: Final = Path("data") / "houses.js"
"""The table in the folder of a map."""

_KEPT: Final = ("house", "day", "address")
_COLUMNS: Final = (
    *_KEPT, "latitude", "longitude", "price", "estimate", "bedrooms", "effect", "confidence", "sample",
)  # fmt: skip
_PLACES: Final = ("origin", "unit")


@dataclass(frozen=True, eq=False)
class MapTable:
    """What the table of a map says.

    Attributes:
        settings: What the page needs besides the columns: currency, colours, pictures and so on.
        sales: ``house_id``, ``sale_date``, ``address`` (None where there is none) and ``map_row`` of every
            sale of the map.
    """

    settings: dict[str, Any]
    sales: pd.DataFrame

    @property
    def limits(self) -> dict[str, list[float]]:
        """The limits of the classes that the map is coloured by."""
        return {name: mode["limits"] for name, mode in self.settings["modes"].items()}

    def placed(self, houses: pd.DataFrame) -> pd.DataFrame:
        """Houses with ``address`` and ``map_row`` of their sale on the map, -1 where it is not there.

        Args:
            houses: One row per house with ``house_id`` and ``sale_date``.
        """
        given = houses.drop(columns="address", errors="ignore")
        given["sale_date"] = given["sale_date"].dt.floor("D").astype(self.sales["sale_date"].dtype)
        found = given.merge(self.sales, on=["house_id", "sale_date"], how="left")
        return found.assign(map_row=found["map_row"].fillna(-1).astype(np.int64))


def read_map_table(folder: Path) -> MapTable:
    """Read the table of a map.

    Args:
        folder: The folder of the map.

    Raises:
        StorageError: It is damaged, or not there.
    """
    settings: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    try:
        for name, value in _entries((folder / TABLE).read_text(encoding="utf-8")):
            if name in _KEPT:
                columns[name] = value
            elif name not in (*_COLUMNS, *_PLACES):
                settings[name] = value
        days = np.array(columns["day"], dtype="datetime64[D]")
        sales = pd.DataFrame(
            {
                "house_id": columns["house"],
                "sale_date": days.astype("datetime64[ns]"),
                "address": columns["address"] or [None] * len(days),
                "map_row": np.arange(len(days)),
            }
        )
        return MapTable(settings, sales)
    except (OSError, ValueError, KeyError):
        raise StorageError(
            "the table of this map is damaged",
            where=str(folder / TABLE),
            remedy="Build the map again with `housevis atlas CONFIG`.",
        ) from None


def view_settings(settings: Mapping[str, Any] | None, viewport: Viewport) -> dict[str, Any]:
    """What a page that asks for viewports gets in place of the table: its settings, and columns to be filled.

    Args:
        settings: See :attr:`MapTable.settings`.
        viewport: The houses.
    """
    unknown = {"address", "bedrooms", "confidence", "effect"} - set(viewport.known)
    return {
        **(settings or {}),
        **{name: None if name in unknown else [] for name in (*_COLUMNS, "mapRow")},
        "origin": [0, 0],
        "unit": 1,
        "view": {
            "houses": len(viewport),
            "box": list(viewport.box),
            "sold": [int(viewport.sale_day.min()), int(viewport.sale_day.max())],
        },
    }


def _entries(text: str) -> Iterator[tuple[str, Any]]:
    """Names and values of the table, one after the other, so that not all of a long one are held at once."""
    decoder = json.JSONDecoder()
    place = text.index("{") + 1
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        value, place = decoder.raw_decode(text, place + 1)
        yield name, value
        if text[place] == ",":
            place += 1
