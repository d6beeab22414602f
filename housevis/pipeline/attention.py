"""Attention maps of many houses on disk: part files that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from housevis.core.errors import RunError
from housevis.core.storage import write_file

COLUMNS = (
    "house_id", "sale_id", "model_id", "neighbour_house_id", "status",
    "value_status", "visual_effect", "surroundings",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention maps and value maps of n houses.

    Attributes:
        houses: One row per house: ``house_id``, ``sale_id``, ``model_id``,
            ``neighbour_house_id`` (None where there is none), ``status`` of the
            attention map and ``value_status`` of the value map,
            ``visual_effect`` (what the picture adds to the estimate, currency)
            and ``surroundings`` (what of it the neighbourhood's pictures add).
        heats: float32 ``(n, h, w)`` on the feature map's grid, unit "attention".
        values: float32 ``(n, H, W)``, signed, currency; with ``surroundings``
            they sum up to ``visual_effect``.
    """

    houses: pd.DataFrame
    heats: NDArray[np.float32]
    values: NDArray[np.float32]

    @classmethod
    def none(cls) -> AttentionMaps:
        """The maps of no house."""
        nothing = np.zeros((0, 1, 1), np.float32)
        return cls(pd.DataFrame(columns=list(COLUMNS), dtype=object), nothing, nothing)


def next_part(folder: Path) -> int:
    """The number of the next part of a folder."""
    numbers = [int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.safetensors")]
    return max(numbers, default=-1) + 1


def save_part(folder: Path, maps: AttentionMaps, number: int) -> None:
    """Write one part under a number from :func:`next_part` on."""
    _write_part(folder / f"part-{number:05d}.safetensors", maps)


def _write_part(target: Path, maps: AttentionMaps) -> None:
    rows = maps.houses[list(COLUMNS)].to_dict(orient="list")
    tensors = {
        "heats": np.ascontiguousarray(maps.heats),
        "values": np.ascontiguousarray(maps.values),
    }
    write_file(target, save(tensors, metadata={"rows": json.dumps(rows)}))


def drop_houses(folder: Path, house_ids: Collection[str]) -> int:
    """Take the maps of some houses out, and their names where they lent their weights.

    Returns:
        How many maps there were.

    Raises:
        RunError: A part is damaged.
    """
    dropped = 0
    for path in sorted(folder.glob("part-*.safetensors")):
        maps = _load_part(path)
        houses = maps.houses.copy()
        lent = houses["neighbour_house_id"].isin(house_ids)
        kept = ~houses["house_id"].isin(house_ids).to_numpy()
        if kept.all() and not lent.any():
            continue
        dropped += int((~kept).sum())
        houses.loc[lent, "neighbour_house_id"] = None
        if kept.any():
            _write_part(path, AttentionMaps(houses[kept], maps.heats[kept], maps.values[kept]))
        else:
            path.unlink()
    return dropped


def load_parts(folder: Path) -> AttentionMaps:
    """Read all parts, in the order of the houses' ids; empty where there is none.

    Raises:
        RunError: A part is damaged.
    """
    parts = [_load_part(path) for path in sorted(folder.glob("part-*.safetensors"))]
    if not parts:
        return AttentionMaps.none()
    houses = pd.concat([part.houses for part in parts], ignore_index=True)
    order = np.argsort(houses["house_id"].to_numpy(dtype=str), kind="stable")
    heats = np.concatenate([part.heats for part in parts])[order]
    values = np.concatenate([part.values for part in parts])[order]
    return AttentionMaps(houses.iloc[order].reset_index(drop=True), heats, values)


def _load_part(path: Path) -> AttentionMaps:
    try:
        with safe_open(path, framework="numpy") as source:
            houses = pd.DataFrame(json.loads(source.metadata()["rows"]), dtype=object)
            return AttentionMaps(houses, source.get_tensor("heats"), source.get_tensor("values"))
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
        raise RunError(
            "these attention maps are damaged", where=str(path), remedy="Delete the file and run again."
        ) from None
