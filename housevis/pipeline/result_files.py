"""What the commands for new houses write: a table, overlays, maps; each file whole or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from data_pipeline.frames import HouseImage
from housevis.core.errors import UsageError
from housevis.core.storage import explained_disk_errors, new_file
from housevis.explain.heatmap import heat_to_rgba, shared_scale
from housevis.pipeline.harmless import harmless

_LONGEST_NAME = 150


def check_result_file(out: Path, listings: Path) -> None:
    """Say that the result cannot be written before anything is computed.

    Raises:
        UsageError: It is a folder, or the listings themselves.
        StorageError: Its folder cannot be made or written to.
    """
    if out.is_dir():
        raise UsageError("this is a folder", where=str(out), remedy="Give --out the name of a CSV file.")
    if out.is_file() and listings.is_file() and out.samefile(listings):
        raise UsageError(
            "the estimates would replace the listings", where=str(out), remedy="Give --out another file."
        )
    with explained_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV in UTF-8, in which no text can run as a formula of a spreadsheet.

    Raises:
        StorageError: The file cannot be written.
    """
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as stream:
            stream.write(harmless(table).to_csv(index=False).encode())


def write_rejects(rejects: pd.DataFrame, path: Path) -> list[str]:
    """Write the rejected rows, if there are any, and say so in a line for the reader."""
    if rejects.empty:
        return []
    write_csv(rejects, path)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejects["reason"].value_counts().items())
    return [f"left out {len(rejects):,} rows that cannot be used ({reasons}): {path}"]


def write_attention(
    out: Path,
    table: pd.DataFrame,
    maps: NDArray[np.float32],
    pictures: list[HouseImage],
    *,
    method: str,
    unit: str,
    signed: bool = False,
) -> None:
    """Write the overlay of every house and ``heatmaps.npz``.

    Args:
        out: The folder.
        table: ``house_id``, ``status`` and ``lender`` of n houses; None where no house lent its weights.
        maps: Their maps ``(n, h, w)``.
        pictures: Their pictures.
        method: The method's name.
        unit: ``"attention"`` or a currency.
        signed: Whether negative values mean something.

    Raises:
        StorageError: The folder cannot be written to.
    """
    with explained_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        names = _write_overlays(out, table, maps, pictures, signed)
        with new_file(out / "heatmaps.npz") as stream:
            np.savez(
                stream,
                ids=table["house_id"].to_numpy(dtype=str),
                maps=maps,
                bounds=np.array([shown.bounds for shown in pictures]),
                method=np.array(method),
                unit=np.array(unit),
                status=table["status"].to_numpy(dtype=str),
                lenders=table["lender"].fillna("").to_numpy(dtype=str),
                files=np.array(names),
                attribution=np.array(pictures[0].attribution),
            )


def _write_overlays(
    out: Path, table: pd.DataFrame, maps: NDArray[np.float32], pictures: list[HouseImage], signed: bool
) -> list[str]:
    scale = shared_scale(maps, signed=signed)
    names = overlay_names(table["house_id"].astype(str).tolist())
    for name, heat, shown in zip(names, maps, pictures, strict=True):
        picture = Image.fromarray(shown.pixels).convert("RGBA")
        overlay = Image.fromarray(heat_to_rgba(heat, scale, signed=signed))
        overlay = overlay.resize(picture.size, Image.Resampling.BICUBIC)
        with new_file(out / name) as stream:
            Image.alpha_composite(picture, overlay).convert("RGB").save(stream, "PNG")
    return names


def overlay_names(house_ids: list[str]) -> list[str]:
    """A file name per house: its id where that is a plain name, else the id with ``%`` escapes.

    Houses that share an id, and long ids, get names of their own.
    """
    names: list[str] = []
    taken: set[str] = set()
    for house_id in house_ids:
        stem = quote(house_id, safe=" ")
        if stem.startswith("."):
            stem = f"%2E{stem[1:]}"
        if len(stem) > _LONGEST_NAME:
            stem = f"{stem[:_LONGEST_NAME]}-{hashlib.sha256(house_id.encode()).hexdigest()[:16]}"
        name, number = f"{stem}.png", 1
        while name.lower() in taken:
            number += 1
            name = f"{stem} ({number}).png"
        taken.add(name.lower())
        names.append(name)
    return names
