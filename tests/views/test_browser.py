"""The pages in a real browser, opened from disk with the network cut."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from housevis.views.atlas import build_atlas
from housevis.views.gallery import build_gallery
from housevis.views.report import build_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no Chromium at {CHROMIUM}"),
]


@dataclass
class Watched:
    """A page, with all that it said and asked for."""

    page: sync_api.Page
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        assert self.problems == []
        assert self.left == []


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


def watch(browser: sync_api.Browser, width: int, height: int, scheme: str = "light") -> Watched:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_offline(True)
    watched = Watched(context.new_page())

    def judge(route: sync_api.Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in {"http", "https"} and address.hostname != "127.0.0.1":
            watched.left.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    context.route("**/*", judge)
    watched.page.on("console", lambda message: watched.problems.append(message.text))
    watched.page.on("pageerror", lambda error: watched.problems.append(str(error)))
    watched.page.on("requestfailed", lambda request: watched.problems.append(f"failed: {request.url}"))
    watched.page.on("dialog", lambda dialog: (watched.problems.append("dialog"), dialog.dismiss()))
    return watched


@pytest.fixture
def desktop(browser) -> Iterator[Watched]:
    watched = watch(browser, 1440, 900)
    yield watched
    watched.page.context.close()


@pytest.fixture
def telephone(browser) -> Iterator[Watched]:
    watched = watch(browser, 360, 740, "dark")
    yield watched
    watched.page.context.close()


@pytest.fixture(scope="module")
def atlas(atlas_folder) -> str:
    return (atlas_folder / "index.html").as_uri()


def find(page: sync_api.Page, house: str) -> None:
    page.wait_for_selector("body.ready")
    page.fill("#search", house)
    page.keyboard.press("Enter")
    page.wait_for_selector(".amounts")


def centre(page: sync_api.Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


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


def test_the_overlays_lie_on_the_picture_and_fade(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    find(page, "H00007")
    photo = page.locator(".card .photo").bounding_box()
    on_map = page.locator(".map-picture").bounding_box()
    assert on_map["width"] > 200
    shown = []
    for kind in ("attention", "value"):
        page.locator(f"#card input[value={kind}]").check(force=True)
        heat = page.locator(".card .card-overlay").bounding_box()
        for side in ("x", "y", "width", "height"):
            assert heat[side] == pytest.approx(photo[side], abs=1)
        assert page.locator(".card .card-overlay").evaluate("image => image.naturalWidth") == 28
        assert page.locator(".map-overlay").bounding_box()["width"] == pytest.approx(on_map["width"], abs=1)
        shown.append(page.locator(".card .card-overlay").get_attribute("src"))
    assert shown[0] != shown[1]
    assert "$" in page.locator("#card .overlay-legend").inner_text()
    assert page.locator("#overlay-place input[value=value]").is_checked()
    page.locator("#card .opacity").fill("30")
    opacities = "images => images.map(image => image.style.opacity)"
    assert page.locator(".overlay-image").evaluate_all(opacities) == ["0.3", "0.3"]
    assert page.locator("#overlay-place .opacity").input_value() == "30"
    page.locator("#overlay-place input[value=none]").check(force=True)
    assert page.locator(".overlay-image").count() == 0
    assert page.locator("#card .opacity").is_disabled()
    desktop.assert_quiet()


def test_overlays_of_all_houses_wait_for_a_close_view(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    assert not page.evaluate("[...document.scripts].some(script => /overlays|details/.test(script.src))")
    page.locator("#all-overlays").check()
    page.locator("#base").check()
    assert "Zoom in to see the pictures and the overlays" in page.locator("#zoom-hint").inner_text()
    assert page.locator(".map-overlay").count() == 0
    page.evaluate("housevis.map.setView(housevis.place(9), 18, { animate: false })")
    page.wait_for_selector(".leaflet-overlays-pane img.map-overlay", state="attached")
    page.wait_for_selector(".leaflet-ground-pane img", state="attached")
    assert page.locator("#zoom-hint").is_hidden()
    page.locator("#all-overlays").uncheck()
    assert page.locator(".map-overlay").count() == 0
    desktop.assert_quiet()


def test_pins_stand_where_the_houses_are(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    find(page, "H00011")
    for found, wanted in zip(centre(page, ".pin-selected"), centre(page, ".map-picture"), strict=True):
        assert found == pytest.approx(wanted, abs=3)
    desktop.assert_quiet()


def test_the_card_says_where_the_estimate_comes_from(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    find(page, "H00006")
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
    page.wait_for_function("document.querySelector('.card h2').textContent === '27 Alder Lane'")
    page.go_back()
    page.wait_for_function("document.querySelector('.card h2').textContent === '15 Alder Lane'")
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
    find(page, house)
    assert words in page.locator(".card .status").inner_text()
    assert page.locator(".card .card-overlay").count() == drawn
    desktop.assert_quiet()


def test_hostile_text_shows_as_text(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    find(page, "H00000")
    assert page.locator(".card h2").inner_text() == "<b>1 </script><script>alert(1)</script> Lane</b>"
    page.fill("#search", "alert(1)")
    assert "<script>" in page.locator("#found").inner_text()
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


def test_filters_can_be_combined_and_taken_back(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    kept = "housevis.houses.price.filter((price, row) => {}).length"

    def shown(condition: str) -> None:
        expected = page.evaluate(kept.format(condition))
        page.wait_for_function(f"document.getElementById('shown').textContent.startsWith('{expected} of 60')")

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
    page.wait_for_function("document.getElementById('shown').textContent === '60 sales shown'")
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
    find(page, "a/b #7 %")
    assert page.locator("a.action").get_attribute("href") == "house.html#a%2Fb%20%237%20%25"
    desktop.assert_quiet()


def test_the_keyboard_reaches_a_house(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    page.locator("#search").focus()
    page.keyboard.type("alder lane")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('li') === document.querySelectorAll('#found li')[1]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".amounts")
    page.wait_for_function("document.activeElement.id === 'card'")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"
    page.evaluate("housevis.map.setZoom(12, { animate: false })")
    page.wait_for_selector(".ring")
    page.evaluate("document.querySelector('.ring').focus()")
    zoom = page.evaluate("housevis.map.getZoom()")
    page.keyboard.press("Enter")
    page.wait_for_function(f"housevis.map.getZoom() > {zoom}")
    desktop.assert_quiet()


def test_an_address_opens_its_house(desktop, atlas):
    page = desktop.page
    page.goto(f"{atlas}#sale=H00006%402024-09-07")
    page.wait_for_selector(".amounts")
    assert "15 Alder Lane" in page.locator(".card h2").inner_text()
    desktop.assert_quiet()


def test_a_narrow_screen_has_room_for_all(telephone, atlas):
    page = telephone.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    assert page.locator("#options").is_hidden()
    page.locator("#more").click()
    assert page.locator("#legend").is_visible()
    find(page, "H00007")
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.locator(".card").evaluate("card => card.scrollWidth <= card.clientWidth")
        find(page, "H00006")
    picture = page.locator(".map-picture").bounding_box()
    card = page.locator(".card").bounding_box()
    assert picture["y"] + picture["height"] <= card["y"] + 1
    telephone.assert_quiet()


@pytest.mark.parametrize("device", ["desktop", "telephone"])
def test_pages_pass_the_accessibility_rules(request, atlas, device):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    watched = request.getfixturevalue(device)
    page = watched.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")

    def judge() -> None:
        found = axe.run(page).response["violations"]
        assert [
            (rule["id"], rule["nodes"][0]["html"][:120]) for rule in found if rule["impact"] != "minor"
        ] == []

    if device == "telephone":
        page.locator("#more").click()
    page.fill("#search", "alder")
    judge()
    find(page, "H00007")
    page.locator(".more summary").click()
    judge()
    assert watched.left == []


@pytest.mark.parametrize("width", [360, 600, 768, 1024, 1440, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_fits_any_width(browser, atlas, width, scheme):
    watched = watch(browser, width, 800, scheme)
    page = watched.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    find(page, "H00006")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in ("#card", "#search", ".bar"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 0.5
    watched.assert_quiet()
    page.context.close()


@pytest.fixture(scope="module")
def bare_atlas(bare_atlas_data, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    build_atlas(bare_atlas_data, folder)
    return (folder / "index.html").as_uri()


def test_a_global_map_is_explained_by_no_house(desktop, atlas_data, tmp_path):
    build_atlas(replace(atlas_data, pictures=replace(atlas_data.pictures, same_weights=True)), tmp_path)
    page = desktop.page
    page.goto((tmp_path / "index.html").as_uri())
    find(page, "H00006")
    page.locator(".more summary").click()
    words = page.locator(".card").inner_text()
    assert "The map is global" in words
    for part in ("Explained by", "House H00012"):
        assert part not in words, part
    assert page.locator(".neighbour").count() == 0
    desktop.assert_quiet()


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
    assert "50.7 %" in page.locator(".figures").inner_text()
    find(page, "H00006")
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
    find(page, "H00011")
    for found, wanted in zip(centre(page, ".pin-selected"), centre(page, ".map-spot"), strict=True):
        assert found == pytest.approx(wanted, abs=3)
    desktop.assert_quiet()


@pytest.mark.parametrize("kind", ["report_data", "bare_report_data"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_report_fits_and_loads_nothing(request, browser, tmp_path, width, kind):
    build_report(request.getfixturevalue(kind), tmp_path / "report.html")
    watched = watch(browser, width, 800)
    watched.page.goto((tmp_path / "report.html").as_uri())
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    assert watched.page.locator(".chart").count() == 2
    assert watched.page.locator("svg use").count() > 30
    watched.assert_quiet()
    watched.page.context.close()


@pytest.fixture(scope="module")
def gallery(gallery_data, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    build_gallery(gallery_data, path)
    return path.as_uri()


@pytest.mark.parametrize("width", [360, 768, 1440, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_fits_and_keeps_its_pictures_in_sight(browser, gallery, width, scheme):
    watched = watch(browser, width, 800, scheme)
    page = watched.page
    page.goto(gallery)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    scroller = page.locator(".scroller")
    before = page.locator(".photo").first.bounding_box()
    scroller.evaluate("box => { box.scrollLeft = 9999; }")
    page.wait_for_timeout(100)
    assert (scroller.evaluate("box => box.scrollLeft") > 0) == (width < 768)
    assert page.locator(".photo").first.bounding_box()["x"] == pytest.approx(before["x"], abs=1)
    watched.assert_quiet()
    page.context.close()


def test_the_maps_of_the_gallery_lie_on_the_pictures_and_fade(desktop, gallery):
    page = desktop.page
    page.goto(gallery)
    assert page.locator(".photo").first.evaluate("image => image.complete && image.naturalWidth") == 224
    assert page.locator(".under").first.evaluate("box => getComputedStyle(box).backgroundImage.length") > 999
    frame, heat = page.locator(".under").first.bounding_box(), page.locator(".heat").first.bounding_box()
    for side in ("x", "y", "width", "height"):
        assert heat[side] == pytest.approx(frame[side], abs=1)
    opacity = "image => getComputedStyle(image).opacity"
    page.locator("#opacity").fill("40")
    assert page.locator(".heat").first.evaluate(opacity) == "0.4"
    page.locator("#overlay").focus()
    page.keyboard.press("Space")
    assert page.locator(".heat").first.evaluate(opacity) == "0"
    assert page.locator("#opacity").is_disabled()
    page.keyboard.press("Space")
    assert page.locator(".heat").first.evaluate(opacity) == "0.4"
    desktop.assert_quiet()


def test_the_keyboard_scrolls_the_gallery(telephone, gallery):
    page = telephone.page
    page.goto(gallery)
    page.locator(".scroller").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    scroller = page.locator(".scroller")
    for _ in range(100):  # the page forbids what Playwright itself waits with
        if scroller.evaluate("node => node.scrollLeft") > 0:
            break
        page.wait_for_timeout(50)
    assert scroller.evaluate("node => node.scrollLeft") > 0
    telephone.assert_quiet()


def test_the_gallery_passes_the_accessibility_rules(desktop, telephone, gallery):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    for watched in (desktop, telephone):
        watched.page.goto(gallery)
        found = axe.run(watched.page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"][:120]) for rule in found] == []
