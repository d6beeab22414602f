"""Parcels of the map: their files, what a browser draws of them, and what goes with a removed house."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from page_waits import wait_on_page

from housevis.core.errors import StorageError
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import changed_files
from housevis.views.atlas_parcels import parcels_without, read_parcels, write_parcels
from housevis.views.atlas_removal import remove_from_atlas
from housevis.views.data import AtlasParcels

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


HALF = 0.0002
"""Degrees from a house to the side of its lot."""


def lots_of(data: Any) -> np.ndarray:
    """A square lot with a pond cut out of it around every house, and one more lot beside it."""
    places = data.records[["longitude", "latitude"]].to_numpy(float)
    own = shapely.box(*(places - HALF).T, *(places + HALF).T)
    pond = shapely.box(*(places + HALF / 2).T, *(places + 0.75 * HALF).T)
    beside = shapely.box(
        places[:, 0] + HALF, places[:, 1] - HALF, places[:, 0] + 1.6 * HALF, places[:, 1] + HALF
    )
    return np.concatenate([shapely.difference(own, pond), beside])


@pytest.fixture(scope="module")
def data(atlas_data: Any) -> Any:
    return replace(atlas_data, parcels=AtlasParcels(lots_of(atlas_data), "Cadastre of <b>Alderbrook</b>"))


@pytest.fixture(scope="module")
def folder(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parcels")
    build_atlas(data, folder)
    return folder


def test_what_is_written_is_read_again(tmp_path: Path, data: Any) -> None:
    areas = lots_of(data)
    two = shapely.multipolygons([shapely.get_parts(areas[:2])])[0]
    areas = np.array([*areas[2:], two], dtype=object)
    files = write_parcels(tmp_path, areas)
    found = read_parcels(tmp_path)
    assert files > 1
    assert len(found) == len(areas)
    assert sorted(shapely.area(found)) == pytest.approx(sorted(shapely.area(areas)), rel=0.02)
    assert shapely.union_all(found).symmetric_difference(shapely.union_all(areas)).area < 0.02 * sum(
        shapely.area(areas)
    )
    assert write_parcels(tmp_path, areas[:1]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parcels-0.js", "parcels.js"]
    assert write_parcels(tmp_path, areas[:0]) == 0
    assert list(tmp_path.iterdir()) == []
    assert len(read_parcels(tmp_path)) == 0


def test_a_parcel_goes_with_the_last_house_on_it_and_with_the_last_house_near() -> None:
    own, shared, between, far = shapely.box([0, 2, 1, 9], [0, 0, 0, 0], [1, 3, 2, 10], [1, 1, 1, 1])
    gone = np.array([[0.5, 0.5], [2.2, 0.5]])
    kept = np.array([[2.8, 0.5]])
    around = np.array([[0.4, 0.0, 3.5, 1.0]])
    left = parcels_without(np.array([own, shared, between, far]), gone, kept, around)
    assert [shape.bounds for shape in left] == [shared.bounds, between.bounds]


def test_the_parcel_of_a_removed_house_vanishes_from_the_map(tmp_path: Path, data: Any) -> None:
    build_atlas(data, tmp_path)
    before = read_parcels(tmp_path / "data")
    record = data.records.iloc[7]
    place = shapely.Point(record["longitude"], record["latitude"])
    assert shapely.contains(before, place).sum() == 1
    remove_from_atlas(tmp_path, {record["house_id"]})
    after = read_parcels(tmp_path / "data")
    assert shapely.contains(after, place).sum() == 0
    assert len(before) - 2 <= len(after) <= len(before) - 1
    assert changed_files(tmp_path) == []
    (tmp_path / "data" / "parcels-0.js").write_text("housevis.receiveParcels(0,[[[")
    with pytest.raises(StorageError, match="damaged"):
        remove_from_atlas(tmp_path, {"H00008"})


def test_a_map_without_parcels_says_nothing_of_them(atlas_folder: Path) -> None:
    view = (atlas_folder / "data" / "houses.js").read_text()
    assert json.loads(view[view.index("=") + 1 :].rstrip(";\n"))["parcels"] is None
    assert 'id="parcels"' not in (atlas_folder / "index.html").read_text()
    assert not list((atlas_folder / "data").glob("parcels*"))


@contextmanager
def opened(browser: sync_api.Browser, folder: Path, expected: str = "no problem") -> Iterator[sync_api.Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, device_scale_factor=1)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("body.ready")
    yield page
    page.close()
    assert [each for each in problems if expected not in each] == []


@pytest.fixture
def page(browser: sync_api.Browser, folder: Path) -> Iterator[sync_api.Page]:
    with opened(browser, folder) as page:
        yield page


DRAWN = """() => [...document.querySelectorAll(".leaflet-parcels-pane canvas")].some((tile) =>
  tile.getContext("2d").getImageData(0, 0, tile.width, tile.height).data.some((part) => part > 0))"""


@pytest.mark.browser
def test_lines_show_where_the_map_is_near_enough_and_over_the_picture(page: sync_api.Page, data: Any) -> None:
    assert "Zoom in to see the parcels" in page.locator("#zoom-hint").inner_text()
    assert "Cadastre of <b>Alderbrook</b>" in page.locator(".leaflet-control-attribution").inner_text()
    assert (
        page.evaluate(
            "performance.getEntriesByType('resource').filter((each) => /parcels-/.test(each.name)).length"
        )
        == 0
    )
    page.fill("#search", "H00007")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card .parcel-line")
    wait_on_page(page, DRAWN)
    assert page.locator("#zoom-hint").is_hidden()
    x, y, width, height = page.locator("#card .parcel-line path").first.evaluate(
        "(path) => { const box = path.getBBox(); return [box.x, box.y, box.width, box.height]; }"
    )
    west, south, east, north = data.pictures.heat_bounds[7]
    assert width == pytest.approx(1000 * 2 * HALF / (east - west), abs=5)
    assert height == pytest.approx(1000 * 2 * HALF / (north - south), abs=5)
    assert (x + width / 2, y + height / 2) == pytest.approx((500, 500), abs=5)
    photo = page.locator("#card .photo").bounding_box()
    assert page.locator("#card .parcel-line").bounding_box() == pytest.approx(photo, abs=1)
    assert "The line is its parcel." in page.locator("#card").inner_text()
    page.locator("#parcels").uncheck()
    assert page.locator("#card .parcel-line, .map-parcel").count() == 0
    assert "The line is its parcel." not in page.locator("#card").inner_text()
    assert page.locator(".leaflet-parcels-pane canvas").count() == 0
    page.locator("#parcels").check()
    wait_on_page(page, DRAWN)
    page.wait_for_selector("#card .parcel-line")
    on_map = page.locator("path.map-parcel").last.evaluate(
        "(path) => { const box = path.getBBox(); return [box.width, box.height]; }"
    )
    picture = page.locator(".map-picture").bounding_box()
    assert on_map[0] == pytest.approx(picture["width"] * 2 * HALF / (east - west), abs=3)
    assert on_map[1] == pytest.approx(picture["height"] * 2 * HALF / (north - south), abs=3)


@pytest.mark.browser
def test_a_map_without_pictures_has_parcels_and_a_lost_file_is_told(
    browser: sync_api.Browser, bare_atlas_data: Any, tmp_path: Path
) -> None:
    build_atlas(replace(bare_atlas_data, parcels=AtlasParcels(lots_of(bare_atlas_data))), tmp_path)
    for path in (tmp_path / "data").glob("parcels-*.js"):
        if not path.name.startswith("parcels-1"):
            path.unlink()
    with opened(browser, tmp_path, expected="ERR_FILE_NOT_FOUND") as page:
        assert page.locator("#parcels").is_checked()
        assert page.locator("#overlay-place").count() == 0
        for number in range(8):
            page.fill("#search", f"H{number:05d}")
            page.keyboard.press("Enter")
            page.wait_for_selector("#card .amounts")
        page.get_by_text("Some parcels could not be read").wait_for()
        assert page.locator("#card .amounts").is_visible()
