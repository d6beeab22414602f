"""The map in a real browser, served over HTTP: houses that are not among the sold ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from housevis.views.atlas import build_atlas
from housevis.views.heat_tiles import HeatTiles
from housevis.views.served import AttributeField, NewHouse, ServedRun, ShelvedRun
from housevis.views.server import create_app, server_config
from housevis.views.viewport import Viewport

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no Chromium at {CHROMIUM}"),
]

RUN_ID = "20250301-120000-ab12cd"
FIELDS = (
    AttributeField("area_m2", "Living area", "m2", 60, 300),
    AttributeField("bedrooms", "Bedrooms", "", 1, 6),
)


def estimate(house: NewHouse) -> dict[str, Any]:
    """A made-up valuation: 2,000 per square metre, 300,000 where the area is not known."""
    area = house.attributes["area_m2"]
    amount = 300_000.0 if area is None else 2_000.0 * area
    return {
        "run_id": RUN_ID,
        "currency": "CAD",
        "valuation_date": "2024-09-01",
        "estimate": amount,
        "low": 0.9 * amount,
        "high": 1.1 * amount,
        "interval": 0.9,
        "confidence": "low" if area is None else "high",
        "confidence_reasons": ["the area is not known"] if area is None else [],
        "unknown": [name for name, value in house.attributes.items() if value is None],
        "outside_training": {},
        "base": amount - 10_000.0,
        "drivers": [{"name": "bedrooms", "amount": -2_000.0}, {"name": "area_m2", "amount": 12_000.0}],
        "without_picture": amount,
        "used_picture": False,
        "picture": None,
        "attention": None,
        "value_map": None,
        "explained_by": None,
        "comparables": [
            {
                "rank": 1, "house_id": "<b>H00001</b>", "sale_date": "2024-05-01", "price": 290_000.0,
                "adjusted_price": 295_000.0, "metres": 321.0, "why": "same area",
            }
        ],
        "notes": ["There is no tile here."],
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(atlas_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("runs") / RUN_ID
    build_atlas(atlas_data, folder / "atlas")
    (folder / "metrics.json").write_text("{}")
    records = atlas_data.records.assign(effect=1000.0)

    def run() -> ServedRun:
        return ServedRun(
            run_id=RUN_ID,
            name="alderbrook",
            title="Houses of Alderbrook",
            currency="CAD",
            area_unit="m2",
            interval=0.9,
            notice=None,
            attribution="Drawn for a test",
            folder=folder,
            viewport=Viewport(records),
            fields=FIELDS,
            maps={"attention": HeatTiles(atlas_data.pictures.heat, atlas_data.pictures.heat_bounds, 1.0)},
            details=lambda house_id: None,
            what_if=lambda house_id, attributes: {},
            estimate=estimate,
        )

    app = create_app([ShelvedRun(RUN_ID, folder, lambda: 0, run)])
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/atlas/index.html"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(address: str) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda each: problems.append(each.url) if "127.0.0.1" not in each.url else None)
        page.goto(address)
        page.wait_for_selector("body.ready")
        yield page
        browser.close()
    assert [problem for problem in problems if not problem.startswith("data:")] == []


def open_form(page: sync_api.Page) -> None:
    page.fill("#search", "45.27, -75.7")
    page.get_by_role("button", name="Go to this place").click()
    page.mouse.click(720, 600)
    page.wait_for_selector("#card form")


def test_a_press_on_an_empty_spot_asks_for_every_attribute(page: sync_api.Page) -> None:
    open_form(page)
    assert "Estimate a house here" in page.locator("#card").inner_text()
    values = page.locator("#card form input[type=number]").evaluate_all("all => all.map(one => one.value)")
    assert values == ["", ""]
    page.fill("input[name=area_m2]", "150")
    page.get_by_role("button", name="Estimate", exact=True).click()
    assert page.locator("#card form").is_visible()
    page.fill("input[name=bedrooms]", "3")
    page.get_by_role("button", name="Estimate", exact=True).click()
    page.wait_for_selector("#card .amounts")
    words = page.locator("#card").inner_text()
    for part in (
        "$300,000",
        "$270,000 to $330,000",
        "high",
        "<b>H00001</b>",
        "320 m away",
        "There is no tile here.",
    ):
        assert part in words, part


def test_what_is_not_known_is_said_and_never_filled_in(page: sync_api.Page) -> None:
    open_form(page)
    page.locator(".asked input[type=checkbox]").first.check()
    page.fill("input[name=bedrooms]", "3")
    page.get_by_role("button", name="Estimate", exact=True).click()
    page.wait_for_selector("#card .amounts")
    words = page.locator("#card").inner_text()
    for part in ("Not known: Area.", "the area is not known", "Confidence: low"):
        assert part in words, part
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_the_form_passes_the_accessibility_rules(page: sync_api.Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    open_form(page)
    found = axe.run(page).response
    serious = [rule["id"] for rule in found["violations"] if rule["impact"] in {"serious", "critical"}]
    assert serious == []
