"""The map in a real browser: rings, pins, addresses, missing files, a run without pictures."""

from __future__ import annotations

import re
import shutil
import statistics

import pytest

from housevis.views.atlas import build_atlas

pytestmark = pytest.mark.browser


def test_clusters_lead_to_a_house_with_its_picture(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    total = sum(
        int(text)
        for text in re.findall(r"(\d+)\s+houses", " ".join(page.locator(".ring b").all_inner_texts()))
    )
    assert total + page.locator(".pin").count() == 60
    while page.locator(".pin").count() == 0:
        page.locator(".ring").first.click()
        page.wait_for_timeout(400)
    page.locator(".pin:visible").first.click()
    page.wait_for_selector(".card .photo")
    assert page.locator(".card .photo").evaluate("image => image.complete && image.naturalWidth") == 224
    assert "not an appraisal" in page.locator(".card").inner_text()
    desktop.assert_quiet()


def test_pins_stand_where_the_houses_are(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    desktop.find("H00011")
    for found, wanted in zip(desktop.centre(".pin-selected"), desktop.centre(".map-picture"), strict=True):
        assert found == pytest.approx(wanted, abs=3)
    desktop.assert_quiet()


def test_rings_carry_the_median_of_what_is_coloured(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    told = """() => {
      const ring = [];
      housevis.cluster._featureGroup.eachLayer((layer) => {
        if (!layer.getChildCount || !layer._icon) return;
        const rows = layer.getAllChildMarkers().map((marker) => marker.options.icon.options.row);
        ring.push([rows, layer._icon.innerText]);
      });
      return ring;
    }"""
    prices = page.evaluate("housevis.houses.price")
    for rows, words in page.evaluate(told):
        median = statistics.median(prices[row] for row in rows)
        said = page.evaluate("amount => housevis.shortMoney(amount)", median)
        assert said in words, words
        assert f"{len(rows)} houses" in " ".join(words.split())
    for mode, legend in (("error", "compared with the sale price"), ("effect", "the picture adds")):
        page.locator(f"input[value={mode}]").check(force=True)
        assert legend in page.locator("#legend").inner_text()
        statistic = page.evaluate("housevis.mode().statistic")
        assert all(statistic in words for _, words in page.evaluate(told))
        values = page.evaluate("housevis.houses.price.map((_, row) => housevis.valueOf(row))")
        for rows, words in page.evaluate(told):
            said = page.evaluate(
                "value => housevis.mode().text(value)", statistics.median(values[row] for row in rows)
            )
            assert said in words
    desktop.assert_quiet()


def test_an_address_opens_its_house(desktop, atlas):
    page = desktop.page
    page.goto(f"{atlas}#sale=H00006%402024-09-07")
    page.wait_for_selector(".amounts")
    assert "15 Alder Lane" in page.locator(".card h2").inner_text()
    desktop.assert_quiet()


def test_missing_files_are_told(desktop, atlas_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(atlas_folder, folder)
    page = desktop.page
    (folder / "data" / "details-0.js").rename(folder / "kept.js")
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    house = page.evaluate("housevis.houses.house[3]")
    page.fill("#search", house)
    page.keyboard.press("Enter")
    page.wait_for_selector("#card [role=alert]")
    assert "details-0.js" in page.locator("#card").inner_text()
    (folder / "kept.js").rename(folder / "data" / "details-0.js")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".amounts")
    (folder / "data" / "houses.js").unlink()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#waiting[role=alert]")
    assert "could not be loaded" in page.locator("#waiting").inner_text()
    assert desktop.left == []


@pytest.fixture(scope="module")
def bare_atlas(bare_atlas_data, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    build_atlas(bare_atlas_data, folder)
    return (folder / "index.html").as_uri()


@pytest.mark.parametrize("device", ["desktop", "telephone"])
def test_a_map_without_pictures_shows_prices_and_drivers(request, bare_atlas, device):
    watched = request.getfixturevalue(device)
    page = watched.page
    page.goto(bare_atlas)
    page.wait_for_selector(".ring")
    if device == "telephone":
        page.locator("#more").click()
    assert page.locator("#price-from").is_visible()
    assert page.locator("#base").count() == 0
    assert "50.7 %" in page.locator(".bar").text_content()
    watched.find("H00006")
    page.locator(".more summary").click()
    words = page.locator("body").inner_text()
    for part in ("15 Alder Lane", "What the estimate rests on", "90 % range", "later sale"):
        assert part in words, part
    for part in ("icture", "magery", "ttention", "Explained by", "null", "undefined", "NaN", "gained"):
        assert part not in words, part
    assert page.locator(".card img").count() == 0
    assert page.locator(".map-picture").count() == 0
    assert page.locator(".map-spot").count() == 1
    assert page.locator(".card").evaluate("card => card.scrollWidth <= card.clientWidth")
    page.keyboard.press("Escape")
    assert page.locator(".map-spot").count() == 0
    watched.assert_quiet()


def test_the_selected_house_is_where_it_is_marked(desktop, bare_atlas):
    page = desktop.page
    page.goto(bare_atlas)
    desktop.find("H00011")
    for found, wanted in zip(desktop.centre(".pin-selected"), desktop.centre(".map-spot"), strict=True):
        assert found == pytest.approx(wanted, abs=3)
    desktop.assert_quiet()
