"""What the MBTiles 1.3 specification asks of a file: tables, queries, and entries of the metadata."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import mercantile

APPLICATION_ID = 0x4D504258
"""Marks an SQLite file as MBTiles: the letters MPBX."""

SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE IF NOT EXISTS metadata (name TEXT NOT NULL, value TEXT)",
    "CREATE UNIQUE INDEX IF NOT EXISTS metadata_name ON metadata (name)",
    "CREATE TABLE IF NOT EXISTS tiles (zoom_level INTEGER NOT NULL, tile_column INTEGER NOT NULL,"
    " tile_row INTEGER NOT NULL, tile_data BLOB)",
    "CREATE UNIQUE INDEX IF NOT EXISTS tile_index ON tiles (zoom_level, tile_column, tile_row)",
)
STORED_TILES = (
    "SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles"
    " WHERE zoom_level BETWEEN 0 AND 30 AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer'"
    " AND tile_data IS NOT NULL ORDER BY zoom_level, tile_column, tile_row"
)
"""All tiles; rows that are none, which other programs may leave, are passed over."""

EXTENTS = (
    "SELECT zoom_level, MIN(tile_column), MAX(tile_column), MIN(tile_row), MAX(tile_row) FROM tiles"
    " WHERE zoom_level BETWEEN 0 AND 30 AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer'"
    " GROUP BY zoom_level ORDER BY zoom_level"
)
"""Per zoom the first and last column and row."""

_LARGEST_PICTURE = 2**26
_GZIP = b"\x1f\x8b"


def extent_entries(extents: Sequence[tuple[int, int, int, int, int]]) -> dict[str, str]:
    """The metadata `bounds`, `center`, `minzoom` and `maxzoom`.

    Args:
        extents: Rows of :data:`EXTENTS`.

    Returns:
        The entries, none where there are no tiles.
    """
    if not extents:
        return {}
    boxes = []
    for zoom, west, east, south, north in extents:
        rows = 2**zoom - 1
        corner = mercantile.bounds(west, rows - south, zoom)
        opposite = mercantile.bounds(east, rows - north, zoom)
        boxes.append((corner.west, corner.south, opposite.east, opposite.north))
    edges = [
        *(min(box[i] for box in boxes) for i in (0, 1)),
        *(max(box[i] for box in boxes) for i in (2, 3)),
    ]
    deepest = extents[-1][0]
    return {
        "bounds": ",".join(f"{edge:.7f}" for edge in edges),
        "center": f"{(edges[0] + edges[2]) / 2:.7f},{(edges[1] + edges[3]) / 2:.7f},{deepest}",
        "minzoom": str(extents[0][0]),
        "maxzoom": str(deepest),
    }


def plain_tile(data: bytes | str | float) -> bytes:
    """The picture itself, where a program compressed it once more; whatever is no picture, as bytes."""
    if not isinstance(data, bytes):
        return str(data).encode(errors="replace")
    if data[:2] != _GZIP:
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        picture = unpacker.decompress(data, _LARGEST_PICTURE)
    except zlib.error:
        return data
    return picture if unpacker.eof else data
