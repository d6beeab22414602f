"""The page of a house in a real browser: from disk with the network cut, and with a server that reckons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from page_waits import wait_on_page

from housevis.views.house_chunks import chunk_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser


@dataclass
class Watched:
    """A page, with all that it complained of and all that it asked the network for."""

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        assert self.problems == []


@contextmanager
def opened(
    browser: sync_api.Browser, width: int = 1440, scheme: str = "light", offline: bool = True
) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(offline)
    watched = Watched(context.new_page())

    def judge(route: sync_api.Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in {"http", "https"} and address.hostname != "127.0.0.1":
            watched.problems.append(f"left: {route.request.url}")
            route.abort()
        else:
            route.continue_()

    context.route("**/*", judge)
    watched.page.on("console", lambda message: watched.problems.append(message.text))
    watched.page.on("pageerror", lambda error: watched.problems.append(str(error)))
    watched.page.on("requestfailed", lambda request: watched.problems.append(f"failed: {request.url}"))
    watched.page.on("dialog", lambda dialog: (watched.problems.append("dialog"), dialog.dismiss()))
    yield watched
    context.close()


@pytest.fixture
def desktop(browser) -> Iterator[Watched]:
    with opened(browser) as watched:
        yield watched


def show(page: sync_api.Page, folder: Path | str, house: str) -> None:
    base = folder if isinstance(folder, str) else folder.as_uri()
    page.goto(f"{base}/house.html#{house}")
    page.wait_for_selector("#house[aria-busy=false]")


def colours(page: sync_api.Page) -> list[int]:
    """Red, green, blue and opacity of the most opaque pixel of the overlay."""
    return page.locator(".picture .heat").evaluate(
        """canvas => {
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let most = 0;
            for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > pixels[most + 3]) most = at;
            return Array.from(pixels.slice(most, most + 4));
        }"""
    )


def test_a_house_says_what_it_is_worth_and_how_sure_that_is(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00007")
    answer = page.locator(".answer").inner_text()
    assert re.search(r"\$\d[\d,]+", answer)
    assert "90 % range" in answer
    assert "Confidence: medium" in answer
    assert "few sales nearby" in answer
    assert "not an appraisal" in answer
    assert page.title().startswith("17 Alder Lane: $")
    photo = page.locator(".picture .photo")
    assert photo.evaluate("image => image.complete && image.naturalWidth") == 224
    assert "it may predate the sale. Imagery: Drawn for a test." in page.locator(".picture").inner_text()
    assert "licence 7" in page.locator(".foot").inner_text()
    desktop.assert_quiet()


def test_one_of_three_overlays_lies_over_the_picture_and_fades(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00013")
    photo, heat = (page.locator(f".picture .{part}").bounding_box() for part in ("photo", "heat"))
    assert heat == photo
    red, _, blue, opacity = colours(page)
    assert opacity > 150
    assert red > blue
    legend = page.locator(".legend").inner_text()
    assert "0, per 1,000 sq ft" in legend
    page.locator("#opacity").fill("30")
    assert page.locator(".picture .heat").evaluate("canvas => canvas.style.opacity") == "0.3"

    page.locator("input[value=value]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("input[value=attention]").is_checked()
    assert "no attention" in page.locator(".legend").inner_text()
    assert page.locator(".picture .heat").evaluate("canvas => canvas.style.opacity") == "0.3"
    page.keyboard.press("ArrowRight")
    assert page.locator(".picture .heat").count() == 0
    assert page.locator("#opacity").is_disabled()
    desktop.assert_quiet()


def test_the_house_that_lent_its_weights_stands_beside_this_one(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00013")
    pair = page.locator(".explained .pair figure")
    assert pair.count() == 2
    assert page.locator(".explained .heat").count() == 2
    assert "sold for $" in pair.nth(1).inner_text()
    pair.nth(1).locator("a").click()
    wait_on_page(page, "document.title.startsWith('41 Alder Lane')")
    assert page.evaluate("document.activeElement.id") == "name"
    show(page, house_folder, "H00008")
    assert "The attention map is global" in page.locator(".explained").inner_text()
    show(page, house_folder, "H00007")
    assert "no longer shown" in page.locator(".explained").inner_text()
    desktop.assert_quiet()


def test_what_is_not_there_is_said(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00001")
    assert "It points nowhere." in page.locator(".picture").inner_text()
    assert page.locator("input[value=attention]").is_disabled()
    show(page, house_folder, "H00004")
    assert "There is no imagery of this house" in page.locator(".picture").inner_text()
    assert page.locator(".explained, .ground").count() == 0
    show(page, house_folder, "H00009")
    assert "keeps no comparable sales" in page.locator(".comparables").inner_text()
    show(page, house_folder, "H00010")
    assert "No comparable sale" in page.locator(".comparables").inner_text()
    assert "housevis serve" in page.locator(".what-if").inner_text()
    assert page.locator(".what-if input").count() == 0
    desktop.assert_quiet()


def test_the_waterfall_leads_from_the_base_to_the_estimate(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00020")
    rows = page.locator(".waterfall tr")
    assert rows.nth(0).locator("th").inner_text() == "Base: a typical house"
    last = rows.nth(rows.count() - 1)
    assert last.locator("th").inner_text() == "Estimate"
    end = rows.nth(rows.count() - 2).locator(".joint").bounding_box()["x"]
    mark = last.locator(".mark").bounding_box()
    assert end == pytest.approx(mark["x"] + mark["width"] / 2, abs=2)
    assert page.locator(".waterfall .is-picture th").inner_text() == "Aerial picture"


def test_comparables_lie_on_a_map_and_stand_in_a_table(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00013")
    assert page.locator(".locator .numbered").count() == 6
    assert page.locator(".comparables tbody tr").count() == 6
    assert "<script>" in page.locator(".comparables tbody tr").first.inner_text()
    boxes = [disc.bounding_box() for disc in page.locator(".numbered .disc").all()]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            apart = ((one["x"] - other["x"]) ** 2 + (one["y"] - other["y"]) ** 2) ** 0.5
            assert apart > 0.9 * one["width"]
    page.locator(".numbered").first.focus()
    page.keyboard.press("Enter")
    wait_on_page(page, "location.hash === '#H00014'")
    desktop.assert_quiet()


@pytest.mark.parametrize("house", ["H00000", "H00008"])
def test_texts_of_listings_stay_texts(desktop, house_folder, house, atlas_data):
    page = desktop.page
    show(page, house_folder, house)
    wanted = (
        "<b>1 </script><script>alert(1)</script> Lane</b>" if house == "H00000" else "<i>Sons</i> 🏡 =1+1"
    )
    assert wanted in page.locator("h1").inner_text()
    assert page.locator("h1 b, h1 i, h1 script").count() == 0
    assert page.locator(".market").inner_text().startswith("<b>Houses</b> of Alderbrook")
    desktop.assert_quiet()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "No house is chosen"),
        ("#nobody", "There is no such house"),
        ("#%E0%A4%A", "There is no such house"),
    ],
)
def test_without_a_house_the_page_asks_for_one(desktop, house_folder, place, words):
    page = desktop.page
    page.goto(f"{(house_folder / 'house.html').as_uri()}{place}")
    page.wait_for_selector(".state h1")
    assert page.locator(".state h1").inner_text() == words
    page.fill("#house-id", "H00007")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer")
    assert page.locator("h1").inner_text() == "17 Alder Lane"
    desktop.assert_quiet()


def test_a_missing_file_is_named(browser, house_folder, tmp_path):
    for name in ("house", "atlas"):
        (tmp_path / name).symlink_to(house_folder / name)
    page_text = (house_folder / "house.html").read_text(encoding="utf-8")
    (tmp_path / "house.html").write_text(page_text, encoding="utf-8")
    with opened(browser) as watched:
        watched.page.goto(f"{(tmp_path / 'house.html').as_uri()}#H00007")
        watched.page.wait_for_selector(".state h1")
        assert "houses/run.js" in watched.page.locator(".state").inner_text()
        (tmp_path / "houses").mkdir()
        (tmp_path / "houses" / "run.js").write_bytes((house_folder / "houses" / "run.js").read_bytes())
        watched.page.reload()
        watched.page.wait_for_selector(".state h1")
        told = watched.page.locator(".state").inner_text()
        assert re.search(r"houses/chunk-\d+\.js beside this page", told)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1920, "dark")])
def test_it_fits_and_can_be_read_by_everyone(browser, house_folder, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    with opened(browser, width, scheme) as watched:
        show(watched.page, house_folder, "H00013")
        assert watched.page.evaluate("document.documentElement.scrollWidth") == width
        watched.assert_quiet()
        found = axe.run(watched.page).response["violations"]
        serious = [
            (each["id"], [node["html"] for node in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_the_tab_key_reaches_everything_in_the_order_of_the_page(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00013")
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
            const focused = document.activeElement;
            return focused.id || focused.value || focused.getAttribute("class") || focused.tagName;
        }""")
        )
    wanted = ["skip", "back", "copy", "print", "value", "opacity", "A", "numbered"]
    assert [each for each in dict.fromkeys(reached) if each in wanted] == wanted


