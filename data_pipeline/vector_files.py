"""Shapes of vector files (GeoPackage, GeoJSON, Shapefile, GeoParquet), in any coordinate system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from housevis.core.errors import ConfigError, DataError

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees in EPSG:4326."""

MERCATOR: Final = "EPSG:3857"
to_mercator: Final = Transformer.from_crs("EPSG:4326", MERCATOR, always_xy=True)


def read_shapes(
    path: Path, key: str, *, columns: Sequence[str] = (), near: Bounds | None = None
) -> geopandas.GeoDataFrame:
    """The shapes of a vector file in Web Mercator (EPSG:3857); empty and endless ones are left out.

    Args:
        path: The file; a zipped one too.
        key: Key of the configuration that names it, for messages.
        columns: Columns to read where they are there; no others are.
        near: Reads only what lies in or about this box; None reads all.

    Raises:
        ConfigError: There is no such file.
        DataError: It cannot be read, or has no geometry or no coordinate system.
    """
    if not path.exists():
        raise ConfigError(
            "there is no such file", where=f"{key}: {path}", remedy="Mend the path, or leave the key out."
        )
    try:
        frame = _read(path, columns, near)
    # geopandas and its readers raise whatever the file makes them raise.
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise DataError(
            f"this vector file cannot be read ({str(problem).splitlines()[0]})",
            where=f"{key}: {path}",
            remedy="Give a GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet file.",
        ) from None
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise DataError(
            "this file has no geometry", where=f"{key}: {path}", remedy="Give a file of polygons or lines."
        )
    if frame.crs is None:
        raise DataError(
            "this file does not say which coordinate system it is in",
            where=f"{key}: {path}",
            remedy="Write it again with its coordinate system, for example as a GeoPackage.",
        )
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty].to_crs(MERCATOR)
    return frame[np.isfinite(frame.geometry.bounds.to_numpy()).all(axis=1)]


def polygons_of(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygons among shapes and their parts, broken ones mended."""
    parts = shapely.get_parts(shapely.make_valid(shapes)) if len(shapes) else shapes
    return parts[np.isin(shapely.get_type_id(parts), (3, 6))]


def _read(path: Path, columns: Sequence[str], near: Bounds | None) -> Any:
    if path.suffix == ".parquet":
        frame = geopandas.read_parquet(path)
        return frame[[name for name in (*columns, frame.geometry.name) if name in frame.columns]]
    box = None
    if near is not None and pyogrio.read_info(path).get("crs") is not None:
        # A box bends in another coordinate system: its sides are followed.
        outline = shapely.segmentize(shapely.box(*near), max(near[2] - near[0], near[3] - near[1]) / 32)
        box = geopandas.GeoSeries([outline], crs="EPSG:4326")
    return geopandas.read_file(path, columns=list(columns), bbox=box)
