"""Hostile texts of listings in a real browser and over the API: they show as given, and nothing runs."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd
import pytest
from page_waits import wait_on_page

from housevis.pipeline.serving import shelve
from housevis.views.server import create_app
from housevis.views.server_guard import Limits

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

WORST = ("script", "attribute", "template", "override", "controls")

TURNING = ("override", "isolates", "right to left")
"""Texts that would turn round the words beside them."""


@pytest.fixture(scope="module")
def served(hostile_town: Any, serving: Any) -> Callable[..., AbstractContextManager[int]]:
    """Serves the town, with further settings of the application."""

    def serve(**settings: Any) -> AbstractContextManager[int]:
        run = shelve(hostile_town.runs, "hostile-town")
        return serving(create_app([run], limits=Limits(1e9, 1e9), **settings))

    return serve


@pytest.fixture(scope="module")
def server(served: Any) -> Iterator[str]:
    with served() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def server_of_many(served: Any) -> Iterator[str]:
    """A server whose map asks for the houses in view, as it does where they are many."""
    with served(whole_table=10) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass
class Watched:
    """A page, with all that it complained of and all that it asked other machines for."""

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)

    def assert_harmless(self) -> None:
        assert self.page.evaluate("window.hostile === undefined")
        assert self.problems == []


@pytest.fixture(scope="module")
def watched(browser: sync_api.Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    watched = Watched(context.new_page())

    def judge(request: sync_api.Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https"} and address.hostname != "127.0.0.1":
            watched.problems.append(f"left: {request.url}")

    def failed(request: sync_api.Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself lets go of a search that it replaces
            watched.problems.append(f"failed: {request.url}")

    watched.page.on("request", judge)
    watched.page.on("console", lambda message: watched.problems.append(message.text))
    watched.page.on("pageerror", lambda error: watched.problems.append(str(error)))
    watched.page.on("requestfailed", failed)
    watched.page.on("dialog", lambda dialog: (watched.problems.append("dialog"), dialog.dismiss()))
    yield watched
    context.close()


@pytest.fixture(scope="module")
def sales(hostile_town: Any) -> dict[str, str]:
    """House -> its last sale."""
    judged = pd.read_parquet(hostile_town.run.estimates).sort_values("sale_date")
    return dict(zip(judged["house_id"], judged["sale_id"], strict=True))


def in_words(page: sync_api.Page, selector: str) -> str:
    return str(page.locator(selector).first.evaluate("node => node.textContent"))


STAYS = """node => {
  const bdi = node.querySelector("bdi");
  const range = document.createRange();
  const words = [...node.childNodes].filter((each) => each.nodeType === 3 && /[a-z]{2}/i.test(each.data));
  return words.every(function (each) {
    const at = each.data.search(/[a-z]{2}/i);
    const left = function (from) {
      range.setStart(each, from);
      range.setEnd(each, from + 1);
      return range.getBoundingClientRect().left;
    };
    return left(at) < left(at + 1);
  }) && getComputedStyle(bdi).unicodeBidi === "isolate";
}"""
"""Whether the words beside a text of a listing read from left to right."""


@pytest.mark.parametrize("opened", ["disk", "server", "server_of_many"])
def test_the_map_shows_every_text_as_it_was_given(
    request: pytest.FixtureRequest, watched: Watched, hostile_town: Any, sales: dict[str, str], opened: str
) -> None:
    page = watched.page
    disk = hostile_town.run.atlas.as_uri()
    page.goto(f"{disk if opened == 'disk' else request.getfixturevalue(opened) + '/atlas'}/index.html")
    page.wait_for_selector("body.ready")
    ids = hostile_town.ids
    for kind, house in ids.items() if opened == "server" else [(kind, ids[kind]) for kind in WORST]:
        page.evaluate("hash => { location.hash = hash; }", f"#sale={quote(sales[house], safe='')}")
        wait_on_page(
            page,
            "words => [...document.querySelectorAll('#card:not([aria-busy=true]) .card-head bdi')]"
            ".some((each) => each.textContent === words)",
            arg=house,
        )
        assert in_words(page, "#card h2 bdi") == hostile_town.addresses[house]
        assert page.locator("#card h2 *:not(bdi), #card .card-head p *:not(bdi)").count() == 0
        if kind in TURNING:
            assert page.locator("#card .card-head p").evaluate(STAYS)
            assert page.locator("#card .card-picture .note:has(bdi)").first.evaluate(STAYS)
        wait_on_page(
            page,
            "words => [...document.querySelectorAll('.pin-selected')].some("
            "(pin) => pin.getAttribute('aria-label').replaceAll('\\u2068', '').startsWith(words))",
            arg=f"House {house}",
        )
        watched.assert_harmless()


@pytest.mark.parametrize("opened", ["server", "server_of_many"])
def test_the_search_finds_every_text_and_shows_it(
    request: pytest.FixtureRequest, watched: Watched, hostile_town: Any, texts: dict[str, str], opened: str
) -> None:
    page = watched.page
    page.goto(f"{request.getfixturevalue(opened)}/atlas/index.html")
    page.wait_for_selector("body.ready")
    for kind, text in texts.items():
        page.fill("#search", text)
        wait_on_page(
            page,
            "id => [...document.querySelectorAll('#found bdi')].some((each) => each.textContent === id)",
            arg=hostile_town.ids[kind],
        )
        assert page.locator("#found script, #found img, #found svg, #found a").count() == 0
    page.fill("#search", "<img src=y onerror=window.hostile=1>")
    page.wait_for_selector("#found .none")
    watched.assert_harmless()


@pytest.mark.parametrize("opened", ["from disk", "from the server"])
def test_the_page_of_a_house_shows_every_text(
    watched: Watched, server: str, hostile_town: Any, opened: str
) -> None:
    page = watched.page
    disk = (hostile_town.run.atlas / "house.html").as_uri()
    page.goto(disk if opened == "from disk" else f"{server}/atlas/house.html")
    page.wait_for_selector(".state h1")
    for kind, house in hostile_town.ids.items():
        page.evaluate("hash => { location.hash = hash; }", f"#{quote(house, safe='')}")
        wait_on_page(
            page,
            "words => [...document.querySelectorAll('#house[aria-busy=false] .head p bdi')]"
            ".some((each) => each.textContent === words)",
            arg=house,
        )
        address = hostile_town.addresses[house]
        assert in_words(page, "h1 bdi") == address
        assert page.title().strip("\u2068").startswith(" ".join(address.split())[:20].strip())
        assert page.locator("h1 script, h1 img, .comparables tbody script, .head a").count() == 0
        if kind in TURNING:
            assert page.locator(".head p").evaluate(STAYS)
            assert page.locator(".picture .note:has(bdi)").first.evaluate(STAYS)
        compared = page.locator(".comparables tbody a").evaluate_all("all => all.map((each) => each.href)")
        assert all("#" in each and not each.startswith("javascript") for each in compared)
    watched.assert_harmless()
    assert "<svg/onload" in in_words(page, ".listing")


def test_long_words_break_on_a_narrow_screen(
    browser: sync_api.Browser, hostile_town: Any, sales: dict[str, str]
) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 740})
    atlas = hostile_town.run.atlas
    for kind in ("script", "address signs", "long", "formula"):
        house = hostile_town.ids[kind]
        for address in (
            f"{(atlas / 'index.html').as_uri()}#sale={quote(sales[house], safe='')}",
            f"{(atlas / 'house.html').as_uri()}#{quote(house, safe='')}",
        ):
            page.goto("about:blank")
            page.goto(address)
            page.wait_for_selector("#card:not([aria-busy=true]) .amounts, #house[aria-busy=false] h1")
            for part in ("h1", "h2", ".card-head p", ".head p", ".market"):
                boxes = page.locator(part).evaluate_all(
                    "nodes => nodes.map((each) => [each.scrollWidth, each.clientWidth])"
                )
                assert all(inner <= outer for inner, outer in boxes), (part, address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()


@pytest.mark.parametrize(
    "address",
    [
        "index.html#sale=%E0%A4%A",
        "index.html#sale=%3Cimg%20src=x%20onerror=window.hostile=1%3E@2024-01-01",
        "index.html?<script>window.hostile=1</script>",
        "house.html#%E0%A4%A",
        "house.html#<img src=y onerror=window.hostile=1>",
    ],
)
def test_an_address_with_markup_opens_nothing(watched: Watched, server: str, address: str) -> None:
    watched.page.goto("about:blank")
    watched.page.goto(f"{server}/atlas/{address}")
    watched.page.wait_for_selector("body.ready #card[hidden], .state h1", state="attached")
    watched.assert_harmless()


def test_the_server_lets_no_markup_run_that_came_into_a_page(browser: sync_api.Browser, server: str) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    for name in ("index.html", "house.html"):
        page.goto(f"{server}/atlas/{name}")
        refused.clear()
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.hostile = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", `<b onclick="window.hostile=1">x</b>`);
            document.body.lastElementChild.click();
        }""")
        assert page.evaluate("window.hostile === undefined")
        assert len([words for words in refused if "Content Security Policy" in words]) == 2
    page.close()


