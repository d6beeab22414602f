"""Attention maps of many houses on disk: part files that are whole or absent."""

from __future__ import annotations

import json
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


def save_part(folder: Path, maps: AttentionMaps) -> None:
    """Write one part; the folder then holds one part more."""
    numbers = [int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.safetensors")]
    number = max(numbers, default=-1) + 1
    target = folder / f"part-{number:05d}.safetensors"
    rows = maps.houses[list(COLUMNS)].to_dict(orient="list")
    tensors = {"heats": np.ascontiguousarray(maps.heats)}
    write_file(target, save(tensors, metadata={"rows": json.dumps(rows)}))


def load_parts(folder: Path) -> AttentionMaps:
    """Read all parts; empty where there is none.

    Raises:
        RunError: A part is damaged.
    """
    frames: list[pd.DataFrame] = []
    heats: list[NDArray[np.float32]] = []
    for path in sorted(folder.glob("part-*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as source:
                frames.append(pd.DataFrame(json.loads(source.metadata()["rows"]), dtype=object))
                heats.append(source.get_tensor("heats"))
        except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
            raise RunError(
                "these attention maps are damaged", where=str(path), remedy="Delete the file and run again."
            ) from None
    if not frames:
        return AttentionMaps(
            pd.DataFrame(columns=list(COLUMNS), dtype=object), np.zeros((0, 1, 1), np.float32)
        )
    return AttentionMaps(pd.concat(frames, ignore_index=True), np.concatenate(heats))
