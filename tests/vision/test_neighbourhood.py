from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.vision.neighbourhood import PicturePool

HOUSES = 200
CHANNELS = 6


@pytest.fixture(scope="module")
def houses() -> dict[str, Any]:
    """Houses of which some share a picture and some have none."""
    generator = np.random.default_rng(3)
    keys = np.array([f"picture-{row % 170}" for row in range(HOUSES)])
    keys[::9] = ""
    by_key = generator.normal(size=(170, CHANNELS)).astype(np.float16).astype(np.float32)
    features = by_key[np.arange(HOUSES) % 170]
    features[keys == ""] = np.nan
    return {
        "features": features,
        "image_keys": keys,
        "latitude": 47 + 0.1 * generator.random(HOUSES),
        "longitude": -122 + 0.1 * generator.random(HOUSES),
    }


@pytest.fixture(scope="module")
def pool(houses: dict[str, Any]) -> PicturePool:
    return PicturePool.of_houses(**houses)


def _kilometres(pool: PicturePool, latitude: float, longitude: float) -> np.ndarray:
    """Haversine distances, by another formula than the pool's."""
    north, east = np.radians(pool.latitude), np.radians(pool.longitude)
    own_north, own_east = np.radians(latitude), np.radians(longitude)
    chord = np.sin((north - own_north) / 2) ** 2 + np.cos(north) * np.cos(own_north) * (
        np.sin((east - own_east) / 2) ** 2
    )
    return 2 * 6371 * np.arcsin(np.sqrt(chord))


def test_each_block_is_the_mean_of_the_nearest_other_pictures(
    houses: dict[str, Any], pool: PicturePool
) -> None:
    joined = pool.joined(**houses, numbers=[3, 20])
    assert joined.shape == (HOUSES, 3 * CHANNELS)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined[:, :CHANNELS], houses["features"])
    assert np.isnan(joined[houses["image_keys"] == ""]).all()
    for row in (1, 25, 172, 190):
        far = _kilometres(pool, houses["latitude"][row], houses["longitude"][row])
        far[pool.image_keys.index(houses["image_keys"][row])] = np.inf
        order = np.argsort(far)
        for block, number in enumerate((3, 20), start=1):
            expected = pool.features[order[:number]].astype(np.float32).mean(axis=0)
            found = joined[row, block * CHANNELS : (block + 1) * CHANNELS]
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_shared_picture_counts_once_and_lies_in_the_middle(houses: dict[str, Any]) -> None:
    pool = PicturePool.of_houses(**houses)
    shown = houses["image_keys"] != ""
    assert pool.image_keys == sorted(set(houses["image_keys"][shown]))
    both = np.flatnonzero(houses["image_keys"] == "picture-2")
    assert len(both) == 2
    place = pool.image_keys.index("picture-2")
    assert pool.latitude[place] == pytest.approx(houses["latitude"][both].mean())
    assert pool.longitude[place] == pytest.approx(houses["longitude"][both].mean())


def test_a_picture_of_its_own_teaches_a_house_nothing_of_its_neighbourhood(
    houses: dict[str, Any], pool: PicturePool
) -> None:
    """Another feature of the house's own picture changes the first block alone."""
    row = 1
    changed = pool.features.copy()
    changed[pool.image_keys.index(houses["image_keys"][row])] = 50
    other = PicturePool(pool.image_keys, pool.latitude, pool.longitude, changed)
    before, after = (each.joined(**houses, numbers=[5]) for each in (pool, other))
    np.testing.assert_array_equal(after[row], before[row])
    assert not np.array_equal(after, before, equal_nan=True)


def test_a_new_house_has_the_run_s_pictures_around_it(houses: dict[str, Any], pool: PicturePool) -> None:
    new = np.ones((1, CHANNELS), dtype=np.float32)
    far = _kilometres(pool, 47.05, -121.95)
    joined = pool.joined(new, ["not in the pool"], np.array([47.05]), np.array([-121.95]), [4])
    expected = pool.features[np.argsort(far)[:4]].astype(np.float32).mean(axis=0)
    np.testing.assert_allclose(joined[0, CHANNELS:], expected, atol=1e-5)


def test_few_pictures(houses: dict[str, Any]) -> None:
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    places = {"latitude": np.array([47.0, 47.1, 47.3]), "longitude": np.zeros(3)}
    keys = np.array(["a", "b", ""])
    features[2] = np.nan
    pool = PicturePool.of_houses(keys, **places, features=features)
    joined = pool.joined(features, keys, **places, numbers=[10])
    np.testing.assert_array_equal(joined[0], [0, 1, 2, 3])
    np.testing.assert_array_equal(joined[1], [2, 3, 0, 1])
    assert np.isnan(joined[2]).all()
    alone = pool.without(["b"])
    assert len(alone) == 1
    np.testing.assert_array_equal(alone.joined(features, keys, **places, numbers=[10])[0], [0, 1, 0, 1])
    empty = pool.without(["a", "b"])
    np.testing.assert_array_equal(empty.joined(features, keys, **places, numbers=[1])[1], [2, 3, 2, 3])


def test_save_and_load(houses: dict[str, Any], pool: PicturePool, tmp_path: Path) -> None:
    file = tmp_path / "serving" / "neighbourhood.safetensors"
    pool.save(file)
    assert list(file.parent.iterdir()) == [file]
    loaded = PicturePool.load(file)
    np.testing.assert_array_equal(
        loaded.joined(**houses, numbers=[8, 30]), pool.joined(**houses, numbers=[8, 30])
    )
    file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="pictures of the neighbourhood") as caught:
        PicturePool.load(file)
    assert caught.value.where == str(file)
    with pytest.raises(ModelError):
        PicturePool.load(tmp_path / "absent.safetensors")


def test_features_of_another_backbone_are_refused(houses: dict[str, Any], pool: PicturePool) -> None:
    with pytest.raises(ModelError, match="6 channels"):
        pool.joined(np.zeros((1, 3)), ["a"], np.zeros(1), np.zeros(1), [2])