def test_reports_and_gallery_show_the_texts(watched: Watched, server: str, hostile_town: Any) -> None:
    page = watched.page
    pages = {path.as_uri(): path for path in (hostile_town.run.folder / "houses").glob("*.html")}
    shown = ""
    for address in (
        *pages,
        hostile_town.run.report.as_uri(),
        (hostile_town.folder / "gallery.html").as_uri(),
    ):
        page.goto(address)
        shown += in_words(page, "body")
        assert page.evaluate("document.querySelectorAll('bdi').length") > 0
        watched.assert_harmless()
    for kind in ("script", "override", "emoji"):
        assert hostile_town.ids[kind] in shown
    for path in pages.values():
        page.goto(f"{server}/houses/{quote(path.name)}")
        assert page.locator("h1 bdi").count() == 1
        watched.assert_harmless()


def ask(address: str, question: Any = None) -> tuple[Any, Any]:
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, json.loads(answer.read())


def test_the_api_answers_every_text_as_json_and_logs_none(server: str, hostile_town: Any) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(str(record.__dict__))  # type: ignore[method-assign]
    logger = logging.getLogger("housevis.server")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    for house, address in hostile_town.addresses.items():
        written = quote(house, safe="")
        headers, found = ask(f"{server}/api/houses/{written}")
        assert (found["house_id"], found["address"]) == (house, address)
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        _, found = ask(f"{server}/api/search?text={written}")
        assert (found["houses"][0]["house_id"], found["houses"][0]["address"]) == (house, address)
    changed = ask(f"{server}/api/houses/{quote('..', safe='')}/what-if", {"attributes": {"bedrooms": 4}})
    assert changed[1]["estimate"] > 0
    headers, view = ask(f"{server}/api/houses?bbox=-180,-85,180,85&zoom=22")
    assert set(hostile_town.addresses) <= {each["house_id"] for each in view["houses"]}
    logger.removeHandler(handler)
    logger.setLevel(level)
    assert lines
    told = " ".join(lines)
    for text in hostile_town.addresses:
        if text not in ("..",):
            assert text not in told
    assert "hostile=1" not in told
