"""Scores of one object per picture, held against maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain.heatmap import upsample
from housevis.explain.localisation import (
    box_overlaps,
    centre_box,
    fixed_box_overlaps,
    heat_in_region,
    localisation_accuracy,
    max_box_accuracy,
    pointing_hits,
    sparsity,
)

RNG = np.random.default_rng(0)


def spot(size: int, row: int, column: int) -> np.ndarray:
    """A map with one hot cell."""
    heat = np.zeros((1, size, size), dtype=np.float32)
    heat[0, row, column] = 1
    return heat


def test_uniform_heat_has_the_region_s_share_of_the_area():
    regions = RNG.random((5, 56, 56)) < 0.3
    shares = heat_in_region(np.ones((5, 7, 7)), regions)
    assert shares == pytest.approx(regions.mean(axis=(1, 2)), abs=1e-5)


def test_heat_in_the_region_is_that_of_the_enlarged_map():
    heats = RNG.normal(size=(4, 7, 7)).astype(np.float32)
    regions = RNG.random((4, 60, 48)) < 0.5
    enlarged = upsample(np.maximum(heats, 0), 60, 48)
    expected = (enlarged * regions).sum(axis=(1, 2)) / enlarged.sum(axis=(1, 2))
    assert heat_in_region(heats, regions) == pytest.approx(expected, rel=1e-4)


def test_a_map_without_heat_scores_nothing():
    regions = np.ones((1, 28, 28), dtype=bool)
    nothing = np.full((1, 7, 7), -1.0)
    assert heat_in_region(nothing, regions).tolist() == [0.0]
    assert pointing_hits(nothing, regions).tolist() == [False]
    assert (box_overlaps(nothing, np.array([[0.0, 0.0, 1.0, 1.0]])) == 0).all()
    assert sparsity(nothing).tolist() == [0.0]


def test_pointing_hits_where_the_hottest_cell_lies():
    regions = np.zeros((1, 56, 56), dtype=bool)
    regions[0, 24:32, 40:48] = True
    assert pointing_hits(spot(7, 3, 5), regions).tolist() == [True]
    assert pointing_hits(spot(7, 5, 3), regions).tolist() == [False]


def test_the_box_of_a_block_of_heat_is_found_to_the_pixel():
    heat = np.zeros((1, 14, 14), dtype=np.float32)
    heat[0, 4:10, 2:8] = 1
    true = np.array([[2 / 14, 4 / 14, 8 / 14, 10 / 14]])
    overlaps = box_overlaps(heat, true, [0.5])
    assert overlaps.shape == (1, 1)
    assert overlaps[0, 0] > 0.95


def test_the_largest_part_is_judged_or_the_one_that_fits_best():
    heat = np.zeros((1, 28, 28), dtype=np.float32)
    heat[0, 2:16, 2:16] = 1
    heat[0, 20:26, 20:26] = 1
    small = np.array([[20 / 28, 20 / 28, 26 / 28, 26 / 28]])
    assert box_overlaps(heat, small, [0.5])[0, 0] == 0
    assert box_overlaps(heat, small, [0.5], components="best")[0, 0] > 0.9


def test_accuracy_by_threshold_and_over_strictness():
    overlaps = np.array([[0.35, 0.55, 0.75, 0.1], [0.6, 0.6, 0.2, 0.2]])
    assert localisation_accuracy(overlaps).tolist() == [0.5, 0.5]
    assert max_box_accuracy(overlaps) == pytest.approx((0.75 + 0.5 + 0.25) / 3)


def test_a_box_in_the_middle():
    box = centre_box(0.5)
    assert box.tolist() == [0.25, 0.25, 0.75, 0.75]
    true = np.array(
        [[0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 1.0, 1.0], [0.8, 0.8, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]
    )
    assert fixed_box_overlaps(box, true) == pytest.approx([1.0, 0.25, 0.0, 0.0])


def test_sparsity_runs_from_even_heat_to_one_cell():
    assert sparsity(np.ones((1, 7, 7)))[0] == pytest.approx(0, abs=1e-12)
    assert sparsity(spot(7, 1, 1))[0] == pytest.approx(48 / 49)


@pytest.mark.parametrize(
    ("heats", "regions"),
    [
        (np.ones((2, 7, 7)), np.ones((3, 28, 28), dtype=bool)),
        (np.ones((2, 7)), np.ones((2, 28, 28), dtype=bool)),
        (np.ones((2, 7, 7)), np.ones((2, 28, 28))),
        (np.full((2, 7, 7), np.nan), np.ones((2, 28, 28), dtype=bool)),
    ],
)
def test_what_does_not_fit_is_refused(heats: np.ndarray, regions: np.ndarray):
    with pytest.raises(ModelError):
        heat_in_region(heats, regions)


def test_boxes_must_fit_the_maps():
    with pytest.raises(ModelError):
        box_overlaps(np.ones((2, 7, 7)), np.ones((3, 4)))
