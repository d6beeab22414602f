from __future__ import annotations

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.vision.pairs import PARTNERS, PartnerSampler, sale_places


def test_members_differ_from_the_first_in_the_target() -> None:
    target = np.arange(50.0) // 3
    places = np.random.default_rng(1).normal(size=(50, 4))
    for sampler in (PartnerSampler(target), PartnerSampler(target, places)):
        pairs, triplets = sampler.pairs(3000, 5), sampler.triplets(3000, 5)
        assert (pairs.shape, triplets.shape) == ((3000, 2), (3000, 3))
        assert (target[pairs[:, 0]] != target[pairs[:, 1]]).all()
        assert (target[triplets[:, :1]] != target[triplets[:, 1:]]).all()
        assert set(pairs[:, 0].tolist()) == set(range(50))
        np.testing.assert_array_equal(pairs, sampler.pairs(3000, 5))
        assert not np.array_equal(pairs, sampler.pairs(3000, 6))


def test_near_partners_are_among_the_nearest() -> None:
    generator = np.random.default_rng(2)
    places = generator.normal(size=(400, 4)) * 5
    sampler = PartnerSampler(np.arange(400.0), places)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    limit = np.sort(distance, axis=1)[:, PARTNERS]
    for drawn in (sampler.pairs(5000, 1), sampler.triplets(5000, 1)):
        for member in range(1, drawn.shape[1]):
            assert (distance[drawn[:, 0], drawn[:, member]] <= limit[drawn[:, 0]] + 1e-9).all()


def test_uniform_partners_come_from_everywhere() -> None:
    pairs = PartnerSampler(np.arange(20.0)).pairs(4000, 1)
    assert len(np.unique(pairs, axis=0)) == 20 * 19


def test_a_step_is_a_kilometre_half_a_year_or_a_size() -> None:
    places = sale_places(
        latitude=np.array([47.0, 47.0 + 1 / 111.195]),
        longitude=np.array([8.0, 8.0]),
        days=np.array([0.0, 360.0]),
        area=np.array([100.0, 100.0 * np.exp(0.3)]),
    )
    np.testing.assert_allclose(places[1] - places[0], [1.0, 0.0, 2.0, 2.0], atol=1e-9)


def test_a_missing_area_counts_as_the_typical_one() -> None:
    area = np.array([100.0, np.nan, 100.0, 0.0])
    zeros = np.zeros(4)
    assert np.ptp(sale_places(zeros, zeros, zeros, area)[:, 3]) == 0
    assert np.ptp(sale_places(zeros, zeros, zeros, np.full(4, np.nan))[:, 3]) == 0


@pytest.mark.parametrize("places", [None, np.zeros((4, 4))])
def test_equal_targets_give_nothing_to_compare(places: np.ndarray | None) -> None:
    with pytest.raises(ModelError, match="different prices"):
        PartnerSampler(np.ones(4), places)
