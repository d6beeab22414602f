"""Removing pixels: known pictures, and a score that reads one corner of them."""

from __future__ import annotations

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain.removal import blurred, removal_curve, removed_pixels

RNG = np.random.default_rng(1)
PICTURES = RNG.integers(0, 256, (3, 28, 28, 3)).astype(np.uint8)


def corner(heat_there: float = 1.0) -> np.ndarray:
    """Heat on the upper left quarter."""
    heats = np.zeros((3, 4, 4), dtype=np.float32)
    heats[:, :2, :2] = heat_there
    return heats


def contrast_of_corner(pictures: np.ndarray) -> np.ndarray:
    """What the score reads: contrast of the upper left quarter."""
    return pictures[:, :14, :14].astype(float).std(axis=(1, 2, 3))


@pytest.mark.parametrize("order", ["hottest first", "coldest first"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_picture_loses_the_same_number_of_pixels(order: str, share: float):
    removed = removed_pixels(RNG.normal(size=(3, 4, 4)), share, 28, 28, order)
    assert removed.sum(axis=(1, 2)).tolist() == [round(share * 28 * 28)] * 3


def test_the_hottest_pixels_go_first():
    removed = removed_pixels(corner(), 0.2, 28, 28, "hottest first")
    assert not removed[:, 16:].any()
    assert not removed[:, :, 16:].any()
    assert not removed_pixels(corner(), 0.5, 28, 28, "coldest first")[:, :12, :12].any()


def test_heat_on_what_the_score_reads_falls_fast_and_lasts_long():
    deleted = removal_curve(PICTURES, corner(), contrast_of_corner, order="hottest first", shares=[0.3])
    inserted = removal_curve(PICTURES, corner(), contrast_of_corner, order="coldest first", shares=[0.3])
    assert deleted.shape == (1, 3)
    assert (deleted < 0.5 * inserted).all()


def test_blur_touches_only_what_is_removed():
    removed = removed_pixels(corner(), 0.25, 28, 28, "hottest first")
    without = blurred(PICTURES, removed)
    assert np.array_equal(without[~removed], PICTURES[~removed])
    assert without[removed].std() < PICTURES[removed].std()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ModelError):
        removal_curve(PICTURES, np.ones((2, 4, 4)), contrast_of_corner, order="hottest first")
    with pytest.raises(ModelError):
        removal_curve(PICTURES, np.full((3, 4, 4), np.nan), contrast_of_corner, order="hottest first")
