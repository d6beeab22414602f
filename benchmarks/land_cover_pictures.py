"""Pictures of the fictional town for the land-cover network, made unlike themselves.

The town has gardens like a golf course's and few trees. Real places have
close roofs, woods, deep shadows, brown grass and blurred colours. So each
window gets more buildings and woods than the town has, every class is
recoloured by itself, and the whole is turned, scaled, shaded, blurred,
recoloured and compressed. The labels stay true: they are painted from the same
shapes.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter, label

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market import SampleMarket
from data_pipeline.sample_market.geometry import TOWN_PIXEL, Frame, world_pixel
from data_pipeline.sample_market.paint import paint, paint_cover
from data_pipeline.sample_market.roofs import add_building
from data_pipeline.sample_market.shapes import CAR, YARD, Scene, Tree, blob, moved, vary

SIDE = 224
WINDOW = 448
"""Pixels of the window that a picture is cut from."""

NUMBER = {name: place for place, name in enumerate(LAND_COVERS)}

# RGB of one class in many places and seasons; a picture takes one of them, each roof its own.
TONES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "roof": (
        (70, 70, 74), (104, 104, 106), (140, 138, 134), (176, 172, 166), (228, 226, 222), (120, 98, 86),
        (152, 110, 92), (168, 92, 74), (92, 84, 78), (96, 108, 122), (134, 122, 108), (196, 184, 168),
    ),
    "road": (
        (96, 96, 98), (118, 116, 114), (140, 136, 130), (160, 154, 146), (182, 176, 168), (128, 122, 112),
        (150, 138, 122), (78, 80, 84),
    ),
    "lawn": (
        (96, 124, 66), (112, 130, 78), (132, 138, 92), (150, 144, 104), (162, 150, 116), (82, 118, 62),
        (74, 136, 72), (120, 128, 96), (104, 112, 84),
    ),
    "tree": (
        (44, 62, 40), (58, 80, 48), (34, 48, 38), (78, 96, 60), (92, 104, 72), (70, 112, 58), (96, 84, 64),
        (112, 100, 84), (52, 72, 58), (100, 132, 72), (26, 36, 32),
    ),
    "water": ((48, 72, 88), (36, 52, 56), (70, 84, 80), (58, 66, 62), (92, 100, 100), (26, 34, 44)),
    "pool": ((86, 176, 196), (60, 150, 190), (120, 190, 196), (70, 170, 170), (96, 150, 160), (40, 110, 160)),
    "bare": ((150, 128, 100), (120, 98, 76), (176, 156, 128), (196, 182, 156), (138, 116, 96), (106, 92, 78)),
}  # fmt: skip


def town_windows(market: SampleMarket, count: int, seed: int) -> list[tuple[int, int]]:
    """World pixels (left, top) of windows around houses of a town, each near another house."""
    draw = np.random.default_rng(seed)
    houses = market.houses()
    rows = draw.choice(len(houses), count, replace=count > len(houses))
    places = []
    for row in rows:
        x, y = world_pixel(houses["latitude"].iloc[row], houses["longitude"].iloc[row])
        shift = draw.integers(-120, 121, 2)
        places.append(
            (round(float(x)) - WINDOW // 2 + int(shift[0]), round(float(y)) - WINDOW // 2 + int(shift[1]))
        )
    return places


def varied_pictures(
    market: SampleMarket, left: int, top: int, seed: int, count: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pictures out of one window: uint8 ``(224, 224, 3)``, and the classes of their pixels ``(224, 224)``."""
    stream, draw = random.Random(seed), np.random.default_rng(seed)
    x, y = left - TOWN_PIXEL[0], top - TOWN_PIXEL[1]
    scenes = [*market.scenes(left, top, WINDOW, WINDOW), _more(stream, x, y)]
    window = paint(scenes, x, y, WINDOW, WINDOW), paint_cover(scenes, x, y, WINDOW, WINDOW)
    for _ in range(count):
        picture, covers = _cut(draw, *window)
        yield _photographed(draw, _recoloured(draw, picture, covers)), covers


