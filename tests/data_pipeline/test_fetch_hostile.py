"""Servers that answer in ways no server should: every tile ends with a status, and nothing leaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import mercantile
import pytest
from sqlalchemy import Engine

from data_pipeline import blanks
from data_pipeline.archive import TileArchive
from data_pipeline.download import RetryRules
from data_pipeline.fetch import fetch_tiles
from db.store import read_tile_rows
from housevis.core.errors import ImageryError

KEY = "sesame/open+7=%"
RULES = RetryRules(attempts=2, connect_timeout=5, read_timeout=10, deadline=30, backoff=0.01)


@pytest.mark.parametrize(
    ("place", "error", "requests"),
    [
        ("/18/1/1.png", "too many redirects", 4),
        ("http://[::1", "HTTP 302 without an address to go to", 1),
        ("http://127.0.0.2/18/1/1.png", "redirected to another host", 1),
    ],
)
def test_redirects_that_lead_nowhere(
    place: str,
    error: str,
    requests: int,
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(302, headers={"Location": place}))
    tiles = kit.block_of_tiles(1, 1)
    report = fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=RULES)
    assert (report.failed, report.errors) == (1, {error: 1})
    assert report.requests == server.requests == requests


@pytest.mark.parametrize("moment", ["Wed, 21 Oct 2015 07:28:00 +99999999999999", "-5", "soon", "1e999999 s"])
def test_a_retry_after_that_says_nothing(
    moment: str,
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    def script(tile: mercantile.Tile, attempt: int) -> Any:
        if attempt == 1:
            return kit.Reply(429, headers={"Retry-After": moment, "Date": moment})
        return kit.Reply(body=kit.picture(tile))

    server = faulty_server(script)
    tiles = kit.block_of_tiles(1, 1)
    report = fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=RULES)
    assert (report.ok, report.requests) == (1, 2)


@pytest.mark.parametrize("spelling", [KEY, "sesame%2Fopen%2B7%3D%25", "sesame/open%2b7=%25"])
def test_marks_that_repeat_the_key_are_not_kept(
    spelling: str,
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_TILE_KEY", KEY)
    marks = {"ETag": f'"for {spelling}"', "Last-Modified": spelling}
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile), headers=marks))
    provider = kit.allowing(server.url + "?key={key}", key_variable="TEST_TILE_KEY")
    tiles = kit.block_of_tiles(1, 1)
    fetch_tiles(tiles, provider, archive, sqlite_engine, connections=1, rules=RULES)
    row = next(read_tile_rows(sqlite_engine, 18).itertuples())
    assert (row.status, row.etag, row.last_modified) == ("ok", None, None)


@pytest.mark.parametrize("mark", ['"' + "x" * 5000 + '"', '"\x01"', '"\xe9"'])
def test_marks_that_are_no_plain_text_are_not_kept(
    mark: str,
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
) -> None:
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tile), headers={"ETag": mark}))
    tiles = kit.block_of_tiles(1, 1)
    fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=RULES)
    assert read_tile_rows(sqlite_engine, 18)["etag"].tolist() == [None]
    again = fetch_tiles(
        tiles, kit.allowing(server.url), archive, sqlite_engine, connections=1, rules=RULES, refresh=True
    )
    assert (again.unchanged, again.requests) == (1, 1)


def test_a_placeholder_is_never_left_as_a_picture(
    archive: TileArchive,
    sqlite_engine: Engine,
    faulty_server: Callable[..., Any],
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends between taking the pictures out and writing the rows."""
    tiles = kit.block_of_tiles(6, 2)
    server = faulty_server(lambda tile, attempt: kit.Reply(body=kit.picture(tiles[0])))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blanks, "save_tiles", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=2, rules=RULES)
    assert archive.count() == 0
    monkeypatch.undo()
    report = fetch_tiles(tiles, kit.allowing(server.url), archive, sqlite_engine, connections=2, rules=RULES)
    assert (report.ok, report.blank) == (0, 12)
    assert archive.count() == 0


def test_reasons_for_no_connection_have_their_own_remedies(
    archive: TileArchive, sqlite_engine: Engine, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody, socket.socket() as plain:
        nobody.bind(("127.0.0.1", 0))
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        threading.Thread(target=_answers_without_tls, args=(plain,), daemon=True).start()
        rules = replace(RULES, silence=0.0)
        tiles = kit.block_of_tiles(10, 1)

        def fetch(url: str) -> None:
            fetch_tiles(tiles, kit.allowing(url), archive, sqlite_engine, connections=2, rules=rules)

        with pytest.raises(ImageryError, match=r"no secure connection.*REQUESTS_CA_BUNDLE"):
            fetch(f"https://127.0.0.1:{plain.getsockname()[1]}/{{z}}/{{x}}/{{y}}")
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden@127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(ImageryError, match=r"no connection to the proxy.*HTTP_PROXY") as caught:
            fetch("http://tiles.example.org/{z}/{x}/{y}")
        assert "hidden" not in str(caught.value)


def _answers_without_tls(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
