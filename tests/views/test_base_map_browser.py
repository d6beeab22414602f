"""The base map in a real browser, opened from disk with the network cut and served over HTTP."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mercantile
import pytest
from page_waits import wait_on_page
from PIL import Image

from data_pipeline.archive import TileArchive
from housevis.views.atlas import build_atlas
from housevis.views.base_map import BaseMap

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

ZOOM = 18
PLACE = (45.2, -75.7)
SIDE = 24
MARKED = (230, 20, 20)


def drawn(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def middle() -> mercantile.Tile:
    """The one tile that is red."""
    return mercantile.tile(PLACE[1], PLACE[0], ZOOM)


@pytest.fixture(scope="module")
def folder(atlas_data, middle, tmp_path_factory) -> Path:
    """The made-up town with a base map: a square of tiles without one of its corners."""
    made = tmp_path_factory.mktemp("base")
    around = range(-SIDE // 2, SIDE // 2)
    tiles = {
        mercantile.Tile(middle.x + x, middle.y + y, ZOOM): drawn((70, 110 + 2 * (x % 2), 60))
        for x in around
        for y in around
        if x < 6 or y < 6
    }
    tiles[middle] = drawn(MARKED)
    with TileArchive.create(made / "tiles.mbtiles", {"format": "jpg"}) as archive:
        archive.write(tiles.items())
        base = BaseMap(archive, ZOOM)
        data = replace(atlas_data, pictures=replace(atlas_data.pictures, base_map=base))
        build_atlas(data, made / "atlas")
    return made / "atlas"


@dataclass
class Seen:
    """A page, what it complained of, and the tiles that it asked for."""

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)
    tiles: set[str] = field(default_factory=set)

    def settled(self) -> None:
        """Wait until every tile of the base map that is wanted is drawn."""
        wait_on_page(
            self.page,
            "() => { const tiles = [...document.querySelectorAll('.base-tile img')];"
            " return tiles.length && tiles.every((tile) => tile.complete && tile.naturalWidth); }",
        )


@pytest.fixture
def seen(browser) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    found = Seen(context.new_page())
    found.page.on("console", lambda message: found.problems.append(message.text))
    found.page.on("pageerror", lambda error: found.problems.append(str(error)))
    found.page.on("requestfailed", lambda failed: found.problems.append(failed.url))

    def note(address: str) -> None:
        path = unquote(urlsplit(address).path)
        if "/base/" in path:
            found.tiles.add("base/" + path.split("/base/")[1])

    found.page.on("request", lambda asked: note(asked.url))
    yield found
    context.close()


def look(seen: Seen, zoom: int) -> None:
    """Look at the red tile from a zoom."""
    seen.page.evaluate(
        "([place, zoom]) => housevis.map.setView(place, zoom, { animate: false })", [PLACE, zoom]
    )
    seen.settled()


@pytest.mark.parametrize("way", ["disk", "http"])
def test_the_base_map_asks_for_no_tile_that_is_not_there(seen, folder, way):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = seen.page
        page.goto(
            f"http://127.0.0.1:{server.server_port}/index.html"
            if way == "http"
            else (folder / "index.html").as_uri()
        )
        page.wait_for_selector("body.ready")
        seen.settled()
        assert page.locator("#base").is_checked()
        for zoom in range(20, 10, -1):
            look(seen, zoom)
        page.evaluate("housevis.map.panBy([9000, 0], { animate: false })")
        server.shutdown()
    assert {name.split("/")[1] for name in seen.tiles} == {"18", "16", "15", "14"}
    assert all((folder / name).is_file() for name in seen.tiles)
    assert seen.problems == []


@pytest.mark.parametrize(("zoom", "native"), [(20, 18), (18, 18), (17, 18), (16, 16), (13, 14)])
def test_tiles_lie_where_they_lie_on_the_ground(seen, folder, middle, zoom, native):
    seen.page.goto((folder / "index.html").as_uri())
    seen.page.wait_for_selector("body.ready")
    look(seen, zoom)
    tile = mercantile.parent(middle, zoom=native) if native < ZOOM else middle
    west, south, east, north = mercantile.bounds(tile)
    left, top, right, bottom = seen.page.evaluate(
        """([tile, west, south, east, north]) => {
            const images = [...document.querySelectorAll(".base-tile img")];
            const box = images.find((image) => image.src.includes(tile)).getBoundingClientRect();
            const frame = housevis.map.getContainer().getBoundingClientRect();
            const upper = housevis.map.latLngToContainerPoint([north, west]);
            const lower = housevis.map.latLngToContainerPoint([south, east]);
            return [box.left - frame.left - upper.x, box.top - frame.top - upper.y,
              box.right - frame.left - lower.x, box.bottom - frame.top - lower.y];
        }""",
        [f"/base/{tile.z}/{tile.x}/{tile.y}.", west, south, east, north],
    )
    assert max(map(abs, (left, top, right, bottom))) <= 2


def test_the_base_map_can_be_switched_off_and_on(seen, folder):
    page = seen.page
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    seen.settled()
    assert page.get_by_label("Base map").is_checked()
    page.get_by_label("Base map").uncheck()
    wait_on_page(page, "() => !document.querySelector('.base-tile')")
    assert "on-imagery" not in page.evaluate("document.body.className")
    page.get_by_label("Base map").check()
    seen.settled()
    assert page.locator("script[src='data/base.js']").count() == 1
    assert page.locator("#zoom-hint").is_hidden()
    assert seen.problems == []


def test_a_lost_list_of_tiles_is_told_and_leaves_the_houses(browser, folder):
    page = browser.new_page()
    page.route("**/data/base.js", lambda route: route.abort())
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    page.get_by_text("The base map could not be loaded").wait_for()
    assert not page.locator("#base").is_checked()
    assert page.locator(".ring, .pin").count() > 0
    assert page.locator(".base-tile").count() == 0
    page.close()
