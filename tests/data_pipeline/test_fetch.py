"""The fetch engine over real HTTP, with a server that misbehaves."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.download import RetryRules
from data_pipeline.fetch import FetchReport, fetch_tiles
from data_pipeline.limiter import HostLimiter
from db.session import open_database, read_transaction
from db.store import read_tile_statuses
from housevis.core.errors import ConfigError, ImageryError, RightsError

ROOT = Path(__file__).resolve().parents[2]
QUICK = RetryRules(attempts=4, connect_timeout=1, read_timeout=10, deadline=30, backoff=0.02, silence=0.5)
HASTY = replace(QUICK, read_timeout=0.7)


class Fetching:
    """One archive and one database, fetched into again and again."""

    def __init__(self, archive: TileArchive, engine: Engine, kit: SimpleNamespace) -> None:
        self.archive, self.engine, self.kit = archive, engine, kit

    def __call__(self, tiles: list[mercantile.Tile], url: str, **settings: Any) -> FetchReport:
        provider = settings.pop("provider", None) or self.kit.allowing(url)
        settings = {"connections": 4, "rules": QUICK} | settings
        return fetch_tiles(tiles, provider, self.archive, self.engine, **settings)

    def manifest(self) -> list[dict[str, Any]]:
        with read_transaction(self.engine) as connection:
            rows = connection.exec_driver_sql("SELECT * FROM tiles ORDER BY y, x").mappings()
            return [dict(row) for row in rows]

    def agree(self) -> bool:
        """Whether the archive holds the pictures of the manifest, and nothing else."""
        stored = {(tile.x, tile.y): self.archive.read(18, tile.x, tile.y) for tile in self.archive.tiles(18)}
        digests = {place: hashlib.sha256(data or b"").hexdigest() for place, data in stored.items()}
        return digests == {
            (row["x"], row["y"]): row["sha256"] for row in self.manifest() if row["status"] == "ok"
        }


@pytest.fixture
def fetching(archive: TileArchive, sqlite_engine: Engine, kit: SimpleNamespace) -> Fetching:
    return Fetching(archive, sqlite_engine, kit)


def test_every_tile_is_stored_with_its_row(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(10, 8)
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile)))
    report = fetching(tiles, server.url)
    assert (report.needed, report.fetched, report.ok, report.requests) == (80, 80, 80, 80)
    assert fetching.agree()
    assert fetching.archive.read(18, tiles[5].x, tiles[5].y) == kit.picture(tiles[5])
    row = fetching.manifest()[0]
    assert (row["provider"], row["status"], row["http_status"], row["attempts"]) == ("test", "ok", 200, 1)
    assert len(row["sha256"]) == 64
    assert fetching.archive.format == "png"

    again = fetching(tiles, server.url)
    assert (again.fetched, again.ok, again.requests, server.requests) == (0, 80, 0, 80)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace, status: int
) -> None:
    def script(tile: mercantile.Tile, attempt: int) -> Any:
        return kit.Reply(body=kit.picture(tile)) if attempt > 2 else kit.Reply(status=status)

    report = fetching(kit.block_of_tiles(3, 2), faulty_server(script).url)
    assert (report.ok, report.requests) == (6, 18)
    assert {row["attempts"] for row in fetching.manifest()} == {3}


def test_cut_bodies_and_broken_pictures_are_asked_for_again(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    def script(tile: mercantile.Tile, attempt: int) -> Any:
        body = kit.picture(tile)
        if attempt == 1:
            return kit.Reply(body=body[:5000], cut=len(body) - 5000)
        if attempt == 2:
            return kit.Reply(body=body[: len(body) // 2])
        if attempt == 3:
            return kit.Reply(body=b"<html>not a picture</html>")
        return kit.Reply(body=body)

    report = fetching(kit.block_of_tiles(2, 2), faulty_server(script).url)
    assert (report.ok, report.requests) == (4, 16)


def test_what_never_gets_better_has_failed_and_is_asked_for_the_next_time(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(5, 4)
    bad = {tiles[3]: kit.Reply(status=500), tiles[7]: kit.Reply(body=b"no picture"), tiles[9]: kit.Reply(403)}
    healed: list[bool] = []

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        return kit.Reply(body=kit.picture(tile)) if healed or tile not in bad else bad[tile]

    server = faulty_server(script)
    report = fetching(tiles, server.url)
    assert (report.ok, report.failed) == (17, 3)
    assert report.errors == {"HTTP 500": 1, "not a whole picture": 1, "HTTP 403": 1}
    assert server.seen[tiles[9]] == 1
    assert fetching.agree()
    healed.append(True)
    again = fetching(tiles, server.url)
    assert (again.fetched, again.ok, again.failed) == (3, 20, 0)
    assert fetching.agree()


def test_missing_and_blank_tiles_are_answers(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(4, 1)
    replies = {
        tiles[0]: kit.Reply(status=404),
        tiles[1]: kit.Reply(status=204),
        tiles[2]: kit.Reply(body=kit.flat_picture()),
        tiles[3]: kit.Reply(body=kit.flat_picture((20, 90, 160), "WEBP")),
    }
    server = faulty_server(lambda tile, attempt: replies[tile])
    report = fetching(tiles, server.url)
    assert (report.missing, report.blank, report.ok, report.requests) == (2, 2, 0, 4)
    assert fetching(tiles, server.url).requests == 0
    assert fetching.agree()


def test_retry_after_holds_back_the_whole_host(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    times: list[float] = []
    lock = threading.Lock()

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        with lock:
            times.append(time.monotonic())
            first = len(times) == 1
        if first:
            return kit.Reply(status=429, headers={"Retry-After": "1"})
        return kit.Reply(body=kit.picture(tile))

    report = fetching(kit.block_of_tiles(4, 4), faulty_server(script).url, connections=2)
    assert report.ok == 16
    under_way = [moment for moment in times[1:] if moment - times[0] < 0.95]
    assert len(under_way) <= 3


def test_a_server_that_asks_for_an_hour_ends_the_fetch(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ImageryError, match="left alone for 3600 s"):
        fetching(kit.block_of_tiles(20, 20), server.url)
    assert server.requests < 20


def test_a_server_that_refuses_everything_ends_the_fetch(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(status=403))
    with pytest.raises(ImageryError, match=r"HTTP 403.*access key"):
        fetching(kit.block_of_tiles(20, 20), server.url)
    assert server.requests < 100


def test_a_dead_server_is_one_message_within_seconds(fetching: Fetching, kit: SimpleNamespace) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(ImageryError, match="cannot be reached") as caught:
        fetching(kit.block_of_tiles(30, 30), f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.png?key=sesame")
    assert time.monotonic() - begin < 60
    assert "sesame" not in str(caught.value)
    assert caught.value.remedy


def test_a_server_that_dies_on_the_way_keeps_what_came(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(20, 20)

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        return (
            kit.Reply(body=kit.picture(tile))
            if server.requests <= 60
            else kit.Reply(body=b"", cut=10, delay=9)
        )

    server = faulty_server(script)
    with pytest.raises(ImageryError, match="cannot be reached"):
        fetching(tiles, server.url, rules=HASTY)
    kept = list(read_tile_statuses(fetching.engine, 18).values())
    assert 50 <= kept.count("ok") <= 60
    assert fetching.agree()


def test_a_slow_server_is_given_up_tile_by_tile(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(4, 1)
    slow = tiles[2]
    server = faulty_server(
        lambda tile, attempt: kit.Reply(body=kit.picture(tile), delay=2.0 if tile == slow else 0.0)
    )
    report = fetching(tiles, server.url, rules=HASTY)
    assert (report.ok, report.failed, report.errors) == (3, 1, {"timed out": 1})


def test_the_rate_is_kept(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.flat_picture()))
    begin = time.monotonic()
    fetching(kit.block_of_tiles(7, 3), server.url, requests_per_second=20.0)
    assert time.monotonic() - begin >= 20 / 20.0


def test_the_bucket_spaces_all_threads() -> None:
    bucket, stop, taken = HostLimiter(100.0), threading.Event(), []

    def take() -> None:
        for _ in range(5):
            bucket.take(stop)
            taken.append(time.monotonic())

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(taken) - min(taken) >= 0.19 - 0.01
    stop.set()
    assert bucket.take(stop) is None


def test_the_rights_gate_stands_before_the_first_request(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile)))
    closed = kit.allowing(server.url, allows_ml=False)
    with pytest.raises(RightsError):
        fetching(kit.block_of_tiles(2, 2), server.url, provider=closed)
    assert server.requests == 0
    report = fetching(kit.block_of_tiles(2, 2), server.url, provider=closed, rights_reference="contract 7")
    assert (report.ok, report.rights_reference) == (4, "contract 7")


def test_a_key_is_sent_and_never_kept(
    fetching: Fetching,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    tiles = kit.block_of_tiles(2, 1)
    server = faulty_server(
        lambda tile, attempt: kit.Reply(body=kit.picture(tile)) if tile == tiles[0] else kit.Reply(status=500)
    )
    provider = kit.allowing(server.url + "?key={key}", key_variable="TEST_TILE_KEY")
    monkeypatch.delenv("TEST_TILE_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEST_TILE_KEY"):
        fetching(tiles, "", provider=provider)
    monkeypatch.setenv("TEST_TILE_KEY", "sesame")
    assert fetching(tiles, "", provider=provider).failed == 1
    assert all(path.endswith("?key=sesame") for path in server.paths)
    fetching.archive.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"sesame" not in kept


def test_an_archive_that_was_lost_is_fetched_again(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace, tmp_path: Path
) -> None:
    tiles = kit.block_of_tiles(3, 3)
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile)))
    fetching(tiles, server.url)
    with TileArchive.create(tmp_path / "other.mbtiles", {"name": "n"}) as other:
        fetching.archive = other
        assert fetching(tiles, server.url).fetched == 9
        assert fetching.agree()


CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell hands it down as ignored
import sys
import mercantile
from data_pipeline.archive import TileArchive
from data_pipeline.fetch import fetch_tiles
from data_pipeline.providers import Provider
from db.session import open_database
folder, url = sys.argv[1:]
tiles = [mercantile.Tile(41900 + i, 91500 + j, 18) for j in range(20) for i in range(30)]
rules = dict(requests_per_second=None, allows_storage=True, allows_ml=True)
provider = Provider("test", url, "Test imagery", **rules)
with TileArchive.create(folder + "/tiles.mbtiles", {"name": "test"}) as archive:
    fetch_tiles(tiles, provider, archive, open_database(folder + "/housevis.sqlite"), connections=4)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_repeats_only_what_was_under_way(
    faulty_server: Callable[..., Any], kit: SimpleNamespace, tmp_path: Path, end: signal.Signals
) -> None:
    tiles = kit.block_of_tiles(30, 20)
    killed = threading.Event()

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        if server.requests > 400:
            killed.wait(60)
        return kit.Reply(body=kit.picture(tile))

    server = faulty_server(script)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), server.url],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOUSEVIS_PROGRESS": "off"},
    )
    while server.requests < 250 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(end)
    assert process.wait(timeout=60) != 0
    killed.set()
    time.sleep(0.2)
    asked = server.requests
    assert 250 <= asked < 600

    engine = open_database(tmp_path / "housevis.sqlite")
    with TileArchive.create(tmp_path / "tiles.mbtiles", {"name": "test"}) as archive:
        fetching = Fetching(archive, engine, kit)
        kept = len(list(archive.tiles(18)))
        assert kept >= asked - 4
        report = fetching(tiles, server.url)
        assert (report.ok, report.fetched) == (600, 600 - kept)
        assert fetching.agree()
    assert max(server.seen.values()) <= 2
    engine.dispose()


def test_a_tile_without_its_row_is_taken_up_without_a_request(
    fetching: Fetching, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(3, 1)
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile)))
    fetching.archive.write([(tiles[0], kit.picture(tiles[0])), (tiles[1], b"half a pict")])
    report = fetching(tiles, server.url)
    assert (report.ok, report.fetched) == (3, 2)
    assert server.seen[tiles[0]] == 0
    assert fetching.agree()
