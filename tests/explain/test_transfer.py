from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain import GradWeightDatabase, Transfer
from housevis.explain.transfer import NO_NEIGHBOUR, top_channel_map


@pytest.fixture
def database(make_database) -> GradWeightDatabase:
    return make_database(scalar="dearer")


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(1).random((20, 12, 2, 2), dtype=np.float32)


def test_maps_are_the_neighbours_weights_on_the_own_feature_map(database, maps) -> None:
    result = Transfer(database).explain(maps, database.embeddings)
    assert result.neighbours.tolist() == list(range(20))
    for house in range(20):
        weights = database.weights_of([house])[0]
        expected = np.zeros((2, 2))
        for channel, weight in zip(database.channels[house], weights, strict=True):
            expected += weight * maps[house, channel]
        assert result.heats[house] == pytest.approx(np.maximum(expected, 0), abs=1e-5)
    assert result.neighbour_house_ids == database.house_ids


def test_the_nearest_is_the_nearest(database) -> None:
    generator = np.random.default_rng(2)
    queries = generator.normal(size=(50, 3)).astype(np.float32)
    distances = ((queries[:, None].astype(float) - database.embeddings[None]) ** 2).sum(axis=2)
    assert Transfer(database).nearest(queries).tolist() == distances.argmin(axis=1).tolist()


