"""Whole archives out and in: other programs' files, rights, and tiles that are there already."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from PIL import Image
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.archive_exchange import export_archive, import_archive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.verify import verify_archive
from db.session import open_database
from db.tile_store import read_tile_rows
from housevis.core.config_sections import ImageryRecordSection, ImagerySection, SampleMarketSection
from housevis.core.errors import HousevisError, ImageryError, RightsError, UsageError

USGS = ImagerySection(provider="usgs-imagery", zoom=18)
OWN_SERVER = ImagerySection(url="http://127.0.0.1:9/{z}/{x}/{y}.png", zoom=18)
OPEN = {"housevis_provider": "usgs-imagery", "attribution": "U.S. Geological Survey"}


def archive_of(path: Path, tiles: dict[mercantile.Tile, bytes], **metadata: str) -> Path:
    with TileArchive.create(path, {"name": "n", **metadata}) as archive:
        archive.write(tiles.items())
    return path


def foreign_mbtiles(path: Path, tiles: dict[mercantile.Tile, bytes]) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE metadata (name text, value text)")
        connection.execute("INSERT INTO metadata VALUES ('name', 'x'), ('format', 'image/png')")
        connection.execute(
            "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob)"
        )
        connection.executemany(
            "INSERT INTO tiles VALUES (?, ?, ?, ?)",
            [(tile.z, tile.x, 2**tile.z - 1 - tile.y, data) for tile, data in tiles.items()],
        )
    connection.close()
    return path


def foreign_pmtiles(path: Path, tiles: dict[mercantile.Tile, bytes], **metadata: Any) -> Path:
    """A file as the library of PMTiles' makers writes it."""
    with path.open("wb") as file:
        writer = Writer(file)
        for tile in sorted(tiles, key=lambda tile: zxy_to_tileid(tile.z, tile.x, tile.y)):
            writer.write_tile(zxy_to_tileid(tile.z, tile.x, tile.y), tiles[tile])
        writer.finalize({"tile_type": TileType.PNG, "tile_compression": Compression.NONE}, metadata)
    return path


def contents(path: Path) -> dict[mercantile.Tile, bytes]:
    with TileArchive(path) as archive:
        return dict(archive.stored())


@pytest.fixture
def tiles(kit: SimpleNamespace) -> dict[mercantile.Tile, bytes]:
    found = {tile: kit.picture(tile) for tile in kit.block_of_tiles(7, 6)}
    parent = mercantile.parent(next(iter(found)))
    return found | {parent: kit.picture(parent)}


@pytest.mark.parametrize("ending", ["mbtiles", "pmtiles"])
def test_there_and_back_byte_by_byte(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes], ending: str
) -> None:
    ours = archive_of(tmp_path / "ours.mbtiles", tiles, **OPEN, housevis_native_zoom="17", description="d")
    file = tmp_path / "folder" / f"out.{ending}"
    assert export_archive(ours, file) == len(tiles)
    theirs = tmp_path / "theirs" / "tiles.mbtiles"
    found = import_archive(file, theirs, USGS, sqlite_engine)
    assert (found.tiles, found.added, found.same, found.kept, found.broken) == (
        len(tiles),
        len(tiles),
        0,
        0,
        0,
    )
    assert (found.provider, found.rights_reference) == ("usgs-imagery", None)
    assert contents(theirs) == tiles
    with TileArchive(ours) as one, TileArchive(theirs) as other:
        assert other.attribution
        for name in ("bounds", "center", "minzoom", "maxzoom", "format", "housevis_provider"):
            assert other.metadata[name] == one.metadata[name]
    rows = read_tile_rows(sqlite_engine, 18).set_index(["x", "y"])
    for tile, data in tiles.items():
        if tile.z == 18:
            row = rows.loc[(tile.x, tile.y)]
            assert (row["status"], row["provider"], row["bytes"]) == ("ok", "usgs-imagery", len(data))
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert verify_archive(theirs, sqlite_engine).is_sound
    again = import_archive(file, theirs, USGS, sqlite_engine)
    assert (again.added, again.same) == (0, len(tiles))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_metadata_and_credit_go_with_an_exported_file(
    tmp_path: Path, tiles: dict[mercantile.Tile, bytes]
) -> None:
    ours = archive_of(tmp_path / "ours.mbtiles", tiles, **OPEN, housevis_rights_reference="Contract 7")
    export_archive(ours, tmp_path / "out.mbtiles")
    with TileArchive(ours) as one, TileArchive(tmp_path / "out.mbtiles") as other:
        assert other.metadata == one.metadata
        assert other.metadata["housevis_rights_reference"] == "Contract 7"


