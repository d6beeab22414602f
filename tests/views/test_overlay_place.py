"""Attention and value maps lie where they lie on the ground, from the tiles of an archive to what is shown.

What is shown: the map in a browser, the picture on its card, the page of a house, the server's tiles.
"""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mercantile
import numpy as np
import pandas as pd
import pytest
import torch
from page_waits import wait_on_page
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage, house_image
from data_pipeline.tiles import pixel_of
from housevis.core.config_sections import VisionSection
from housevis.views.atlas import build_atlas
from housevis.views.data import AtlasData, AtlasPictures
from housevis.views.heat_tiles import HeatTiles
from housevis.views.house_page import build_house_pages
from housevis.views.served import ServedRun, ShelvedRun
from housevis.views.server import create_app
from housevis.views.viewport import Viewport
from housevis.vision.backbones import load_backbone

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser

ZOOM = 18
SIZE = 224
MASK_SIDE = 40
"""Pixels of zoom 18 along a side of the mask: a little more than a cell of the grid."""

HOUSES = {
    "centred-1": (47.61231, -122.33377),
    "centred-2": (47.61402, -122.32911),
    "tile-1": (47.61519, -122.3361),
}
MASKS = {"centred-1": (60, -45), "centred-2": (-70, 65), "tile-1": (30, 50)}
"""Middle of each mask, pixels east and south of its house."""

WITHIN = {"network": 1.0, "mean": 0.5}
"""What makes the grid -> cells by which a mask may be missed. A network feels far beyond a cell."""


