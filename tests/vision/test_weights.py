from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from housevis.core.errors import WeightsError
from housevis.vision.weights import file_sha256, read_weights


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.count": torch.tensor(3)}


def test_safetensors_come_back_as_float32_with_their_metadata(tmp_path: Path, state: dict) -> None:
    file = tmp_path / "w.safetensors"
    save_file({name: t.half() for name, t in state.items()}, file, metadata={"stride": "3x3"})
    weights = read_weights(file, file_sha256(file))
    assert weights.tensors["layer.weight"].dtype == torch.float32
    assert torch.equal(weights.tensors["layer.weight"], state["layer.weight"])
    assert weights.metadata == {"stride": "3x3"}
    assert weights.sha256 == file_sha256(file)


def test_pth_is_converted_once_to_the_cache(tmp_path: Path, cache: Path, state: dict) -> None:
    file = tmp_path / "w.pth"
    torch.save({"state_dict": state}, file)
    digest = file_sha256(file)
    first = read_weights(file, digest)
    converted = cache / "housevis" / "weights" / f"{digest}.safetensors"
    stamp = converted.stat().st_mtime_ns
    second = read_weights(file, digest)
    assert converted.stat().st_mtime_ns == stamp
    assert list(converted.parent.iterdir()) == [converted]
    for weights in (first, second):
        assert torch.equal(weights.tensors["layer.weight"], state["layer.weight"])


def test_pth_without_a_stated_hash_is_not_opened(tmp_path: Path, cache: Path, state: dict) -> None:
    file = tmp_path / "w.pth"
    torch.save(state, file)
    with pytest.raises(WeightsError, match=f'vision.weights_sha256 = "{file_sha256(file)}"'):
        read_weights(file)
    assert not cache.exists()


def test_hash_in_the_file_name_counts_as_stated(tmp_path: Path, cache: Path, state: dict) -> None:
    plain = tmp_path / "w.pth"
    torch.save(state, plain)
    named = plain.rename(tmp_path / f"w-{file_sha256(plain)[:8]}.pth")
    assert set(read_weights(named).tensors) == set(state)
    wrong = named.rename(tmp_path / "w-00000000.pth")
    with pytest.raises(WeightsError, match="expected 00000000"):
        read_weights(wrong)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_wrong_hash_is_refused_before_reading(tmp_path: Path, cache: Path, suffix: str) -> None:
    file = tmp_path / f"w{suffix}"
    file.write_bytes(b"not even weights")
    with pytest.raises(WeightsError, match="the SHA-256 is"):
        read_weights(file, "ab" * 32)


def test_damaged_files_are_named(tmp_path: Path, cache: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        file = tmp_path / f"w{suffix}"
        file.write_bytes(b"not even weights")
        with pytest.raises(WeightsError, match="damaged") as caught:
            read_weights(file, file_sha256(file))
        assert caught.value.where == str(file)


def test_a_pickle_that_runs_code_never_runs(tmp_path: Path, cache: Path) -> None:
    trace = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> tuple:
            return (Path.touch, (trace,))

    file = tmp_path / "w.pth"
    torch.save({"layer.weight": Harmful()}, file)
    with pytest.raises(WeightsError, match="more than plain tensors"):
        read_weights(file, file_sha256(file))
    old_style = tmp_path / "old.pth"
    old_style.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(WeightsError, match="more than plain tensors"):
        read_weights(old_style, file_sha256(old_style))
    assert not trace.exists()


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path)
    onnx = tmp_path / "w.onnx"
    onnx.write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"not from \.onnx"):
        read_weights(onnx)


def test_a_file_without_tensors_is_refused(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"epoch": 3}, file)
    with pytest.raises(WeightsError, match="no named tensors"):
        read_weights(file, file_sha256(file))
