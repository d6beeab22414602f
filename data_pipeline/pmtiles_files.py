"""Writing PMTiles files, version 3: one file of tiles that a web server can serve in parts.

Tiles lie along PMTiles' Hilbert curve, equal neighbours and equal small tiles
are stored once. The file is written in one pass, and what is kept of each
tile in memory is a few numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from data_pipeline.archive import TileArchive
from data_pipeline.tiles import Keys, unpack
from housevis.core.errors import ImageryError
from housevis.core.progress import ProgressBar, progress_bar
from housevis.core.storage import new_file

_HEADER_BYTES = 127
_ROOT_BYTES = 16_384 - _HEADER_BYTES
_LEAF_ENTRIES = 4096
_SMALL_TILE = 4096
_DEGREES = 10_000_000


def write_pmtiles(archive: TileArchive, path: Path) -> int:
    """Write all tiles and metadata of an archive as a PMTiles file; it is whole or absent.

    Args:
        archive: The archive.
        path: The file to write, over an older one.

    Returns:
        How many tiles were written.

    Raises:
        ImageryError: The archive is empty or damaged, or its format is none of PMTiles.
    """
    from pmtiles import tile as library

    types = {
        "png": library.TileType.PNG,
        "jpg": library.TileType.JPEG,
        "webp": library.TileType.WEBP,
        "avif": library.TileType.AVIF,
    }
    if archive.format not in types:
        raise ImageryError(f"PMTiles has no tiles of the format {archive.format!r}", where=str(archive.path))
    metadata = archive.metadata | archive.extent()
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress_bar("export", archive.count()) as bar,
        tempfile.TemporaryFile(dir=path.parent) as tile_data,
        new_file(path) as stream,
    ):
        entries = _Entries()
        for tile_id, data in _along_the_curve(archive, bar):
            entries.add(tile_id, data, tile_data)
        if not entries.tiles:
            raise ImageryError(
                "the archive holds no tiles", where=str(archive.path), remedy="Run `housevis tiles` first."
            )
        described = gzip.compress(json.dumps(metadata, ensure_ascii=False).encode(), mtime=0)
        root, leaves = entries.directories()
        header: Any = {
            "root_offset": _HEADER_BYTES,
            "root_length": len(root),
            "metadata_offset": _HEADER_BYTES + len(root),
            "metadata_length": len(described),
            "leaf_directory_offset": _HEADER_BYTES + len(root) + len(described),
            "leaf_directory_length": len(leaves),
            "tile_data_offset": _HEADER_BYTES + len(root) + len(described) + len(leaves),
            "tile_data_length": entries.bytes,
            "addressed_tiles_count": entries.tiles,
            "tile_entries_count": len(entries.ids),
            "tile_contents_count": entries.contents,
            "clustered": True,
            "internal_compression": library.Compression.GZIP,
            "tile_compression": library.Compression.NONE,
            "tile_type": types[archive.format],
            **_extent_header(metadata),
        }
        for part in (library.serialize_header(header), root, described, leaves):
            stream.write(part)
        tile_data.seek(0)
        shutil.copyfileobj(tile_data, stream, 2**20)
    return entries.tiles


def tile_ids(columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], zoom: int) -> Keys:
    """The numbers that PMTiles gives to tiles of one zoom: their places along a Hilbert curve."""
    x, y = columns.copy(), rows.copy()
    ids = np.full(len(x), (4**zoom - 1) // 3, dtype=np.int64)
    for bit in reversed(range(zoom)):
        side = np.int64(1) << bit
        right, low = (x & side) != 0, (y & side) != 0
        ids += side * side * np.where(right, np.where(low, 2, 3), np.where(low, 1, 0))
        turned = ~low & right
        x[turned], y[turned] = side - 1 - x[turned], side - 1 - y[turned]
        x[~low], y[~low] = y[~low], x[~low].copy()
    return ids


class _Entries:
    """The directory of a file that is being written: a few numbers per tile."""

    def __init__(self) -> None:
        self.ids, self.offsets = array("Q"), array("Q")
        self.lengths, self.runs = array("L"), array("L")
        self.tiles = self.contents = self.bytes = 0
        self._small: dict[bytes, int] = {}
        self._last = b""

    def add(self, tile_id: int, data: bytes, stream: IO[bytes]) -> None:
        self.tiles += 1
        if self.tiles > 1 and data == self._last and tile_id == self.ids[-1] + self.runs[-1]:
            self.runs[-1] += 1
            return
        self._last = data
        digest = hashlib.sha256(data).digest() if len(data) <= _SMALL_TILE else None
        offset = None if digest is None else self._small.get(digest)
        if offset is None:
            offset = self.bytes
            stream.write(data)
            self.bytes += len(data)
            self.contents += 1
            if digest is not None:
                self._small[digest] = offset
        self.ids.append(tile_id)
        self.offsets.append(offset)
        self.lengths.append(len(data))
        self.runs.append(1)

    def directories(self) -> tuple[bytes, bytes]:
        """The root directory, which has to be small, and the leaves below it."""
        if len(self.ids) <= _LEAF_ENTRIES:
            root = self._serialized(0, len(self.ids))
            if len(root) <= _ROOT_BYTES:
                return root, b""
        size = _LEAF_ENTRIES
        while True:
            root, leaves = self._with_leaves(size)
            if len(root) <= _ROOT_BYTES:
                return root, leaves
            size *= 2

    def _with_leaves(self, size: int) -> tuple[bytes, bytes]:
        from pmtiles.tile import Entry, serialize_directory

        pointers, leaves, length = [], [], 0
        for start in range(0, len(self.ids), size):
            leaf = self._serialized(start, start + size)
            pointers.append(Entry(self.ids[start], length, len(leaf), 0))
            leaves.append(leaf)
            length += len(leaf)
        return serialize_directory(pointers), b"".join(leaves)

    def _serialized(self, start: int, stop: int) -> bytes:
        from pmtiles.tile import Entry, serialize_directory

        columns = (column[start:stop] for column in (self.ids, self.offsets, self.lengths, self.runs))
        return serialize_directory([Entry(*values) for values in zip(*columns, strict=True)])


def _along_the_curve(archive: TileArchive, bar: ProgressBar) -> Iterator[tuple[int, bytes]]:
    for zoom in archive.zooms():
        columns, rows = unpack(archive.keys(zoom))
        ids = tile_ids(columns, rows, zoom)
        for position in np.argsort(ids).tolist():
            data = archive.read(zoom, int(columns[position]), int(rows[position]))
            bar.advance()
            if data is not None:
                yield int(ids[position]), data


def _extent_header(metadata: dict[str, str]) -> dict[str, Any]:
    west, south, east, north = (round(float(edge) * _DEGREES) for edge in metadata["bounds"].split(","))
    longitude, latitude, zoom = metadata["center"].split(",")
    return {
        "min_zoom": int(metadata["minzoom"]),
        "max_zoom": int(metadata["maxzoom"]),
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
        "center_zoom": int(zoom),
        "center_lon_e7": round(float(longitude) * _DEGREES),
        "center_lat_e7": round(float(latitude) * _DEGREES),
    }
