"""Whole pictures, damaged ones, blank ones."""

from __future__ import annotations

import io
import random
from types import SimpleNamespace
from typing import Any

import mercantile
import numpy as np
import pytest
from PIL import Image

from data_pipeline import webp
from data_pipeline.decoding import decode_tile, is_picture
from data_pipeline.pictures import picture_status

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("png", {"format": "PNG"}),
    "jpg": ("jpg", {"format": "JPEG", "quality": 75}),
    "progressive jpg": ("jpg", {"format": "JPEG", "quality": 85, "progressive": True}),
    "webp": ("webp", {"format": "WEBP", "quality": 75}),
    "lossless webp": ("webp", {"format": "WEBP", "lossless": True}),
    "webp with metadata": ("webp", {"format": "WEBP", "quality": 60, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
    "gif": ("gif", {"format": "GIF"}),
}


def encoded(pixels: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **KINDS[kind][1])
    return buffer.getvalue()


def texture(seed: int, size: int = 256) -> Any:
    """Soft shapes with some noise, as aerial pictures have."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(40, 220, (16, 16, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(soft + draw.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_pictures_are_ok(kind: str) -> None:
    for seed in range(5):
        assert picture_status(encoded(texture(seed), kind)) == ("ok", KINDS[kind][0])


@pytest.mark.parametrize("kind", KINDS)
def test_cut_pictures_are_found(kind: str) -> None:
    data = encoded(texture(1), kind)
    for share in (0.05, 0.3, 0.6, 0.9, 0.98):
        assert picture_status(data[: int(len(data) * share)]) is None, share
    assert picture_status(data[: len(data) // 2] + bytes(len(data) - len(data) // 2)) is None


@pytest.mark.parametrize("kind", ["png", "jpg", "progressive jpg", "webp"])
def test_changed_bytes_are_found(kind: str) -> None:
    draw, found = random.Random(3), 0
    for seed in range(20):
        damaged = bytearray(encoded(texture(seed), kind))
        begin = draw.randrange(200, len(damaged) - 700)
        damaged[begin : begin + 200] = draw.randbytes(200)
        found += picture_status(bytes(damaged)) is None
    assert found >= {"png": 20, "webp": 18}.get(kind, 14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [256, 512])
def test_one_colour_is_blank(kind: str, size: int) -> None:
    flat = np.full((size, size, 3), (200, 190, 30), np.uint8)
    assert picture_status(encoded(flat, kind)) == ("blank", KINDS[kind][0])


@pytest.mark.parametrize(
    "data", [b"", b"<html>no tile</html>", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", bytes(500)]
)
def test_other_things_are_no_pictures(data: bytes) -> None:
    assert picture_status(data) is None


def test_webp_without_the_library_is_decoded_by_pillow(
    kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webp, "_decoder", lambda: None)
    data = kit.picture(mercantile.Tile(5, 5, 18), "WEBP")
    assert picture_status(data) == ("ok", "webp")
    assert picture_status(data[:-20]) is None


def test_an_animation_is_a_picture_too() -> None:
    frames = [Image.fromarray(texture(seed)) for seed in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    assert picture_status(buffer.getvalue()) == ("ok", "webp")


def test_a_small_file_that_would_fill_the_memory_is_no_picture() -> None:
    for kind in ("PNG", "JPEG", "GIF"):
        buffer = io.BytesIO()
        Image.new("1" if kind == "PNG" else "L", (8193, 8193)).save(buffer, kind)
        assert picture_status(buffer.getvalue()) is None
        assert decode_tile(buffer.getvalue()) is None
        assert not is_picture(buffer.getvalue())


def test_formats_of_no_tile_server_are_no_pictures() -> None:
    for kind in ("EPS", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(texture(1)).save(buffer, kind)
        assert picture_status(buffer.getvalue()) is None
        assert decode_tile(buffer.getvalue()) is None


def test_sixteen_bits_are_read_as_eight() -> None:
    grey = texture(2)[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(buffer, "PNG")
    assert picture_status(buffer.getvalue()) == ("ok", "png")
    pixels = decode_tile(buffer.getvalue())
    assert pixels is not None
    assert (pixels[..., 0] == grey).all()


@pytest.mark.filterwarnings("error")
def test_transparency_of_a_palette_is_left_out() -> None:
    colours = Image.fromarray(texture(3)).quantize(64)
    buffer = io.BytesIO()
    colours.save(buffer, "PNG", transparency=bytes(range(64)))
    assert picture_status(buffer.getvalue()) == ("ok", "png")
    pixels = decode_tile(buffer.getvalue())
    assert pixels is not None
    assert (pixels == np.asarray(colours.convert("RGB"))).all()
