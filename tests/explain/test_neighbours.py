from __future__ import annotations

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain.neighbours import EXACT_UP_TO, CodedLists, Exact, Tree, neighbour_index


def some(count: int, dimension: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


@pytest.mark.parametrize("kind", ["exact", "tree"])
@pytest.mark.parametrize("dimension", [1, 4, 12])
def test_exact_ways_find_the_nearest_in_order(kind: str, dimension: int) -> None:
    stored, queries = some(300, dimension, 1), some(40, dimension, 2)
    distances = ((queries[:, None].astype(float) - stored[None]) ** 2).sum(axis=2)
    found = neighbour_index(stored, kind).search(queries, 5)
    assert found.dtype == np.int64
    chosen = np.take_along_axis(distances, found, axis=1)
    assert chosen == pytest.approx(np.sort(distances, axis=1)[:, :5], rel=1e-4, abs=1e-6)


def test_what_is_not_there_is_minus_one() -> None:
    stored = some(2, 3, 1)
    for kind in ("exact", "tree"):
        found = neighbour_index(stored, kind).search(stored, 4)
        assert found[:, 0].tolist() == [0, 1]
        assert (found[:, 2:] == -1).all()


def test_many_equal_embeddings() -> None:
    stored = np.zeros((20_000, 4), dtype=np.float32)
    stored[7] = 1
    for kind in ("tree", "ivf-pq"):
        index = neighbour_index(stored, kind)
        assert index.search(stored[7:8], 1)[0, 0] == 7
        assert len(set(index.search(stored[:1], 100)[0].tolist()) - {-1}) == 100


@pytest.mark.parametrize("dimension", [3, 16])
def test_coded_lists_mostly_find_the_nearest(dimension: int) -> None:
    stored, queries = some(12_000, dimension, 1), some(200, dimension, 2)
    lists = neighbour_index(stored, "ivf-pq")
    assert isinstance(lists, CodedLists)
    exact = neighbour_index(stored, "exact").search(queries, 1)
    found = lists.search(queries, 3)
    assert found.shape == (200, 3)
    assert (found[:, :1] == exact).mean() > 0.7
    assert all(len(set(row)) == 3 for row in found.tolist())
    again = neighbour_index(stored, "ivf-pq").search(queries, 3)
    assert (again == found).mean() > 0.99


def test_the_way_is_chosen_by_size_and_dimension() -> None:
    assert isinstance(neighbour_index(some(10, 4, 1)), Tree)
    assert isinstance(neighbour_index(some(10, 64, 1)), Exact)
    assert isinstance(neighbour_index(some(10, 4, 1), "ivf-pq"), Exact)
    assert isinstance(neighbour_index(np.zeros((0, 4), np.float32)), Exact)
    assert EXACT_UP_TO >= 54_000


def test_an_unknown_way_is_one_message() -> None:
    with pytest.raises(ModelError, match="no index 'fast'"):
        neighbour_index(some(3, 3, 1), "fast")
