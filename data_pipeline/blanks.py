"""Answers that say "no imagery here": a blank is a status, never a picture.

Besides pictures of one colour (:mod:`data_pipeline.pictures`) there are
providers that say so in a header, and providers that send the same drawing
("no imagery at this zoom") for every tile they lack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import mercantile
import pandas as pd
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.provider_records import Provider
from db.store import read_tile_rows, save_tiles

FLAT = "one flat colour"
KNOWN = "the provider's picture of no imagery"
_FREQUENT_TILES = 10
_FREQUENT_SHARE = 0.01


def says_blank(headers: Mapping[str, str], provider: Provider) -> str | None:
    """The header with which the provider says that it has no imagery, as ``name: value``, else None."""
    for name, value in provider.blank_headers:
        if value.lower() in headers.get(name, "").lower() and name in headers:
            return f"{name}: {value}"
    return None


def mark_frequent(
    tiles: Sequence[mercantile.Tile], provider: Provider, archive: TileArchive, engine: Engine
) -> int:
    """Mark pictures that too many tiles share as blank, and take them out of the archive.

    The same bytes for at least ten tiles, and for more than one in a hundred,
    are no aerial picture: the camera never sees the same twice. The manifest
    says how many tiles share them.

    Args:
        tiles: The tiles of one zoom that belong together.
        provider: Tiles of other providers are left alone.
        archive: Where the pictures are.
        engine: The database with the manifest.

    Returns:
        How many tiles were marked.
    """
    if len(tiles) < _FREQUENT_TILES:
        return 0
    rows = read_tile_rows(engine, tiles[0].z)
    rows = rows[(rows["status"] == "ok") & (rows["provider"] == provider.name)]
    wanted = pd.MultiIndex.from_arrays([[tile.x for tile in tiles], [tile.y for tile in tiles]])
    rows = rows[pd.MultiIndex.from_frame(rows[["x", "y"]]).isin(wanted)]
    least = max(_FREQUENT_TILES, int(_FREQUENT_SHARE * len(tiles)) + 1)
    frequent = {
        digest: count
        for digest, count in Counter(rows["sha256"]).items()
        if isinstance(digest, str) and count >= least
    }
    found = rows[rows["sha256"].isin(list(frequent))]
    if found.empty:
        return 0
    changed = found.assign(
        status="blank", error=[f"the same picture as {frequent[digest]} tiles" for digest in found["sha256"]]
    )
    # First the pictures: if the process is killed in between, they are asked for again and none stays.
    archive.remove([mercantile.Tile(row["x"], row["y"], row["zoom"]) for row in plain_rows(found)])
    save_tiles(engine, plain_rows(changed))
    return len(found)


def plain_rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of the manifest as :func:`db.store.save_tiles` takes them: Python's own values, None for null."""
    columns = {}
    for name in frame.columns:
        series = frame[name]
        values = series.astype(object).where(series.notna(), None).tolist()
        if name == "fetched_at":
            values = [None if value is None else pd.Timestamp(value).to_pydatetime() for value in values]
        elif name in ("zoom", "x", "y", "http_status", "attempts", "bytes"):
            values = [None if value is None else int(value) for value in values]
        columns[name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
