from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from housevis.core.errors import ModelError
from housevis.explain import GradWeightDatabase


def rewrite(path: Path, change) -> None:
    """Change the arrays and the metadata of a saved database."""
    tensors = load_file(path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def test_what_is_saved_is_what_is_loaded(make_database, tmp_path: Path) -> None:
    database = make_database(house_ids=["köln\n1", 'a"b', *[str(n) for n in range(18)]])
    database.save(tmp_path / "new" / "weights.safetensors")
    loaded = GradWeightDatabase.load(
        tmp_path / "new" / "weights.safetensors", backbone_fingerprint="small-net"
    )
    assert loaded.house_ids == database.house_ids
    assert loaded.about == database.about
    assert len(loaded) == 20
    for name in ("embeddings", "channels", "weights", "scales", "pairs"):
        found, expected = getattr(loaded, name), getattr(database, name)
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["weights.safetensors"]


def test_tiny_weights_survive_half_precision(make_database, siamese) -> None:
    small = make_database(
        embedding=dataclasses.replace(siamese["embedding"], weight=siamese["embedding"].weight * 1e-9)
    )
    assert (small.weights_of(range(20))[:, 0] != 0).all()
    assert small.scales.max() < 1e-8


def test_a_file_in_the_way_is_one_message(make_database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="cannot be written"):
        make_database().save(tmp_path / "file" / "weights.safetensors")


def test_a_failed_write_keeps_the_old_file(make_database, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "weights.safetensors"
    make_database(seed=1).save(path)
    before = path.read_bytes()

    def full(_temporary: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ModelError, match="No space left"):
        make_database(seed=2).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_and_damaged_files(make_database, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ModelError, match="there is no grad-weight database"):
        GradWeightDatabase.load(path)
    with pytest.raises(ModelError, match="cannot be read"):
        GradWeightDatabase.load(tmp_path)
    make_database().save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match="cannot be read"):
        GradWeightDatabase.load(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be read"):
        GradWeightDatabase.load(path)
    save_file({"x": np.zeros(2)}, path)
    with pytest.raises(ModelError, match="no grad-weight database of the format"):
        GradWeightDatabase.load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors, about: tensors.pop("pairs"), "lacks pairs"),
        (lambda tensors, about: tensors.update(scales=tensors["scales"][:5]), "for 20 houses"),
        (
            lambda tensors, about: tensors.update(pairs=tensors["pairs"].astype(np.int64)),
            "pairs has the type",
        ),
        (lambda tensors, about: tensors["scales"].__setitem__(3, np.nan), "scales holds a value"),
        (lambda tensors, about: tensors["channels"].__setitem__((0, 0), 12), "beyond the 12"),
        (lambda tensors, about: tensors.update(channels=tensors["channels"][:, :2].copy()), "weights"),
        (lambda tensors, about: about.update(about="{"), "description"),
        (lambda tensors, about: about.update(about='{"scalar": "ordering"}'), "description"),
        (lambda tensors, about: about.update(about="[]"), "description"),
        (lambda tensors, about: tensors.update(house_ids=np.frombuffer(b"\xff", np.uint8)), "description"),
        (
            lambda tensors, about: tensors.update(
                house_ids=np.frombuffer(zlib.compress(b"[1, [2]]"), np.uint8)
            ),
            "description",
        ),
    ],
)
def test_a_database_that_does_not_fit_itself(make_database, tmp_path: Path, change, words: str) -> None:
    path = tmp_path / "weights.safetensors"
    make_database().save(path)
    rewrite(path, change)
    with pytest.raises(ModelError, match=words) as caught:
        GradWeightDatabase.load(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_another_backbone_is_refused(make_database, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    make_database().save(path)
    with pytest.raises(ModelError, match="belong to the backbone small-net, not to other"):
        GradWeightDatabase.load(path, backbone_fingerprint="other")


def test_the_database_is_frozen(make_database) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_database().house_ids = ()


def test_houses_can_be_left_out(make_database, tmp_path: Path) -> None:
    database = make_database(house_ids=["twice", "twice", *(str(n) for n in range(18))])
    without = database.without({"twice", "3", "nobody"})
    kept = [row for row, house_id in enumerate(database.house_ids) if house_id not in ("twice", "3")]
    assert without.house_ids == tuple(database.house_ids[row] for row in kept)
    assert without.embeddings.tolist() == database.embeddings[kept].tolist()
    assert without.weights_of(range(17)).tolist() == database.weights_of(kept).tolist()
    without.save(tmp_path / "weights.safetensors")
    assert GradWeightDatabase.load(tmp_path / "weights.safetensors").house_ids == without.house_ids


def test_a_database_of_the_first_format_still_loads(make_database, tmp_path: Path) -> None:
    """Ids were not compressed, and nothing was said of senses and methods."""
    path = tmp_path / "weights.safetensors"
    database = make_database()
    database.save(path)

    def as_it_was(tensors, metadata) -> None:
        about = json.loads(metadata["about"])
        first = (
            "scalar",
            "pairs",
            "channel_order",
            "channels_in_all",
            "cells",
            "seed",
            "backbone_fingerprint",
            "model_id",
        )
        metadata["about"] = json.dumps({name: about[name] for name in first})
        metadata["format"] = "housevis-grad-weights-1"
        tensors["house_ids"] = np.frombuffer(json.dumps(database.house_ids).encode(), dtype=np.uint8)

    rewrite(path, as_it_was)
    loaded = GradWeightDatabase.load(path)
    assert loaded.house_ids == database.house_ids
    assert loaded.about == database.about
    assert loaded.weights.tolist() == database.weights.tolist()


def test_ids_are_compressed(make_database, tmp_path: Path) -> None:
    ids = [f"a-rather-long-name-of-a-house-{number:09d}" for number in range(2000)]
    make_database(houses=2000, house_ids=ids).save(tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors")["house_ids"].nbytes < 10 * 2000
