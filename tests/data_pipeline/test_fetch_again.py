"""Asking again: refresh, failed tiles only, blank tiles, shards."""

from __future__ import annotations

import hashlib
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.download import RetryRules
from data_pipeline.fetch import fetch_tiles
from data_pipeline.fetch_shards import fetch_shard, shards_of
from data_pipeline.tile_server import TileServer
from db.session import open_database
from db.store import manifest_digest, read_tile_rows

RULES = RetryRules(attempts=2, connect_timeout=5, read_timeout=10, deadline=30, backoff=0.01)


class InTurn:
    """A distributed runner in this process: shards travel as bytes, as they do to a worker."""

    workers, distributed = 2, True

    def map(self, function: Any, shards: Any, local: str) -> Any:
        for shard in shards:
            yield pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(shard)))


@pytest.fixture
def fetch(archive: TileArchive, sqlite_engine: Engine) -> Callable[..., Any]:
    def run(tiles: list[mercantile.Tile], provider: Any, **settings: Any) -> Any:
        settings = {"connections": 3, "rules": RULES} | settings
        return fetch_tiles(tiles, provider, archive, sqlite_engine, **settings)

    return run


def rows_of(engine: Engine) -> dict[tuple[int, int], Any]:
    return {(row.x, row.y): row for row in read_tile_rows(engine, 18).itertuples()}


