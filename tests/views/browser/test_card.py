"""The card of a house in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_waits import wait_on_page

from housevis.views.atlas import build_atlas

pytestmark = pytest.mark.browser


def test_the_card_says_where_the_estimate_comes_from(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    desktop.find("H00006")
    page.locator(".more summary").click()
    words = page.locator(".card").inner_text()
    for part in (
        "15 Alder Lane",
        "House H00006",
        "Confidence: high",
        "evaluation",
        "later sale",
        "90 % range",
        "association, not cause",
        "1 map tile is missing",
        "Drawn for a test",
        "20250301-120000-ab12cd",
        "House H00012",
    ):
        assert part in words, part
    page.locator(".neighbour").click()
    wait_on_page(page, "document.querySelector('.card h2').textContent === '27 Alder Lane'")
    page.go_back()
    wait_on_page(page, "document.querySelector('.card h2').textContent === '15 Alder Lane'")
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()
    assert page.locator(".map-picture").count() == 0
    desktop.assert_quiet()


@pytest.mark.parametrize(
    ("house", "words", "drawn"),
    [
        ("H00001", "no part of this picture stands out", 0),
        ("H00002", "no similar house", 0),
        ("H00003", "negligible", 1),
        ("H00004", "no aerial picture of this house", 0),
    ],
)
def test_a_house_without_a_map_says_why(desktop, atlas, house, words, drawn):
    page = desktop.page
    page.goto(atlas)
    desktop.find(house)
    assert words in page.locator(".card .status").inner_text()
    assert page.locator(".card .card-overlay").count() == drawn
    desktop.assert_quiet()


def test_the_card_leads_to_the_page_of_the_house(desktop, atlas_data, tmp_path):
    records = atlas_data.records.copy()
    records.loc[7, "house_id"] = "a/b #7 %"
    picture = atlas_data.pictures.picture
    pictures = replace(
        atlas_data.pictures, picture=lambda house: picture("H00007" if house == "a/b #7 %" else house)
    )
    build_atlas(replace(atlas_data, records=records, pictures=pictures, house_page="house.html"), tmp_path)
    page = desktop.page
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    desktop.find("a/b #7 %")
    assert page.locator("a.action").get_attribute("href") == "house.html#a%2Fb%20%237%20%25"
    desktop.assert_quiet()


def test_a_global_map_is_explained_by_no_house(desktop, atlas_data, tmp_path):
    build_atlas(replace(atlas_data, pictures=replace(atlas_data.pictures, same_weights=True)), tmp_path)
    page = desktop.page
    page.goto((tmp_path / "index.html").as_uri())
    desktop.find("H00006")
    page.locator(".more summary").click()
    words = page.locator(".card").inner_text()
    assert "The map is global" in words
    for part in ("Explained by", "House H00012"):
        assert part not in words, part
    assert page.locator(".neighbour").count() == 0
    desktop.assert_quiet()
