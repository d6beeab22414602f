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
    rings = _rings(areas)
    for number, (box, rows) in enumerate(_cells(areas)):
        boxes.append(box)
        content = [[[x - box[0], y - box[1], *steps] for x, y, *steps in rings[row]] for row in rows]
        script = f"housevis.receiveParcels({number},{script_json(content)});\n"
        write_file(data / f"parcels-{number}.js", script)
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


def _cells(areas: NDArray[np.object_]) -> Iterator[tuple[list[int], list[int]]]:
    """Per tile that parcels lie in: the box of its parcels (microdegrees), and which they are."""
    if not len(areas):
        return
    edges = np.round(shapely.bounds(areas) * MICRODEGREES).astype(np.int64)
    middle = (edges[:, :2] + edges[:, 2:]) / 2 / MICRODEGREES
    tiles = [mercantile.tile(longitude, latitude, CELL_ZOOM) for longitude, latitude in middle]
    order = sorted(range(len(areas)), key=lambda row: (tiles[row].x, tiles[row].y))
    starts = [at for at, row in enumerate(order) if at == 0 or tiles[row] != tiles[order[at - 1]]]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        rows = order[start:end]
        yield [*edges[rows, :2].min(axis=0).tolist(), *edges[rows, 2:].max(axis=0).tolist()], rows


def _rings(areas: NDArray[np.object_]) -> list[list[list[int]]]:
    """The rings of every parcel: a first point in microdegrees, then steps; without the last point."""
    parts, area_of_part = shapely.get_parts(areas, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    places, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    points = np.round(places * MICRODEGREES).astype(np.int64)
    ends = np.searchsorted(ring_of_point, np.arange(len(rings)), side="right")
    starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    steps = np.diff(points, axis=0, prepend=0)
    steps[starts] = points[starts]
    numbers = steps.ravel().tolist()
    found: list[list[list[int]]] = [[] for _ in areas]
    for area, start, end in zip(
        area_of_part[part_of_ring].tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        found[area].append(numbers[2 * start : 2 * end - 2])
    return found


def _area(rings: list[list[int]], corner: NDArray[np.int64]) -> Any:
    outlines = [(np.cumsum(np.reshape(ring, (-1, 2)), axis=0) + corner) / MICRODEGREES for ring in rings]
    whole = shapely.make_valid(shapely.Polygon(outlines[0]))
    for outline in outlines[1:]:
        whole = whole.symmetric_difference(shapely.make_valid(shapely.Polygon(outline)))
    return whole


def _argument(text: str, before: str) -> str:
    return text[text.index(before) + 1 :].rstrip().removesuffix(");")
