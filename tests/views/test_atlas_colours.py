"""Colours of the map: classes that anyone can tell apart, whatever colours they see."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from housevis.views.atlas_colours import (
    PRICE_COLOURS,
    SIGNED_COLOURS,
    colour_modes,
    effect_limits,
    picture_effects,
    price_limits,
)

SIGHTS = {
    "all colours": np.eye(3),
    "no red": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "no green": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ]),
    "no blue": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ]),
}  # fmt: skip
"""Linear RGB as seen without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1)."""


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(sight @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ seen / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("colours", [PRICE_COLOURS, SIGNED_COLOURS])
def test_neighbouring_classes_differ_for_everyone(colours: tuple[str, ...], sight: str) -> None:
    seen = [lab(colour, SIGHTS[sight]) for colour in colours]
    for one, other in pairwise(seen):
        assert np.linalg.norm(one - other) > 9
    assert np.linalg.norm(seen[0] - seen[-1]) > 50


@pytest.mark.parametrize("sight", SIGHTS)
def test_prices_grow_lighter(sight: str) -> None:
    lightness = [lab(colour, SIGHTS[sight])[0] for colour in PRICE_COLOURS]
    assert lightness == sorted(lightness)


def test_effects_have_the_same_limits_on_both_sides() -> None:
    effects = np.concatenate([np.random.default_rng(1).normal(0, 9_000, 500), [np.nan]])
    limits = effect_limits(effects)
    assert limits == [-10_000.0, -5_000.0, 5_000.0, 10_000.0]
    assert effect_limits(np.array([np.nan, 0.0])) == []
    assert effect_limits(np.array([500.0, -500.0])) == [-500.0, 500.0]


def test_modes_have_one_colour_more_than_limits(atlas_data, bare_atlas_data) -> None:
    modes = colour_modes(atlas_data, atlas_data.records)
    assert set(modes) == {"price", "error", "effect"}
    for mode in modes.values():
        assert len(mode["colours"]) == len(mode["limits"]) + 1
        assert mode["limits"] == sorted(mode["limits"])
    assert set(colour_modes(bare_atlas_data, bare_atlas_data.records)) == {"price", "error"}


def test_a_house_without_a_picture_has_no_effect() -> None:
    records = pd.DataFrame({"drivers": [[("picture", 5.0)], [("area_m2", 9.0)]]})
    effects = picture_effects(records)
    assert effects[0] == 5.0
    assert np.isnan(effects[1])


def test_one_price_is_one_class() -> None:
    assert price_limits(np.full(10, 250_000.0)) == [250_000.0]
