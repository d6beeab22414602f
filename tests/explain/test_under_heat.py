from __future__ import annotations

import numpy as np
import pytest

from data_pipeline.land_cover import LAND_COVERS
from housevis.core.errors import ModelError
from housevis.explain.heatmap import upsample
from housevis.explain.under_heat import UnderHeat, area_shares, by_class, summaries

POOL, LAWN, ROOF = (LAND_COVERS.index(name) for name in ("pool", "lawn", "roof"))


def random_covers(count: int, side: int = 56, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(LAND_COVERS), (count, side, side)).astype(np.uint8)


@pytest.mark.parametrize(("cells", "side"), [(7, 56), (14, 56), (14, 64), (7, 57), (5, 5), (1, 12)])
def test_the_classes_together_get_the_whole_map(cells: int, side: int) -> None:
    maps = np.random.default_rng(cells).normal(0, 1000, (6, cells, cells)).astype(np.float32)
    found = by_class(maps, random_covers(6, side))
    assert found.shape == (6, len(LAND_COVERS))
    np.testing.assert_allclose(
        found.sum(axis=1), maps.sum(axis=(1, 2), dtype=np.float64), rtol=1e-9, atol=1e-6
    )


def test_a_map_is_spread_as_it_is_drawn() -> None:
    maps = np.random.default_rng(2).random((3, 7, 7)).astype(np.float32)
    covers = random_covers(3)
    drawn = upsample(maps, 56, 56).astype(np.float64) / 64
    wanted = np.stack([(drawn * (covers == number)).sum(axis=(1, 2)) for number in range(7)], axis=1)
    np.testing.assert_allclose(by_class(maps, covers), wanted, rtol=1e-5)


def test_heat_on_a_pool_is_found_under_it() -> None:
    covers = np.full((1, 56, 56), LAWN, np.uint8)
    covers[0, 24:32, 24:32] = POOL
    heat = np.zeros((1, 7, 7), np.float32)
    heat[0, 3, 3] = 5.0
    under = UnderHeat.of(covers, heat, ["ok"], -1000 * heat, ["ok"])
    assert under.areas[0, POOL] == pytest.approx(64 / 3136)
    assert under.attention[0].sum() == pytest.approx(1)
    assert under.attention[0, POOL] > 0.5
    assert under.money[0].sum() == pytest.approx(-5000)
    assert under.money[0, POOL] < -2500


def test_what_was_refused_is_said_and_not_made_up() -> None:
    covers = random_covers(4)
    heats = np.ones((4, 7, 7), np.float32)
    heats[1] = 0
    statuses = ["ok", "ok", "flat", "no neighbour"]
    under = UnderHeat.of(covers, heats, statuses, heats, ["ok", "negligible", "flat", "ok"])
    assert np.isfinite(under.areas).all()
    assert np.isfinite(under.attention).all(axis=1).tolist() == [True, False, False, False]
    assert np.isfinite(under.money).all(axis=1).tolist() == [True, False, False, True]
    alone = UnderHeat.of(covers, heats, statuses)
    assert np.isnan(alone.money).all()


def test_negative_attention_is_none() -> None:
    heats = np.full((1, 7, 7), -1, np.float32)
    heats[0, 0, 0] = 1
    under = UnderHeat.of(np.full((1, 56, 56), ROOF, np.uint8), heats, ["ok"])
    assert under.attention[0, ROOF] == pytest.approx(1)
    assert under.attention.min() >= 0


def test_houses_are_chosen_joined_and_unknown() -> None:
    under = UnderHeat.of(random_covers(3), np.ones((3, 7, 7), np.float32), ["ok"] * 3)
    both = UnderHeat.joined([under, UnderHeat.unknown(2)])
    assert both.is_known.tolist() == [True, True, True, False, False]
    found = under.found(np.array([2, np.nan, 0]))
    assert found.is_known.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.areas[0], under.areas[2])
    np.testing.assert_array_equal(found.attention[2], under.attention[0])
    assert len(under.found(np.array([])).areas) == 0


def test_a_market_is_summed_up_over_the_pictures_that_show_a_class() -> None:
    covers = np.full((3, 56, 56), LAWN, np.uint8)
    covers[0, :28] = ROOF
    covers[1, 0, 0] = POOL
    heats = np.ones((3, 7, 7), np.float32)
    heats[0, :3] = 3
    found = {row.cover: row for row in summaries(UnderHeat.of(covers, heats, ["ok", "ok", "flat"]))}
    assert found["roof"].houses == 1
    assert found["roof"].area == pytest.approx(0.5)
    assert found["roof"].ratio is not None
    assert found["roof"].ratio > 1
    assert found["roof"].money is None
    assert found["lawn"].houses == 3
    assert found["pool"].houses == 0, "a single cell is no class of the picture"
    assert found["pool"].ratio is None
    assert summaries(UnderHeat.unknown(0))[0].houses == 0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit"):
        by_class(np.ones((2, 7, 7)), random_covers(3))
    with pytest.raises(ModelError, match="finer"):
        by_class(np.ones((1, 60, 60)), random_covers(1, 8))
    assert area_shares(random_covers(2)).sum(axis=1) == pytest.approx(1)
