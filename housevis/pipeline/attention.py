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

COLUMNS = ("house_id", "sale_id", "model_id", "neighbour_house_id", "status")


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention maps of n houses.

    Attributes:
        houses: One row per house: ``house_id``, ``sale_id``, ``model_id``,
            ``neighbour_house_id`` (None where there is none) and ``status``.
        heats: float32 ``(n, h, w)`` on the feature map's grid, unit "attention".
    """

    houses: pd.DataFrame
    heats: NDArray[np.float32]


def next_part(folder: Path) -> int:
    """The number of the next part of a folder."""
    numbers = [int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.safetensors")]
    return max(numbers, default=-1) + 1


def save_part(folder: Path, maps: AttentionMaps, number: int) -> None:
    """Write one part under a number from :func:`next_part` on."""
    _write_part(folder / f"part-{number:05d}.safetensors", maps)


def _write_part(target: Path, maps: AttentionMaps) -> None:
    rows = maps.houses[list(COLUMNS)].to_dict(orient="list")
    tensors = {"heats": np.ascontiguousarray(maps.heats)}
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
            _write_part(path, AttentionMaps(houses[kept], maps.heats[kept]))
        else:
            path.unlink()
    return dropped


def load_parts(folder: Path) -> AttentionMaps:
    """Read all parts, in the order of the houses' ids; empty where there is none.

    Raises:
        RunError: A part is damaged.
    """
    frames: list[pd.DataFrame] = []
    heats: list[NDArray[np.float32]] = []
    for path in sorted(folder.glob("part-*.safetensors")):
        part = _load_part(path)
        frames.append(part.houses)
        heats.append(part.heats)
    if not frames:
        return AttentionMaps(
            pd.DataFrame(columns=list(COLUMNS), dtype=object), np.zeros((0, 1, 1), np.float32)
        )
    houses = pd.concat(frames, ignore_index=True)
    order = np.argsort(houses["house_id"].to_numpy(dtype=str), kind="stable")
    return AttentionMaps(houses.iloc[order].reset_index(drop=True), np.concatenate(heats)[order])


def _load_part(path: Path) -> AttentionMaps:
    try:
        with safe_open(path, framework="numpy") as source:
            houses = pd.DataFrame(json.loads(source.metadata()["rows"]), dtype=object)
            return AttentionMaps(houses, source.get_tensor("heats"))
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
        raise RunError(
            "these attention maps are damaged", where=str(path), remedy="Delete the file and run again."
        ) from None
