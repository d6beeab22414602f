"""The base map: the archive's tiles beside the map, their overviews, and what a removal leaves of them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import mercantile
import numpy as np
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.house_tiles import house_tile
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import changed_files, read_manifest
from housevis.views.atlas_removal import remove_from_atlas
from housevis.views.base_map import BaseFolder, BaseMap, is_dense, tile_file, tile_of_file
from housevis.views.data import AtlasData

ZOOM = 18
WEST, NORTH = 4 * 18_000, 4 * 23_000
RED, GREEN, BLUE = (205, 30, 30), (30, 160, 40), (30, 50, 200)


def drawn(colour: tuple[int, int, int], kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(file, kind)
    return file.getvalue()


def block(columns: Iterable[int], rows: Iterable[int]) -> list[mercantile.Tile]:
    """Tiles by their distance from one corner."""
    return [mercantile.Tile(WEST + column, NORTH + row, ZOOM) for column in columns for row in list(rows)]


class Tiles:
    """Tiles in memory."""

    def __init__(self, tiles: dict[mercantile.Tile, bytes]) -> None:
        self.held = tiles

    def tiles(self, zoom: int) -> Iterator[mercantile.Tile]:
        return (tile for tile in self.held if tile.z == zoom)

    def read(self, z: int, x: int, y: int) -> bytes | None:
        return self.held.get(mercantile.Tile(x, y, z))


def index_of(folder: Path) -> dict:
    text = (folder / "data" / "base.js").read_text()
    return json.loads(text.removeprefix("housevis.baseTiles=").removesuffix(";\n"))


def listed(folder: Path) -> set[str]:
    """The files that the page may ask for."""
    return {
        f"base/{zoom}/{x}/{row[0]}.{kind}"
        for zoom, kinds in index_of(folder)["tiles"].items()
        for kind, rows in kinds.items()
        for row in rows
        for start, count in zip(row[1::2], row[2::2], strict=True)
        for x in range(start, start + count)
    }


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / "base").rglob("*") if path.is_file()}


def pixel(folder: Path, name: str, at: tuple[int, int]) -> tuple[int, ...]:
    with Image.open(folder / name) as picture:
        return picture.convert("RGBA").getpixel(at)


def with_base(data: AtlasData, tiles: Tiles | TileArchive, **settings: str) -> AtlasData:
    return replace(data, pictures=replace(data.pictures, base_map=BaseMap(tiles, ZOOM, **settings)))


def test_tiles_are_dense_where_they_fill_half_of_the_tiles_two_zooms_above():
    assert is_dense(block(range(4), range(2)))
    assert not is_dense(block(range(7), [0]))
    assert not is_dense([])


def test_a_path_says_its_tile():
    tile = mercantile.Tile(5, 7, 18)
    assert tile_of_file(tile_file(tile, "jpg")) == tile
    assert tile_of_file("pictures/ab/abcdef.jpg") is None


def test_tiles_are_the_archives_own_and_overviews_show_them(atlas_data, tmp_path):
    tiles = dict.fromkeys(block(range(16), range(12)), drawn(GREEN))
    east = block([15], [0])[0]
    tiles[east] = drawn(RED, "PNG")
    tiles[block([0], [0])[0]] = drawn(BLUE, "WEBP")
    build_atlas(with_base(atlas_data, Tiles(tiles)), tmp_path)
    assert listed(tmp_path) == there(tmp_path)
    index = index_of(tmp_path)
    assert index["zoom"] == ZOOM
    assert set(index["tiles"]) == {"18", "16", "15"}
    assert index["tiles"]["18"]["png"] == [[NORTH, WEST + 15, 1]]
    assert index["tiles"]["18"]["jpg"][:2] == [[NORTH, WEST + 1, 14], [NORTH + 1, WEST, 16]]
    assert (tmp_path / tile_file(east, "png")).read_bytes() == tiles[east]
    assert changed_files(tmp_path) == []
    above = f"base/16/{WEST // 4 + 3}/{NORTH // 4}.webp"
    assert np.allclose(pixel(tmp_path, above, (224, 32)), (*RED, 255), atol=24)
    assert np.allclose(pixel(tmp_path, above, (96, 160)), (*GREEN, 255), atol=24)
    # Three rows of tiles two zooms above are one and a half one zoom farther: the rest is transparent.
    top = f"base/15/{WEST // 8}/{NORTH // 8 + 1}.webp"
    assert np.allclose(pixel(tmp_path, top, (64, 64)), (*GREEN, 255), atol=24)
    assert pixel(tmp_path, top, (64, 200))[3] == 0


@pytest.mark.parametrize(("choice", "made"), [("auto", False), ("never", False), ("always", True)])
def test_a_thin_market_has_a_base_map_only_where_it_is_asked_for(atlas_data, tmp_path, choice, made):
    tiles = Tiles(dict.fromkeys(block(range(0, 24, 4), range(2)), drawn(GREEN)))
    build_atlas(with_base(atlas_data, tiles, choice=choice), tmp_path)
    assert (tmp_path / "data" / "base.js").is_file() == made
    assert bool(there(tmp_path)) == made
    page = (tmp_path / "index.html").read_text()
    assert ("Base map" in page) == made
    assert ("Aerial pictures under the houses" in page) != made


def test_a_second_build_keeps_what_is_right_and_mends_the_rest(atlas_data, tmp_path):
    tiles = dict.fromkeys(block(range(8), range(8)), drawn(GREEN))
    build_atlas(with_base(atlas_data, Tiles(tiles)), tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in there(tmp_path)}
    changed, gone, damaged = block([0], [0])[0], block([7], [7])[0], block([4], [0])[0]
    tiles[changed] = drawn(RED)
    del tiles[gone]
    (tmp_path / tile_file(damaged, "jpg")).write_bytes(b"cut")
    build_atlas(with_base(atlas_data, Tiles(tiles)), tmp_path)
    after = {name: (tmp_path / name).stat().st_mtime_ns for name in there(tmp_path)}
    assert listed(tmp_path) == set(after) == set(before) - {tile_file(gone, "jpg")}
    west, north = WEST // 4, NORTH // 4
    anew = {f"base/16/{west + x}/{north + y}.webp" for x, y in ((0, 0), (1, 0), (1, 1))}
    anew |= {tile_file(tile, "jpg") for tile in (changed, damaged)}
    assert {name for name in after if after[name] != before[name]} == anew
    assert np.allclose(pixel(tmp_path, f"base/16/{west}/{north}.webp", (32, 32)), (*RED, 255), atol=24)
    assert pixel(tmp_path, f"base/16/{west + 1}/{north + 1}.webp", (224, 224))[3] == 0
    assert changed_files(tmp_path) == []
    build_atlas(with_base(atlas_data, Tiles(tiles), choice="never"), tmp_path)
    assert there(tmp_path) == set()
    assert "data/base.js" not in read_manifest(tmp_path)


def test_a_build_that_was_stopped_goes_on(atlas_data, tmp_path):
    class Stopped(Tiles):
        asked = 0

        def read(self, z: int, x: int, y: int) -> bytes | None:
            self.asked += 1
            if self.asked > 20:
                raise KeyboardInterrupt
            return super().read(z, x, y)

    tiles = dict.fromkeys(block(range(8), range(8)), drawn(GREEN))
    build_atlas(with_base(atlas_data, Tiles(tiles)), tmp_path)
    other = dict.fromkeys(tiles, drawn(RED))
    with pytest.raises(KeyboardInterrupt):
        build_atlas(with_base(atlas_data, Stopped(other)), tmp_path)
    report = build_atlas(with_base(atlas_data, Tiles(other)), tmp_path)
    assert report.base_map_tiles == 64
    assert listed(tmp_path) == there(tmp_path)
    for name in there(tmp_path):
        assert np.allclose(pixel(tmp_path, name, (20, 20))[:3], RED, atol=24), name
    assert changed_files(tmp_path) == []


def test_another_zoom_leaves_nothing_of_the_first(atlas_data, tmp_path):
    build_atlas(
        with_base(atlas_data, Tiles(dict.fromkeys(block(range(8), range(8)), drawn(GREEN)))), tmp_path
    )
    nearer = {mercantile.Tile(tile.x, tile.y, 17): drawn(BLUE) for tile in block(range(4), range(4))}
    made_of = BaseMap(Tiles(nearer), 17)
    build_atlas(replace(atlas_data, pictures=replace(atlas_data.pictures, base_map=made_of)), tmp_path)
    assert {name.split("/")[1] for name in there(tmp_path)} == {"17", "15"}
    assert listed(tmp_path) == there(tmp_path)


def test_what_browsers_may_not_draw_is_left_out(tmp_path):
    tiles = dict.fromkeys(block(range(4), range(4)), drawn(GREEN))
    animated = block([0], [0])[0]
    tiles[animated] = drawn(RED, "GIF")
    names = BaseFolder(tmp_path, ZOOM).write(tiles, Tiles(tiles))
    assert names == {tile_file(tile, "jpg") for tile in tiles if tile != animated}


def test_a_removal_leaves_the_base_map_without_the_tiles(atlas_data, tmp_path):
    tiles = dict.fromkeys(block(range(8), range(8)), drawn(GREEN))
    build_atlas(with_base(atlas_data, Tiles(tiles)), tmp_path)
    lonely = block([0], range(2))
    removed = remove_from_atlas(tmp_path, {"H00010"}, lonely)
    assert (removed.sales, removed.tiles) == (1, 2)
    assert listed(tmp_path) == there(tmp_path)
    assert not there(tmp_path) & {tile_file(tile, "jpg") for tile in lonely}
    above = f"base/16/{WEST // 4}/{NORTH // 4}.webp"
    assert pixel(tmp_path, above, (32, 64))[3] == 0
    assert np.allclose(pixel(tmp_path, above, (96, 64)), (*GREEN, 255), atol=24)
    assert changed_files(tmp_path) == []
    # A removal that was stopped before is finished: the house is gone already, its tiles are not.
    rest = block(range(4), range(4))
    assert remove_from_atlas(tmp_path, {"H00010"}, rest).tiles == 14
    assert above not in there(tmp_path)
    assert listed(tmp_path) == there(tmp_path)


@pytest.fixture
def tile_pictures(atlas_data, tmp_path) -> Iterator[AtlasData]:
    """The made-up town with the tile around each house as its picture."""
    records = atlas_data.records
    held = {
        mercantile.tile(record.longitude, record.latitude, ZOOM)
        for record in records.itertuples()
        if record.house_id != "H00020"
    }
    with TileArchive.create(tmp_path / "tiles.mbtiles", {"attribution": "Drawn for a test"}) as archive:
        archive.write([(tile, drawn((tile.x % 200, tile.y % 200, 90))) for tile in held])
        place = {record.house_id: (record.latitude, record.longitude) for record in records.itertuples()}
        made_of = BaseMap(archive, ZOOM)
        yield replace(
            atlas_data,
            pictures=replace(
                atlas_data.pictures,
                picture=lambda house_id: house_tile(archive, *place[house_id], ZOOM),
                base_map=made_of,
            ),
        )


@pytest.mark.parametrize("choice", ["auto", "always"])
def test_a_picture_that_is_a_tile_is_stored_once(atlas_data, tile_pictures, tmp_path, choice):
    cut = atlas_data.pictures
    made_of = replace(tile_pictures.pictures.base_map, choice=choice)
    data = replace(tile_pictures, pictures=replace(tile_pictures.pictures, base_map=made_of))
    folder = tmp_path / "atlas"
    build_atlas(replace(data, pictures=cut), folder)
    assert list(folder.glob("pictures/*/*"))
    report = build_atlas(data, folder)
    assert list(folder.glob("pictures/*/*")) == []
    assert report.without_imagery == 1
    assert report.pictures_written == len(list((folder / "base" / "18").rglob("*.jpg")))
    assert (folder / "data" / "base.js").is_file() == (choice == "always")
    assert (
        (listed(folder) == there(folder))
        if choice == "always"
        else (folder / "base" / "16").exists() is False
    )
    again = build_atlas(data, folder)
    assert (again.pictures_written, again.pictures_kept) == (0, report.pictures_written)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    removed = remove_from_atlas(copy, {"H00030"})
    assert (removed.sales, removed.pictures, removed.tiles) == (1, 1, 0)
    assert len(list((copy / "base" / "18").rglob("*.jpg"))) == report.pictures_written - 1
    assert changed_files(copy) == []
    if choice == "always":
        assert listed(copy) == there(copy)
