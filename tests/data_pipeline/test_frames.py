"""Pictures of houses: stitching, filling, bounds."""

from __future__ import annotations

import io
from types import SimpleNamespace

import mercantile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_pipeline.frames import HouseImage, decode_tile, house_image
from data_pipeline.tiles import TILE_PIXELS, metres_per_pixel, place_of, window_origin


class Ground:
    """A source whose pixels tell where they lie: red and green count world pixels."""

    format = "png"
    provider = "test"
    attribution = "Test imagery"

    def __init__(self, absent: set[tuple[int, int]] = frozenset()) -> None:  # type: ignore[assignment]
        self.absent = absent

    def pixels(self, x: int, y: int) -> np.ndarray:
        columns = (np.arange(TILE_PIXELS) + x * TILE_PIXELS) % 251
        rows = (np.arange(TILE_PIXELS) + y * TILE_PIXELS) % 241
        tile = np.zeros((TILE_PIXELS, TILE_PIXELS, 3), dtype=np.uint8)
        tile[..., 0], tile[..., 1] = columns[None, :], rows[:, None]
        return tile

    def read(self, z: int, x: int, y: int) -> bytes | None:
        if (x, y) in self.absent:
            return None
        buffer = io.BytesIO()
        Image.fromarray(self.pixels(x, y)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


X, Y = 41_000, 91_000


def place(dx: float, dy: float) -> tuple[float, float]:
    """A place `dx`, `dy` pixels from the north-west corner of tile X, Y."""
    return place_of(X * TILE_PIXELS + dx, Y * TILE_PIXELS + dy, 18)


def picture_at(dx: float, dy: float, source: Ground, size: int = 224) -> HouseImage:
    image = house_image(source, *place(dx, dy), framing="centred", zoom=18, size=size)
    assert image is not None
    return image


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 255.9), st.floats(0, 255.9), st.integers(16, 400))
def test_a_centred_picture_is_the_window_of_the_world(dx: float, dy: float, size: int) -> None:
    image = picture_at(dx, dy, Ground(), size)
    left, top = window_origin(*place(dx, dy), 18, size)
    expected_x = (left + np.arange(size)) % 251
    expected_y = (top + np.arange(size)) % 241
    assert image.pixels.shape == (size, size, 3)
    assert (image.pixels[..., 0] == expected_x[None, :]).all()
    assert (image.pixels[..., 1] == expected_y[:, None]).all()
    assert abs(image.house_pixel[0] - size / 2) <= 0.5 + 1e-6
    assert image.missing_tiles == 0


def test_bounds_are_those_of_the_window() -> None:
    image = picture_at(128, 128, Ground(), 256)
    assert image.bounds == pytest.approx(tuple(mercantile.bounds(X, Y, 18)), abs=1e-9)
    assert image.metres_per_pixel == pytest.approx(metres_per_pixel(place(128, 128)[0], 18))
    assert (image.provider, image.attribution) == ("test", "Test imagery")


def test_a_missing_neighbour_is_a_reflection_at_the_edge() -> None:
    image = picture_at(250, 128, Ground({(X + 1, Y)}))
    left, _ = window_origin(*place(250, 128), 18, 224)
    edge = (X + 1) * TILE_PIXELS - left
    assert image.missing_tiles == 1
    width = 224 - edge
    assert (image.pixels[:, edge:] == image.pixels[:, edge - width : edge][:, ::-1]).all()


def test_three_missing_tiles_of_four_are_filled() -> None:
    absent = {(X, Y), (X - 1, Y), (X, Y - 1)}
    image = picture_at(10, 10, Ground(absent))
    left, top = window_origin(*place(10, 10), 18, 224)
    edge_x, edge_y = X * TILE_PIXELS - left, Y * TILE_PIXELS - top
    assert image.missing_tiles == 3
    assert (image.pixels[edge_y, : edge_x - 1] == image.pixels[edge_y - 1, : edge_x - 1]).all()
    assert (image.pixels[: edge_y - 1, edge_x] == image.pixels[: edge_y - 1, edge_x - 1]).all()
    assert (image.pixels[..., :2].max(axis=(0, 1)) > 0).all()


def test_a_reflection_is_folded_when_too_little_is_there() -> None:
    image = picture_at(128, 128, Ground({(X + 1, Y), (X, Y), (X, Y + 1), (X + 1, Y + 1)}), 300)
    assert image.missing_tiles == 4
    assert image.pixels.shape == (300, 300, 3)


def test_no_imagery_is_no_picture(kit: SimpleNamespace) -> None:
    class Flat(Ground):
        def read(self, z: int, x: int, y: int) -> bytes | None:
            return kit.flat_picture()

    nothing = Ground({(x, y) for x in range(X - 2, X + 3) for y in range(Y - 2, Y + 3)})
    for framing in ("centred", "tile"):
        assert house_image(nothing, *place(9, 9), framing=framing, zoom=18, size=224) is None
        assert house_image(Flat(), *place(9, 9), framing=framing, zoom=18, size=224) is None


def test_the_whole_tile_is_resized_with_the_house_in_its_place() -> None:
    image = house_image(Ground(), *place(64, 192), framing="tile", zoom=18, size=128)
    assert image is not None
    assert image.pixels.shape == (128, 128, 3)
    assert image.house_pixel == pytest.approx((32, 96), abs=1e-3)
    assert image.bounds == tuple(mercantile.bounds(X, Y, 18))
    assert image.metres_per_pixel == pytest.approx(2 * metres_per_pixel(place(64, 192)[0], 18))
    whole = house_image(Ground(), *place(64, 192), framing="tile", zoom=18, size=256)
    assert whole is not None
    assert (whole.pixels == Ground().pixels(X, Y)).all()


def test_the_key_is_that_of_the_content() -> None:
    one, same = picture_at(100, 100, Ground()), picture_at(100, 100, Ground())
    other = picture_at(101, 100, Ground())
    assert one.key == same.key != other.key
    assert len(one.key) == 64
    shape = HouseImage(one.pixels.reshape(112, 448, 3), one.bounds, 1.0, "", "", (0, 0))
    assert shape.key != one.key


def test_bytes_that_are_no_picture(kit: SimpleNamespace) -> None:
    whole = kit.picture(mercantile.Tile(1, 2, 3))
    assert decode_tile(whole[: len(whole) // 2]) is None
    assert decode_tile(b"") is None
    assert decode_tile(b"GIF89a") is None
    small = io.BytesIO()
    Image.new("L", (512, 512), 9).save(small, "PNG")
    assert decode_tile(small.getvalue()).shape == (256, 256, 3)  # type: ignore[union-attr]


def test_the_world_ends_in_the_north() -> None:
    latitude = 85.05
    image = house_image(Ground(), latitude, 0.0, framing="centred", zoom=3, size=224)
    assert image is not None
    assert image.missing_tiles > 0