def test_a_fetch_goes_on_from_what_was_imported(
    tmp_path: Path, sqlite_engine: Engine, kit: SimpleNamespace, faulty_server: Any
) -> None:
    server = faulty_server(lambda tile, _: kit.Reply(body=kit.picture(tile)))
    wanted = kit.block_of_tiles(4, 4)
    file = foreign_pmtiles(tmp_path / "f.pmtiles", {tile: kit.picture(tile) for tile in wanted[:10]})
    imagery = ImagerySection(url=server.url, zoom=18)
    path = tmp_path / "tiles.mbtiles"
    found = import_archive(file, path, imagery, sqlite_engine, rights_reference="Contract 7")
    assert (found.added, found.provider, found.rights_reference) == (10, "unknown", "Contract 7")
    with TileArchive.create(path, {}) as archive:
        report = fetch_tiles(wanted, kit.allowing(server.url), archive, sqlite_engine)
    assert (report.ok, server.requests) == (16, 6)


@pytest.mark.parametrize("write", [foreign_mbtiles, foreign_pmtiles])
def test_a_file_of_another_program_needs_a_licence(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes], write: Any
) -> None:
    file, path = write(tmp_path / "f.file", tiles), tmp_path / "tiles.mbtiles"
    with pytest.raises(RightsError, match="unknown"):
        import_archive(file, path, OWN_SERVER, sqlite_engine)
    assert not path.exists()
    licensed = OWN_SERVER.model_copy(update={"rights_reference": "Contract 7"})
    assert import_archive(file, path, licensed, sqlite_engine).added == len(tiles)
    assert contents(path) == tiles
    with TileArchive(path) as archive:
        assert archive.metadata["housevis_rights_reference"] == "Contract 7"
        assert archive.format == "png"


def test_whose_tiles_they_are_can_be_said(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes]
) -> None:
    file, path = foreign_mbtiles(tmp_path / "f.mbtiles", tiles), tmp_path / "tiles.mbtiles"
    with pytest.raises(HousevisError):
        import_archive(file, path, USGS, sqlite_engine)
    with pytest.raises(RightsError, match="esri-world-imagery"):
        import_archive(file, path, USGS, sqlite_engine, provider_name="esri-world-imagery")
    found = import_archive(file, path, USGS, sqlite_engine, provider_name="usgs-imagery")
    assert (found.added, found.provider) == (len(tiles), "usgs-imagery")
    assert "Geological" in found.attribution


def test_a_record_of_ones_own_is_a_provider_too(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes]
) -> None:
    file = archive_of(tmp_path / "f.mbtiles", tiles, housevis_provider="city-2021", attribution="The City")
    record = ImageryRecordSection(name="city-2021", allows_storage=True, allows_ml=True)
    imagery = OWN_SERVER.model_copy(update={"record": record, "rights_reference": "Contract 7"})
    found = import_archive(file, tmp_path / "tiles.mbtiles", imagery, sqlite_engine)
    assert (found.provider, found.added) == ("city-2021", len(tiles))
    with TileArchive(tmp_path / "tiles.mbtiles") as archive:
        assert (archive.provider, archive.attribution) == ("city-2021", "The City")


def test_tiles_of_another_provider_are_refused(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes]
) -> None:
    file = archive_of(tmp_path / "f.mbtiles", tiles, housevis_provider="pdok-luchtfoto")
    path = archive_of(tmp_path / "tiles.mbtiles", tiles, **OPEN)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"pdok-luchtfoto.*configuration.*usgs-imagery"):
        import_archive(file, path, USGS, sqlite_engine)
    with pytest.raises(UsageError, match=r"pdok-luchtfoto.*archive holds tiles of 'usgs-imagery'"):
        import_archive(file, path, ImagerySection(provider="pdok-luchtfoto", zoom=18), sqlite_engine)
    assert path.read_bytes() == before
    assert read_tile_rows(sqlite_engine, 18).empty


def test_tiles_of_another_town_are_refused(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes]
) -> None:
    metadata = {"housevis_provider": "sample-market", "housevis_source": "that of another seed"}
    file = archive_of(tmp_path / "f.mbtiles", tiles, **metadata)
    imagery = ImagerySection.model_validate({"local_server": {"source": "sample-market"}})
    with pytest.raises(UsageError, match="another town"):
        import_archive(
            file, tmp_path / "t.mbtiles", imagery, sqlite_engine, town=SampleMarketSection(houses=100)
        )


