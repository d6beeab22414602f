from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housevis.core.errors import ModelError
from housevis.pricing.splits import grouped_folds, rolling_origins, spatial_blocks, split_by_date


@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=80).filter(lambda days: len(set(days)) > 1),
    st.floats(0.2, 0.9),
)
def test_no_day_is_on_both_sides_and_no_cut_comes_nearer(days, share) -> None:
    dates = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"))
    earlier, cutoff = split_by_date(dates, share)
    assert dates[earlier].max() < cutoff == dates[~earlier].min()
    others = [np.mean(np.array(days) < day) for day in set(days) if day > min(days)]
    assert abs(earlier.mean() - share) == pytest.approx(min(abs(other - share) for other in others))


def test_time_of_day_does_not_part_a_day() -> None:
    dates = pd.to_datetime(["2020-01-01 09:00", "2020-01-02 09:00", "2020-01-02 17:00", "2020-01-03 08:00"])
    earlier, cutoff = split_by_date(dates, 0.5)
    assert cutoff in (pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03"))
    assert earlier[1] == earlier[2]


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (["2020-01-01", None], "1 of 2 sales have no date"),
        (["2020-01-01"] * 3, "all 3 sales have the same date"),
    ],
)
def test_sales_that_cannot_be_split(dates, words) -> None:
    with pytest.raises(ModelError, match=words):
        split_by_date(pd.Series(pd.to_datetime(dates)), 0.6)


groups_of_sales = st.lists(st.sampled_from("abcdefghijkl"), min_size=12, max_size=120).filter(
    lambda groups: len(set(groups)) >= 5
)


@given(groups_of_sales, st.integers(2, 5), st.integers(0, 9))
def test_folds_partition_and_keep_groups_together(groups, folds, seed) -> None:
    fold = grouped_folds(groups, folds, seed)
    assert fold.shape == (len(groups),)
    assert set(fold) == set(range(folds))
    for group in set(groups):
        assert len({number for number, name in zip(fold, groups, strict=True) if name == group}) == 1
    sizes = np.bincount(fold)
    largest = max(groups.count(group) for group in set(groups))
    assert sizes.max() - sizes.min() <= largest


@given(groups_of_sales, st.randoms(use_true_random=False))
def test_the_fold_of_a_group_does_not_depend_on_the_order_of_rows(groups, random) -> None:
    mixed = random.sample(groups, len(groups))
    first = dict(zip(groups, grouped_folds(groups, 3, 1), strict=True))
    second = dict(zip(mixed, grouped_folds(mixed, 3, 1), strict=True))
    assert first == second


def test_seeds_deal_differently_and_missing_groups_are_alone() -> None:
    keys = [None] * 50 + ["a"] * 50
    fold = grouped_folds(keys, 5, 1)
    assert len(set(fold[50:])) == 1
    assert len(set(fold[:50])) == 4
    assert (grouped_folds(range(50), 5, 1) != grouped_folds(range(50), 5, 2)).any()


def test_fewer_groups_than_folds_is_an_error() -> None:
    with pytest.raises(ModelError, match="2 groups of sales are too few for 5 folds"):
        grouped_folds(["a", "b", "b"], 5, 1)


def test_blocks_are_a_kilometre_wide_and_hold_groups_together() -> None:
    # Four places 0.3 km apart going north, then two 0.3 km apart going east, far from all edges.
    degree = 1 / 111.195
    latitude = np.array([5000.1, 5000.4, 5000.7, 5001.3, 5000.4, 5000.4]) * degree
    east = np.array([100.1, 100.1, 100.1, 100.1, 100.5, 101.5]) * degree / np.cos(np.radians(5000 * degree))
    blocks = spatial_blocks(latitude, east, np.arange(6))
    assert blocks[0] == blocks[1] == blocks[2] == blocks[4]
    assert len({blocks[0], blocks[3], blocks[5]}) == 3
    together = spatial_blocks(latitude, east, ["a", "b", "c", "c", "d", "e"])
    assert together[2] == together[3]


def test_blocks_cover_every_place_on_earth() -> None:
    latitude, longitude = np.array([-89.9, 0.0, 89.9]), np.array([179.9, -0.1, -179.9])
    assert len(set(spatial_blocks(latitude, longitude, np.arange(3)))) == 3
    assert len(spatial_blocks(latitude, longitude, np.arange(3), kilometres=5)) == 3


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=80).filter(lambda days: len(set(days)) > 1),
    st.floats(0.2, 0.9),
    st.integers(1, 6),
)
def test_origins_cut_the_later_sales_and_no_day(days, share, origins) -> None:
    dates = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"))
    earlier, cutoff = split_by_date(dates, share)
    if dates[~earlier].nunique() < origins:
        with pytest.raises(ModelError, match=f"{origins} origins are too many"):
            rolling_origins(dates, share, origins)
        return
    found = rolling_origins(dates, share, origins)
    assert found[0] == cutoff
    assert found == sorted(set(found))
    assert len(found) == origins
    assert set(found) <= set(dates[~earlier])


def test_origins_are_of_about_equally_many_sales() -> None:
    dates = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(1000) // 3, unit="D"))
    edges = [*rolling_origins(dates, 0.6, 4), pd.Timestamp("2021-01-01")]
    counts = [int(((dates >= first) & (dates < last)).sum()) for first, last in pairwise(edges)]
    assert sum(counts) == pytest.approx(400, abs=3)
    assert max(counts) - min(counts) <= 6
