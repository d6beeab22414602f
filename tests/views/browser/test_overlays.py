"""Attention and value maps over the pictures, on the card and on the map, in a real browser."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_the_overlays_lie_on_the_picture_and_fade(desktop, atlas):
    page = desktop.page
    page.goto(atlas)
    desktop.find("H00007")
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
    assert "per 100 m² of ground" in page.locator("#card .overlay-legend").inner_text()
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
