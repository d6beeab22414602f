"""The map in a real browser from a server that has more houses than one table is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from page_waits import wait_on_page

from housevis.views import atlas
from housevis.views.atlas import build_atlas
from housevis.views.data import AtlasData
from housevis.views.map_table import read_map_table
from housevis.views.served import ServedRun, ShelvedRun
from housevis.views.server import create_app
from housevis.views.viewport import Viewport

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

MANY, FEW = 900, 60
"""Houses of the two runs: so many that they are gathered in cells, and few with pictures."""


def serve_map(data: AtlasData, folder: Path) -> ShelvedRun:
    """The map of some houses, built and put on the shelf of a server."""
    build_atlas(data, folder / "atlas")
    table = read_map_table(folder / "atlas")
    houses = table.placed(data.records.assign(effect=1000.0))

    def refuse(*_: object) -> Any:
        raise AssertionError("nobody asks this of the map")

    run = ServedRun(
        run_id=folder.name,
        name="alderbrook",
        title=data.title,
        currency="CAD",
        area_unit="m2",
        interval=0.9,
        notice=None,
        attribution=None,
        folder=folder,
        viewport=Viewport(houses, table.limits),
        fields=(),
        maps={},
        details=lambda _: None,
        what_if=refuse,
        estimate=refuse,
        map_settings=table.settings,
    )
    return ShelvedRun(folder.name, folder, lambda: 0, lambda: run)


@pytest.fixture(scope="module")
def address(
    atlas_data: AtlasData, many_houses: AtlasData, tmp_path_factory: pytest.TempPathFactory, serving: Any
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("runs")
    shelf = [serve_map(many_houses, folder / "many"), serve_map(atlas_data, folder / "few")]
    with serving(create_app(shelf, whole_table=FEW - 1)) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass
class Watched:
    """A page, with what it asked for and what went wrong."""

    page: sync_api.Page
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@pytest.fixture
def watched(browser: sync_api.Browser) -> Iterator[Watched]:
    watched = Watched(browser.new_page(viewport={"width": 1440, "height": 900}))
    watched.page.set_default_timeout(10_000)
    page = watched.page
    page.on("pageerror", lambda error: watched.problems.append(str(error)))
    page.on("console", lambda message: watched.problems.append(message.text))
    page.on("request", lambda request: watched.asked.append(request.url))
    yield watched
    page.context.close()
    assert watched.problems == []
    assert [url for url in watched.asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []


def open_map(watched: Watched, address: str, run: str = "many", house: str = "") -> sync_api.Page:
    watched.page.goto(f"{address}/runs/{run}/atlas/index.html{house}")
    watched.page.wait_for_selector(".ring, .pin")
    return watched.page


def ring_counts(page: sync_api.Page) -> list[int]:
    words = page.locator(".ring b").all_inner_texts()
    return [int(re.findall(r"(\d+)\s+houses?,", text)[0]) for text in words]


def wait_for_words(page: sync_api.Page, selector: str, words: str) -> None:
    wait_on_page(
        page,
        "([selector, words]) => document.querySelector(selector).textContent.includes(words)",
        arg=[selector, words],
    )


def test_many_houses_are_rings_and_the_whole_table_is_not_loaded(watched, address):
    page = open_map(watched, address)
    wait_for_words(page, "#shown", "900 of 900 houses in view")
    counts = ring_counts(page)
    assert sum(counts) == MANY
    assert len(counts) > 3
    assert not any("houses.js" in url or "details" in url for url in watched.asked)
    colours = page.locator(".ring > span").evaluate_all("all => all.map(one => one.style.background)")
    assert all("conic-gradient" in colour for colour in colours)
    boxes = page.locator(".ring").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            across, down = abs(one["x"] - other["x"]), abs(one["y"] - other["y"])
            assert max(across, down) > min(one["width"], other["width"]) - 2, "two rings lie over each other"
    said = page.locator(".ring b").first.inner_text()
    page.locator("input[value=error]").check(force=True)
    assert page.locator(".ring b").first.inner_text() != said
    assert "%" in page.locator(".ring b").first.inner_text()
    assert "Estimate compared" in page.locator("#legend").inner_text()


def test_rings_lead_to_pins_by_mouse_and_by_keyboard(watched, address):
    page = open_map(watched, address)
    zoom = page.evaluate("housevis.map.getZoom()")
    for press in ("click", "Enter"):
        ring = page.locator(".ring", has_text=re.compile(rf"\D{max(ring_counts(page))}\s+houses")).first
        if press == "click":
            ring.click()
        else:
            ring.focus()
            page.keyboard.press("Enter")
        zoom += 2
        wait_on_page(page, f"() => housevis.seen.zoom === {zoom} && housevis.map.getZoom() === {zoom}")
    page.evaluate("housevis.map.setView(housevis.place([...housevis.seen.rows][0]), 18, { animate: false })")
    wait_on_page(page, "() => housevis.seen.zoom === 18")
    page.locator(".pin:visible").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#card .amounts")
    assert "not an appraisal" in page.locator("#card").inner_text()
    assert re.fullmatch(r".*#sale=H\d{5}%40\d{4}-\d\d-\d\d", page.url)


def test_a_house_far_away_is_found_by_id_address_and_place(watched, address):
    page = open_map(watched, address)
    page.fill("#search", "h00123")
    page.wait_for_selector("#found button")
    assert page.locator("#found b").all_inner_texts() == ["H00123"]
    page.keyboard.press("Enter")
    page.wait_for_selector("#card .amounts")
    assert "249 Alder Lane" in page.locator("#card").inner_text()
    page.wait_for_selector(".pin-selected")
    page.keyboard.press("Escape")
    page.fill("#search", "251 alder")
    page.wait_for_selector("#found b:has-text('H00124')")
    page.fill("#search", "45.2, -75.7")
    page.wait_for_selector("#found button:has-text('away')")
    assert page.locator("#found button:has-text('away')").count() == 4
    page.fill("#search", "nothing of that")
    page.wait_for_selector("#found .none")


def test_filters_are_asked_of_the_server(watched, address):
    page = open_map(watched, address)
    page.fill("#price-from", "700000")
    wait_for_words(page, "#shown", "houses in this view pass the filters")
    assert 0 < sum(ring_counts(page)) < MANY
    assert "price_from=700000" in watched.asked[-1]
    page.locator("input[name=grade]").first.uncheck()
    with page.expect_request(lambda request: "confidence=medium&confidence=low" in request.url):
        pass
    page.fill("#price-from", "99000000")
    wait_for_words(page, ".note-line", "No house in this view passes these filters.")
    page.get_by_role("button", name="Take the filters away").click()
    wait_for_words(page, "#shown", "900 of 900")
    assert page.locator("#reset").is_hidden()


def test_an_empty_view_says_so_and_leads_back(watched, address):
    page = open_map(watched, address)
    page.evaluate("housevis.map.setView([10, 10], 12, { animate: false })")
    wait_for_words(page, ".note-line", "No house was sold in this view.")
    page.get_by_role("button", name="Show the whole market").click()
    wait_for_words(page, "#shown", "900 of 900")
    assert page.locator(".note-line").inner_text() == ""


def test_the_newest_view_wins_and_old_answers_stay_until_then(watched, address):
    page = open_map(watched, address)
    rings = page.locator(".ring").count()
    held: list[sync_api.Route] = []
    page.route("**/api/houses?*", lambda route: held.append(route) if not held else route.continue_())
    page.evaluate("housevis.map.panBy([300, 0], { animate: false })")
    wait_on_page(page, "() => housevis.map.getContainer().ariaBusy === 'true'")
    assert page.locator(".ring").count() == rings
    wait_for_words(page, ".note-line", "Loading the houses of this view")
    page.evaluate("housevis.showMarket(); housevis.map.setZoom(10, { animate: false })")
    wait_on_page(page, "() => housevis.map.getContainer().ariaBusy === 'false'")
    assert page.evaluate("JSON.parse(housevis.seen.question)[0]") == 10
    assert sum(ring_counts(page)) == MANY
    assert len(held) == 1
    watched.problems.clear()


@pytest.mark.parametrize(
    ("status", "headers", "words", "button"),
    [
        (None, {}, "The server does not answer. It is asked again in 10 seconds.", "Ask now"),
        (
            429,
            {"retry-after": "7"},
            "Too many requests; wait a little. It is asked again in 7 seconds.",
            "Ask now",
        ),
        (404, {}, "wait a little.", "Ask now"),
        (401, {}, "Your session has ended.", "Sign in again"),
    ],
)
def test_what_goes_wrong_is_said_with_what_helps(watched, address, status, headers, words, button):
    page = open_map(watched, address)
    rings = page.locator(".ring").count()
    refusal = '{"detail": "Too many requests; wait a little."}'

    def answer(route: sync_api.Route) -> None:
        if status is None:
            route.abort()
        else:
            route.fulfill(status=status, body=refusal, headers=headers, content_type="application/json")

    page.route("**/api/houses?*", answer)
    page.evaluate("housevis.map.panBy([400, 0], { animate: false })")
    wait_for_words(page, ".note-line", words)
    assert page.locator(".ring").count() == rings
    watched.problems.clear()
    if button == "Ask now":
        page.unroute("**/api/houses?*")
        page.get_by_role("button", name=button).click()
        wait_on_page(page, "() => document.querySelector('.note-line').textContent === ''")
    else:
        assert page.get_by_role("link", name=button).get_attribute("href") == "/sign-in"


def test_houses_with_pictures_have_the_same_card_and_layers(watched, address):
    page = open_map(watched, address, "few", "#sale=H00006@2023-02-07")
    page.wait_for_selector("#card .photo")
    page.locator(".more summary").click()
    words = page.locator("#card").inner_text()
    for part in ("15 Alder Lane", "Explained by", "House H00012", "later sale", "1 map tile is missing"):
        assert part in words, part
    page.wait_for_selector("#card .card-overlay")
    page.locator(".neighbour").click()
    wait_for_words(page, "#card h2", "27 Alder Lane")
    page.locator("#all-overlays").check()
    page.evaluate(
        "housevis.map.setView(housevis.place(housevis.rowOf.get('H00020')), 18, { animate: false })"
    )
    page.wait_for_selector(".leaflet-overlays-pane img.map-overlay", state="attached")


def test_a_page_of_a_map_that_has_changed_is_loaded_again(watched, address):
    page = open_map(watched, address)
    page.evaluate("housevis.content = 'as it was before a house was removed'")
    with page.expect_navigation():
        page.evaluate("housevis.map.setZoom(14, { animate: false })")
    page.wait_for_selector(".ring")
    assert page.evaluate("housevis.seen.zoom") < 14


def test_a_house_that_is_not_there_is_told(watched, address):
    page = open_map(watched, address, house="#sale=nobody@2024-01-01")
    wait_for_words(page, "#card", "This house is not among the sold houses of this run.")
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_the_view_passes_the_accessibility_rules(watched, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = open_map(watched, address)
    found = axe.run(page).response
    serious = [rule["id"] for rule in found["violations"] if rule["impact"] in {"serious", "critical"}]
    assert serious == []


def test_no_two_scripts_of_the_map_use_one_name():
    """They share one object: a function of the same name would take another's place."""
    scripts = sorted((Path(atlas.__file__).parent / "static" / "atlas").glob("*.js"))
    text = "".join(script.read_text() for script in scripts)
    names = re.findall(r"^housevis\.(\w+) =", text, re.MULTILINE)
    assert sorted(names) == sorted(set(names))
