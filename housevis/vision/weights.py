"""Network weights on disk: checked by SHA-256, never unpickled blindly.

This is the one module through which third-party ``.pth`` files pass: the
SHA-256 first, then ``torch.load(weights_only=True)``, then once to
safetensors in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from housevis.core.errors import WeightsError
from housevis.core.storage import write_file

_HASH_IN_NAME = re.compile(r"-(?P<prefix>[0-9a-f]{8,64})\.pth$")


@dataclass(frozen=True)
class Weights:
    """Named tensors read from one file.

    Attributes:
        tensors: Parameter name to tensor, float32.
        sha256: Hex SHA-256 of the file that they were read from.
        metadata: The text metadata of a safetensors file.
    """

    tensors: dict[str, torch.Tensor]
    sha256: str
    metadata: dict[str, str]


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        WeightsError: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise WeightsError(
            "there is no such weights file",
            where=str(path),
            remedy="Check vision.weights, or leave it out to use the packaged backbone.",
        ) from None
    except OSError as problem:
        raise WeightsError(
            f"the weights file cannot be read ({problem.strerror})",
            where=str(path),
            remedy="vision.weights must name a readable .safetensors or .pth file.",
        ) from None


def read_weights(path: Path, sha256: str | None = None) -> Weights:
    """Read a ``.safetensors`` or ``.pth`` file, its SHA-256 checked first.

    Args:
        path: The file.
        sha256: The SHA-256 that it must have (hex, a prefix of at least 8
            digits is enough). A ``.pth`` file needs one, here or in its name
            as torchvision writes it (``resnet50-0676ba61.pth``).

    Returns:
        The tensors as float32.

    Raises:
        WeightsError: The file is missing, damaged, not the one expected, or
            a ``.pth`` whose SHA-256 nobody stated.
    """
    found = file_sha256(path)
    if path.suffix == ".safetensors":
        _check(path, found, sha256)
        return _read_safetensors(path, found)
    if path.suffix not in {".pth", ".pt"}:
        raise WeightsError(
            f"weights are read from .safetensors or .pth files, not from {path.suffix or path.name}",
            where=str(path),
            remedy="Convert the file, or name another one as vision.weights.",
        )
    named = _HASH_IN_NAME.search(path.name)
    expected = sha256 or (named["prefix"] if named else None)
    if expected is None:
        raise WeightsError(
            "a .pth file is only opened when its SHA-256 is stated",
            where=str(path),
            remedy=f'If you trust this file, set vision.weights_sha256 = "{found}".',
        )
    _check(path, found, expected)
    converted = platformdirs.user_cache_path("housevis") / "weights" / f"{found}.safetensors"
    if not converted.is_file():
        _convert(path, converted)
    return _read_safetensors(converted, found)


def _check(path: Path, found: str, expected: str | None) -> None:
    if expected is not None and not (len(expected) >= 8 and found.startswith(expected.lower())):
        raise WeightsError(
            f"the SHA-256 is {found}, expected {expected}",
            where=str(path),
            remedy="The file is damaged or another one: fetch it again, or correct vision.weights_sha256.",
        )


def _read_safetensors(path: Path, sha256: str) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as problem:
        raise WeightsError(
            f"the weights file is damaged ({problem})",
            where=str(path),
            remedy="Delete it and fetch it again.",
        ) from None
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return Weights(floats, sha256, metadata)


def _convert(source: Path, target: Path) -> None:
    try:
        loaded: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as problem:
        raise WeightsError(
            f"the file holds more than plain tensors, or is damaged ({str(problem).splitlines()[0][:120]})",
            where=str(source),
            remedy="Only a state dict of tensors is accepted.",
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    tensors = {
        str(name): tensor.detach().clone().contiguous()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor)
    }
    if not tensors:
        raise WeightsError(
            "the file holds no named tensors", where=str(source), remedy="A state dict of tensors is needed."
        )
    write_file(target, save(tensors))
