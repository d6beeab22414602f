"""Search and filters of the map in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_waits import wait_on_page

from housevis.views.atlas import build_atlas

pytestmark = pytest.mark.browser


def test_filters_can_be_combined_and_taken_back(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    kept = "housevis.houses.price.filter((price, row) => {}).length"

    def shown(condition: str) -> None:
        expected = page.evaluate(kept.format(condition))
        wait_on_page(page, f"document.getElementById('shown').textContent.startsWith('{expected} of 60')")

    page.fill("#price-from", "400,000")
    shown("price >= 400000")
    page.select_option("#bedrooms", "3")
    shown("price >= 400000 && housevis.houses.bedrooms[row] >= 3")
    page.fill("#sold-from", "2023-06-01")
    day = "housevis.houses.day[row] >= 19509"
    shown(f"price >= 400000 && housevis.houses.bedrooms[row] >= 3 && {day}")
    page.locator("input[name=grade][value='2']").uncheck()
    sure = "housevis.houses.confidence[row] < 2"
    shown(f"price >= 400000 && housevis.houses.bedrooms[row] >= 3 && {day} && {sure}")
    page.fill("#price-from", "99,000,000")
    page.wait_for_selector("#nothing:visible")
    assert "No house passes these filters" in page.locator("#nothing").inner_text()
    assert page.locator(".ring").count() == page.locator(".pin").count() == 0
    page.locator("#reset-empty").click()
    wait_on_page(page, "document.getElementById('shown').textContent === '60 sales shown'")
    assert page.locator("#nothing").is_hidden()
    assert page.input_value("#price-from") == ""
    assert page.locator("input[name=grade][value='2']").is_checked()
    desktop.assert_quiet()


def test_a_place_is_found_by_its_coordinates(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    for text in ("45.21, -75.69", "45.21 N 75.69 W", "45.21° n, 75.69° w"):
        page.fill("#search", text)
        assert "Go to this place" in page.locator("#found").inner_text()
        assert page.evaluate("text => housevis.coordinates(text)", text) == [45.21, -75.69]
    assert page.locator("#found button").count() == 5
    page.keyboard.press("Enter")
    view = page.evaluate("(() => { const at = housevis.map.getCenter(); return [at.lat, at.lng]; })()")
    assert view == pytest.approx([45.21, -75.69], abs=1e-4)
    assert page.locator(".map-spot").count() == 1
    page.fill("#search", "no such house")
    assert "No house has this" in page.locator("#found").inner_text()
    assert page.locator("#found-count").inner_text() == "No results"
    desktop.assert_quiet()


def test_the_search_says_what_it_searches(desktop, atlas, atlas_data, tmp_path):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    assert page.get_attribute("#search", "placeholder") == "Id, address or coordinates"
    build_atlas(replace(atlas_data, records=atlas_data.records.assign(address=None)), tmp_path)
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    assert page.get_attribute("#search", "placeholder") == "Id or coordinates"
    page.fill("#search", "alder")
    assert "no addresses were supplied" in page.locator("#found").inner_text()
    desktop.assert_quiet()
