from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.vision.store import FeatureStore


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def rows(numbers: list[int]) -> np.ndarray:
    return np.array([[number, number / 2, -number] for number in numbers], dtype=np.float32)


def test_features_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    store.append([key(n) for n in range(10)], rows(list(range(10))))
    store.append([key(n) for n in range(10, 15)], rows(list(range(10, 15))))
    wanted = [12, 0, 7, 7, 14]
    found = store.read([key(n) for n in wanted])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, rows(wanted))
    assert store.keys() == {key(n) for n in range(15)}
    assert (len(store), store.channels) == (15, 3)
    reopened = FeatureStore(tmp_path / "features")
    np.testing.assert_array_equal(reopened.read([key(3)]), rows([3]))


def test_empty_store(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    assert store.keys() == set()
    assert store.read([]).shape == (0, 0)
    store.append([], np.empty((0, 3)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ModelError, match="1 of 1 pictures have no stored feature"):
        store.read([key(1)])


def test_each_content_is_kept_once(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.append([key(1), key(2), key(1)], rows([1, 2, 9]))
    store.append([key(2), key(3)], rows([8, 3]))
    np.testing.assert_array_equal(store.read([key(1), key(2), key(3)]), rows([1, 2, 3]))
    assert len(store) == 3


def test_a_second_store_sees_what_the_first_wrote(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path), FeatureStore(tmp_path)
    first.append([key(1)], rows([1]))
    np.testing.assert_array_equal(second.read([key(1)]), rows([1]))
    assert second.keys() == {key(1)}


def test_a_leftover_of_a_killed_process_does_no_harm(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.append([key(1)], rows([1]))
    (tmp_path / ".writing-x1").write_bytes(b"half a part")
    again = FeatureStore(tmp_path)
    again.append([key(2)], rows([2]))
    assert again.keys() == {key(1), key(2)}


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    FeatureStore(tmp_path).append([key(1)], rows([1]))
    part = next(tmp_path.glob("part-*.safetensors"))
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(ModelError, match="damaged") as caught:
        FeatureStore(tmp_path)
    assert caught.value.where == str(part)


def test_features_of_another_backbone_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "resnet50")
    store.append([key(1)], rows([1]))
    with pytest.raises(ModelError, match=r"another backbone \(resnet50\)"):
        FeatureStore(tmp_path, "efficientnet-lite0")
    with pytest.raises(ModelError, match="3 channels, not 5"):
        store.append([key(2)], np.zeros((1, 5)))
    assert FeatureStore(tmp_path, "resnet50").keys() == {key(1)}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ModelError, match="not finite"):
        FeatureStore(tmp_path).append([key(1)], np.array([[value, 0.0]]))


def test_rows_and_keys_must_match(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(ModelError, match="do not belong to 2 keys"):
        store.append([key(1), key(2)], rows([1]))
    with pytest.raises(ModelError, match="no hex SHA-256"):
        store.append(["abc"], rows([1]))


def test_features_can_be_taken_out(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "net")
    store.append([key(n) for n in range(4)], rows(list(range(4))))
    store.append([key(n) for n in range(4, 6)], rows([4, 5]))
    assert store.remove([key(1), key(4), key(5), key(99)]) == 3
    assert store.keys() == {key(0), key(2), key(3)}
    for opened in (store, FeatureStore(tmp_path, "net")):
        np.testing.assert_array_equal(opened.read([key(3), key(0)]), rows([3, 0]))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert bytes.fromhex(key(1)) not in content
    assert bytes.fromhex(key(2)) in content
    assert store.remove([key(1)]) == 0
    store.append([key(1)], rows([7]))
    np.testing.assert_array_equal(store.read([key(1)]), rows([7]))
