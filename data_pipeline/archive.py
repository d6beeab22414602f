"""Reading and writing MBTiles 1.3 archives.

MBTiles counts rows from the south (TMS); this module speaks XYZ, as the rest
of housevis does, and turns the rows over at the file's edge. What is written
here has all the metadata that the specification asks for; what other programs
wrote is read with their habits: `tiles` as a view, ``image/jpeg`` as a format,
pictures that are compressed once more with gzip.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import mercantile
import numpy as np

from data_pipeline.decoding import picture_width
from data_pipeline.house_pictures import HousePictures
from data_pipeline.mbtiles import EXTENTS, SCHEMA, STORED_TILES, extent_entries, plain_tile
from data_pipeline.pictures import picture_status
from data_pipeline.tiles import TILE_PIXELS, Keys
from housevis.core.errors import ImageryError

TILE_SIZE_ENTRY = "housevis_tile_size"
"""Metadata: pixels per side of a tile."""

NATIVE_ZOOM_ENTRY = "housevis_native_zoom"
"""Metadata: the deepest zoom that is no enlargement of a shallower one."""

_FORMATS = {"jpeg": "jpg", "image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/webp": "webp"}
_SMALLEST_TILE, _LARGEST_TILE = 64, 4096
_READ_AT_ONCE = 64


class TileArchive:
    """One MBTiles file, open for reading or, made by :meth:`create`, for writing too.

    Reading is safe from any number of threads; writing belongs to one thread
    at a time. Use it as a context manager.

    Args:
        path: The file. It may lie in a folder that cannot be written to.

    Raises:
        ImageryError: There is no such file, or it is no MBTiles file.
    """

    _local: threading.local
    _lock: threading.Lock
    _connections: list[sqlite3.Connection]
    _metadata: dict[str, str]
    _tile_size: int | None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._set_up(writable=False)
        if not self.path.is_file():
            raise ImageryError(
                "there is no such tile archive",
                where=str(self.path),
                remedy="Check the path, or fetch the tiles first (`housevis tiles`).",
            )
        self._metadata = self._read_metadata()

    @classmethod
    def create(cls, path: str | Path, metadata: Mapping[str, str]) -> TileArchive:
        """Open an archive for writing, and make it if it is not there.

        Args:
            path: The file.
            metadata: Entries of the metadata table, written over older ones.
                MBTiles requires `name` and `format`.

        Raises:
            ImageryError: The file cannot be made, or is no MBTiles file.
        """
        archive = cls.__new__(cls)
        archive.path = Path(path)
        archive._set_up(writable=True)
        try:
            archive.path.parent.mkdir(parents=True, exist_ok=True)
            connection = archive._connection()
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.executemany(
                "INSERT OR REPLACE INTO metadata (name, value) VALUES (?, ?)", list(metadata.items())
            )
            connection.commit()
        except (sqlite3.Error, OSError) as problem:
            archive.close()
            raise ImageryError(
                f"the tile archive cannot be written ({problem})",
                where=str(archive.path),
                remedy="Check that the folder can be written to; move a damaged file away.",
            ) from None
        archive._metadata = archive._read_metadata()
        return archive

    def __enter__(self) -> TileArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a written archive gets its full metadata and becomes a single file again."""
        if self._writable and self._connections:
            with contextlib.suppress(sqlite3.Error, ImageryError):
                self._complete_metadata()
        with self._lock:
            connections = list(self._connections)
            self._connections.clear()
            self._local = threading.local()
        for number, connection in enumerate(connections):
            if self._writable and number == len(connections) - 1:
                # While another process reads, the file stays in WAL mode, which is as valid.
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = DELETE")
            connection.close()

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata table."""
        return dict(self._metadata)

    @property
    def attribution(self) -> str:
        """Credit for the imagery, empty if the file names none."""
        return self._metadata.get("attribution", "")

    @property
    def provider(self) -> str:
        """Name of the provider record that the tiles were fetched from, or ``"unknown"``."""
        return self._metadata.get("housevis_provider", "unknown")

    @property
    def format(self) -> str:
        """``png``, ``jpg`` or ``webp``, as the file says."""
        named = self._metadata.get("format", "png").strip().lower()
        return _FORMATS.get(named, named)

    @property
    def tile_size(self) -> int:
        """Pixels per side of a tile: as the metadata say, else as of the first tile."""
        if self._tile_size is None:
            named = self._metadata.get(TILE_SIZE_ENTRY, "")
            first = None if named.isdigit() else self._first_tile()
            size = int(named) if named.isdigit() else picture_width(first) if first else None
            if size is None or not _SMALLEST_TILE <= size <= _LARGEST_TILE:
                return TILE_PIXELS
            self._tile_size = size
        return self._tile_size

    @property
    def native_zoom(self) -> int | None:
        """The deepest zoom that is no enlargement of a shallower one, None if it is not known."""
        named = self._metadata.get(NATIVE_ZOOM_ENTRY, "")
        return int(named) if named.isdigit() else None

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The bytes of an XYZ tile, or None if the archive has none.

        Raises:
            ImageryError: The file is damaged.
        """
        try:
            row = (
                self._connection()
                .execute(
                    "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?",
                    (z, x, 2**z - 1 - y),
                )
                .fetchone()
            )
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None
        return plain_tile(row[0]) if row is not None and row[0] is not None else None

    def stored(self) -> Iterator[tuple[mercantile.Tile, bytes]]:
        """Every tile with its bytes: by zoom, then column, then row from the south; little is held at once.

        Raises:
            ImageryError: The file is damaged.
        """
        try:
            cursor = self._connection().execute(STORED_TILES)
            while rows := cursor.fetchmany(_READ_AT_ONCE):
                for zoom, column, row, data in rows:
                    yield mercantile.Tile(column, 2**zoom - 1 - row, zoom), plain_tile(data)
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None

    def count(self) -> int:
        """How many tiles the archive holds."""
        try:
            return int(self._connection().execute("SELECT COUNT(*) FROM tiles").fetchone()[0])
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None

    def zooms(self) -> list[int]:
        """The zooms of which there are tiles."""
        return [zoom for zoom, *_ in self._extents()]

    def keys(self, zoom: int) -> Keys:
        """The tiles of one zoom, packed as of :func:`data_pipeline.tiles.pack`, in order."""
        rows = 2**zoom - 1
        try:
            found = self._connection().execute(
                "SELECT ((? - tile_row) << 32) | tile_column FROM tiles WHERE zoom_level = ?"
                " AND typeof(tile_column) = 'integer' AND typeof(tile_row) = 'integer'",
                (rows, zoom),
            )
            keys = np.fromiter((key for (key,) in found), dtype=np.int64)
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None
        keys.sort()
        return keys

    def extent(self) -> dict[str, str]:
        """The metadata `bounds`, `center`, `minzoom` and `maxzoom` of what is in the file now."""
        return extent_entries(self._extents())

    def _extents(self) -> list[tuple[int, int, int, int, int]]:
        """Per zoom: first and last column, first and last row from the south."""
        try:
            return self._connection().execute(EXTENTS).fetchall()
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None

    def tiles(self, zoom: int) -> Iterator[mercantile.Tile]:
        """The tiles of one zoom that the archive holds."""
        try:
            for x, row in self._connection().execute(
                "SELECT tile_column, tile_row FROM tiles WHERE zoom_level = ?", (zoom,)
            ):
                yield mercantile.Tile(x, 2**zoom - 1 - row, zoom)
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None

    def write(self, rows: Iterable[tuple[mercantile.Tile, bytes]]) -> None:
        """Write tiles in one transaction, over older ones.

        Raises:
            ImageryError: The archive is open for reading only, or the disk is full.
        """
        if not self._writable:
            raise ImageryError("this tile archive is open for reading only", where=str(self.path))
        connection = self._connection()
        self._changed = True
        try:
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO tiles (zoom_level, tile_column, tile_row, tile_data)"
                    " VALUES (?, ?, ?, ?)",
                    [(tile.z, tile.x, 2**tile.z - 1 - tile.y, data) for tile, data in rows],
                )
        except sqlite3.Error as problem:
            raise ImageryError(
                f"the tiles cannot be written ({problem})",
                where=str(self.path),
                remedy="Free disk space and run the command again; what was fetched stays.",
            ) from None

    def remove(self, tiles: Iterable[mercantile.Tile]) -> None:
        """Take tiles out, in one transaction; their bytes are overwritten.

        Raises:
            ImageryError: The archive is open for reading only.
        """
        if not self._writable:
            raise ImageryError("this tile archive is open for reading only", where=str(self.path))
        connection = self._connection()
        connection.execute("PRAGMA secure_delete = ON")
        self._changed = True
        with connection:
            connection.executemany(
                "DELETE FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?",
                [(tile.z, tile.x, 2**tile.z - 1 - tile.y) for tile in tiles],
            )

    def describe(self, **entries: str) -> None:
        """Write entries of the metadata table, over older ones."""
        connection = self._connection()
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO metadata (name, value) VALUES (?, ?)", list(entries.items())
            )
        self._metadata = self._read_metadata()

    def _set_up(self, *, writable: bool) -> None:
        self._writable = writable
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections = []
        self._metadata = {}
        self.house_pictures = HousePictures(self._connection)
        """The pictures that belong to one house each."""
        self._changed = False
        self._tile_size = None

    def _complete_metadata(self) -> None:
        """Describe what is in the file now: the entries that MBTiles requires or recommends."""
        if not self._changed and "center" in self._metadata:
            return
        first, entries = self._first_tile(), self.extent()
        if not entries or first is None:
            return
        judged = picture_status(first)
        defaults = {
            "name": self.path.stem,
            "type": "baselayer",
            "version": "1",
            "description": "Aerial tiles around houses",
            TILE_SIZE_ENTRY: str(self.tile_size),
        } | ({} if judged is None else {"format": judged.format})
        missing = {name: value for name, value in defaults.items() if not self._metadata.get(name)}
        self.describe(**entries, **missing)

    def _first_tile(self) -> bytes | None:
        try:
            row = self._connection().execute("SELECT tile_data FROM tiles LIMIT 1").fetchone()
        except sqlite3.DatabaseError as problem:
            raise self._damaged(problem) from None
        return None if row is None or row[0] is None else plain_tile(row[0])

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._writable:
            connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
            connection.execute("PRAGMA synchronous = NORMAL")
            return connection
        address = self.path.resolve().as_uri()
        unchanging = not os.access(self.path.parent, os.W_OK)
        options = "mode=ro&immutable=1" if unchanging else "mode=ro"
        connection = sqlite3.connect(f"{address}?{options}", uri=True, timeout=60, check_same_thread=False)
        connection.execute(f"PRAGMA mmap_size = {2**28}")
        return connection

    def _read_metadata(self) -> dict[str, str]:
        try:
            connection = self._connection()
            connection.execute("SELECT tile_data FROM tiles LIMIT 1")
            return {
                str(name): "" if value is None else str(value)
                for name, value in connection.execute("SELECT name, value FROM metadata")
            }
        except sqlite3.Error as problem:
            self.close()
            raise self._damaged(problem) from None

    def _damaged(self, problem: sqlite3.Error) -> ImageryError:
        return ImageryError(
            f"this is no MBTiles archive, or it is damaged ({problem})",
            where=str(self.path),
            remedy="Check the path; if the file is damaged, move it away and fetch the tiles again.",
        )
