"""The lots of the sample market as parcels of land."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from data_pipeline.sample_market.geometry import TOWN_PIXEL, Warp, place_of
from data_pipeline.sample_market.plan import Plan


def lot_areas(houses: int, seed: int) -> NDArray[np.object_]:
    """The outlines of all lots of a town, those without a listed house too.

    Args:
        houses: Houses of the town.
        seed: Its seed.

    Returns:
        Polygons ``(n,)``, degrees in EPSG:4326.
    """
    plan, warp = Plan(houses, seed), Warp(seed)
    lots = [
        lot
        for row in range(plan.rows + 2)
        for column in range(plan.columns)
        for lot in plan.lots(column, row)
    ]
    corners = [
        ((lot.left, lot.front), (lot.right, lot.front), (lot.right, lot.rear), (lot.left, lot.rear))
        for lot in lots
    ]
    pixels = warp(np.reshape(corners, (-1, 2))) + TOWN_PIXEL
    latitude, longitude = place_of(pixels[:, 0], pixels[:, 1])
    return shapely.polygons(np.stack([longitude, latitude], axis=1).reshape(-1, 4, 2))
