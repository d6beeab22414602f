"""Tile arithmetic against mercantile, and the windows of pictures."""

from __future__ import annotations

import math

import mercantile
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_pipeline.tiles import (
    TILE_PIXELS,
    distinct_tile_keys,
    metres_per_pixel,
    nearby_order,
    pack,
    pixel_of,
    place_of,
    tile_of,
    tiles_for_window,
    tiles_of_keys,
    unique_tiles,
    unpack,
    window_edges,
    window_origin,
)

latitudes = st.floats(-85, 85, allow_nan=False)
longitudes = st.floats(-180, 179.999, allow_nan=False)
zooms = st.integers(0, 20)
sizes = st.integers(1, 600)
places_latitude = st.one_of(latitudes, st.sampled_from([90.0, -90.0, 85.0511287798066, 86.0]))


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


windows = st.floats(0.5, 4.0)


@given(latitudes, longitudes, st.integers(0, 22), sizes, windows)
def test_the_window_is_centred(
    latitude: float, longitude: float, zoom: int, size: int, window: float
) -> None:
    x, y = pixel_of(latitude, longitude, zoom)
    left, top = window_origin(latitude, longitude, zoom, size, window)
    assert left + size * window / 2 == pytest.approx(x, abs=1e-6)
    assert top + size * window / 2 == pytest.approx(y, abs=1e-6)


@given(latitudes, longitudes, st.integers(0, 22), sizes, windows)
def test_the_tiles_cover_the_window_and_none_is_idle(
    latitude: float, longitude: float, zoom: int, size: int, window: float
) -> None:
    left, top = window_origin(latitude, longitude, zoom, size, window)
    count = 2**zoom
    tiles = tiles_for_window(latitude, longitude, zoom, "centred", size, window)
    assert len(tiles) == len(set(tiles))
    touched = []
    for start, wraps in ((left, True), (top, False)):
        first, last = window_edges(start, size * window)
        assert (first, last) == pytest.approx((start, start + size * window), abs=1.001e-3)
        pixels = np.arange(math.floor(first), math.ceil(last)) // TILE_PIXELS
        touched.append(
            {int(i) % count for i in pixels} if wraps else {int(i) for i in pixels if 0 <= i < count}
        )
    assert {(tile.x, tile.y) for tile in tiles} == {(x, y) for x in touched[0] for y in touched[1]}


@given(st.lists(st.tuples(places_latitude, longitudes), max_size=8), st.integers(0, 22), sizes, windows)
def test_distinct_tiles_are_those_of_the_single_windows(
    places: list[tuple[float, float]], zoom: int, size: int, window: float
) -> None:
    frame = pd.DataFrame(places, columns=["latitude", "longitude"], dtype=float)
    for framing in ("centred", "tile"):
        keys = distinct_tile_keys(frame, zoom, framing, size, window)
        single = {tile for place in places for tile in tiles_for_window(*place, zoom, framing, size, window)}
        assert keys.dtype == np.int64
        assert (np.diff(keys) > 0).all()
        assert set(tiles_of_keys(keys, zoom)) == single
        assert unique_tiles(frame, zoom, framing, size, window) == list(tiles_of_keys(keys, zoom))
        columns, rows = unpack(keys)
        assert (pack(columns, rows) == keys).all()


def test_many_houses_are_planned_in_parts() -> None:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "latitude": generator.uniform(47, 47.4, 150_000),
            "longitude": generator.uniform(-122, -121.6, 150_000),
        }
    )
    keys = distinct_tile_keys(frame, 16, "centred", 224)
    halves = [distinct_tile_keys(part, 16, "centred", 224) for part in (frame[:70_000], frame[70_000:])]
    assert (keys == np.unique(np.concatenate(halves))).all()


@given(latitudes, longitudes, zooms)
def test_bounds_parents_and_quadkeys_are_mercantiles(latitude: float, longitude: float, zoom: int) -> None:
    tile = tile_of(latitude, longitude, zoom)
    bounds = mercantile.bounds(tile)
    corner = place_of(tile.x * TILE_PIXELS, tile.y * TILE_PIXELS, zoom)
    opposite = place_of((tile.x + 1) * TILE_PIXELS, (tile.y + 1) * TILE_PIXELS, zoom)
    assert (*corner, *opposite) == pytest.approx(
        (bounds.north, bounds.west, bounds.south, bounds.east), abs=1e-9
    )
    if zoom:
        assert tile_of(latitude, longitude, zoom - 1) == mercantile.parent(tile)
    assert mercantile.quadkey_to_tile(mercantile.quadkey(tile)) == tile


@given(st.lists(st.tuples(latitudes, longitudes), max_size=30), st.integers(0, 22))
def test_the_nearby_order_follows_the_quadkeys(places: list[tuple[float, float]], zoom: int) -> None:
    frame = pd.DataFrame(places, columns=["latitude", "longitude"], dtype=float)
    order = nearby_order(frame, zoom)
    keys = [mercantile.quadkey(tile_of(*places[i], zoom)) for i in order]
    assert sorted(order.tolist()) == list(range(len(places)))
    assert keys == sorted(keys)


@pytest.mark.parametrize("framing", ["centred", "tile"])
def test_places_at_the_ends_of_the_world(framing: str) -> None:
    frame = pd.DataFrame(
        [(90.0, 0.0), (-90.0, 180.0), (85.06, -180.0), (0.0, 180.0)], columns=["latitude", "longitude"]
    )
    for zoom in (0, 3, 18, 22):
        for tile in unique_tiles(frame, zoom, framing, 224, 4.0):  # type: ignore[arg-type]
            assert 0 <= tile.x < 2**zoom
            assert 0 <= tile.y < 2**zoom


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
