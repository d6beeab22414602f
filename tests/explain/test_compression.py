from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.explain import GradWeightDatabase, Transfer
from housevis.explain.compression import compressed


def clustered(make_database, houses: int = 30) -> GradWeightDatabase:
    """Three far groups of houses."""
    database = make_database(houses=houses, scalar="ordering", pairs=9)
    embeddings = database.embeddings * 0.01
    embeddings += 100 * np.repeat(np.eye(3, dtype=np.float32), houses // 3, axis=0)
    return dataclasses.replace(database, embeddings=embeddings)


def dense(database: GradWeightDatabase) -> np.ndarray:
    found = np.zeros((len(database), database.about.channels_in_all))
    np.put_along_axis(found, database.channels.astype(int), database.weights_of(range(len(database))), axis=1)
    return found


def test_a_centre_has_the_mean_weights_of_its_houses(make_database) -> None:
    database = clustered(make_database)
    small = compressed(database, 3)
    assert len(small) == 3
    assert small.about.compressed_from == 30
    assert small.pairs.sum() == database.pairs.sum()
    for row in range(3):
        group = int(np.argmax(small.embeddings[row])) * 10
        members = slice(group, group + 10)
        assert small.embeddings[row] == pytest.approx(database.embeddings[members].mean(axis=0), abs=1e-3)
        means = dense(database)[members].mean(axis=0)
        top = np.sort(means)[::-1][: small.top_channels]
        assert small.weights_of([row])[0] == pytest.approx(top, abs=2e-3 * np.abs(top).max())
        distances = ((database.embeddings[members] - small.embeddings[row]) ** 2).sum(axis=1)
        assert small.house_ids[row] == database.house_ids[group + int(distances.argmin())]


def test_a_compressed_database_explains_and_names_a_training_house(make_database, tmp_path: Path) -> None:
    database = clustered(make_database)
    compressed(database, 3).save(tmp_path / "small.safetensors")
    small = GradWeightDatabase.load(tmp_path / "small.safetensors")
    maps = np.random.default_rng(1).random((30, 12, 2, 2), dtype=np.float32)
    found = Transfer(small).explain(maps, database.embeddings)
    assert set(found.neighbour_house_ids) == set(small.house_ids) <= set(database.house_ids)
    with pytest.raises(ModelError, match="compressed"):
        small.without({"house-1"})


def test_houses_without_weights_are_left_out_and_centres_are_not_more_than_houses(make_database) -> None:
    database = clustered(make_database)
    pairs = np.where(np.arange(30) < 25, 0, database.pairs).astype(np.int32)
    small = compressed(dataclasses.replace(database, pairs=pairs), 50)
    assert small.about.compressed_from == 5
    assert sorted(small.house_ids) == sorted(database.house_ids[25:])


def test_the_same_seed_gives_the_same_centres(make_database) -> None:
    database = make_database(houses=40)
    one, other = (compressed(database, 6, seed=2) for _ in range(2))
    assert one.embeddings.tolist() == other.embeddings.tolist()
    assert one.house_ids == other.house_ids


def test_nothing_cannot_be_compressed(make_database) -> None:
    database = make_database()
    with pytest.raises(ModelError, match="0 centres"):
        compressed(database, 0)
    with pytest.raises(ModelError, match="0 houses"):
        compressed(dataclasses.replace(database, pairs=np.zeros_like(database.pairs)))
