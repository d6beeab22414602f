"""PMTiles files, read by the library of their makers."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import mercantile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pmtiles.reader import MemorySource, Reader, all_tiles
from pmtiles.tile import Compression, TileType, zxy_to_tileid

from data_pipeline.archive import TileArchive
from data_pipeline.pmtiles_files import tile_ids, write_pmtiles
from data_pipeline.sources.pmtiles import PMTilesSource
from housevis.core.errors import ImageryError


def archive_of(path: Path, tiles: dict[mercantile.Tile, bytes], **metadata: str) -> Path:
    with TileArchive.create(path, {"name": "Town", "attribution": "© me & you", **metadata}) as archive:
        archive.write(tiles.items())
    return path


def exported(archive_path: Path, path: Path) -> bytes:
    with TileArchive(archive_path) as archive:
        assert write_pmtiles(archive, path) == archive.count()
    return path.read_bytes()


@given(st.integers(0, 26), st.integers(0, 2**26 - 1), st.integers(0, 2**26 - 1))
def test_the_numbers_of_tiles_are_those_of_the_library(zoom: int, x: int, y: int) -> None:
    x, y = x % 2**zoom, y % 2**zoom
    assert tile_ids(np.array([x]), np.array([y]), zoom).tolist() == [zxy_to_tileid(zoom, x, y)]


def test_the_library_reads_every_tile_byte_by_byte(tmp_path: Path, kit: SimpleNamespace) -> None:
    block = kit.block_of_tiles(9, 7)
    tiles = {tile: kit.picture(tile, "JPEG") for tile in [*block, mercantile.parent(block[0])]}
    path = archive_of(tmp_path / "t.mbtiles", tiles, housevis_provider="usgs-imagery")
    content = exported(path, tmp_path / "t.pmtiles")
    assert {mercantile.Tile(x, y, z): data for (z, x, y), data in all_tiles(MemorySource(content))} == tiles
    reader = Reader(MemorySource(content))
    for tile, data in tiles.items():
        assert reader.get(tile.z, tile.x, tile.y) == data
    assert reader.get(18, 0, 0) is None
    header, metadata = reader.header(), reader.metadata()
    with TileArchive(path) as archive:
        assert metadata == archive.metadata
    assert metadata["attribution"] == "© me & you"
    assert (header["min_zoom"], header["max_zoom"], header["tile_type"]) == (17, 18, TileType.JPEG)
    assert header["tile_compression"] is Compression.NONE
    assert header["clustered"]
    assert header["addressed_tiles_count"] == len(tiles)
    edges = [float(edge) for edge in metadata["bounds"].split(",")]
    found = [header[name] / 1e7 for name in ("min_lon_e7", "min_lat_e7", "max_lon_e7", "max_lat_e7")]
    assert found == pytest.approx(edges, abs=1e-7)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["t.mbtiles", "t.pmtiles"]


def test_equal_tiles_are_stored_once(tmp_path: Path, kit: SimpleNamespace) -> None:
    sea = kit.flat_picture((10, 40, 90))
    tiles = dict.fromkeys(kit.block_of_tiles(16, 16), sea)
    land = kit.block_of_tiles(1, 1, x=41_905, y=91_505)[0]
    tiles[land] = kit.picture(land)
    content = exported(archive_of(tmp_path / "t.mbtiles", tiles), tmp_path / "t.pmtiles")
    assert len(content) < len(sea) + len(tiles[land]) + 2000
    header = Reader(MemorySource(content)).header()
    assert header["tile_contents_count"] == 2
    assert header["addressed_tiles_count"] == 256
    assert header["tile_entries_count"] < 60
    assert {mercantile.Tile(x, y, z): data for (z, x, y), data in all_tiles(MemorySource(content))} == tiles


def test_many_tiles_need_leaf_directories(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    places = generator.choice(2**20, 20_000, replace=False)
    tiles = {
        mercantile.Tile(int(place) % 1024, int(place) // 1024, 10): int(place).to_bytes(4, "big") * 3
        for place in places
    }
    path = archive_of(tmp_path / "t.mbtiles", tiles, format="png")
    content = exported(path, tmp_path / "t.pmtiles")
    header = Reader(MemorySource(content)).header()
    assert header["leaf_directory_length"] > 0
    assert header["root_length"] <= 16_384 - 127
    assert {mercantile.Tile(x, y, z): data for (z, x, y), data in all_tiles(MemorySource(content))} == tiles
    source = PMTilesSource(tmp_path / "t.pmtiles")
    assert source.count() == len(tiles)
    assert dict(source.stored()) == tiles
    source.close()


def test_a_file_that_was_there_stays_if_the_archive_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "t.pmtiles").write_bytes(b"older")
    empty = archive_of(tmp_path / "empty.mbtiles", {})
    with TileArchive(empty) as archive, pytest.raises(ImageryError, match="no tiles"):
        write_pmtiles(archive, tmp_path / "t.pmtiles")
    drawing = io.BytesIO()
    Image.new("RGB", (256, 256)).save(drawing, "GIF")
    strange = archive_of(tmp_path / "strange.mbtiles", {mercantile.Tile(0, 0, 0): drawing.getvalue()})
    with TileArchive(strange) as archive, pytest.raises(ImageryError, match="format 'gif'"):
        write_pmtiles(archive, tmp_path / "t.pmtiles")
    assert (tmp_path / "t.pmtiles").read_bytes() == b"older"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.02])
def test_a_file_cut_short_is_damaged(tmp_path: Path, kit: SimpleNamespace, keep: float) -> None:
    tiles = {tile: kit.picture(tile) for tile in kit.block_of_tiles(4, 4)}
    content = exported(archive_of(tmp_path / "t.mbtiles", tiles), tmp_path / "t.pmtiles")
    (tmp_path / "cut.pmtiles").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImageryError, match="damaged"):
        assert list(PMTilesSource(tmp_path / "cut.pmtiles").stored())
