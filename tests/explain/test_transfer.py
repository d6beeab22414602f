from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain import GradWeightDatabase, Transfer
from housevis.explain.transfer import NO_NEIGHBOUR


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