def test_what_is_there_stays_and_what_is_no_picture_is_left_out(
    tmp_path: Path, sqlite_engine: Engine, kit: SimpleNamespace
) -> None:
    same, other, new, blank, broken = kit.block_of_tiles(5, 1)
    path = archive_of(tmp_path / "t.mbtiles", {tile: kit.picture(tile) for tile in (same, other)}, **OPEN)
    theirs = {tile: kit.picture(tile) for tile in (same, new)}
    theirs |= {other: kit.picture(new), blank: kit.flat_picture(), broken: kit.picture(broken)[:300]}
    file = archive_of(tmp_path / "f.mbtiles", theirs, **OPEN)
    found = import_archive(file, path, USGS, sqlite_engine)
    assert (found.tiles, found.added, found.blank) == (5, 2, 1)
    assert (found.same, found.kept, found.broken) == (1, 1, 1)
    stored = contents(path)
    assert stored[other] == kit.picture(other)
    assert broken not in stored
    rows = read_tile_rows(sqlite_engine, 18)
    expected = {same.x: "ok", new.x: "ok", blank.x: "blank"}
    assert dict(zip(rows["x"], rows["status"], strict=True)) == expected


def test_tiles_of_another_size_are_refused(
    tmp_path: Path, sqlite_engine: Engine, kit: SimpleNamespace, tiles: dict[mercantile.Tile, bytes]
) -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(kit.picture(mercantile.Tile(1, 1, 18)))) as small:
        small.resize((512, 512)).save(buffer, "PNG")
    file = archive_of(tmp_path / "f.mbtiles", {mercantile.Tile(1, 1, 18): buffer.getvalue()}, **OPEN)
    with pytest.raises(UsageError, match="512 pixels"):
        import_archive(file, archive_of(tmp_path / "t.mbtiles", tiles, **OPEN), USGS, sqlite_engine)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "imagery"), (b"no archive", "imagery"), (b"PMTiles\x03", "damaged"), (b"II*\0", "neither")],
)
def test_files_that_are_no_archives(
    tmp_path: Path, sqlite_engine: Engine, content: bytes, problem: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ImageryError, match=problem):
        import_archive(tmp_path / "f", tmp_path / "t.mbtiles", USGS, sqlite_engine)
    with pytest.raises(ImageryError, match="no such imagery"):
        import_archive(tmp_path / "none", tmp_path / "t.mbtiles", USGS, sqlite_engine)


def test_an_import_that_breaks_off_keeps_what_it_has_and_goes_on(
    tmp_path: Path, tiles: dict[mercantile.Tile, bytes], kit: SimpleNamespace
) -> None:
    many = {tile: kit.picture(tile) for tile in kit.block_of_tiles(12, 12)}
    file = foreign_pmtiles(tmp_path / "f.pmtiles", many, **OPEN)
    cut = tmp_path / "cut.pmtiles"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    path, engine = tmp_path / "t.mbtiles", open_database(tmp_path / "t.sqlite")
    with pytest.raises(ImageryError, match="damaged"):
        import_archive(cut, path, USGS, engine)
    kept = contents(path)
    assert 0 < len(kept) < len(many)
    assert kept.items() <= many.items()
    assert len(read_tile_rows(engine, 18)) == len(kept)
    found = import_archive(file, path, USGS, engine)
    assert (found.added, found.same) == (len(many) - len(kept), len(kept))
    assert contents(path) == many
    engine.dispose()


def test_an_export_touches_no_file_that_is_there(tmp_path: Path, tiles: dict[mercantile.Tile, bytes]) -> None:
    ours = archive_of(tmp_path / "ours.mbtiles", tiles)
    (tmp_path / "there.pmtiles").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        export_archive(ours, tmp_path / "there.pmtiles")
    with pytest.raises(UsageError, match="exists"):
        export_archive(ours, ours)
    with pytest.raises(UsageError, match="ending"):
        export_archive(ours, tmp_path / "out.zip")
    with pytest.raises(ImageryError, match="no such tile archive"):
        export_archive(tmp_path / "none.mbtiles", tmp_path / "out.mbtiles")
    for ending in ("mbtiles", "pmtiles"):
        empty = archive_of(tmp_path / f"empty-{ending}.mbtiles", {})
        with pytest.raises(ImageryError, match="no tiles"):
            export_archive(empty, tmp_path / f"out.{ending}")
        assert not (tmp_path / f"out.{ending}").exists()
    assert (tmp_path / "there.pmtiles").read_bytes() == b"mine"


def test_an_import_after_one_that_was_killed_records_what_has_no_row(
    tmp_path: Path, sqlite_engine: Engine, tiles: dict[mercantile.Tile, bytes]
) -> None:
    """The other process ended between writing the tiles and writing their rows."""
    file = archive_of(tmp_path / "f.mbtiles", tiles, **OPEN)
    killed = archive_of(tmp_path / "tiles.mbtiles", dict(list(tiles.items())[:2]), **OPEN)
    assert not verify_archive(killed, sqlite_engine).is_sound
    found = import_archive(file, killed, USGS, sqlite_engine)
    assert (found.same, found.added) == (2, len(tiles) - 2)
    assert verify_archive(killed, sqlite_engine).is_sound
