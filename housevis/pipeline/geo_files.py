"""Tables of places as GeoParquet and GeoPackage, each file whole or not at all."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from housevis.core.errors import StorageError, UsageError
from housevis.core.storage import explained_disk_errors, new_file

if TYPE_CHECKING:
    import geopandas

GEOPACKAGE = (".gpkg",)
GEOPARQUET = (".parquet", ".geoparquet")
_METADATA = b"housevis"


@dataclass(frozen=True)
class GeoTable:
    """A table of places.

    Attributes:
        frame: A row per place, points in EPSG:4326.
        layer: Name of the layer.
        metadata: What belongs to the whole file: names and texts.
    """

    frame: geopandas.GeoDataFrame
    layer: str
    metadata: Mapping[str, str]


def check_kind(path: Path) -> None:
    """Say by the file's name that it cannot be written.

    Raises:
        UsageError: It is neither a GeoParquet nor a GeoPackage file by its name, or a folder.
    """
    if path.suffix.lower() not in GEOPACKAGE + GEOPARQUET:
        raise UsageError(
            "the kind of file is not known by this name",
            where=str(path),
            remedy="Let the name end in .gpkg (GeoPackage) or .parquet (GeoParquet).",
        )
    if path.is_dir():
        raise UsageError("this is a folder", where=str(path), remedy="Give the name of a file.")


def write_geo_table(table: GeoTable, path: Path) -> None:
    """Write a table; the end of the name decides the kind of file.

    Raises:
        UsageError: The name is of neither kind.
        StorageError: The file cannot be written.
    """
    check_kind(path)
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in GEOPACKAGE:
            _write_geopackage(table, path)
        else:
            _write_geoparquet(table, path)


def read_geo_table(path: Path) -> GeoTable:
    """Read a table that :func:`write_geo_table` wrote.

    Raises:
        StorageError: It is no such file, or damaged.
    """
    import pyarrow
    from pyogrio.errors import DataSourceError

    check_kind(path)
    try:
        return _read_geopackage(path) if path.suffix.lower() in GEOPACKAGE else _read_geoparquet(path)
    except (pyarrow.ArrowException, DataSourceError, ValueError, KeyError, OSError):
        raise _no_table(path) from None


def drop_houses(path: Path, house_ids: Collection[str]) -> int:
    """Take houses out of a file that :func:`write_geo_table` wrote; whatever else it holds stays.

    Returns:
        How many rows were taken out.

    Raises:
        StorageError: It is no such file any more, damaged, or cannot be written.
    """
    if path.suffix.lower() in GEOPACKAGE:
        return _drop_from_geopackage(path, house_ids)
    if path.is_dir():
        raise _no_table(path)
    table = read_geo_table(path)
    if "house_id" not in table.frame:
        raise _no_table(path)
    kept = table.frame[~table.frame["house_id"].isin(house_ids)]
    if len(kept) < len(table.frame):
        write_geo_table(GeoTable(kept.reset_index(drop=True), table.layer, table.metadata), path)
    return len(table.frame) - len(kept)


def _drop_from_geopackage(path: Path, house_ids: Collection[str]) -> int:
    """In place, so that styles and layers which a GIS added stay; deleted rows are overwritten."""
    rows = 0
    layers = "SELECT table_name FROM gpkg_contents WHERE data_type IN ('features', 'attributes')"
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA secure_delete = ON")
            quoted = [name.replace('"', '""') for (name,) in connection.execute(layers).fetchall()]
            ours = [
                name
                for name in quoted
                if "house_id" in {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}
            ]
            if not ours:
                raise _no_table(path)
            connection.execute("BEGIN IMMEDIATE")
            for name in ours:
                delete = f'DELETE FROM "{name}" WHERE house_id = ?'  # noqa: S608  (a table of this file)
                rows += sum(connection.execute(delete, (house_id,)).rowcount for house_id in house_ids)
            connection.execute("COMMIT")
            if rows:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        raise _no_table(path) from None
    return rows


def _no_table(path: Path) -> StorageError:
    return StorageError(
        "this file cannot be read as a table of places",
        where=str(path),
        remedy="Delete it and export again.",
    )


def _write_geopackage(table: GeoTable, path: Path) -> None:
    from pyogrio import write_dataframe
    from pyogrio.errors import DataSourceError

    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", suffix=path.suffix) as reserved:
        temporary = Path(reserved.name + ".gpkg")
        try:
            write_dataframe(
                table.frame,
                temporary,
                driver="GPKG",
                layer=table.layer,
                use_arrow=True,
                layer_metadata=dict(table.metadata),
            )
            temporary.replace(path)
        except DataSourceError as problem:
            raise StorageError(
                f"the GeoPackage cannot be written ({problem})",
                where=str(path),
                remedy="Check the folder and the space on the disk.",
            ) from None
        finally:
            temporary.unlink(missing_ok=True)


def _read_geopackage(path: Path) -> GeoTable:
    from pyogrio import list_layers, read_dataframe, read_info

    layer = str(list_layers(path)[0][0])
    metadata = read_info(path, layer=layer).get("layer_metadata") or {}
    return GeoTable(read_dataframe(path, layer=layer, use_arrow=True), layer, metadata)


def _write_geoparquet(table: GeoTable, path: Path) -> None:
    import io

    import pyarrow.parquet

    buffer = io.BytesIO()
    table.frame.to_parquet(buffer, index=False)
    buffer.seek(0)
    content = pyarrow.parquet.read_table(buffer)
    described = json.dumps({"layer": table.layer, **table.metadata})
    kept = {**(content.schema.metadata or {}), _METADATA: described.encode()}
    with new_file(path) as stream:
        pyarrow.parquet.write_table(content.replace_schema_metadata(kept), stream)


def _read_geoparquet(path: Path) -> GeoTable:
    import geopandas
    import pyarrow.parquet

    metadata = json.loads((pyarrow.parquet.read_schema(path).metadata or {})[_METADATA])
    return GeoTable(geopandas.read_parquet(path), metadata.pop("layer"), metadata)