def plain_picture(market: SampleMarket, left: int, top: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The middle of a window as it is, and its classes."""
    edge = (WINDOW - SIDE) // 2
    place = (left + edge, top + edge, SIDE, SIDE)
    return market.render(*place), market.land_cover(*place)


def _more(stream: random.Random, x: int, y: int) -> Scene:
    """Buildings with their paving, sheds, cars and woods that the town does not have."""
    scene = Scene()
    turn = stream.uniform(0.0, 1.6)
    ahead = np.array([[math.cos(turn), math.sin(turn)]])

    def straight(points: Any) -> Any:
        u, v = np.asarray(points, dtype=np.float64).T
        return u[:, None] * ahead + v[:, None] * ahead[:, ::-1] * (-1.0, 1.0)

    def place() -> Any:
        return np.array([x + stream.uniform(0, WINDOW), y + stream.uniform(0, WINDOW)])

    for _ in range(stream.choice((0, 3, 8, 16, 30))):
        frame = Frame(straight, 0.0, 0.0, stream.choice((-1, 1)))  # type: ignore[arg-type]
        frame.centre = place()
        width, depth = stream.uniform(12, 80), stream.uniform(12, 60)
        if stream.random() < 0.5:
            tone = vary(stream, stream.choice(TONES["road"]), 6.0)
            aside = stream.uniform(-0.5, 0.5) * width
            scene.add(YARD, frame.rectangle(aside, depth * 0.7, stream.uniform(8, 40), depth), tone)
        if stream.random() < 0.3:
            car = frame.rectangle(stream.uniform(-width, width), depth * 0.9, 6.5, 15.0)
            scene.add(CAR, car, vary(stream, (stream.randrange(40, 230),) * 3, 10.0))
        height = stream.uniform(5, 24)
        add_building(scene, frame, stream, 0.0, 0.0, width, depth, height, flat=stream.random() < 0.15)
    for _ in range(stream.choice((0, 0, 2, 5))):
        spot = blob(stream, stream.uniform(8, 70), stream.uniform(8, 50), 0.06, 30)
        tone = vary(stream, stream.choice(TONES["bare"]), 8.0)
        scene.add(YARD, moved(spot, *place()), tone, cover="bare")
    for _ in range(stream.choice((0, 1, 3, 8, 16))):
        middle, spread = place(), stream.uniform(8, 90)
        largest = stream.choice((8, 14, 22, 34))
        for _ in range(stream.randrange(1, 45)):
            radius = stream.randrange(4, largest)
            across, down = middle[0] + stream.gauss(0, spread), middle[1] + stream.gauss(0, spread)
            scene.trees.append(Tree(round(across), round(down), radius, stream.randrange(24)))
    return scene


def _recoloured(
    draw: np.random.Generator, picture: NDArray[np.uint8], covers: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Every class drawn towards a tone of its own; light and dark within it stay."""
    result = picture.astype(np.float32)
    light = result.mean(axis=2, keepdims=True)
    patches = _noise(draw, covers.shape, draw.uniform(4, 40))[..., None]
    grains = _noise(draw, covers.shape, draw.uniform(0.6, 2.0))[..., None]
    for name, tones in TONES.items():
        mask = covers == NUMBER[name]
        if not mask.any():
            continue
        parts = label(mask)[0] if name == "roof" else mask.astype(int)
        count = int(parts.max()) + 1
        strength = np.r_[0.0, np.where(draw.random(count - 1) < 0.8, draw.uniform(0.3, 1.0, count - 1), 0.0)]
        wanted = np.array(tones)[draw.integers(0, len(tones), count)] + draw.normal(0, 8, (count, 3))
        wanted = wanted.astype(np.float32)[parts]
        if draw.random() < 0.6:
            other = (np.array(tones)[draw.integers(0, len(tones))] + draw.normal(0, 8, 3)).astype(np.float32)
            wanted = wanted + np.clip(patches * draw.uniform(0.3, 3), 0, 1) * (other - wanted)
        toned = wanted * (light / light[mask].mean()) ** draw.uniform(0.6, 1.4)
        share = (strength.astype(np.float32)[parts] * mask)[..., None]
        result = result * (1 - share) + toned * share
        result += mask[..., None] * patches * draw.uniform(0, 14)
        result += mask[..., None] * grains * draw.uniform(0, 10)
    dark = _noise(draw, covers.shape, draw.uniform(8, 30))[..., None]
    if draw.random() < 0.6:
        # Shadows of what stands beside the picture or was not drawn.
        limit, depth = draw.uniform(0.6, 1.8), draw.uniform(0.3, 0.85)
        result *= 1 - depth * np.clip((dark - limit) * draw.uniform(2, 8), 0, 1)
    return np.clip(result, 0, 255).astype(np.float32)


def _cut(
    draw: np.random.Generator, picture: NDArray[np.uint8], covers: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A square of any direction and scale out of a window."""
    scale = math.exp(draw.uniform(math.log(0.75), math.log(1.75)))
    angle = draw.uniform(0, 2 * math.pi)
    reach = scale * SIDE * (abs(math.cos(angle)) + abs(math.sin(angle))) / 2
    if reach > WINDOW / 2:
        scale *= (WINDOW / 2) / reach
        reach = WINDOW / 2
    middle = draw.uniform(reach, WINDOW - reach, 2)
    flip = draw.choice((-1, 1))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    half = SIDE / 2
    place = (
        cosine * flip, -sine, middle[0] - cosine * flip * half + sine * half,
        sine * flip, cosine, middle[1] - sine * flip * half - cosine * half,
    )  # fmt: skip
    image = Image.fromarray(picture)
    if scale > 1.3:
        image = image.filter(ImageFilter.GaussianBlur(0.4 * scale))
    size, affine = (SIDE, SIDE), Image.Transform.AFFINE
    cut = image.transform(size, affine, place, Image.Resampling.BICUBIC)
    classes = Image.fromarray(covers).transform(size, affine, place, Image.Resampling.NEAREST)
    return np.asarray(cut), np.asarray(classes)


def _photographed(draw: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blur, light, colours and compression of a camera and its archive."""
    values = picture
    if draw.random() < 0.7:
        width = draw.uniform(0.3, 2.2)
        values = gaussian_filter(values, (width, width, 0))
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * draw.uniform(0.35, 1.35)
    middle = values.mean()
    values = middle + (values - middle) * draw.uniform(0.7, 1.45)
    values = values * draw.uniform(0.65, 1.35) * draw.normal(1, 0.05, 3) + draw.normal(0, 6, 3)
    values = 255 * (np.clip(values, 0, 255) / 255) ** math.exp(draw.normal(0, 0.22))
    values = values + draw.normal(0, draw.uniform(0, 7), values.shape)
    shown = np.clip(values, 0, 255).astype(np.uint8)
    if draw.random() < 0.6:
        file = io.BytesIO()
        Image.fromarray(shown).save(file, "JPEG", quality=int(draw.integers(25, 92)))
        shown = np.asarray(Image.open(file).convert("RGB"))
    return shown


def _noise(draw: np.random.Generator, shape: tuple[int, ...], width: float) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and deviation 1; bumps of about `width` pixels."""
    coarse = max(1, int(width / 2))
    small = draw.standard_normal((shape[0] // coarse + 2, shape[1] // coarse + 2)).astype(np.float32)
    small = gaussian_filter(small, width / coarse)
    field = np.asarray(
        Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BICUBIC), dtype=np.float32
    )
    return (field - field.mean()) / (field.std() + 1e-6)
