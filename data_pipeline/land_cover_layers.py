"""Buildings and roads of vector files, OpenStreetMap's for example, drawn into land cover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_bounds

from data_pipeline.land_cover import LAND_COVERS, LandCover
from data_pipeline.vector_files import Bounds, polygons_of, read_shapes, to_mercator
from housevis.core.errors import DataError

ROAD_WIDTHS: Final[dict[str, float]] = {
    "motorway": 22.0,
    "trunk": 18.0,
    "primary": 15.0,
    "secondary": 12.0,
    "tertiary": 10.0,
    "residential": 8.0,
    "living_street": 7.0,
    "unclassified": 7.0,
    "service": 5.0,
    "track": 3.5,
    "pedestrian": 5.0,
    "cycleway": 2.5,
    "footway": 2.0,
    "path": 1.5,
    "steps": 2.0,
}
"""Value of the column ``highway`` -> metres that the road is wide; a ``_link`` is as wide as its road."""

USUAL_WIDTH = 7.0
"""Metres, of a road whose ``highway`` is not known."""

HIGHWAY = "highway"


@dataclass(frozen=True, eq=False)
class VectorLayer:
    """Areas that have one class of land cover.

    Attributes:
        cover: The class.
        areas: Polygons in Web Mercator (EPSG:3857).
        tree: Their index by place.
    """

    cover: LandCover
    areas: NDArray[np.object_]
    tree: shapely.STRtree

    @classmethod
    def of(cls, cover: LandCover, areas: NDArray[np.object_]) -> VectorLayer:
        """A layer of polygons."""
        return cls(cover, areas, shapely.STRtree(areas))

    def draw(self, covers: NDArray[np.uint8], bounds: Bounds) -> None:
        """Draw the layer into the classes of one picture.

        Args:
            covers: Classes of its cells ``(h, w)``, changed in place: a cell
                whose middle lies in an area gets the layer's class.
            bounds: West, south, east, north of the picture, degrees in EPSG:4326.
        """
        west, south = to_mercator.transform(bounds[0], bounds[1])
        east, north = to_mercator.transform(bounds[2], bounds[3])
        near = self.areas[self.tree.query(shapely.box(west, south, east, north))]
        if not len(near):
            return
        height, width = covers.shape
        inside = rasterize(
            [(area, 1) for area in near],
            out_shape=(height, width),
            transform=from_bounds(west, south, east, north, width, height),
            dtype="uint8",
        )
        covers[inside == 1] = LAND_COVERS.index(self.cover)


def read_buildings(path: Path) -> VectorLayer:
    """Footprints from any vector file that geopandas reads, in any coordinate system.

    Raises:
        ConfigError: There is no such file.
        DataError: It cannot be read, has no coordinate system, or holds no polygon.
    """
    shapes = read_shapes(path, "land_cover.buildings").geometry.to_numpy()
    areas = polygons_of(shapes)
    if not len(areas):
        raise DataError(
            "this file holds no building",
            where=f"land_cover.buildings: {path}",
            remedy="Buildings are polygons; give a file of footprints.",
        )
    return VectorLayer.of("roof", areas)


def read_roads(path: Path) -> VectorLayer:
    """Roads as areas: lines as wide as :data:`ROAD_WIDTHS` says of their ``highway``, polygons as they are.

    Raises:
        ConfigError: There is no such file.
        DataError: It cannot be read, has no coordinate system, or holds no line or polygon.
    """
    frame = read_shapes(path, "land_cover.roads", columns=(HIGHWAY,))
    shapes = frame.geometry.to_numpy()
    kinds = frame[HIGHWAY].astype(str).tolist() if HIGHWAY in frame.columns else [""] * len(frame)
    metres = np.array([ROAD_WIDTHS.get(kind.removesuffix("_link"), USUAL_WIDTH) for kind in kinds])
    is_line = np.isin(shapely.get_type_id(shapes), (1, 2, 5))
    # A metre on the ground is 1 / cos(latitude) metres of Web Mercator.
    stretch = np.cosh(shapely.get_y(shapely.centroid(shapes)) * 2 * math.pi / 40_075_016.68557849)
    wide = shapely.buffer(shapes[is_line], (metres * stretch / 2)[is_line], cap_style="flat")
    areas = np.concatenate([wide, polygons_of(shapes[~is_line])])
    if not len(areas):
        raise DataError(
            "this file holds no road",
            where=f"land_cover.roads: {path}",
            remedy="Roads are lines or polygons; give a file of ways.",
        )
    return VectorLayer.of("road", areas)
