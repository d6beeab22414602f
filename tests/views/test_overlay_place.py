"""The heat lies where it lies on the ground, from the tiles of an archive to the screen of a browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import mercantile
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage, house_image
from data_pipeline.tiles import pixel_of
from housevis.core.config import VisionSection
from housevis.views.atlas import build_atlas
from housevis.views.data import AtlasData, AtlasPictures
from housevis.vision.backbones import load_backbone

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no Chromium at {CHROMIUM}"),
]

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


@pytest.fixture(scope="module")
def masked_atlas(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A map whose heat is how far a cell feels the mask: of a feature map, and of a plain mean."""
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
        pictures=AtlasPictures(heat, bounds, lambda house: pictures[house.split(" ")[1]], "Drawn for a test"),
    )
    build_atlas(data, folder / "atlas")
    return (folder / "atlas" / "index.html").as_uri()


@pytest.fixture(scope="module")
def page(masked_atlas: str) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
        page = context.new_page()
        page.goto(masked_atlas)
        page.wait_for_selector("body.ready")
        yield page
        browser.close()


def screen(page: sync_api.Page, overlay: str) -> np.ndarray:
    page.locator(f"#overlay-place input[value={overlay}]").check(force=True)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize("grid", WITHIN)
@pytest.mark.parametrize("house", HOUSES)
def test_a_known_mask_is_found_where_it_is_on_the_ground(page: sync_api.Page, house: str, grid: str) -> None:
    page.fill("#search", f"{grid} {house}")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "house => (document.querySelector('#card h2') || {}).textContent === `House ${house}`",
        arg=f"{grid} {house}",
    )
    page.wait_for_selector(".map-picture")
    page.locator("#overlay-place input[value=attention]").check(force=True)
    page.locator("#overlay-place .opacity").fill("100")
    box = page.locator(".map-picture").bounding_box()
    seen = np.abs(screen(page, "attention") - screen(page, "none")).sum(axis=2).astype(float)
    rows, columns = np.mgrid[0 : seen.shape[0], 0 : seen.shape[1]]
    on_map = (
        (columns > box["x"]) & (columns < box["x"] + box["width"])
        & (rows > box["y"]) & (rows < box["y"] + box["height"])
    )  # fmt: skip
    weight = np.where(on_map & (seen > 0.5 * seen[on_map].max()), seen, 0)
    x, y = (float((axis * weight).sum() / weight.sum()) for axis in (columns, rows))
    origin = page.locator("#map_houses").bounding_box()
    place = page.evaluate(
        "([x, y]) => { const at = housevis.map.containerPointToLatLng([x, y]); return [at.lat, at.lng]; }",
        [x - origin["x"], y - origin["y"]],
    )
    found = pixel_of(place[0], place[1], ZOOM)
    wanted = middle_of_mask(house)
    side = 256 if house.startswith("tile") else SIZE
    cell = side / 7
    misses = [abs(one - other) / cell for one, other in zip(found, wanted, strict=True)]
    assert max(misses) < WITHIN[grid], misses