def test_the_house_itself_is_excluded(database, maps) -> None:
    result = Transfer(database).explain(maps, database.embeddings, database.house_ids)
    distances = ((database.embeddings[:, None] - database.embeddings[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert result.neighbours.tolist() == distances.argmin(axis=1).tolist()
    assert all(
        own != neighbour
        for own, neighbour in zip(database.house_ids, result.neighbour_house_ids, strict=True)
    )


def test_all_sales_of_the_house_itself_are_excluded(database) -> None:
    ids = ("twice", "twice", "twice", *database.house_ids[3:])
    embeddings = database.embeddings.copy()
    embeddings[:3] = 0
    several = dataclasses.replace(database, house_ids=ids, embeddings=embeddings)
    transfer = Transfer(several)
    found = transfer.nearest(np.zeros((3, 3)), ["twice", None, "unknown"])
    assert found[0] >= 3
    assert set(found[1:]) <= {0, 1, 2}


def test_only_the_own_house_leaves_no_neighbour(make_database, maps) -> None:
    database = make_database(houses=2, house_ids=["a", "a"])
    result = Transfer(database).explain(maps[:2], database.embeddings, ["a", "b"])
    assert result.statuses == ("no neighbour", "ok")
    assert result.neighbours.tolist()[0] == NO_NEIGHBOUR
    assert result.neighbour_house_ids[0] is None
    assert not result.heats[0].any()


def test_houses_without_a_valid_pair_lend_nothing(database) -> None:
    pairs = database.pairs.copy()
    pairs[4] = 0
    transfer = Transfer(dataclasses.replace(database, pairs=pairs))
    assert transfer.nearest(database.embeddings[4:5])[0] != 4
    scales = database.scales.copy()
    scales[4] = 0
    assert Transfer(dataclasses.replace(database, scales=scales)).nearest(database.embeddings[4:5])[0] != 4
    empty = Transfer(dataclasses.replace(database, pairs=np.zeros_like(pairs)))
    result = empty.explain(np.ones((3, 12, 2, 2)), database.embeddings[:3])
    assert result.statuses == ("no neighbour",) * 3


def test_flat_and_broken_maps_are_named_and_finite(database, maps) -> None:
    maps = maps.copy()
    maps[0] = 0
    maps[1] = 3.5
    maps[2, :, 0, 0] = np.nan
    maps[3] = np.inf
    embeddings = database.embeddings.copy()
    embeddings[4, 1] = np.nan
    result = Transfer(database).explain(maps, embeddings)
    assert result.statuses[:4] == ("flat",) * 4
    assert result.statuses[4] == "no neighbour"
    assert np.isfinite(result.heats).all()
    assert (result.heats >= 0).all()


def test_weights_against_every_cell_leave_a_flat_map(database, maps) -> None:
    negative = dataclasses.replace(database, weights=-np.abs(database.weights))
    assert set(Transfer(negative).explain(maps, database.embeddings).statuses) == {"flat"}


def test_no_houses_give_no_maps(database) -> None:
    result = Transfer(database).explain(np.empty((0, 12, 7, 7), np.float32), np.empty((0, 3), np.float32), [])
    assert result.heats.shape == (0, 7, 7)
    assert result.statuses == ()


def test_what_does_not_fit_is_one_message(database, maps) -> None:
    transfer = Transfer(database)
    with pytest.raises(ModelError, match="feature maps are"):
        transfer.explain(maps[:, :5], database.embeddings)
    with pytest.raises(ModelError, match="feature maps are"):
        transfer.explain(maps[:3], database.embeddings)
    with pytest.raises(ModelError, match="of dimension 3"):
        transfer.nearest(np.zeros((2, 4)))
    with pytest.raises(ModelError, match="1 houses to exclude for 2"):
        transfer.nearest(np.zeros((2, 3)), ["a"])


def test_a_random_lender_is_any_other_house_that_may_lend(database) -> None:
    pairs = database.pairs.copy()
    pairs[3] = 0
    ids = ("twice", "twice", *database.house_ids[2:])
    some = dataclasses.replace(database, pairs=pairs, house_ids=ids)
    transfer = Transfer(some, lender="random", seed=5)
    rows = np.concatenate([transfer.random(some.embeddings[:2], ["twice", None]) for _ in range(2000)])
    first, second = rows[::2], rows[1::2]
    assert set(first.tolist()) == set(range(20)) - {0, 1, 3}
    assert set(second.tolist()) == set(range(20)) - {3}
    assert np.bincount(second, minlength=20)[[0, 19]] == pytest.approx([2000 / 19] * 2, rel=0.5)
    again = Transfer(some, lender="random", seed=5)
    assert again.random(some.embeddings[:2], ["twice", None]).tolist() == rows[:2].tolist()


def test_a_random_lender_is_named_and_lends_its_weights(database, maps) -> None:
    result = Transfer(database, lender="random").explain(maps, database.embeddings, database.house_ids)
    lent = [
        house not in (None, own)
        for house, own in zip(result.neighbour_house_ids, database.house_ids, strict=True)
    ]
    assert all(lent)
    row = int(result.neighbours[0])
    expected = top_channel_map(maps, np.array([0]), database.channels[[row]], database.weights_of([row]))
    assert result.heats[:1].tolist() == expected.tolist()
    alone = dataclasses.replace(database, house_ids=("a",) * 20)
    found = Transfer(alone, lender="random").explain(maps, database.embeddings, ["a"] * 20)
    assert set(found.statuses) == {"no neighbour"}


def test_the_mean_of_all_is_one_vector_for_every_house(make_database, maps) -> None:
    database = make_database(scalar="ordering", top_channels=12, pairs=9)
    result = Transfer(database, lender="mean").explain(maps, database.embeddings)
    dense = np.zeros((20, 12))
    np.put_along_axis(dense, database.channels.astype(int), database.weights_of(range(20)), axis=1)
    expected = np.maximum(np.einsum("k,nkij->nij", dense.mean(axis=0), maps), 0)
    assert result.heats == pytest.approx(expected, abs=2e-3 * expected.max())
    assert set(result.neighbour_house_ids) == {None}
    assert "no neighbour" not in result.statuses
    embeddings = database.embeddings.copy()
    embeddings[0] = np.nan
    assert Transfer(database, lender="mean").explain(maps, embeddings).statuses[0] == "no neighbour"
    empty = dataclasses.replace(database, pairs=np.zeros_like(database.pairs))
    assert set(Transfer(empty, lender="mean").explain(maps, database.embeddings).statuses) == {"no neighbour"}


def test_an_unknown_lender_or_index_is_one_message(database) -> None:
    with pytest.raises(ModelError, match="no lender 'best'"):
        Transfer(database, lender="best")
    with pytest.raises(ModelError, match="no index 'fast'"):
        Transfer(database, index="fast")


def test_every_index_finds_the_same_neighbours(make_database) -> None:
    database = make_database(houses=300)
    queries = np.random.default_rng(3).normal(size=(50, 3)).astype(np.float32)
    names = [database.house_ids[row] for row in range(50)]
    found = [Transfer(database, index=kind).nearest(queries, names).tolist() for kind in ("exact", "tree")]
    assert found[0] == found[1]
