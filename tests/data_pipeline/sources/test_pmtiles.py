"""PMTiles files made by the library are read tile by tile."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import pytest
from pmtiles.tile import (
    Compression,
    Entry,
    TileType,
    deserialize_header,
    serialize_directory,
    serialize_header,
    zxy_to_tileid,
)
from pmtiles.writer import Writer

from data_pipeline.sources.pmtiles import PMTilesSource
from housevis.core.errors import ImageryError

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Writes a PMTiles file."""

    def made(
        tiles: dict[mercantile.Tile, bytes],
        kind: TileType = TileType.PNG,
        compression: Compression = Compression.NONE,
        **metadata: Any,
    ) -> Path:
        path = tmp_path / "a.pmtiles"
        with path.open("wb") as file:
            writer = Writer(file)
            for tile_id, data in sorted((zxy_to_tileid(t.z, t.x, t.y), data) for t, data in tiles.items()):
                writer.write_tile(tile_id, data)
            zooms = [tile.z for tile in tiles] or [0]
            header = {
                "tile_type": kind,
                "tile_compression": compression,
                "min_zoom": min(zooms),
                "max_zoom": max(zooms),
                "min_lon_e7": 0,
                "min_lat_e7": 0,
                "max_lon_e7": 0,
                "max_lat_e7": 0,
                "center_zoom": 0,
                "center_lon_e7": 0,
                "center_lat_e7": 0,
            }
            writer.finalize(header, metadata)
        return path

    return made


def test_tiles_are_read(make: Maker, kit: SimpleNamespace) -> None:
    tiles = {tile: kit.picture(tile) for tile in kit.block_of_tiles(4, 3)}
    source = PMTilesSource(make(tiles, attribution="Our own aeroplane"))
    assert (source.format, source.attribution, source.provider) == ("png", "Our own aeroplane", "unknown")
    assert source.tile_size == 256
    for tile, data in tiles.items():
        assert source.read(tile.z, tile.x, tile.y) == data
    assert source.read(18, 0, 0) is None
    assert source.read(17, 1, 1) is None
    assert source.read(30, 1, 1) is None
    source.close()


def test_a_file_with_leaf_directories(make: Maker, kit: SimpleNamespace) -> None:
    lengths = iter(np.random.default_rng(1).integers(1, 300, 25_600))
    many = {
        mercantile.Tile(x, y, 14): bytes([x % 251, y % 251]) * int(next(lengths))
        for x in range(4000, 4480, 3)
        for y in range(6000, 6480, 3)
    }
    source = PMTilesSource(make(many))
    assert source._header["leaf_directory_length"] > 0
    for tile in list(many)[::997]:
        assert source.read(tile.z, tile.x, tile.y) == many[tile]
    source.close()


def test_compressed_tiles_and_large_ones(make: Maker, kit: SimpleNamespace, big_picture: bytes) -> None:
    tile = kit.block_of_tiles(1, 1)[0]
    packed = make({tile: gzip.compress(big_picture)}, TileType.JPEG, Compression.GZIP)
    source = PMTilesSource(packed)
    assert (source.read(tile.z, tile.x, tile.y), source.tile_size, source.format) == (big_picture, 512, "jpg")
    source.close()


def test_files_that_cannot_be_used_say_why(make: Maker, kit: SimpleNamespace, tmp_path: Path) -> None:
    tile = kit.block_of_tiles(1, 1)[0]
    with pytest.raises(ImageryError, match="holds mvt tiles"):
        PMTilesSource(make({tile: b"vector"}, TileType.MVT))
    path = make({tile: kit.picture(tile)})
    content = path.read_bytes()
    for damaged in (b"", b"PMTiles\x03", content[:130], content[:100] + b"\xff" * 200, b"x" * 500):
        path.write_bytes(damaged)
        with pytest.raises(ImageryError, match="no PMTiles file"):
            PMTilesSource(path)
    path.write_bytes(content[:-40])
    with pytest.raises(ImageryError, match="no PMTiles file"):
        PMTilesSource(path).read(tile.z, tile.x, tile.y)


def test_directories_that_lead_into_themselves(make: Maker, kit: SimpleNamespace) -> None:
    many = {mercantile.Tile(x, 3, 14): bytes([x % 251]) * (1 + x % 97) for x in range(3000, 3003)}
    path = make(many)
    pointer = serialize_directory([Entry(0, 0, 0, 0)])
    pointer = serialize_directory([Entry(0, 0, len(pointer), 0)])
    content = bytearray(path.read_bytes())
    header = deserialize_header(bytes(content[:127]))
    place = len(content)
    header |= {"root_offset": place, "root_length": len(pointer), "leaf_directory_offset": place}
    path.write_bytes(serialize_header(header) + bytes(content[127:]) + pointer)
    source = PMTilesSource(path)
    assert source.read(14, 3000, 3) is None
    with pytest.raises(ImageryError, match="too deep"):
        list(source.stored())
    source.close()


def test_metadata_without_end(make: Maker, kit: SimpleNamespace) -> None:
    tile = kit.block_of_tiles(1, 1)[0]
    path = make({tile: kit.picture(tile)})
    header = deserialize_header(path.read_bytes()[:127])
    nested = gzip.compress(b"[" * 100_000)
    header |= {"metadata_offset": path.stat().st_size, "metadata_length": len(nested)}
    path.write_bytes(serialize_header(header) + path.read_bytes()[127:] + nested)
    with pytest.raises(ImageryError, match="no PMTiles file"):
        PMTilesSource(path)
