"""Tiles from a PMTiles file, version 3."""

from __future__ import annotations

import gzip
import json
import mmap
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import mercantile

from data_pipeline.decoding import picture_width
from data_pipeline.tiles import TILE_PIXELS
from housevis.core.errors import ImageryError

_DEPTH = 4
_HEADER_BYTES = 127


class PMTilesSource:
    """One PMTiles file of raster tiles, open for reading from any thread.

    Args:
        path: The file.

    Raises:
        ImageryError: It is no PMTiles file, is damaged, or holds vector tiles.
    """

    provider = "unknown"
    native_zoom = None

    def __init__(self, path: Path) -> None:
        from pmtiles import tile as library

        self._library: Any = library
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as problem:
            raise self._damaged(problem) from None
        try:
            self._header: dict[str, Any] = dict(library.deserialize_header(self._bytes[:_HEADER_BYTES]))
            self._metadata = self._read_metadata()
        except _unreadable(library) as problem:
            self.close()
            raise self._damaged(problem) from None
        self._directory = lru_cache(maxsize=64)(self._read_directory)
        formats = {library.TileType.PNG: "png", library.TileType.JPEG: "jpg", library.TileType.WEBP: "webp"}
        kind = self._header["tile_type"]
        if kind not in formats:
            self.close()
            raise ImageryError(
                f"the file holds {kind.name.lower()} tiles, not PNG, JPEG or WebP",
                where=str(path),
                remedy="Give a file of aerial imagery.",
            )
        self.format = formats[kind]
        self.attribution = str(self._metadata.get("attribution") or "")
        self.provider = str(self._metadata.get("housevis_provider") or "unknown")
        self.tile_size = self._tile_size()

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that stands in the file."""
        return dict(self._metadata)

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The bytes of an XYZ tile, or None if the file has none.

        Raises:
            ImageryError: The file is damaged.
        """
        if not self._header["min_zoom"] <= z <= self._header["max_zoom"]:
            return None
        try:
            data = self._find(self._library.zxy_to_tileid(z, x, y))
        except _unreadable(self._library) as problem:
            raise self._damaged(problem) from None
        return data

    def count(self) -> int:
        """How many tiles the file says it holds."""
        return int(self._header["addressed_tiles_count"])

    def stored(self) -> Iterator[tuple[mercantile.Tile, bytes]]:
        """Every tile with its bytes, along PMTiles' curve; one directory per level is held at once.

        Raises:
            ImageryError: The file is damaged.
        """
        try:
            yield from self._below(self._header["root_offset"], self._header["root_length"], _DEPTH)
        except _unreadable(self._library) as problem:
            raise self._damaged(problem) from None

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()

    def _below(self, offset: int, length: int, depth: int) -> Iterator[tuple[mercantile.Tile, bytes]]:
        if not depth:
            raise ValueError("directories lie too deep")
        for entry in self._read_directory(offset, length):
            if not entry.run_length:
                leaf = self._header["leaf_directory_offset"] + entry.offset
                yield from self._below(leaf, entry.length, depth - 1)
                continue
            data = self._tile(entry)
            for tile_id in range(entry.tile_id, entry.tile_id + entry.run_length):
                z, x, y = self._library.tileid_to_zxy(tile_id)
                yield mercantile.Tile(x, y, z), data

    def _tile(self, entry: Any) -> bytes:
        start = self._header["tile_data_offset"] + entry.offset
        data = self._bytes[start : start + entry.length]
        if len(data) != entry.length:
            raise ValueError("the file ends within a tile")
        zipped = self._header["tile_compression"] == self._library.Compression.GZIP
        return gzip.decompress(data) if zipped else data

    def _find(self, tile_id: int) -> bytes | None:
        offset, length = self._header["root_offset"], self._header["root_length"]
        for _ in range(_DEPTH):
            entry = self._library.find_tile(self._directory(offset, length), tile_id)
            if entry is None:
                return None
            if entry.run_length:
                return self._tile(entry)
            offset = self._header["leaf_directory_offset"] + entry.offset
            length = entry.length
        return None

    def _read_directory(self, offset: int, length: int) -> Any:
        return self._library.deserialize_directory(self._bytes[offset : offset + length])

    def _read_metadata(self) -> dict[str, Any]:
        start = self._header["metadata_offset"]
        data = self._bytes[start : start + self._header["metadata_length"]]
        if self._header["internal_compression"] == self._library.Compression.GZIP:
            data = gzip.decompress(data)
        found = json.loads(data) if data else {}
        return found if isinstance(found, dict) else {}

    def _tile_size(self) -> int:
        """512 where the first tile is that wide, else 256."""
        try:
            offset, length = self._header["root_offset"], self._header["root_length"]
            first = self._directory(offset, length)[0]
            for _ in range(_DEPTH):
                if first.run_length:
                    break
                first = self._directory(self._header["leaf_directory_offset"] + first.offset, first.length)[0]
            data = self._find(first.tile_id)
        except _unreadable(self._library) as problem:
            raise self._damaged(problem) from None
        return 512 if data is not None and (picture_width(data) or 0) >= 512 else TILE_PIXELS

    def _damaged(self, problem: Exception) -> ImageryError:
        return ImageryError(
            f"this is no PMTiles file of version 3, or it is damaged ({problem or type(problem).__name__})",
            where=str(self.path),
            remedy="Check the path, or get the file again.",
        )


def _unreadable(library: Any) -> tuple[type[Exception], ...]:
    """What a damaged file makes the library raise."""
    return (
        library.MagicNumberNotFound,
        library.SpecVersionUnsupported,
        ValueError,
        LookupError,
        EOFError,
        OSError,
        TypeError,
        RecursionError,
        struct.error,
        zlib.error,
    )
