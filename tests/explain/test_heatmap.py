from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from housevis.core.errors import ModelError
from housevis.explain import Heatmap, heat_to_png, shared_scale
from housevis.explain.heatmap import (
    colour_table,
    heat_to_rgba,
    heatmaps_of,
    is_flat,
    signed_colour_table,
    upsample,
)

BOUNDS = (-122.3, 47.5, -122.29, 47.51)
finite = st.floats(-100, 100, width=32)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours 0..255."""
    linear = np.where(rgb <= 10.31475, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


def decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((0, 3)), np.zeros((1, 2, 2))])
def test_only_two_dimensional_values(values: np.ndarray) -> None:
    with pytest.raises(ModelError, match="an array"):
        Heatmap(values, "attention", BOUNDS, "test")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_never_a_nan(bad: float) -> None:
    with pytest.raises(ModelError, match="finite"):
        Heatmap(np.array([[0, bad]]), "attention", BOUNDS, "test")


def test_values_become_float32() -> None:
    heat = Heatmap(np.eye(3), "attention", BOUNDS, "test")
    assert heat.values.dtype == np.float32
    assert heat.status == "ok"


def test_one_scale_for_a_set_keeps_faint_maps_faint() -> None:
    strong = np.zeros((7, 7), np.float32)
    strong[3, 3] = 10
    faint = strong / 100
    scale = shared_scale(np.stack([strong, faint]))
    assert decode(heat_to_png(strong, scale))[..., 3].max() > 150
    assert 0 < decode(heat_to_png(faint, scale))[..., 3].max() < 50


def test_the_scale_ignores_cells_without_heat_and_single_outliers() -> None:
    heats = np.zeros((100, 7, 7))
    heats[:, 2, 2] = 1
    assert shared_scale(heats) == 1
    heats[0, 0, 0] = 1000
    assert shared_scale(heats) < 20
    assert shared_scale(np.zeros((3, 7, 7))) == 1
    assert shared_scale(-np.ones((3, 7, 7))) == 1


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(ModelError, match="shared_scale"):
        heat_to_png(np.ones((7, 7)), scale)


def test_colours_follow_the_square_root() -> None:
    quarter, full = (decode(heat_to_png(np.full((7, 7), heat), 4.0))[0, 0] for heat in (1.0, 9.0))
    assert full.tolist() == colour_table()[-1].tolist()
    assert quarter.tolist() == colour_table()[32].tolist()


def test_a_map_without_heat_is_fully_transparent() -> None:
    assert not decode(heat_to_png(-np.ones((7, 7)), 1.0))[..., 3].any()


@settings(max_examples=25, deadline=None)
@given(values=arrays.arrays(np.float32, (7, 7), elements=finite), scale=st.floats(0.1, 100))
def test_the_png_decodes_to_the_colours(values: np.ndarray, scale: float) -> None:
    heat = Heatmap(values, "attention", BOUNDS, "test")
    picture = decode(heat.to_png(scale))
    assert picture.shape == (56, 56, 4)
    assert picture.tolist() == heat_to_rgba(values, scale).tolist() == heat.to_rgba(scale).tolist()


def test_hotter_is_lighter_and_less_transparent() -> None:
    table = colour_table().astype(float)
    steps = np.diff(lightness(table[:, :3]))
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.mean()
    assert (np.diff(table[:, 3]) >= 0).all()
    assert table[0, 3] == 0
    assert table[-1, 3] < 255


@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (2, 9), (14, 14)])
@pytest.mark.parametrize("size", [(224, 224), (56, 30), (5, 3)])
def test_enlarging_equals_torch(shape: tuple[int, int], size: tuple[int, int]) -> None:
    heats = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(heats)[:, None], size=size, mode="bilinear", align_corners=False
    )[:, 0]
    assert upsample(heats, *size) == pytest.approx(expected.numpy(), abs=1e-5)


def test_flat_maps_are_recognised() -> None:
    spot = np.zeros((7, 7))
    spot[1, 1] = 1e-12
    heats = np.stack([np.zeros((7, 7)), np.full((7, 7), 3.0), -spot, spot, spot + 1e-12, spot + 1])
    assert is_flat(heats).tolist() == [True, True, True, False, False, True]


def seen_by(rgb: np.ndarray, vision: str) -> np.ndarray:
    """sRGB colours 0..255 as they look without one kind of cone (Viénot, Brettel and Mollon 1999)."""
    linear = np.where(rgb <= 10.31475, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    matrix = {
        "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
        "usual": np.eye(3),
    }[vision]
    return 255 * np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)


def test_signed_colours_have_zero_in_the_middle() -> None:
    table = signed_colour_table().astype(float)
    middle = len(table) // 2
    assert table[middle, 3] == 0
    assert table[:, 3].tolist() == table[::-1, 3].tolist()
    assert (np.diff(table[middle:, 3]) >= 0).all()
    light = lightness(table[:, :3])
    assert light == pytest.approx(light[::-1], abs=1.5)
    assert (np.diff(light[middle:]) < 0).all()


@pytest.mark.parametrize("vision", ["usual", "protanopia", "deuteranopia"])
def test_the_signs_are_apart_for_any_colour_vision(vision: str) -> None:
    table = signed_colour_table()[:, :3].astype(float)
    middle = len(table) // 2
    lower, higher = seen_by(table[:middle][::-1], vision), seen_by(table[middle + 1 :], vision)
    apart = np.abs(lower - higher).max(axis=1)
    assert apart[-1] > 100
    assert (apart[len(apart) // 3 :] > 40).all()


def test_a_signed_map_is_drawn_on_one_scale_for_both_signs() -> None:
    values = np.zeros((7, 7), np.float32)
    values[1, 1], values[5, 5] = 4.0, -4.0
    scale = shared_scale(np.stack([values, values / 2]), 100, signed=True)
    assert scale == shared_scale(-np.stack([values, values / 2]), 100, signed=True) == 4
    heat = Heatmap(values, "USD", BOUNDS, "value map", signed=True)
    picture = decode(heat.to_png(scale, pixels_per_cell=1))
    table = signed_colour_table()
    assert picture[1, 1].tolist() == table[-1].tolist()
    assert picture[5, 5].tolist() == table[0].tolist()
    assert picture[3, 3, 3] == 0
    assert picture.tolist() == heat.to_rgba(scale, pixels_per_cell=1).tolist()
    quarter = heat_to_rgba(np.full((3, 3), -1.0), 4.0, signed=True)[0, 0]
    assert quarter.tolist() == table[len(table) // 2 - 32].tolist()


@settings(max_examples=25, deadline=None)
@given(values=arrays.arrays(np.float32, (5, 4), elements=finite), scale=st.floats(0.1, 100))
def test_a_map_of_the_other_sign_has_the_other_colours(values: np.ndarray, scale: float) -> None:
    drawn, turned = (heat_to_rgba(each, scale, signed=True) for each in (values, -values))
    assert drawn[..., 3].tolist() == turned[..., 3].tolist()
    table = {tuple(colour): place for place, colour in enumerate(signed_colour_table().tolist())}
    places = [[table[tuple(pixel)] for pixel in row] for row in drawn.tolist()]
    opposite = [[len(table) - 1 - table[tuple(pixel)] for pixel in row] for row in turned.tolist()]
    assert places == opposite


def test_heat_maps_of_a_batch_carry_their_status_and_a_sentence() -> None:
    heats = torch.zeros(5, 3, 4)
    heats[0, 1, 1] = 1
    heats[1, 0, 0] = float("nan")
    heats[2] = 7
    heats[3, 2, 2] = -1
    heats[4, 0, 1] = 2
    statuses = ["ok", "ok", "ok", "ok", "negligible"]
    found = heatmaps_of(heats, BOUNDS, unit="attention", method="test", statuses=statuses)
    assert [heat.status for heat in found] == ["ok", "flat", "flat", "flat", "negligible"]
    assert found[0].note == ""
    assert "not finite" in found[1].note
    assert "nowhere" in found[2].note
    assert "too small" in found[4].note
    assert found[1].values.tolist() == np.zeros((3, 4)).tolist()
    assert all(heat.bounds == BOUNDS for heat in found)
    signed = heatmaps_of(heats, np.tile(BOUNDS, (5, 1)), unit="USD", method="test", signed=True)
    assert [heat.status for heat in signed] == ["ok", "flat", "flat", "ok", "ok"]
    assert heatmaps_of(heats[:0], BOUNDS, unit="USD", method="test") == []
    borrowed = heatmaps_of(np.zeros((1, 2, 2)), BOUNDS, unit="a", method="m", statuses=["no neighbour"])
    assert borrowed[0].status == "no neighbour"
    assert "No house" in borrowed[0].note


def test_heat_maps_that_do_not_fit_are_one_message() -> None:
    for heats, bounds, statuses in (
        (np.zeros((2, 3)), BOUNDS, None),
        (np.zeros((2, 3, 3)), [BOUNDS] * 3, None),
        (np.zeros((2, 3, 3)), BOUNDS, ["ok"]),
        (np.zeros((2, 3, 3)), BOUNDS, []),
        (np.zeros((2, 0, 3)), BOUNDS, None),
    ):
        with pytest.raises(ModelError):
            heatmaps_of(heats, bounds, unit="attention", method="test", statuses=statuses)


def test_a_caption_says_association_not_cause() -> None:
    values = np.eye(3)
    attention = Heatmap(values, "attention", BOUNDS, "L2-CAF").caption
    value = Heatmap(-values, "USD", BOUNDS, "value map", signed=True).caption
    assert attention.startswith("L2-CAF")
    assert "USD" in value
    assert "blue" in value
    for caption in (attention, value):
        assert caption.endswith("This is association, not cause.")
    assert Heatmap(values * 0, "attention", BOUNDS, "m", "flat").caption.endswith("in every cell.")
