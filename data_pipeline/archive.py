"""Reading and writing MBTiles 1.3 archives.

MBTiles counts rows from the south (TMS); this module speaks XYZ, as the rest
of housevis does, and turns the rows over at the file's edge.
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

from housevis.core.errors import ImageryError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS metadata (name TEXT NOT NULL, value TEXT)",
    "CREATE UNIQUE INDEX IF NOT EXISTS metadata_name ON metadata (name)",
    "CREATE TABLE IF NOT EXISTS tiles (zoom_level INTEGER NOT NULL, tile_column INTEGER NOT NULL,"
    " tile_row INTEGER NOT NULL, tile_data BLOB)",
    "CREATE UNIQUE INDEX IF NOT EXISTS tile_index ON tiles (zoom_level, tile_column, tile_row)",
)


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
            for statement in _SCHEMA:
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
        """Close all connections; a written archive becomes a single file again."""
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
        return self._metadata.get("format", "png")

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
        return bytes(row[0]) if row is not None and row[0] is not None else None

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
