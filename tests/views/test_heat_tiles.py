"""Georeferenced tiles: what lies on the ground at a place lies there on the tile."""

from __future__ import annotations

import io

import mercantile
import numpy as np
import pytest
from PIL import Image

from housevis.core.errors import DataError, UsageError
from housevis.explain.heatmap import colour_table
from housevis.views.heat_tiles import SHALLOWEST, TILE_SIDE, HeatTiles

PLACE = (-122.33, 47.61)


def opacity(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3]


def map_over(tile: mercantile.Tile, cell: tuple[int, int]) -> HeatTiles:
    """One map of 7 x 7 cells over a whole tile, hot in one cell."""
    values = np.zeros((1, 7, 7), np.float32)
    values[0][cell] = 1.0
    bounds = mercantile.bounds(tile)
    return HeatTiles(values, np.array([[bounds.west, bounds.south, bounds.east, bounds.north]]), 1.0)


@pytest.mark.parametrize("cell", [(0, 0), (3, 3), (1, 5), (6, 2)])
@pytest.mark.parametrize("zoom", [16, 18, 20])
def test_a_hot_cell_lies_where_it_lies_on_the_ground(cell, zoom):
    home = mercantile.tile(*PLACE, 18)
    tiles = map_over(home, cell)
    north_west = mercantile.ul(home)
    south_east = mercantile.ul(home.x + 1, home.y + 1, home.z)
    east = north_west.lng + (south_east.lng - north_west.lng) * (cell[1] + 0.5) / 7
    top, bottom = (mercantile.xy(0, place.lat)[1] for place in (north_west, south_east))
    down = top + (bottom - top) * (cell[0] + 0.5) / 7
    place = mercantile.lnglat(mercantile.xy(east, 0)[0], down)
    shown = mercantile.tile(place.lng, place.lat, zoom)
    found = opacity(tiles.png(zoom, shown.x, shown.y)).astype(float)
    corner = mercantile.xy_bounds(shown)
    x, y = mercantile.xy(place.lng, place.lat)
    pixel = (
        (corner.top - y) / (corner.top - corner.bottom) * TILE_SIDE,
        (x - corner.left) / (corner.right - corner.left) * TILE_SIDE,
    )
    rows, columns = np.nonzero(found >= found.max() * 0.98)
    cell_side = TILE_SIDE * 2.0 ** (zoom - 18) / 7
    assert found.max() >= colour_table()[-1, 3] * 0.9
    assert abs(rows.mean() + 0.5 - pixel[0]) < cell_side / 2
    assert abs(columns.mean() + 0.5 - pixel[1]) < cell_side / 2


def test_neighbouring_tiles_show_one_map_without_a_seam():
    home = mercantile.tile(*PLACE, 18)
    tiles = map_over(home, (3, 3))
    whole = opacity(tiles.png(18, home.x, home.y)).astype(int)
    left, right = (opacity(tiles.png(19, home.x * 2 + part, home.y * 2 + 1)).astype(int) for part in (0, 1))
    assert np.abs(left[:, -1] - right[:, 0]).max() <= 6
    assert abs(int(whole[-1, -1]) - int(right[-1, -1])) <= 6


def test_maps_that_overlap_show_their_mean():
    home = mercantile.tile(*PLACE, 18)
    bounds = mercantile.bounds(home)
    edges = np.array([[bounds.west, bounds.south, bounds.east, bounds.north]] * 2)
    values = np.stack([np.full((7, 7), 1.0), np.zeros((7, 7))]).astype(np.float32)
    both = opacity(HeatTiles(values, edges, 1.0).png(18, home.x, home.y))
    half = opacity(HeatTiles(values[:1] / 2, edges[:1], 1.0).png(18, home.x, home.y))
    assert (both == half).all()


def test_a_tile_without_maps_is_transparent():
    home = mercantile.tile(*PLACE, 18)
    tiles = map_over(home, (3, 3))
    assert opacity(tiles.png(18, home.x + 9, home.y)).max() == 0
    shallow = mercantile.tile(*PLACE, SHALLOWEST - 1)
    assert opacity(tiles.png(SHALLOWEST - 1, shallow.x, shallow.y)).shape == (TILE_SIDE, TILE_SIDE)


def test_a_tile_that_is_none_is_refused():
    tiles = map_over(mercantile.tile(*PLACE, 18), (3, 3))
    for tile in ((1, 2, 0), (1, 0, -1), (23, 0, 0)):
        with pytest.raises(UsageError):
            tiles.png(*tile)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError):
        HeatTiles(np.zeros((2, 7, 7), np.float32), np.zeros((3, 4)), 1.0)
