"""A run's pages as a folder for a static host."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from housevis.core.errors import StorageError, UsageError
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import changed_files
from housevis.views.site import write_site

CHROMIUM = Path("/usr/bin/chromium")
RUN_ID = "20250301-120000-ab12cd"


@pytest.fixture(scope="module")
def run_folder(atlas_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / RUN_ID
    build_atlas(atlas_data, folder / "atlas")
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
    assert copied == {
        path.relative_to(run_folder / "atlas") for path in (run_folder / "atlas").rglob("*") if path.is_file()
    }
    assert 'url=atlas/index.html"' in (site / "index.html").read_text()


def test_scripts_and_styles_carry_their_hashes(site: Path) -> None:
    page = (site / "atlas" / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="([\w./-]+\.(?:js|css))" integrity="sha256-([^"]+)"', page)
    scripts = re.findall(r'<script src="([^"]+)"', page)
    assert {name for name, _ in named} >= set(scripts) - {"server.js"}
    for name, digest in named:
        content = (site / "atlas" / name).read_bytes()
        assert base64.b64encode(hashlib.sha256(content).digest()).decode() == digest


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


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no Chromium at {CHROMIUM}")
def test_a_static_host_shows_it_and_a_changed_script_is_blocked(site: Path, host: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.goto(f"{host}/")
        page.wait_for_selector("body.ready")
        assert problems == []

        script = site / "atlas" / "atlas" / "map.js"
        released = script.read_bytes()
        script.write_bytes(released + b"\nwindow.changed = true;\n")
        try:
            page = browser.new_context().new_page()
            with page.expect_console_message(lambda said: "integrity" in said.text):
                page.goto(f"{host}/atlas/index.html")
            assert page.evaluate("window.changed") is None
        finally:
            script.write_bytes(released)
        browser.close()
