"""Tile arithmetic against mercantile, and the windows of pictures."""

from __future__ import annotations

import mercantile
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_pipeline.tiles import (
    TILE_PIXELS,
    metres_per_pixel,
    pixel_of,
    place_of,
    tile_of,
    tiles_for_window,
    unique_tiles,
    window_origin,
)

latitudes = st.floats(-85, 85, allow_nan=False)
longitudes = st.floats(-180, 179.999, allow_nan=False)
zooms = st.integers(0, 20)
sizes = st.integers(1, 600)


@given(latitudes, longitudes, zooms)
@example(0.0, 0.0, 18)
@example(47.5133, -122.11, 18)
def test_tile_of_is_mercantiles(latitude: float, longitude: float, zoom: int) -> None:
    assert tile_of(latitude, longitude, zoom) == mercantile.tile(longitude, latitude, zoom)


@given(latitudes, longitudes, zooms)
def test_place_of_undoes_pixel_of(latitude: float, longitude: float, zoom: int) -> None:
    back = place_of(*pixel_of(latitude, longitude, zoom), zoom)
    assert back == pytest.approx((latitude, longitude), abs=1e-7)


@given(latitudes, longitudes, st.integers(1, 20))
def test_the_pixel_lies_in_the_tile(latitude: float, longitude: float, zoom: int) -> None:
    x, y = pixel_of(latitude, longitude, zoom)
    tile = tile_of(latitude, longitude, zoom)
    assert -1e-3 <= x - tile.x * TILE_PIXELS <= TILE_PIXELS + 1e-3
    assert -1e-3 <= y - tile.y * TILE_PIXELS <= TILE_PIXELS + 1e-3


@given(latitudes, longitudes, st.integers(4, 20), sizes)
def test_the_window_is_centred_to_half_a_pixel(
    latitude: float, longitude: float, zoom: int, size: int
) -> None:
    x, y = pixel_of(latitude, longitude, zoom)
    left, top = window_origin(latitude, longitude, zoom, size)
    assert abs(left + size / 2 - x) <= 0.5 + 1e-6
    assert abs(top + size / 2 - y) <= 0.5 + 1e-6


@given(st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=8), st.integers(3, 19), sizes)
def test_unique_tiles_are_those_of_the_single_windows(
    places: list[tuple[float, float]], zoom: int, size: int
) -> None:
    frame = pd.DataFrame(places, columns=["latitude", "longitude"])
    for framing in ("centred", "tile"):
        many = unique_tiles(frame, zoom, framing, size)
        single = {tile for place in places for tile in tiles_for_window(*place, zoom, framing, size)}
        assert len(many) == len(set(many))
        assert set(many) == single


def test_no_houses_need_no_tiles() -> None:
    assert unique_tiles(pd.DataFrame(columns=["latitude", "longitude"]), 18, "centred", 224) == []


def test_a_window_over_a_corner_takes_four_tiles() -> None:
    corner = mercantile.ul(mercantile.Tile(41_000, 91_000, 18))
    found = tiles_for_window(corner.lat, corner.lng, 18, "centred", 224)
    assert [(tile.x, tile.y) for tile in found] == [
        (40_999, 90_999),
        (41_000, 90_999),
        (40_999, 91_000),
        (41_000, 91_000),
    ]


def test_a_window_over_the_date_line_goes_round_the_world() -> None:
    columns = {tile.x for tile in tiles_for_window(10.0, 179.99999, 10, "centred", 224)}
    assert columns == {0, 1023}


def test_metres_per_pixel_in_seattle() -> None:
    assert metres_per_pixel(47.6, 18) == pytest.approx(0.4027, abs=1e-4)
    assert np.isclose(metres_per_pixel(0, 0), 156_543.03392804097)
