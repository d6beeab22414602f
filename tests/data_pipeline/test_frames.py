"""Pictures of houses: stitching, filling, bounds."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import mercantile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import decode_tile
from data_pipeline.frames import HouseImage, house_image
from data_pipeline.tiles import (
    TILE_PIXELS,
    metres_per_pixel,
    pixel_of,
    place_of,
    tile_of,
    tiles_for_window,
    window_origin,
)


class Ground:
    """A source whose pixels tell where they lie: red and green count world pixels."""

    format = "png"
    provider = "test"
    attribution = "Test imagery"
    tile_size = TILE_PIXELS
    native_zoom: int | None = None

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


class Slope(Ground):
    """A source in which red grows to the east and green to the south, by one in two grid pixels."""

    def __init__(self, tile_size: int = TILE_PIXELS) -> None:
        super().__init__()
        self.tile_size = tile_size

    def pixels(self, x: int, y: int) -> np.ndarray:
        side = self.tile_size
        within = (np.arange(side) + 0.5) * TILE_PIXELS / side
        tile = np.zeros((side, side, 3), dtype=np.uint8)
        tile[..., 0] = np.clip(slope(within + (x - X) * TILE_PIXELS), 0, 255).round()[None, :]
        tile[..., 1] = np.clip(slope(within + (y - Y) * TILE_PIXELS), 0, 255).round()[:, None]
        return tile


def slope(distance: np.ndarray) -> np.ndarray:
    """The brightness so many grid pixels from the corner of tile X, Y."""
    return 120 + distance / 8


X, Y = 41_000, 91_000
ZOOM = 18


def place(dx: float, dy: float) -> tuple[float, float]:
    """A place `dx`, `dy` pixels from the north-west corner of tile X, Y."""
    return place_of(X * TILE_PIXELS + dx, Y * TILE_PIXELS + dy, ZOOM)


def picture_at(dx: float, dy: float, source: Ground, size: int = 224, window: float = 1.0) -> HouseImage:
    image = house_image(source, *place(dx, dy), framing="centred", zoom=ZOOM, size=size, window=window)
    assert image is not None
    return image


whole_pixels = st.integers(0, 255)
fractions = st.floats(0, 255.9)
windows = st.floats(0.5, 4.0)


@settings(deadline=None, max_examples=25)
@given(whole_pixels, whole_pixels, st.integers(8, 200).map(lambda half: 2 * half))
def test_where_pixels_coincide_the_picture_is_a_plain_copy(dx: int, dy: int, size: int) -> None:
    image = picture_at(dx, dy, Ground(), size)
    left, top = (round(edge) for edge in window_origin(*place(dx, dy), ZOOM, size))
    expected_x = (left + np.arange(size)) % 251
    expected_y = (top + np.arange(size)) % 241
    assert image.pixels.shape == (size, size, 3)
    assert (image.pixels[..., 0] == expected_x[None, :]).all()
    assert (image.pixels[..., 1] == expected_y[:, None]).all()
    assert image.missing_tiles == 0


@settings(deadline=None, max_examples=40)
@given(fractions, fractions, windows, st.sampled_from([64, 224]), st.sampled_from([256, 512]))
def test_every_pixel_shows_the_ground_it_stands_for(
    dx: float, dy: float, window: float, size: int, tile_size: int
) -> None:
    image = picture_at(dx, dy, Slope(tile_size), size, window)
    steps = (np.arange(size) + 0.5 - size / 2) * window
    inner = slice(3, -3)
    assert image.pixels[0, inner, 0] == pytest.approx(slope(dx + steps)[inner], abs=1.1)
    assert image.pixels[inner, 0, 1] == pytest.approx(slope(dy + steps)[inner], abs=1.1)


@settings(deadline=None, max_examples=60)
@given(st.floats(-84, 84), st.floats(-180, 180), st.integers(4, 22), windows, st.sampled_from([64, 224, 301]))
def test_the_house_is_the_middle_and_the_bounds_are_mercantiles(
    latitude: float, longitude: float, zoom: int, window: float, size: int
) -> None:
    image = house_image(Ground(), latitude, longitude, framing="centred", zoom=zoom, size=size, window=window)
    assert image is not None
    assert image.house_pixel == (size / 2, size / 2)
    west, south, east, north = image.bounds
    centre = mercantile.xy(longitude, latitude)
    corners = np.array([mercantile.xy(west, north), mercantile.xy(east, south)])
    pixel = 2 * math.pi * 6_378_137 / (TILE_PIXELS * 2**zoom)
    half = size * window / 2
    across, down = (corners - centre).T / pixel
    assert across == pytest.approx((-half, half), abs=2e-6)
    assert down == pytest.approx((half, -half), abs=2e-6)
    assert image.metres_per_pixel == pytest.approx(window * metres_per_pixel(latitude, zoom))


def test_the_house_moves_by_a_quarter_of_a_pixel_with_the_picture() -> None:
    one, other = picture_at(100.0, 100.0, Ground()), picture_at(100.25, 100.0, Ground())
    assert one.key != other.key
    assert one.bounds[0] < other.bounds[0]
    assert one.bounds[1] == other.bounds[1]


def test_bounds_are_those_of_the_window() -> None:
    image = picture_at(128, 128, Ground(), 256)
    assert image.bounds == pytest.approx(tuple(mercantile.bounds(X, Y, 18)), abs=1e-9)
    assert image.metres_per_pixel == pytest.approx(metres_per_pixel(place(128, 128)[0], 18))
    assert (image.provider, image.attribution) == ("test", "Test imagery")


def test_a_missing_neighbour_is_a_reflection_at_the_edge() -> None:
    image = picture_at(250, 128, Ground({(X + 1, Y)}))
    left = round(window_origin(*place(250, 128), ZOOM, 224)[0])
    edge = (X + 1) * TILE_PIXELS - left
    assert image.missing_tiles == 1
    width = 224 - edge
    assert (image.pixels[:, edge:] == image.pixels[:, edge - width : edge][:, ::-1]).all()


def test_three_missing_tiles_of_four_are_filled() -> None:
    absent = {(X, Y), (X - 1, Y), (X, Y - 1)}
    image = picture_at(10, 10, Ground(absent))
    left, top = (round(edge) for edge in window_origin(*place(10, 10), ZOOM, 224))
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


def picture_bytes(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def test_tiles_of_twice_the_detail_keep_it(tmp_path: Path) -> None:
    fine = np.random.default_rng(3).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        archive.write([(mercantile.Tile(X, Y, ZOOM), picture_bytes(fine))])
        latitude, longitude = place(128, 128)
        for size, window in ((224, 0.5), (448, 0.5)):
            image = house_image(
                archive, latitude, longitude, framing="centred", zoom=ZOOM, size=size, window=window
            )
            assert image is not None
            edge = 256 - size // 2
            assert (image.pixels == fine[edge : edge + size, edge : edge + size]).all()
            assert image.metres_per_pixel == pytest.approx(metres_per_pixel(latitude, ZOOM) / 2)
            assert image.native_metres_per_pixel == pytest.approx(metres_per_pixel(latitude, ZOOM) / 2)
        whole = house_image(archive, latitude, longitude, framing="tile", zoom=ZOOM, size=512)
        assert whole is not None
        assert (whole.pixels == fine).all()
    with TileArchive(tmp_path / "t.mbtiles") as archive:
        assert archive.metadata["housevis_tile_size"] == "512"


def test_an_enlargement_has_the_resolution_of_its_source() -> None:
    source = Ground()
    source.native_zoom = ZOOM - 2
    image = picture_at(100, 100, source)
    assert image.native_metres_per_pixel == pytest.approx(4 * image.metres_per_pixel)
    source.native_zoom = ZOOM + 1
    assert picture_at(100, 100, source).native_metres_per_pixel == pytest.approx(image.metres_per_pixel)


def test_one_archive_gives_pictures_of_several_zooms(tmp_path: Path) -> None:
    latitude, longitude = place(30.3, 200.8)
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        for zoom in (15, 17, 18):
            tiles = tiles_for_window(latitude, longitude, zoom, "centred", 224, 2.0)
            archive.write((tile, picture_bytes(Ground().pixels(tile.x, tile.y))) for tile in tiles)
        sides = []
        for zoom in (15, 17, 18):
            image = house_image(
                archive, latitude, longitude, framing="centred", zoom=zoom, size=224, window=2.0
            )
            assert image is not None
            assert image.missing_tiles == 0
            sides.append(image.bounds[2] - image.bounds[0])
        assert sides[0] == pytest.approx(8 * sides[2])
        assert sides[1] == pytest.approx(2 * sides[2])
        assert house_image(archive, latitude, longitude, framing="centred", zoom=16, size=224) is None


@pytest.mark.parametrize("longitude", [180.0, -180.0, 179.9999999])
def test_the_picture_goes_round_the_world_at_the_date_line(longitude: float) -> None:
    source, asked = Ground(), set()

    class Noted(Ground):
        def read(self, z: int, x: int, y: int) -> bytes | None:
            asked.add(x)
            return source.read(z, x, y)

    image = house_image(Noted(), -17.0, longitude, framing="centred", zoom=10, size=224)
    assert image is not None
    assert asked == {0, 1023}
    assert image.bounds[0] < longitude < image.bounds[2]
    assert image.missing_tiles == 0


@pytest.mark.parametrize("latitude", [90.0, -90.0, 89.0])
def test_at_a_pole_there_is_no_picture(latitude: float) -> None:
    assert house_image(Ground(), latitude, 0.0, framing="centred", zoom=18, size=224) is None
    assert tiles_for_window(latitude, 0.0, 18, "centred", 224) == []


@pytest.mark.parametrize("window", [1.0, 4.0])
def test_a_window_larger_than_the_world_repeats_it(window: float) -> None:
    image = house_image(Ground(), 10.0, 20.0, framing="centred", zoom=0, size=224, window=window)
    assert image is not None
    assert image.pixels.shape == (224, 224, 3)
    assert tiles_for_window(10.0, 20.0, 0, "centred", 224, window) == [mercantile.Tile(0, 0, 0)]


def test_a_tile_that_is_no_picture_is_a_missing_one(tmp_path: Path) -> None:
    tiles = tiles_for_window(*place(250.4, 128.6), ZOOM, "centred", 224)
    assert len(tiles) == 2
    with TileArchive.create(tmp_path / "t.mbtiles", {"name": "n"}) as archive:
        archive.write([(tiles[0], picture_bytes(Ground().pixels(X, Y))), (tiles[1], b"damaged")])
        image = house_image(archive, *place(250.4, 128.6), framing="centred", zoom=ZOOM, size=224)
        assert image is not None
        assert image.missing_tiles == 1
        archive.write([(tiles[1], picture_bytes(Ground().pixels(X + 1, Y)))])
        mended = house_image(archive, *place(250.4, 128.6), framing="centred", zoom=ZOOM, size=224)
        assert mended is not None
        assert mended.missing_tiles == 0


def test_only_the_tiles_of_the_plan_are_read_and_each_once() -> None:
    class Counted(Ground):
        def __init__(self) -> None:
            super().__init__()
            self.reads: list[tuple[int, int]] = []

        def read(self, z: int, x: int, y: int) -> bytes | None:
            self.reads.append((x, y))
            return super().read(z, x, y)

    source = Counted()
    generator = np.random.default_rng(5)
    places = [place(*generator.uniform(-300, 300, 2)) for _ in range(60)]
    planned: set[tuple[int, int]] = set()
    for latitude, longitude in places:
        image = house_image(source, latitude, longitude, framing="centred", zoom=ZOOM, size=224, window=1.3)
        assert image is not None
        planned |= {(t.x, t.y) for t in tiles_for_window(latitude, longitude, ZOOM, "centred", 224, 1.3)}
    assert set(source.reads) == planned
    assert len(source.reads) == len(planned)


def test_many_threads_get_the_same_pictures() -> None:
    source = Ground()
    places = [place(dx + 0.37, 2 * dx) for dx in range(0, 400, 40)]
    alone = [
        image.key
        for image in (house_image(Ground(), *at, framing="centred", zoom=ZOOM, size=224) for at in places)
        if image is not None
    ]
    found: list[list[str]] = []

    def work() -> None:
        images = [house_image(source, *at, framing="centred", zoom=ZOOM, size=224) for at in places]
        found.append([image.key for image in images if image is not None])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [alone] * 6


@pytest.mark.parametrize("zoom", [0, 1, 5, 22])
def test_pictures_exist_at_every_zoom(zoom: int) -> None:
    for framing in ("centred", "tile"):
        image = house_image(Ground(), 0.3, 0.3, framing=framing, zoom=zoom, size=96)
        assert image is not None
        assert image.pixels.shape == (96, 96, 3)
        x, y = pixel_of(0.3, 0.3, zoom)
        tile = tile_of(0.3, 0.3, zoom)
        within = ((x - tile.x * 256) * 0.375, (y - tile.y * 256) * 0.375)
        assert image.house_pixel == pytest.approx((48, 48) if framing == "centred" else within)
