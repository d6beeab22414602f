"""A planted access key is sent to the server and stands nowhere else, whatever goes wrong."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from housevis.core.errors import ImageryError

KEY = "sesame/open+7=%"
FORMS = ("sesame", "sesame%2Fopen", "sesame%2fopen")
RULES = RetryRules(attempts=2, connect_timeout=1, read_timeout=1, deadline=10, backoff=0.01, silence=0.5)


@pytest.fixture
def other_host() -> Iterator[SimpleNamespace]:
    """A server that no request should ever reach."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path + str(self.headers))
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield SimpleNamespace(port=server.server_address[1], seen=seen)
    server.shutdown()
    server.server_close()


def test_a_planted_key_is_found_nowhere(
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    other_host: SimpleNamespace,
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TEST_TILE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    tiles = kit.block_of_tiles(8, 1)
    elsewhere = f"http://127.0.0.1:{other_host.port}/18/1/1.png"

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        path = server.paths[-1]
        echo = {"X-Asked": path, "Content-Location": path}
        return {
            tiles[0]: kit.Reply(body=kit.picture(tile), headers={**echo, "ETag": '"1"'}),
            tiles[1]: kit.Reply(403, f"no right to {path}".encode(), echo),
            tiles[2]: kit.Reply(500, path.encode(), echo),
            tiles[3]: kit.Reply(302, path.encode(), {"Location": f"{elsewhere}?key=sesame"}),
            tiles[4]: kit.Reply(body=f"<html>{path}</html>".encode(), headers=echo),
            tiles[5]: kit.Reply(body=b"half", cut=10, headers=echo),
            tiles[6]: kit.Reply(404, path.encode(), echo),
            tiles[7]: kit.Reply(301, path.encode(), {"Location": f"//127.0.0.1:{other_host.port}{path}"}),
        }[tile]

    server = faulty_server(script)
    for place in ("18/{x}/{y}.png?z={z}&key={key}", "{key}/{z}/{x}/{y}.png"):
        provider = kit.allowing(
            server.url.split("{")[0] + place.replace("18/", "{z}/"), key_variable="TEST_TILE_KEY"
        )
        report = fetch_tiles(tiles, provider, archive, sqlite_engine, connections=2, rules=RULES)
        assert (report.ok, report.missing, report.failed) == (1, 1, 6)
        again = fetch_tiles(tiles, provider, archive, sqlite_engine, connections=2, rules=RULES, refresh=True)
        assert again.changed + again.unchanged == 1
        shard = next(shards_of(tiles, {}, provider, 2, None, RULES, 1))
        assert "sesame" not in repr(shard)
        assert "sesame" not in repr(fetch_shard(shard).answers)
    refusing = faulty_server(lambda tile, attempt: kit.Reply(403, server.paths[-1].encode()))
    provider = kit.allowing(refusing.url + "?key={key}", key_variable="TEST_TILE_KEY")
    with pytest.raises(ImageryError) as caught:
        fetch_tiles(kit.block_of_tiles(9, 9), provider, archive, sqlite_engine, connections=2, rules=RULES)
    assert any("sesame" in path for path in server.paths)
    assert other_host.seen == []

    archive.close()
    sqlite_engine.dispose()
    printed = capfd.readouterr()
    places = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    places["error"] = f"{caught.value!r} {''.join(traceback.format_exception(caught.value))}".encode()
    places["log"] = caplog.text.encode()
    places["output"] = (printed.out + printed.err).encode()
    assert "urllib3.connectionpool" in caplog.text
    for name, content in places.items():
        for form in FORMS:
            assert form.encode() not in content, name


def test_a_redirect_on_the_same_host_is_followed(
    archive: TileArchive, sqlite_engine: Engine, faulty_server: Callable[..., Any], kit: SimpleNamespace
) -> None:
    tiles = kit.block_of_tiles(2, 1)

    def script(tile: mercantile.Tile, attempt: int) -> Any:
        if "moved" in server.paths[-1]:
            return kit.Reply(body=kit.picture(tile))
        return kit.Reply(302, headers={"Location": f"/moved/{tile.z}/{tile.x}/{tile.y}.png"})

    server = faulty_server(script)
    report = fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=RULES)
    assert (report.ok, report.requests) == (2, 4)