BELOW = """() => [...document.querySelectorAll(".column")].map((column) =>
  [...column.children].map((part) => [part.getBoundingClientRect().bottom, part.className]))"""


def test_both_columns_end_together_with_little_empty_room(desktop, house_folder):
    page = desktop.page
    show(page, house_folder, "H00013")
    columns = page.evaluate(BELOW)
    ends = [column[-1][0] for column in columns]
    assert ends[0] == pytest.approx(ends[1], abs=1)
    page.evaluate("document.querySelector('.columns').classList.remove('even')")
    ends = [column[-1][0] for column in page.evaluate(BELOW)]
    assert abs(ends[0] - ends[1]) < 200
    assert [columns[0][0][1], columns[1][0][1]] == ["answer", "picture"]
    assert "latitude " in page.locator(".head p").inner_text().lower()
    assert re.fullmatch(
        r"index\.html#sale=H00013%40\d{4}-\d\d-\d\d", page.locator(".back").get_attribute("href")
    )
    page.set_viewport_size({"width": 800, "height": 900})
    wait_on_page(page, "document.querySelectorAll('.column').length === 1")
    order = [kind for _, kind in page.evaluate(BELOW)[0]]
    assert order[:3] == ["answer", "picture", "drivers"]
    page.set_viewport_size({"width": 1440, "height": 900})
    wait_on_page(page, "document.querySelectorAll('.column').length === 2")


