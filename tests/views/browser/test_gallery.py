"""The gallery in a real browser."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [360, 768, 1440, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_fits_and_keeps_its_pictures_in_sight(watch, gallery, width, scheme):
    watched = watch(width, 800, scheme)
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
