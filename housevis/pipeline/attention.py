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
from housevis.explain.under_heat import UNDER_HEAT, UnderHeat

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
        under: What is under the heat; unknown in files of before it was measured.
        land_cover: Names what told the land cover, see
            :func:`housevis.pipeline.land_cover.land_cover_mark`; empty where
            it is unknown, or not the same for all houses.
    """

    houses: pd.DataFrame
    heats: NDArray[np.float32]
    values: NDArray[np.float32]
    under: UnderHeat
    land_cover: str = ""

    @classmethod
    def none(cls) -> AttentionMaps:
        """The maps of no house."""
        nothing = np.zeros((0, 1, 1), np.float32)
        houses = pd.DataFrame(columns=list(COLUMNS), dtype=object)
        return cls(houses, nothing, nothing, UnderHeat.unknown(0))


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
        **{name: getattr(maps.under, name).astype(np.float32) for name in UNDER_HEAT},
    }
    write_file(target, save(tensors, metadata={"rows": json.dumps(rows), "land_cover": maps.land_cover}))


def drop_other_parts(folder: Path, land_cover: str) -> int:
    """Take parts away whose land cover was told by something else, so that they are made again.

    Returns:
        How many there were.

    Raises:
        RunError: A part is damaged.
    """
    others = [
        path
        for path in sorted(folder.glob("part-*.safetensors"))
        if _load_part(path).land_cover != land_cover
    ]
    for path in others:
        path.unlink()
    return len(others)


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
            rest = (houses[kept], maps.heats[kept], maps.values[kept], maps.under.rows(kept))
            _write_part(path, AttentionMaps(*rest, maps.land_cover))
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
    under = UnderHeat.joined([part.under for part in parts]).rows(order)
    marks = {part.land_cover for part in parts}
    mark = marks.pop() if len(marks) == 1 else ""
    return AttentionMaps(houses.iloc[order].reset_index(drop=True), heats, values, under, mark)


def _load_part(path: Path) -> AttentionMaps:
    try:
        with safe_open(path, framework="numpy") as source:
            facts = source.metadata()
            houses = pd.DataFrame(json.loads(facts["rows"]), dtype=object)
            under = UnderHeat.unknown(len(houses))
            if "land_cover" in facts:
                under = UnderHeat(*(source.get_tensor(name).astype(np.float64) for name in UNDER_HEAT))
            heats, values = source.get_tensor("heats"), source.get_tensor("values")
            return AttentionMaps(houses, heats, values, under, facts.get("land_cover", ""))
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError):
        raise RunError(
            "these attention maps are damaged", where=str(path), remedy="Delete the file and run again."
        ) from None