def middle_of_mask(house: str) -> tuple[float, float]:
    """Where the middle of a house's mask is in the pixels of the world at zoom 18."""
    x, y = pixel_of(*HOUSES[house], ZOOM)
    if house.startswith("tile"):
        return 256 * (x // 256) + 190, 256 * (y // 256) + 60
    return x + MASKS[house][0], y + MASKS[house][1]


def write_tiles(path: Path, *, masked: bool) -> None:
    """Tiles of a lawn; with the masks, where they are, as bright noise."""
    random = np.random.default_rng(3)
    tiles = set()
    for place in HOUSES.values():
        own = mercantile.tile(place[1], place[0], ZOOM)
        tiles |= {(own.x + i, own.y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    rows = []
    for x, y in sorted(tiles):
        pixels = np.array([70, 100, 60]) + random.normal(0, 4, (256, 256, 1)) + np.zeros((256, 256, 3))
        noise = random.integers(0, 256, (256, 256, 3))
        ys, xs = np.mgrid[0:256, 0:256] + 0.5
        for house in HOUSES if masked else ():
            centre = middle_of_mask(house)
            inside = (np.abs(256 * x + xs - centre[0]) < MASK_SIDE / 2) & (
                np.abs(256 * y + ys - centre[1]) < MASK_SIDE / 2
            )
            pixels[inside] = noise[inside]
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "PNG")
        rows.append((mercantile.Tile(x, y, ZOOM), file.getvalue()))
    about = {"name": "test", "format": "png", "attribution": "Drawn for a test"}
    with TileArchive.create(path, about) as archive:
        archive.write(rows)


def pictures_of(path: Path) -> dict[str, HouseImage]:
    found = {}
    with TileArchive(path) as archive:
        for house, (latitude, longitude) in HOUSES.items():
            image = house_image(
                archive, latitude, longitude, framing=house.split("-")[0], zoom=ZOOM, size=SIZE
            )
            assert image is not None
            found[house] = image
    return found


@dataclass(frozen=True)
class Masked:
    """A built map whose heat is how far a cell feels the mask: of a feature map, and of a plain mean."""

    folder: Path
    data: AtlasData
    pictures: dict[str, HouseImage]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, house_pages_of: Callable[..., Any]) -> Masked:
    folder = tmp_path_factory.mktemp("masked")
    write_tiles(folder / "with.mbtiles", masked=True)
    write_tiles(folder / "without.mbtiles", masked=False)
    pictures, plain = pictures_of(folder / "with.mbtiles"), pictures_of(folder / "without.mbtiles")
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    with torch.inference_mode():
        felt, unfelt = (
            backbone.feature_map(torch.from_numpy(np.stack([of[house].pixels for house in HOUSES]))).numpy()
            for of in (pictures, plain)
        )
    network = np.linalg.norm(felt - unfelt, axis=1)
    network = np.clip(network - 0.5 * network.max(axis=(1, 2), keepdims=True), 0, None)
    changed = [
        np.abs(pictures[house].pixels - plain[house].pixels.astype(float)).mean(axis=2) for house in HOUSES
    ]
    mean = np.stack(changed).reshape(len(HOUSES), 7, SIZE // 7, 7, SIZE // 7).mean(axis=(2, 4))
    heat = np.concatenate([part / part.max() for part in (network, mean)]).astype(np.float32)
    ids = [f"{grid} {house}" for grid in WITHIN for house in HOUSES]
    places = list(HOUSES.values()) * 2
    count = len(ids)
    records = pd.DataFrame(
        {
            "house_id": ids,
            "sale_id": [f"{house}@2024-09-01" for house in ids],
            "latitude": [place[0] for place in places],
            "longitude": [place[1] for place in places],
            "address": None,
            "price": [400_000.0 + 1_000 * number for number in range(count)],
            "sale_date": pd.Timestamp("2024-09-01"),
            "estimate": 410_000.0,
            "low": 380_000.0,
            "high": 450_000.0,
            "model_id": "earlier",
            "sample": "later sale",
            "bedrooms": 3.0,
            "bathrooms": 2.0,
            "area_m2": 150.0,
            "drivers": [[("picture", 10_000.0)]] * count,
            "base": 400_000.0,
            "neighbour_house_id": None,
            "status": "ok",
            "value_status": "ok",
        }
    )
    bounds = np.array([pictures[house].bounds for house in HOUSES] * 2)
    data = AtlasData(
        title="Masks",
        run_id="20250301-120000-ab12cd",
        records=records,
        currency="USD",
        training_sales={"earlier": set()},
        training_houses={"earlier": set()},
        pictures=AtlasPictures(
            heat,
            bounds,
            lambda house: pictures[house.split(" ")[1]],
            "Drawn for a test",
            values=np.where(np.arange(count)[:, None, None] % 2, -1000, 1000).astype(np.float32) * heat,
        ),
    )
    atlas = folder / "atlas"
    build_atlas(data, atlas, lambda drawn: build_house_pages(house_pages_of(data, drawn), atlas))
    return Masked(atlas, data, pictures)


@pytest.fixture(scope="module")
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    yield context.new_page()
    context.close()


def pixels(png: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert(mode)).astype(int)


def middle(strength: np.ndarray) -> tuple[float, float]:
    """Where the strong half of something lies, in pixels from the left and from the top."""
    weight = np.where(strength > 0.5 * strength.max(), strength, 0).astype(float)
    rows, columns = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    assert weight.sum() > 0
    return tuple(float((axis * weight).sum() / weight.sum()) for axis in (columns, rows))


def assert_there(found: tuple[float, float], house: str, grid: str) -> None:
    """A place in pixels of the world is the middle of the house's mask, to a cell of the grid."""
    cell = (256 if house.startswith("tile") else SIZE) / 7
    misses = [abs(one - other) / cell for one, other in zip(found, middle_of_mask(house), strict=True)]
    assert max(misses) < WITHIN[grid], misses


def on_ground(image: HouseImage, part: tuple[float, float]) -> tuple[float, float]:
    """The pixel of the world under a part of a picture's width and height."""
    west, south, east, north = image.bounds
    (left, top), (right, bottom) = pixel_of(north, west, ZOOM), pixel_of(south, east, ZOOM)
    return left + part[0] * (right - left), top + part[1] * (bottom - top)


def within_frame(page: sync_api.Page, frame: str, choices: str, overlay: str) -> tuple[float, float]:
    """Where the overlay of a picture lies, as parts of its width and height."""
    seen = []
    for kind in (overlay, "none"):
        page.locator(f"{choices} input[value={kind}]").check(force=True)
        wait_on_page(page, "[...document.images].every(image => image.complete)")
        seen.append(pixels(page.locator(frame).screenshot()))
    strength = np.abs(seen[0] - seen[1]).sum(axis=2)
    x, y = middle(strength)
    return x / strength.shape[1], y / strength.shape[0]


CASES = [(house, grid, overlay) for house in HOUSES for grid in WITHIN for overlay in ("attention", "value")]


def open_on_map(page: sync_api.Page, masked: Masked, name: str) -> None:
    index = (masked.folder / "index.html").as_uri()
    if not page.url.startswith(index):
        page.goto(index)
        page.wait_for_selector("body.ready")
    page.evaluate("hash => { location.hash = hash; }", f"#sale={quote(f'{name}@2024-09-01', safe='')}")
    wait_on_page(
        page,
        "name => { const head = document.querySelector('#card:not([aria-busy=true]) h2');"
        " return head && head.textContent === `House ${name}`; }",
        arg=name,
    )
    page.wait_for_selector(".map-picture")
    page.locator("#overlay-place input[value=attention]").check(force=True)
    page.locator("#overlay-place .opacity").fill("100")


@pytest.mark.parametrize(("house", "grid", "overlay"), CASES)
def test_a_known_mask_is_found_on_the_map_and_on_its_card(
    page: sync_api.Page, masked: Masked, house: str, grid: str, overlay: str
) -> None:
    open_on_map(page, masked, f"{grid} {house}")
    box = page.locator(".map-picture").bounding_box()
    seen = []
    for kind in (overlay, "none"):
        page.locator(f"#overlay-place input[value={kind}]").check(force=True)
        wait_on_page(page, "[...document.images].every(image => image.complete)")
        seen.append(pixels(page.screenshot(clip=box)))
    x, y = middle(np.abs(seen[0] - seen[1]).sum(axis=2))
    origin = page.locator("#map_houses").bounding_box()
    place = page.evaluate(
        "([x, y]) => { const at = housevis.map.containerPointToLatLng([x, y]); return [at.lat, at.lng]; }",
        [box["x"] + x - origin["x"], box["y"] + y - origin["y"]],
    )
    assert_there(pixel_of(place[0], place[1], ZOOM), house, grid)
    part = within_frame(page, "#card .frame", "#card", overlay)
    assert_there(on_ground(masked.pictures[house], part), house, grid)


@pytest.mark.parametrize(("house", "grid", "overlay"), CASES)
def test_a_known_mask_is_found_on_the_page_of_the_house(
    page: sync_api.Page, masked: Masked, house: str, grid: str, overlay: str
) -> None:
    page.goto("about:blank")
    page.goto(f"{(masked.folder / 'house.html').as_uri()}#{quote(f'{grid} {house}')}")
    page.wait_for_selector("#house[aria-busy=false] .picture .frame")
    part = within_frame(page, ".picture .frame", ".picture", overlay)
    assert_there(on_ground(masked.pictures[house], part), house, grid)


@pytest.fixture(scope="module")
def tiles(masked: Masked, serving: Any) -> Iterator[str]:
    """Address of a server whose attention is of the network's grid, and whose values are of the mean's."""
    maps, count = masked.data.pictures, len(HOUSES)
    assert maps is not None
    layers = {
        "attention": HeatTiles(maps.heat[:count], maps.heat_bounds[:count], 1.0),
        "value": HeatTiles(maps.values[count:], maps.heat_bounds[count:], 1000.0, signed=True),
    }

    def open_run() -> ServedRun:
        return ServedRun(
            run_id="r", name="r", title="Masks", currency="USD", area_unit="m2", interval=0.9, notice=None,
            attribution=None, folder=masked.folder.parent, fields=(), maps=layers,
            viewport=Viewport(masked.data.records.assign(effect=0.0, confidence="high")),
            details=lambda _: None, what_if=lambda *_: {}, estimate=lambda _: {},
        )  # fmt: skip

    app = create_app([ShelvedRun("r", masked.folder.parent, lambda: 0, open_run)])
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}/tiles"


@pytest.mark.parametrize("zoom", [ZOOM - 1, ZOOM, ZOOM + 2])
@pytest.mark.parametrize(("layer", "grid"), [("attention", "network"), ("value", "mean")])
@pytest.mark.parametrize("house", HOUSES)
def test_a_known_mask_is_found_on_the_tiles_of_the_server(
    tiles: str, house: str, layer: str, grid: str, zoom: int
) -> None:
    scale = 2.0 ** (zoom - ZOOM)
    wanted = [part * scale for part in middle_of_mask(house)]
    reach = int(np.ceil(150 * scale))
    left, top = (int(part - reach) // 256 for part in wanted)
    right, bottom = (int(part + reach) // 256 for part in wanted)
    rows = []
    for y in range(top, bottom + 1):
        row = []
        for x in range(left, right + 1):
            with urllib.request.urlopen(f"{tiles}/{layer}/{zoom}/{x}/{y}.png", timeout=30) as answer:
                row.append(pixels(answer.read(), "RGBA")[..., 3])
        rows.append(np.concatenate(row, axis=1))
    shown = np.concatenate(rows).astype(float)
    ys, xs = np.mgrid[0 : shown.shape[0], 0 : shown.shape[1]]
    far = np.hypot(xs + 256 * left - wanted[0], ys + 256 * top - wanted[1]) > reach
    x, y = middle(np.where(far, 0, shown))
    assert_there(((256 * left + x) / scale, (256 * top + y) / scale), house, grid)
