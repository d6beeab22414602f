"""A run's pages as a folder for a static host."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from housevis.core.errors import StorageError, UsageError
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import changed_files
from housevis.views.house_chunks import chunk_of
from housevis.views.site import write_site
from housevis.views.site_hashes import FOLDER

RUN_ID = "20250301-120000-ab12cd"
HOUSE = "H00013"


@pytest.fixture(scope="module")
def run_folder(house_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / RUN_ID
    shutil.copytree(house_folder, folder / "atlas")
    (folder / "report.html").write_text("<!DOCTYPE html><title>Report</title>")
    return folder


@pytest.fixture(scope="module")
def site(run_folder: Path) -> Path:
    out = run_folder.parent / "site"
    write_site(run_folder, RUN_ID, out)
    return out


def test_it_holds_the_map_and_the_report(run_folder: Path, site: Path) -> None:
    assert {path.name for path in site.iterdir()} == {"index.html", "atlas", "report.html"}
    assert changed_files(site / "atlas") == []
    copied = {path.relative_to(site / "atlas") for path in (site / "atlas").rglob("*") if path.is_file()}
    built = {
        path.relative_to(run_folder / "atlas") for path in (run_folder / "atlas").rglob("*") if path.is_file()
    }
    assert copied - built == {path for path in copied if path.parts[0] == FOLDER}
    assert copied >= built
    assert 'url=atlas/index.html"' in (site / "index.html").read_text()


def test_scripts_and_styles_carry_their_hashes(site: Path) -> None:
    page = (site / "atlas" / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="([\w./-]+\.(?:js|css))" integrity="sha256-([^"]+)"', page)
    scripts = re.findall(r'<script src="([^"]+)"', page)
    assert {name for name, _ in named} >= set(scripts)
    for name, digest in named:
        assert digest_of(site / "atlas" / name) == f"sha256-{digest}"


def test_scripts_that_are_loaded_later_have_their_hashes_too(site: Path) -> None:
    atlas = site / "atlas"
    page = (atlas / "index.html").read_text(encoding="utf-8")
    groups = json.loads(re.findall(r'<script type="application/json" id="hashes">(.*?)</script>', page)[0])
    named: dict[str, str] = {}
    for number, digest in enumerate(groups):
        assert digest_of(atlas / FOLDER / f"{number}.js") == digest
        group = read_call(atlas / FOLDER / f"{number}.js")
        assert {chunk_of(name, len(groups)) for name in group} <= {number}
        named |= group
    scripts = {
        path.relative_to(atlas).as_posix() for path in atlas.rglob("*.js") if path.parent.name != FOLDER
    }
    assert named == {name: digest_of(atlas / name) for name in scripts}
    assert "data/houses.js" in named
    assert "houses/chunk-0.js" in named


def digest_of(path: Path) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()}"


def read_call(path: Path) -> dict[str, str]:
    found = re.fullmatch(r"housevis\.receiveHashes\((.*)\);\n", path.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_another_site_is_replaced_as_a_whole(run_folder: Path, site: Path) -> None:
    (site / "atlas" / "left-over.txt").write_text("of an earlier run")
    written = write_site(run_folder, RUN_ID, site)
    assert not (site / "atlas" / "left-over.txt").exists()
    assert written.files == sum(path.is_file() for path in site.rglob("*"))
    assert [path.name for path in site.parent.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_somebody_else_stays(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(UsageError, match="something else"):
        write_site(run_folder, RUN_ID, tmp_path)
    with pytest.raises(UsageError, match="inside the run"):
        write_site(run_folder, RUN_ID, run_folder / "atlas" / "site")
    with pytest.raises(UsageError, match="is a file"):
        write_site(run_folder, RUN_ID, tmp_path / "letters.txt")
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_damaged_map_is_not_published(atlas_data: Any, tmp_path: Path) -> None:
    build_atlas(atlas_data, tmp_path / "run" / "atlas")
    write_site(tmp_path / "run", RUN_ID, tmp_path / "site")
    before = (tmp_path / "site" / "atlas" / "data" / "houses.js").read_bytes()
    (tmp_path / "run" / "atlas" / "data" / "houses.js").write_text("alert(1)")
    with pytest.raises(StorageError, match=r"1 files .* data/houses\.js"):
        write_site(tmp_path / "run", RUN_ID, tmp_path / "site")
    assert (tmp_path / "site" / "atlas" / "data" / "houses.js").read_bytes() == before


@pytest.fixture(scope="module")
def host(site: Path) -> Iterator[str]:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Visitor:
    """A page of somebody who visits the site, and what went wrong on it."""

    page: Any
    problems: list[str] = field(default_factory=list)


@pytest.fixture
def visitor(browser: Any) -> Iterator[Visitor]:
    context = browser.new_context()
    visitor = Visitor(context.new_page())
    visitor.page.on("pageerror", lambda error: visitor.problems.append(str(error)))
    visitor.page.on(
        "console", lambda said: visitor.problems.append(said.text) if said.type == "error" else None
    )
    yield visitor
    context.close()


@contextmanager
def changed(script: Path, more: bytes) -> Iterator[None]:
    released = script.read_bytes()
    script.write_bytes(released + more)
    yield
    script.write_bytes(released)


@pytest.mark.browser
def test_a_static_host_shows_the_map_and_a_house(host: str, visitor: Visitor) -> None:
    visitor.page.goto(f"{host}/")
    visitor.page.wait_for_selector("body.ready")
    visitor.page.fill("#search", HOUSE)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("#card .amounts")
    visitor.page.goto(f"{host}/atlas/house.html#{HOUSE}")
    visitor.page.wait_for_selector("#house[aria-busy=false] .head")
    assert visitor.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["atlas/map.js", "server.js", "data/houses.js"])
def test_a_changed_script_of_the_map_is_blocked(site: Path, host: str, visitor: Visitor, name: str) -> None:
    with changed(site / "atlas" / name, b"\nwindow.changed = true;\n"):
        with visitor.page.expect_console_message(lambda said: "integrity" in said.text):
            visitor.page.goto(f"{host}/atlas/index.html")
        assert visitor.page.evaluate("window.changed") is None


@pytest.mark.browser
@pytest.mark.parametrize("page", ["index.html", "atlas/index.html", "atlas/house.html"])
def test_opened_from_disk_it_says_where_it_belongs(site: Path, visitor: Visitor, page: str) -> None:
    visitor.page.goto((site / page).as_uri())
    visitor.page.get_by_text("made for a web server").wait_for()


@pytest.mark.browser
def test_changed_hashes_are_blocked(site: Path, host: str, visitor: Visitor) -> None:
    groups = len(list((site / "atlas" / FOLDER).iterdir()))
    group = site / "atlas" / FOLDER / f"{chunk_of('data/houses.js', groups)}.js"
    with changed(group, b"housevis.receiveHashes({});\n"):
        visitor.page.goto(f"{host}/atlas/index.html")
        visitor.page.get_by_text("is not the one that was published").wait_for()


@pytest.mark.browser
def test_changed_data_of_a_house_are_blocked_and_the_page_says_so(
    site: Path, host: str, visitor: Visitor
) -> None:
    chunks = len(list((site / "atlas" / "houses").glob("chunk-*.js")))
    chunk = site / "atlas" / "houses" / f"chunk-{chunk_of(HOUSE, chunks)}.js"
    with changed(chunk, b"\nwindow.changed = true;\n"):
        visitor.page.goto(f"{host}/atlas/house.html#{HOUSE}")
        visitor.page.get_by_text("is not the one that was published").wait_for()
        assert visitor.page.evaluate("window.changed") is None