def test_the_link_can_be_copied_and_the_page_printed(browser, house_folder):
    with opened(browser) as watched:
        page = watched.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        show(page, house_folder, "H00013")
        page.click("#copy")
        wait_on_page(
            page, "document.getElementById('shared').textContent || document.querySelector('#shared input')"
        )
        assert page.evaluate("navigator.clipboard.readText()") == page.url
        assert "this machine only" in page.locator("#shared").inner_text()
        page.emulate_media(media="print")
        assert not page.locator(".actions").is_visible()
        assert not page.locator(".what-if").is_visible()
        assert page.locator(".picture .heat").is_visible()
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 2
        page.emulate_media(media="screen")
        assert page.locator(".column").count() == 2
        watched.assert_quiet()


@pytest.mark.parametrize("house", ["7", "a/b c", "ünïcode", "🏠", "شقة"])
def test_the_page_looks_into_the_chunk_that_was_written(desktop, house_folder, house):
    show(desktop.page, house_folder, "H00007")
    assert desktop.page.evaluate(
        "([house, chunks]) => housevis.chunkOf(house, chunks)", [house, 2097]
    ) == chunk_of(house, 2097)


class Reckoner(SimpleHTTPRequestHandler):
    """Serves the folder and reckons 10,000 for each bathroom; refuses six bedrooms, falls silent at one."""

    def __init__(self, *args: Any, asked: list[tuple[str, dict[str, float]]], **kwargs: Any) -> None:
        self._asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if urlsplit(self.path).path != "/server.js":
            return super().do_GET()
        return self._answer(200, 'housevis.server={"api":"api/"};', "text/javascript")

    def do_POST(self) -> None:
        changes = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["attributes"]
        self._asked.append((unquote(self.path), changes))
        if changes.get("bedrooms") == 1:
            self.close_connection = True
            return self.connection.shutdown(SHUT_RDWR)
        if changes.get("bedrooms") == 6:
            return self._answer(
                422, json.dumps({"detail": "Six bedrooms are not believed."}), "application/json"
            )
        amount = 10_000 * changes.get("bathrooms", 0)
        answer = {
            "estimate": 500_000 + amount,
            "low": 400_000,
            "high": 600_000,
            "difference": amount,
            "difference_percent": amount / 5_000,
            "outside_training": {"bathrooms": [1, 3]},
        }
        return self._answer(200, json.dumps(answer), "application/json")

    def _answer(self, status: int, text: str, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def reckoner(house_folder) -> Iterator[tuple[str, list[tuple[str, dict[str, float]]]]]:
    asked: list[tuple[str, dict[str, float]]] = []
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Reckoner, directory=str(house_folder), asked=asked)
    )
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_with_a_server_attributes_can_be_changed(browser, reckoner):
    address, asked = reckoner
    with opened(browser, offline=False) as watched:
        page = watched.page
        show(page, address, "H00013")
        assert "As it stands: $" in page.locator(".what-if-answer").inner_text()
        slider = page.locator("input[name=bathrooms]")
        slider.fill("3")
        page.wait_for_selector(".difference")
        assert asked == [("/api/houses/H00013/what-if", {"bathrooms": 3})]
        told = page.locator(".what-if-answer").inner_text()
        assert "$530,000" in told
        assert "+$30,000 (+6.0 %)" in told
        assert "Bathrooms lies outside of the sales" in told
        slider.focus()
        page.keyboard.press("ArrowRight")
        wait_on_page(page, "document.querySelector('.what-if-answer').textContent.includes('$532,500')")
        assert slider.get_attribute("aria-valuetext") == "3.25"
        page.get_by_role("button", name="Undo the changes").click()
        assert "As it stands: $" in page.locator(".what-if-answer").inner_text()
        assert page.get_by_role("button", name="Undo the changes").is_disabled()
        watched.assert_quiet()


def test_a_refused_change_and_a_silent_server_are_said(browser, reckoner):
    address, _ = reckoner
    with opened(browser, offline=False) as watched:
        page = watched.page
        show(page, address, "H00013")
        page.locator("input[name=bedrooms]").fill("6")
        page.wait_for_selector(".what-if .problem")
        assert "Six bedrooms are not believed." in page.locator(".what-if-answer").inner_text()
        page.locator("input[name=bedrooms]").fill("1")
        wait_on_page(
            page, "document.querySelector('.what-if-answer').textContent.includes('does not answer')"
        )
