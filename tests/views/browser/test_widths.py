"""Every page at every width, on paper, in forced colours and without motion."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

WIDTHS = [360, 320, 768, 1440, 1920]
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter(function (each) {
  const box = each.getBoundingClientRect();
  const aside = ".unseen, .skip, .comparables thead, .leaflet-container, .scroller, svg, [hidden]";
  return box.width && !each.closest(aside) && (box.right > innerWidth + 1 || box.left < -1);
}).map((each) => each.outerHTML.slice(0, 90))"""


@pytest.mark.parametrize("width", WIDTHS)
def test_the_map_fits(watch, atlas, width):
    watched = watch(width, 800, "dark" if width % 3 else "light", offline=True)
    page = watched.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 900:
        assert page.locator("#options").is_hidden()
        page.locator("#more").click()
    assert page.locator("#legend").is_visible()
    assert page.evaluate(OVERFLOW) == []
    for house in ("H00007", "H00006"):
        watched.find(house)
        page.locator(".more summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOW) == []
        assert page.locator(".card").evaluate("card => card.scrollWidth <= card.clientWidth")
    picture, card = (page.locator(part).bounding_box() for part in (".map-picture", ".card"))
    beside = card["x"] >= picture["x"] + picture["width"] - 1
    assert beside or picture["y"] + picture["height"] <= card["y"] + 1
    watched.assert_quiet()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_house_the_report_and_the_gallery_fit(watch, house_folder, report, gallery, width):
    watched = watch(width, 800, offline=True)
    page = watched.page
    for house in ("H00013", "H00008", "nobody"):
        page.goto(f"{(house_folder / 'house.html').as_uri()}#{house}")
        page.wait_for_selector("#house[aria-busy=false]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOW) == []
        page.goto("about:blank")
    for address in (report, gallery):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    watched.assert_quiet()


@pytest.mark.parametrize("kind", ["report_data", "bare_report_data"])
def test_the_report_has_its_charts(request, desktop, tmp_path, kind):
    from housevis.views.report import build_report

    build_report(request.getfixturevalue(kind), tmp_path / "report.html")
    desktop.page.goto((tmp_path / "report.html").as_uri())
    assert desktop.page.locator(".chart").count() == 2
    assert desktop.page.locator("svg use").count() > 30
    desktop.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_prints_its_card_on_white_and_says_that_it_does(watch, atlas, scheme):
    watched = watch(1440, 900, scheme, offline=True)
    page = watched.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    assert page.locator(".print-note").is_hidden()
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.locator(".print-note").is_visible()
    assert page.locator("#map_houses, .controls, #card").evaluate_all(
        "all => all.every((each) => !each.checkVisibility())"
    )
    page.emulate_media(media="screen", color_scheme=scheme)
    watched.find("H00007")
    page.emulate_media(media="print", color_scheme=scheme)
    for part in (".amounts", ".card .photo", ".card .card-overlay", ".print-note"):
        assert page.locator(part).first.is_visible(), part
    assert page.locator("#map_houses").is_hidden()
    ink = page.locator(".amounts dd").first.evaluate("node => getComputedStyle(node).color")
    assert max(int(part) for part in ink.strip("rgb()").split(",")[:3]) < 90
    card = page.locator("#card")
    assert card.evaluate("card => card.scrollHeight <= card.clientHeight + 1")


def test_colours_that_carry_meaning_stay_in_forced_colours(watch, atlas, house_folder):
    watched = watch(1440, 900, forced_colors="active", offline=True)
    page = watched.page
    page.goto(atlas)
    watched.find("H00007")
    shown = "nodes => nodes.map((node) => getComputedStyle(node).backgroundColor)"
    bars = page.locator(".bars i").evaluate_all(shown)
    assert len(set(bars)) == 2
    assert page.locator(".legend-bar i").evaluate_all("nodes => nodes.length") > 3
    assert len(set(page.locator(".legend-bar i").evaluate_all(shown))) > 3
    chosen, other = (
        page.locator(f"#card .switch input{state} + span").first for state in (":checked", ":not(:checked)")
    )
    background = "node => getComputedStyle(node).backgroundColor"
    assert chosen.evaluate(background) != other.evaluate(background)
    page.goto(f"{(house_folder / 'house.html').as_uri()}#H00013")
    page.wait_for_selector("#house[aria-busy=false]")
    assert len(set(page.locator(".waterfall .adds, .waterfall .takes").evaluate_all(shown))) == 2


def test_nothing_moves_for_who_wants_no_motion(watch, atlas, house_folder, gallery, report):
    watched = watch(1440, 900, reduced_motion="reduce", offline=True)
    page = watched.page
    moving = """() => [...document.querySelectorAll("body *")].filter(function (each) {
      const style = getComputedStyle(each);
      return parseFloat(style.transitionDuration) > 0.01 || parseFloat(style.animationDuration) > 0.01;
    }).map((each) => each.outerHTML.slice(0, 90))"""
    page.goto(atlas)
    watched.find("H00007")
    assert page.evaluate(moving) == []
    for address in (f"{(house_folder / 'house.html').as_uri()}#H00013", gallery, report):
        page.goto(address)
        assert page.evaluate(moving) == []
