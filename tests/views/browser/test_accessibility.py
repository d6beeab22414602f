"""What axe-core finds on every page and in every state of it, in light and in dark: nothing."""

from __future__ import annotations

import shutil

import pytest

from housevis.views.served import ShelvedRun
from housevis.views.server import create_app

pytestmark = pytest.mark.browser


def judge(serious, page):
    """Both schemes of colours; a page that moves has come to rest before."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert serious(page) == [], scheme


@pytest.mark.parametrize("device", ["desktop", "telephone"])
def test_the_map_and_the_card_of_a_house(request, serious, atlas, device):
    watched = request.getfixturevalue(device)
    page = watched.page
    page.goto(atlas)
    page.wait_for_selector(".ring")
    judge(serious, page)
    if device == "telephone":
        page.locator("#more").click()
    page.fill("#search", "alder")
    page.wait_for_selector("#found li button")
    judge(serious, page)
    watched.find("H00007")
    page.locator(".more summary").click()
    judge(serious, page)
    assert watched.left == []


@pytest.mark.parametrize("device", ["desktop", "telephone"])
def test_a_map_on_which_nothing_is_left(request, serious, atlas, device):
    page = request.getfixturevalue(device).page
    page.goto(atlas)
    page.wait_for_selector("body.ready")
    if device == "telephone":
        page.locator("#more").click()
    page.fill("#price-from", "99,000,000")
    page.wait_for_selector("#nothing:visible")
    page.fill("#search", "nobody lives here")
    page.wait_for_selector("#found .none")
    judge(serious, page)


def test_a_map_without_its_files(desktop, serious, atlas_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(atlas_folder, folder)
    page = desktop.page
    for details in (folder / "data").glob("details-*.js"):
        details.unlink()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    page.fill("#search", "H00007")
    page.wait_for_selector("#found button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card [role=alert]")
    judge(serious, page)
    (folder / "data" / "houses.js").unlink()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#waiting[role=alert]")
    judge(serious, page)


@pytest.mark.parametrize("house", ["H00013", "H00004", "nobody", ""])
def test_the_page_of_a_house(telephone, serious, house_folder, house):
    page = telephone.page
    page.goto(f"{(house_folder / 'house.html').as_uri()}#{house}")
    page.wait_for_selector("#house[aria-busy=false]")
    judge(serious, page)


def test_the_report_and_the_gallery(desktop, serious, report, gallery):
    for address in (report, gallery):
        desktop.page.goto(address)
        judge(serious, desktop.page)


@pytest.fixture
def locked(atlas_folder, tmp_path, serving):
    """Address of a map behind a token."""
    (tmp_path / "atlas").symlink_to(atlas_folder)
    app = create_app([ShelvedRun("r", tmp_path, lambda: 0, lambda: None)], token="a-secret-of-this-office")
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}/atlas/index.html"


def test_an_address_that_leads_nowhere(watch, serious, locked):
    page = watch(360, extra_http_headers={"authorization": "Bearer a-secret-of-this-office"}).page
    for address in ("atlas/nothing.html", "houses/nobody.html", "api/nothing"):
        answer = page.goto(locked.replace("atlas/index.html", address))
        assert answer.status == 404
        assert page.locator("h1").inner_text() == "Not found"
        assert "nothing at this address" in page.locator("main").inner_text()
    judge(serious, page)
    assert page.get_by_role("link", name="To the map").get_attribute("href") == "/"


def test_where_somebody_signs_in(watch, serious, locked):
    page = watch(360).page
    page.goto(locked)
    assert page.title() == "Sign in"
    assert page.evaluate("document.activeElement.id") == "token"
    judge(serious, page)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    judge(serious, page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
