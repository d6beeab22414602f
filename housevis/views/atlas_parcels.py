"""The parcels of the map: lines in script files by area, which the page loads where it shows them.

``data/parcels.js`` says where each of them lies, ``data/parcels-<k>.js`` holds
the parcels of one tile of zoom :data:`CELL_ZOOM`: a parcel is a list of rings, a
ring ``[x, y, dx, dy, ...]`` in millionths of a degree from the south-west of its
file. Inside and outside follow from the even-odd rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import mercantile
import numpy as np
import shapely
from numpy.typing import NDArray

from housevis.core.storage import write_file
from housevis.views.words import script_json

INDEX: Final = "parcels.js"
CELL_ZOOM: Final = 15
MICRODEGREES: Final = 1_000_000


def write_parcels(data: Path, areas: NDArray[np.object_]) -> int:
    """Write the parcels of a map in place of those that it had.

    Args:
        data: The folder ``data`` of the map.
        areas: Polygons and multipolygons ``(n,)``, degrees; none takes the files away.

    Returns:
        How many files of parcels there are.
    """
    boxes = []
    for number, (corner, box, cell) in enumerate(_cells(areas)):
        boxes.append(box)
        content = script_json([_rings(area, corner) for area in cell])
        write_file(data / f"parcels-{number}.js", f"housevis.receiveParcels({number},{content});\n")
    for path in data.glob("parcels-*.js"):
        if int(path.stem.removeprefix("parcels-")) >= len(boxes):
            path.unlink()
    if boxes:
        write_file(data / INDEX, f"housevis.receiveParcelIndex({script_json(boxes)});\n")
    else:
        (data / INDEX).unlink(missing_ok=True)
    return len(boxes)


def read_parcels(data: Path) -> NDArray[np.object_]:
    """The parcels that :func:`write_parcels` wrote, polygons and multipolygons; none where there are none.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged.
    """
    if not (data / INDEX).is_file():
        return np.empty(0, dtype=object)
    boxes = json.loads(_argument((data / INDEX).read_text(encoding="utf-8"), "("))
    areas = []
    for number, (west, south, _, _) in enumerate(boxes):
        text = (data / f"parcels-{number}.js").read_text(encoding="utf-8")
        areas += [_area(rings, np.array([west, south])) for rings in json.loads(_argument(text, ","))]
    found = np.empty(len(areas), dtype=object)
    found[:] = areas
    return found


def parcels_without(
    areas: NDArray[np.object_],
    gone: NDArray[np.float64],
    kept: NDArray[np.float64],
    surroundings: NDArray[np.float64],
) -> NDArray[np.object_]:
    """Parcels that stay when houses go: near one that stays, and not where removed houses alone stood.

    Args:
        areas: The parcels ``(n,)``.
        gone: Longitude and latitude of the removed houses ``(g, 2)``.
        kept: The same of the others ``(k, 2)``.
        surroundings: West, south, east, north of what is shown around each of the others ``(k, 4)``.
    """
    if not len(areas) or not len(kept):
        return areas[:0]
    tree = shapely.STRtree(areas)
    near = np.unique(tree.query(shapely.box(*surroundings.T), predicate="intersects")[1])
    stood_on = np.unique(tree.query(shapely.points(gone), predicate="intersects")[1])
    stand_on = np.unique(tree.query(shapely.points(kept), predicate="intersects")[1])
    return areas[np.setdiff1d(near, np.setdiff1d(stood_on, stand_on))]


def _cells(
    areas: NDArray[np.object_],
) -> Iterator[tuple[NDArray[np.int64], list[int], NDArray[np.object_]]]:
    """Per tile that parcels lie in: their south-west corner and their box (microdegrees), and the parcels."""
    if not len(areas):
        return
    edges = np.round(shapely.bounds(areas) * MICRODEGREES).astype(np.int64)
    middle = (edges[:, :2] + edges[:, 2:]) / 2 / MICRODEGREES
    tiles = [mercantile.tile(longitude, latitude, CELL_ZOOM) for longitude, latitude in middle]
    order = sorted(range(len(areas)), key=lambda number: (tiles[number].x, tiles[number].y))
    starts = [at for at, number in enumerate(order) if at == 0 or tiles[number] != tiles[order[at - 1]]]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end]
        corner, far = edges[rows, :2].min(axis=0), edges[rows, 2:].max(axis=0)
        yield corner, [*corner.tolist(), *far.tolist()], areas[rows]


def _rings(area: Any, corner: NDArray[np.int64]) -> list[list[int]]:
    """The rings of one parcel as steps; the last point, which is the first again, is left out."""
    polygons = shapely.get_parts(area)
    found = []
    for ring in shapely.get_rings(polygons):
        points = np.round(shapely.get_coordinates(ring)[:-1] * MICRODEGREES).astype(np.int64) - corner
        found.append(np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int64)).ravel().tolist())
    return found


def _area(rings: list[list[int]], corner: NDArray[np.int64]) -> Any:
    outlines = [(np.cumsum(np.reshape(ring, (-1, 2)), axis=0) + corner) / MICRODEGREES for ring in rings]
    whole = shapely.make_valid(shapely.Polygon(outlines[0]))
    for outline in outlines[1:]:
        whole = whole.symmetric_difference(shapely.make_valid(shapely.Polygon(outline)))
    return whole


def _argument(text: str, before: str) -> str:
    return text[text.index(before) + 1 :].rstrip().removesuffix(");")
