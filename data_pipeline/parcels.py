"""Parcels of land from a cadastre's file: their lines near some houses, and nothing else of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from data_pipeline.vector_files import MERCATOR, polygons_of, read_shapes, to_mercator
from housevis.core.earth import METRES_PER_DEGREE
from housevis.core.errors import DataError

KEY: Final = "atlas.parcels"

TOLERANCE: Final = 0.3
"""Metres that a simplified line may lie beside the true one."""

DECIMALS: Final = 6
"""Of degrees: a tenth of a metre."""

_ABOUT: Final = 0.002
"""Degrees around all houses in which parcels are read."""

_POLYGONS: Final = (3, 6)
_from_mercator = Transformer.from_crs(MERCATOR, "EPSG:4326", always_xy=True)


@dataclass(frozen=True, eq=False)
class Parcels:
    """Parcels near some houses; no attribute of a parcel is kept, for owners' names stand among them.

    Attributes:
        areas: Polygons and multipolygons ``(n,)``, degrees in EPSG:4326, each once.
        mended: How many were broken and are mended.
        skipped: Shapes that are no parcel: points, lines, and what could not be mended.
        alike: Parcels that lie exactly on another, flats of one building for example.
    """

    areas: NDArray[np.object_]
    mended: int = 0
    skipped: int = 0
    alike: int = 0

    def words(self) -> str:
        """What was taken, in one line."""
        parts = [f"parcels: {len(self.areas):,} near the houses"]
        parts += [f"{self.alike:,} that lie on another are drawn once"] if self.alike else []
        parts += [f"{self.mended:,} broken ones mended"] if self.mended else []
        parts += [f"{self.skipped:,} shapes skipped, which are no areas"] if self.skipped else []
        return "; ".join(parts)


def read_parcels(path: Path, surroundings: NDArray[np.float64]) -> Parcels:
    """The parcels of a vector file that lie in the surroundings of houses.

    Args:
        path: Polygons, any vector file that geopandas reads, in any coordinate system.
        surroundings: West, south, east, north of each house's, degrees in EPSG:4326 ``(n, 4)``.

    Raises:
        ConfigError: There is no such file.
        DataError: It cannot be read, does not say its coordinate system, or holds no polygon near the houses.
    """
    west, south = surroundings[:, :2].min(axis=0) - _ABOUT
    east, north = surroundings[:, 2:].max(axis=0) + _ABOUT
    frame = read_shapes(path, KEY, near=(float(west), float(south), float(east), float(north)))
    shapes = frame.geometry.to_numpy()
    if len(shapes) and not np.isin(shapely.get_type_id(shapes), (*_POLYGONS, 7)).any():
        raise DataError(
            "this file holds no parcel",
            where=f"{KEY}: {path}",
            remedy="Parcels are polygons; give the file of their areas, not of points or lines.",
        )
    found = parcels_near(shapely.transform(shapes, _to_degrees), surroundings)
    if not len(found.areas):
        raise DataError(
            "no parcel of this file lies near a house of this run",
            where=f"{KEY}: {path}",
            remedy="Check that it is of the same place, and that it names the coordinate system it is in.",
        )
    return found


def parcels_near(shapes: NDArray[np.object_], surroundings: NDArray[np.float64]) -> Parcels:
    """Those of some shapes that lie in the surroundings of houses, simplified and rounded.

    Args:
        shapes: Geometry of any kind, degrees in EPSG:4326 ``(m,)``.
        surroundings: As of :func:`read_parcels`.
    """
    boxes = shapely.STRtree(shapely.box(*surroundings.T))
    shapes = shapely.force_2d(shapes[np.unique(boxes.query(shapes)[0])])
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = [_mended(shape) for shape in shapes[broken]]
    whole = np.isin(shapely.get_type_id(shapes), _POLYGONS)
    areas = shapes[whole]
    areas = areas[np.unique(boxes.query(areas, predicate="intersects")[0])]
    # A metre on the ground is 1 / cos(latitude) metres of Web Mercator.
    stretch = 1 / np.cos(np.radians(shapely.get_y(shapely.centroid(areas))))
    simple = shapely.simplify(shapely.transform(areas, _to_metres), TOLERANCE * stretch)
    areas = shapely.transform(simple, lambda points: np.round(_to_degrees(points), DECIMALS))
    once = np.unique(shapely.to_wkb(shapely.normalize(areas)), return_index=True)[1]
    return Parcels(
        areas[np.sort(once)],
        mended=int((broken & whole).sum()),
        skipped=int((~whole).sum()),
        alike=len(areas) - len(once),
    )


def surroundings_of(latitude: Any, longitude: Any, metres: float = 50.0) -> NDArray[np.float64]:
    """Boxes around places, for houses without a picture.

    Args:
        latitude: Degrees ``(n,)``.
        longitude: Degrees ``(n,)``.
        metres: From the middle to each side.

    Returns:
        West, south, east, north ``(n, 4)``.
    """
    latitude, longitude = np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)
    up = np.full_like(latitude, metres / METRES_PER_DEGREE)
    across = up / np.cos(np.radians(latitude))
    return np.stack([longitude - across, latitude - up, longitude + across, latitude + up], axis=1)


def _mended(shape: Any) -> Any:
    parts = polygons_of(np.array([shape], dtype=object))
    return shapely.union_all(parts) if len(parts) else shapely.Point()


def _to_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(_from_mercator.transform(points[:, 0], points[:, 1]), axis=1)


def _to_metres(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(to_mercator.transform(points[:, 0], points[:, 1]), axis=1)