def test_a_refresh_replaces_what_changed_and_never_loses_a_picture(
    fetch: Callable[..., Any],
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    tiles = kit.block_of_tiles(6, 1)
    second: list[bool] = []

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        index = tiles.index(tile)
        if not second:
            marks = {"ETag": f'"{index}"'} if index < 3 else {}
            return kit.Reply(body=kit.picture(tile), headers=marks)
        return [
            kit.Reply(304),
            kit.Reply(body=kit.picture(mercantile.Tile(1, 1, 18)), headers={"ETag": '"new"'}),
            kit.Reply(500),
            kit.Reply(body=kit.picture(tile)),
            kit.Reply(404),
            kit.Reply(body=kit.flat_picture()),
        ][index]

    server = faulty_server(script)
    provider = kit.allowing(server.url)
    assert fetch(tiles, provider).ok == 6
    assert fetch(tiles, provider).requests == 0
    second.append(True)
    report = fetch(tiles, provider, refresh=True)
    assert (report.ok, report.unchanged, report.changed, report.kept) == (6, 2, 1, 3)
    rows = rows_of(sqlite_engine)
    assert {row.status for row in rows.values()} == {"ok"}
    assert rows[tiles[1].x, tiles[1].y].etag == '"new"'
    assert rows[tiles[0].x, tiles[0].y].etag == '"0"'
    assert "HTTP 500" in rows[tiles[2].x, tiles[2].y].error
    assert "missing" in rows[tiles[4].x, tiles[4].y].error
    for index, tile in enumerate(tiles):
        shown = mercantile.Tile(1, 1, 18) if index == 1 else tile
        assert archive.read(18, tile.x, tile.y) == kit.picture(shown)


def test_the_server_is_given_its_own_marks(
    fetch: Callable[..., Any], sqlite_engine: Engine, kit: SimpleNamespace, tmp_path: Path
) -> None:
    tiles = kit.block_of_tiles(4, 1)
    with TileArchive.create(tmp_path / "served.mbtiles", {"name": "s", "format": "png"}) as served:
        served.write([(tile, kit.picture(tile)) for tile in tiles])
        with TileServer(served) as server:
            provider = kit.allowing(server.url)
            fetch(tiles, provider)
            report = fetch(tiles, provider, refresh=True)
    assert report.unchanged == 4
    assert {row.http_status for row in rows_of(sqlite_engine).values()} == {304}


def test_only_failed_tiles_are_tried_again(
    fetch: Callable[..., Any], faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(6, 1)
    healed: list[bool] = []
    server = faulty_server(
        lambda tile, attempt: (
            kit.Reply(body=kit.picture(tile)) if healed or tile != tiles[2] else kit.Reply(500)
        )
    )
    provider = kit.allowing(server.url)
    fetch(tiles[:4], provider)
    healed.append(True)
    report = fetch(tiles, provider, retry_failed=True)
    assert (report.ok, report.fetched, report.requests) == (4, 1, 1)
    assert server.seen[tiles[5]] == 0


def test_blank_answers_are_a_status_with_a_reason(
    fetch: Callable[..., Any],
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    tiles = kit.block_of_tiles(40, 2)
    placeholder = kit.picture(mercantile.Tile(7, 7, 18))
    known = kit.picture(mercantile.Tile(8, 8, 18))

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        index = tiles.index(tile)
        if index == 0:
            return kit.Reply(body=kit.picture(tile), headers={"X-VE-Tile-Info": "no-tile"})
        if index == 1:
            return kit.Reply(body=known)
        if index == 2:
            return kit.Reply(body=kit.flat_picture())
        return kit.Reply(body=placeholder if 10 <= index < 22 else kit.picture(tile))

    server = faulty_server(script)
    provider = kit.allowing(server.url, blank_sha256=(hashlib.sha256(known).hexdigest(),))
    report = fetch(tiles, provider)
    assert (report.ok, report.blank) == (65, 15)
    rows = rows_of(sqlite_engine)
    errors = [rows[tile.x, tile.y].error for tile in tiles]
    assert errors[0] == "X-VE-Tile-Info: no-tile"
    assert "no imagery" in errors[1]
    assert "flat" in errors[2]
    assert {*errors[10:22]} == {"the same picture as 12 tiles"}
    assert len(list(archive.tiles(18))) == 65
    assert fetch(tiles, provider).requests == 0


def test_a_few_equal_tiles_are_no_placeholder(
    fetch: Callable[..., Any], faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(30, 1)
    same = kit.picture(tiles[0])
    server = faulty_server(
        lambda tile, attempt: kit.Reply(body=same if tiles.index(tile) < 9 else kit.picture(tile))
    )
    assert fetch(tiles, kit.allowing(server.url)).ok == 30


def test_shards_give_the_same_manifest(
    faulty_server: Callable[..., Any], kit: SimpleNamespace, tmp_path: Path
) -> None:
    tiles = kit.block_of_tiles(20, 10)

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        if tile.x % 7 == 0:
            return kit.Reply(404)
        if tile.x % 11 == 0:
            return kit.Reply(body=b"no picture")
        if (tile.x + tile.y) % 13 == 0 and attempt == 1:
            return kit.Reply(500)
        return kit.Reply(body=kit.picture(tile) if tile.y % 9 else kit.flat_picture())

    digests, counts = [], []
    for name, runner in (("local", None), ("shards", InTurn())):
        server = faulty_server(script)
        engine = open_database(tmp_path / f"{name}.sqlite")
        with TileArchive.create(tmp_path / f"{name}.mbtiles", {"name": name}) as archive:
            report = fetch_tiles(
                tiles,
                kit.allowing(server.url),
                archive,
                engine,
                connections=4,
                rules=RULES,
                runner=runner,
            )
            counts.append((report.ok, report.blank, report.missing, report.failed, report.requests))
            assert len(list(archive.tiles(18))) == report.ok
        digests.append(manifest_digest(engine, 18))
        engine.dispose()
    assert digests[0] == digests[1]
    assert counts[0] == counts[1]


def test_a_shard_shares_rate_and_connections(kit: SimpleNamespace) -> None:
    tiles = kit.block_of_tiles(40, 20)
    shards = list(shards_of(tiles, {}, kit.allowing("http://127.0.0.1:9/{z}/{x}/{y}"), 8, 20.0, RULES, 4))
    assert [tile for shard in shards for tile in shard.tiles] == tiles
    assert {(shard.connections, shard.rate) for shard in shards} == {(2, 5.0)}
    assert max(len(shard.tiles) for shard in shards) == 50


def test_a_shard_of_a_dead_server_brings_the_error_home(kit: SimpleNamespace) -> None:
    provider = kit.allowing("http://127.0.0.1:9/{z}/{x}/{y}.png")
    shard = next(shards_of(kit.block_of_tiles(30, 1), {}, provider, 4, None, RULES, 1))
    found = fetch_shard(shard)
    assert found.problem is not None
    assert "cannot be reached" in str(found.problem)


def test_several_hosts_are_asked_at_once_each_with_its_own_limit(
    fetch: Callable[..., Any],
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host.endswith(".tiles.test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile)))
    url = server.url.replace("127.0.0.1", "{s}.tiles.test")
    report = fetch(kit.block_of_tiles(6, 5), kit.allowing(url), connections=2)
    assert (report.ok, report.requests) == (30, 30)
