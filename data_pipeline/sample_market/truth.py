"""The truth about the town as files: what each driver did to each price, and where it lies in the picture."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from data_pipeline.sample_market.prices import DRIVERS, FULL_EFFECTS, LEAST_SHARE, NOISE
from housevis.core.errors import DataError

HOUSES_FILE = "drivers.parquet"
MASKS_FILE = "masks.parquet"
SETTINGS_FILE = "truth.json"
BATCH = 1000
"""Houses per row group: what is held in memory at once."""
MASK_SCHEMA = pa.schema([("id", pa.string()), ("driver", pa.string()), ("png", pa.binary())])


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask (h, w) as a PNG of one bit per pixel."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def write_truth(
    folder: Path, records: Iterable[tuple[dict[str, Any], NDArray[np.bool_]]], settings: dict[str, Any]
) -> None:
    """Write the truth of a town; each file replaces an older one only when it is complete.

    Args:
        folder: Where to write; created if absent.
        records: Per house its row of the truth and its masks (4, size, size).
        settings: What the town was made from, for ``truth.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f".{name}.partial" for name in (HOUSES_FILE, MASKS_FILE, SETTINGS_FILE)}
    houses: pq.ParquetWriter | None = None
    rows: list[dict[str, Any]] = []
    mask_rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(partial[MASKS_FILE], MASK_SCHEMA) as masks_file:

        def flush() -> None:
            nonlocal houses
            table = pa.Table.from_pylist(rows)
            if houses is None:
                houses = pq.ParquetWriter(partial[HOUSES_FILE], table.schema)
            houses.write_table(table)
            masks_file.write_table(pa.Table.from_pylist(mask_rows, schema=MASK_SCHEMA))
            rows.clear()
            mask_rows.clear()

        for record, masks in records:
            rows.append(record)
            mask_rows += [
                {"id": record["id"], "driver": driver, "png": encode_mask(mask)}
                for driver, mask in zip(DRIVERS, masks, strict=True)
                if mask.any()
            ]
            if len(rows) == BATCH:
                flush()
        if rows:
            flush()
        if houses is not None:
            houses.close()
    partial[SETTINGS_FILE].write_text(
        json.dumps(
            settings
            | {
                "drivers": list(DRIVERS),
                "full_log_effects": FULL_EFFECTS,
                "least_share": LEAST_SHARE,
                "noise": NOISE,
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    for name, path in partial.items():
        path.replace(folder / name)


def read_masks(folder: Path | str, house_ids: Sequence[str], size: int = 224) -> NDArray[np.bool_]:
    """Read exported masks back.

    Args:
        folder: Where :func:`write_truth` wrote.
        house_ids: The houses asked for.
        size: Pixels per side of the exported masks.

    Returns:
        Bool array (n, 4, size, size) in the order of `DRIVERS`; empty where a driver does not count.

    Raises:
        DataError: If the folder holds no exported masks.
    """
    path = Path(folder) / MASKS_FILE
    if not path.is_file():
        raise DataError(
            "no exported driver masks",
            where=str(path),
            remedy="Write them with python -m data_pipeline.sample_market --out FOLDER.",
        )
    place = {house_id: number for number, house_id in enumerate(house_ids)}
    result = np.zeros((len(place), len(DRIVERS), size, size), dtype=bool)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                number = place.get(row["id"])
                if number is not None:
                    with Image.open(io.BytesIO(row["png"])) as picture:
                        result[number, DRIVERS.index(row["driver"])] = np.asarray(picture)
    return result
