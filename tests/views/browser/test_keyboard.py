"""The pages by keyboard alone, in a real browser."""

from __future__ import annotations

import pytest
from page_waits import wait_on_page

pytestmark = pytest.mark.browser


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
    wait_on_page(page, "document.activeElement.id === 'card'")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"
    page.evaluate("housevis.map.setZoom(12, { animate: false })")
    page.wait_for_selector(".ring")
    page.evaluate("document.querySelector('.ring').focus()")
    zoom = page.evaluate("housevis.map.getZoom()")
    page.keyboard.press("Enter")
    wait_on_page(page, f"housevis.map.getZoom() > {zoom}")
    desktop.assert_quiet()


def focused(page):
    """The element that has the focus: its id, else its value, else its class."""
    return page.evaluate("(({ id, value, className }) => id || value || className)(document.activeElement)")


def test_a_house_is_found_its_overlay_changed_and_its_card_closed_by_keys_alone(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    page.keyboard.press("Tab")
    assert focused(page) == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#map_houses') !== null")
    page.locator("#search").focus()
    page.keyboard.type("H00007")
    page.wait_for_selector("#found button")
    page.keyboard.press("Enter")
    wait_on_page(page, "document.activeElement.id === 'card'")
    reached = []
    while not reached or (focused(page) != "attention" and len(reached) < 20):
        page.keyboard.press("Tab")
        reached.append(focused(page))
    assert reached[-1] == "attention", reached
    page.keyboard.press("ArrowRight")
    assert page.locator("#card input[value=value]").is_checked()
    assert page.locator("#overlay-place input[value=value]").is_checked()
    assert page.locator(".card .card-overlay").count() == 1
    page.keyboard.press("Tab")
    assert "opacity" in page.evaluate("document.activeElement.className")
    before = page.locator("#card .opacity").input_value()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#card .opacity").input_value() == str(int(before) - 5)
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()
    assert focused(page) == "search"
    page.keyboard.type("12")
    page.wait_for_selector("#found li")
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()
    desktop.assert_quiet()


def test_the_close_button_gives_the_focus_back_too(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    desktop.find("H00007")
    page.locator(".close").focus()
    page.keyboard.press("Enter")
    assert page.locator("#card").is_hidden()
    assert focused(page) == "search"


def test_the_options_of_a_narrow_screen_open_and_close_by_keys(telephone, atlas):
    page = telephone.page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    page.locator("#more").focus()
    page.keyboard.press("Enter")
    assert page.get_attribute("#more", "aria-expanded") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#options') !== null")
    page.keyboard.press("Escape")
    assert page.locator("#options").is_hidden()
    assert focused(page) == "more"


def test_the_skip_link_of_a_house_leads_past_the_bar(desktop, house_folder):
    page = desktop.page
    page.goto(f"{(house_folder / 'house.html').as_uri()}#H00013")
    page.wait_for_selector("#house[aria-busy=false]")
    page.keyboard.press("Tab")
    assert focused(page) == "skip"
    page.keyboard.press("Enter")
    assert focused(page) == "house"
    assert page.url.endswith("#H00013")


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
