"""The map in a real browser, served over HTTP: houses that are not among the sold ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from page_waits import wait_on_page

from data_pipeline.frames import HouseImage
from housevis.views.atlas import build_atlas
from housevis.views.heat import heat_uri
from housevis.views.heat_tiles import HeatTiles
from housevis.views.pictures import picture_uri
from housevis.views.served import AttributeField, NewHouse, ServedRun, ShelvedRun
from housevis.views.server import create_app
from housevis.views.viewport import Viewport

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

RUN_ID = "20250301-120000-ab12cd"
FIELDS = (
    AttributeField("area_m2", "Living area", "m2", 60, 300),
    AttributeField("bedrooms", "Bedrooms", "", 1, 6),
)


UNSEEN = {
    "picture": None, "attention": None, "value_map": None, "explained_by": None, "used_picture": False,
}  # fmt: skip


def seen(house: NewHouse) -> dict[str, Any]:
    """A picture around a place, an attention map with one hot cell, and a value map that is flat."""
    heat = np.zeros((7, 7), np.float32)
    heat[2, 5] = 1
    bounds = (
        house.longitude - 0.0005, house.latitude - 0.0004, house.longitude + 0.0005, house.latitude + 0.0004,
    )  # fmt: skip
    image = HouseImage(np.full((224, 224, 3), 90, np.uint8), bounds, 0.3, "test", "Drawn", (112.0, 112.0), 0)
    drawn = {"scale": 1.0, "unit": "", "note": ""}
    return {
        "picture": {
            "image": picture_uri(image), "bounds": list(bounds), "house": [0.5, 0.5],
            "attribution": "Drawn for a test", "missing_tiles": 1, "source": "the run's archive",
        },
        "attention": {**drawn, "values": heat.tolist(), "image": heat_uri(heat, 1.0), "status": "ok"},
        "value_map": {**drawn, "values": [], "image": None, "status": "flat"},
        "explained_by": "H00009",
        "used_picture": True,
    }  # fmt: skip


def estimate(house: NewHouse) -> dict[str, Any]:
    """A made-up valuation: 2,000 per square metre, 300,000 where the area is not known.

    Houses with five bedrooms have a picture.
    """
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
        "drivers": [
            {"name": "bedrooms", "label": "Bedrooms", "amount": -2_000.0},
            {"name": "area_m2", "label": "Living area", "amount": 12_000.0},
        ],
        "without_picture": amount,
        **(seen(house) if house.attributes["bedrooms"] == 5 else UNSEEN),
        "comparables": [
            {
                "rank": 1, "house_id": "<b>H00001</b>", "sale_date": "2024-05-01", "price": 290_000.0,
                "adjusted_price": 295_000.0, "metres": 321.0, "why": "same area",
            },
            {
                "rank": 2, "house_id": "H00007", "sale_date": "2020-05-01", "price": 280_000.0,
                "adjusted_price": 297_000.0, "metres": 5.0, "why": "same place",
            },
        ],
        "notes": ["There is no tile here."],
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(atlas_data: Any, tmp_path_factory: pytest.TempPathFactory, serving: Any) -> Iterator[str]:
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
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}/atlas/index.html"


@pytest.fixture
def page(address: str, browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda each: problems.append(each.url) if "127.0.0.1" not in each.url else None)
    page.goto(address)
    page.wait_for_selector("body.ready")
    yield page
    page.close()
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
    for part in ("Less sure because: the area is not known", "Confidence: low"):
        assert part in words, part
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def ask(page: sync_api.Page, area: str, bedrooms: str) -> None:
    page.fill("input[name=area_m2]", area)
    page.fill("input[name=bedrooms]", bedrooms)
    page.get_by_role("button", name="Estimate", exact=True).click()


def test_the_picture_of_a_new_house_lies_on_the_card_and_the_map(page: sync_api.Page) -> None:
    open_form(page)
    ask(page, "150", "5")
    page.wait_for_selector("#card .amounts")
    photo = page.locator("#card .photo")
    assert photo.evaluate("image => image.naturalWidth") == 224
    heat = page.locator("#card .card-overlay").bounding_box()
    assert heat == pytest.approx(photo.bounding_box(), abs=1)
    on_map = page.locator(".map-picture").bounding_box()
    assert page.locator(".map-overlay").bounding_box() == pytest.approx(on_map, abs=1)
    assert on_map["width"] > 200
    page.locator("#card .opacity").fill("40")
    assert page.locator(".map-overlay").evaluate("image => image.style.opacity") == "0.4"
    page.locator("#card input[value=value]").check(force=True)
    assert "No value map" in page.locator("#card .status").inner_text()
    assert page.locator(".card-overlay, .map-overlay").count() == 0
    words = page.locator("#card").inner_text()
    for part in ("1 map tile is missing", "Drawn for a test", "Explained by", "without the picture it is"):
        assert part in words, part


def test_the_answer_leads_to_sold_houses_and_back_and_to_the_form_as_it_was(page: sync_api.Page) -> None:
    open_form(page)
    ask(page, "150", "5")
    page.get_by_role("link", name="House H00007").click()
    page.wait_for_selector("#card .card-picture")
    wait_on_page(page, "document.querySelector('#card h2').textContent.includes('Alder Lane')")
    assert page.locator(".pin-selected").count() == 1
    page.go_back()
    wait_on_page(page, "document.querySelector('#card h2').textContent === 'Estimate a house here'")
    assert "$300,000" in page.locator("#card").inner_text()
    assert page.locator(".pin-selected").count() == 0
    page.get_by_role("button", name="Change what the house has").click()
    assert page.locator("input[name=bedrooms]").input_value() == "5"


def test_whatever_goes_wrong_is_said_and_what_was_entered_stays(page: sync_api.Page) -> None:
    open_form(page)
    answers = iter(
        [
            lambda route: route.abort(),
            lambda route: route.fulfill(status=429, headers={"retry-after": "7"}, json={"detail": "Slower."}),
            lambda route: route.fulfill(status=503, json={"detail": "Too many estimates are under way."}),
            lambda route: route.fulfill(status=422, json={"detail": "bedrooms: 50 is impossible."}),
            lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>"),
        ]
    )
    page.route("**/api/estimate", lambda route: next(answers)(route))
    for words in (
        "The server does not answer",
        "Try again in 7 seconds",
        "Too many estimates are under way. Nothing you entered is lost",
        "50 is impossible",
        "could not be read (status 502)",
    ):
        ask(page, "150", "3")
        page.locator("#card [role=alert]").get_by_text(words).wait_for()
        assert page.locator("input[name=area_m2]").input_value() == "150"
    page.unroute("**/api/estimate")
    ask(page, "150", "3")
    page.wait_for_selector("#card .amounts")


def test_an_address_of_a_place_opens_its_form(page: sync_api.Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(f"{address}#place=45.2,-75.7")
    page.wait_for_selector("#card form")
    spot = page.locator(".map-spot").bounding_box()
    panel, card = page.locator(".controls").bounding_box(), page.locator("#card").bounding_box()
    assert panel["x"] + panel["width"] < spot["x"] < spot["x"] + spot["width"] < card["x"]


def test_form_and_answer_pass_the_accessibility_rules(page: sync_api.Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    open_form(page)
    forms = axe.run(page).response["violations"]
    ask(page, "150", "5")
    page.wait_for_selector("#card .amounts")
    found = {"violations": forms + axe.run(page).response["violations"]}
    serious = [rule["id"] for rule in found["violations"] if rule["impact"] in {"serious", "critical"}]
    assert serious == []
