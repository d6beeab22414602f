from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from housevis.core.errors import ModelError
from housevis.explain import HeatRatio, heat_ratio
from housevis.explain.heatmap import upsample
from housevis.explain.metrics import (
    ANY_DRIVER,
    CEILINGS,
    CENTRED,
    TRUE_MASK,
    UNIFORM,
    mask_on_grid,
    rank_agreement,
)


def line(results, method: str, region: str):
    return next(entry for entry in results if (entry.method, entry.region) == (method, region))


def test_all_heat_inside_and_all_heat_outside() -> None:
    heat = np.zeros((2, 2, 2))
    heat[:, 0, 0] = 5
    masks = np.zeros((2, 2, 2, 2), bool)
    masks[:, 0, 0, 0] = True
    masks[:, 1, 1, 1] = True
    results = heat_ratio(heat, masks, ["pool", "road"])
    assert line(results, "heat", "pool").ratio == 1
    assert line(results, "heat", "pool").lift == 4
    assert line(results, "heat", "road").ratio == 0
    assert line(results, "heat", ANY_DRIVER).uniform == 0.5
    assert line(results, "heat", ANY_DRIVER).lift == 2


def test_ratios_are_pooled_over_houses() -> None:
    """A house without the driver counts with its heat: (3 + 0) / (4 + 6)."""
    heat = np.array([[[3.0, 1.0]], [[3.0, 3.0]]])
    masks = np.zeros((2, 1, 1, 2), bool)
    masks[0, 0, 0, 0] = True
    found = line(heat_ratio(heat, masks, ["pool"]), "heat", "pool")
    assert found.ratio == pytest.approx(0.3)
    assert found.uniform == pytest.approx(0.25)
    assert found.lift == pytest.approx(1.2)
    assert (found.houses, found.houses_with_region, found.houses_with_heat) == (2, 1, 2)


def test_equals_enlarging_the_heat() -> None:
    generator = np.random.default_rng(0)
    heat = generator.random((6, 7, 7))
    masks = generator.random((6, 3, 50, 40)) < 0.2
    results = heat_ratio(heat, masks, ["a", "b", "c"])
    large = upsample(heat, 50, 40).astype(float)
    for place, driver in enumerate("abc"):
        expected = (large * masks[:, place]).sum() / large.sum()
        assert line(results, "heat", driver).ratio == pytest.approx(expected, rel=1e-5)
    assert line(results, "heat", ANY_DRIVER).ratio == pytest.approx(
        (large * masks.any(axis=1)).sum() / large.sum(), rel=1e-5
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), cut=st.integers(0, 8))
def test_batches_give_what_one_call_gives(seed: int, cut: int) -> None:
    generator = np.random.default_rng(seed)
    heats = {"a": generator.normal(size=(8, 3, 4)), "b": generator.random((8, 3, 4))}
    masks = generator.random((8, 2, 9, 8)) < 0.3
    whole, parts = HeatRatio(["x", "y"]), HeatRatio(["x", "y"])
    whole.add(heats, masks)
    for rows in (slice(0, cut), slice(cut, None)):
        parts.add({name: heat[rows] for name, heat in heats.items()}, masks[rows])
    for one, other in zip(whole.results(), parts.results(), strict=True):
        assert (one.method, one.region, one.houses) == (other.method, other.region, other.houses)
        assert one.ratio == pytest.approx(other.ratio)
        assert 0 <= one.ratio <= 1


def test_the_ceilings_bound_and_anchor() -> None:
    masks = np.zeros((4, 1, 56, 56), bool)
    masks[:, 0, 24:32, 24:32] = True
    results = heat_ratio(np.ones((4, 7, 7)), masks, ["pool"])
    assert [entry.method for entry in results[-6::2]] == list(CEILINGS)
    assert line(results, "heat", "pool").lift == pytest.approx(1)
    assert line(results, UNIFORM, "pool").lift == pytest.approx(1)
    true, centred = line(results, TRUE_MASK, "pool"), line(results, CENTRED, "pool")
    assert true.lift > centred.lift > 1
    # One cell fully covered, enlarged to a tent: 0.75 of the width per axis lies inside.
    assert true.ratio == pytest.approx(0.75**2, abs=0.02)


def test_mask_on_the_grid_is_the_share_of_each_cell() -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, :2, :1] = True
    assert mask_on_grid(mask, 2, 2).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]
    uneven = np.zeros((1, 3, 3), bool)
    uneven[0, 1] = True
    assert mask_on_grid(uneven, 2, 1)[0, :, 0] == pytest.approx([1 / 3, 1 / 3])


def test_no_heat_and_no_region_are_missing_not_nan() -> None:
    results = heat_ratio(np.zeros((2, 7, 7)), np.zeros((2, 1, 14, 14), bool), ["pool"])
    cold = line(results, "heat", "pool")
    assert (cold.ratio, cold.uniform, cold.lift, cold.houses_with_heat) == (None, 0, None, 0)
    assert line(results, UNIFORM, "pool").lift is None
    assert line(results, TRUE_MASK, "pool").ratio is None


def test_negative_heat_counts_as_none() -> None:
    masks = np.ones((1, 1, 1, 2), bool)
    masks[..., 1] = False
    assert line(heat_ratio(np.array([[[2.0, -9.0]]]), masks, ["x"]), "heat", "x").ratio == 1


def test_nothing_counted_is_an_empty_table() -> None:
    counted = HeatRatio(["x"])
    assert counted.results() == []
    counted.add({"m": np.empty((0, 7, 7))}, np.empty((0, 1, 8, 8), bool))
    assert counted.results() == []


def test_what_does_not_fit_is_one_message() -> None:
    masks = np.ones((2, 1, 8, 8), bool)
    good = np.ones((2, 7, 7))
    counted = HeatRatio(["x"])
    counted.add({"m": good}, masks)
    for heats, wrong_masks, words in (
        ({"m": good}, masks.astype(float), "not bool"),
        ({"m": good}, masks[:, 0], "not bool"),
        ({"other": good}, masks, "so far there were"),
        ({"m": good[:1]}, masks, "shapes"),
        ({"m": good * np.nan}, masks, "no finite number"),
    ):
        with pytest.raises(ModelError, match=words):
            counted.add(heats, wrong_masks)
    with pytest.raises(ModelError, match="at least one of your own"):
        HeatRatio(["x"]).add({UNIFORM: good}, masks)
    assert counted.results()[0].houses == 2


def test_agreement_is_the_rank_correlation_of_the_cells() -> None:
    random = np.random.default_rng(5)
    own = random.random((4, 5, 6))
    assert rank_agreement(np.exp(own), own) == pytest.approx(1)
    assert rank_agreement(-own, own) == pytest.approx(-1)
    other = random.random((4, 5, 6))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(other, own, strict=True)]
    assert rank_agreement(other, own) == pytest.approx(expected)
    fine = np.repeat(np.repeat(own, 2, axis=1), 2, axis=2)
    assert rank_agreement(fine, own) == pytest.approx(1)
    assert np.isnan(rank_agreement(np.zeros_like(own), own)).all()
    with pytest.raises(ModelError, match="cannot be compared"):
        rank_agreement(own[:2], own)
