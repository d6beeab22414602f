"""Pooled features on disk, one row per picture content.

A folder of part files, each written once and atomically: float16 features
with the SHA-256 keys of their pictures. A process that is killed loses at
most the part it was writing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from housevis.core.errors import ModelError
from housevis.core.storage import write_file

_KEY_BYTES = 32
_KEY = np.dtype((np.void, _KEY_BYTES))
_PART = re.compile(r"part-[0-9a-f]{16}\.safetensors")


class FeatureStore:
    """Features of one backbone, by the key of the picture.

    Args:
        folder: Where the part files lie; made if it is not there.
        fingerprint: The backbone's. Kept in every part; a folder that holds
            features of another backbone is refused. None takes any.

    Raises:
        ModelError: A part is damaged or comes from another backbone.
    """

    def __init__(self, folder: str | Path, fingerprint: str | None = None) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        self._forget_parts()
        self._refresh()

    def _forget_parts(self) -> None:
        self._parts: dict[Path, np.ndarray] = {}
        self._order = np.empty(0, dtype=_KEY)
        self._part_of = np.empty(0, dtype=np.int64)
        self._row_of = np.empty(0, dtype=np.int64)
        self._channels: int | None = None

    def keys(self) -> set[str]:
        """The keys of all stored pictures, hex SHA-256."""
        self._refresh()
        return {key.tobytes().hex() for key in self._order}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def channels(self) -> int | None:
        """`K` of the stored features; None while the store is empty."""
        return self._channels

    def append(self, keys: Sequence[str], features: np.ndarray) -> None:
        """Store features as one new part file; keys already there are left as they are.

        Args:
            keys: Hex SHA-256 per row.
            features: `(n, K)`.

        Raises:
            ModelError: Another number of rows or channels than expected, or
                a value that is not finite.
        """
        features = np.asarray(features)
        packed = _pack(keys)
        if features.ndim != 2 or len(features) != len(packed):
            raise ModelError(
                f"features of shape {features.shape} do not belong to {len(packed)} keys",
                where=str(self.folder),
                remedy="Hand over one row per key.",
            )
        self._refresh()
        if self._channels is not None and len(features) and features.shape[1] != self._channels:
            raise self._other_backbone(f"{self._channels} channels, not {features.shape[1]}")
        _, first = np.unique(packed, return_index=True)
        new = np.sort(first[~np.isin(packed[first], self._order)])
        if len(new) == 0:
            return
        with np.errstate(over="ignore"):
            halves = np.ascontiguousarray(features[new], dtype=np.float16)
        if not np.isfinite(halves).all():
            raise ModelError(
                "a feature is not finite in half precision",
                where=str(self.folder),
                remedy="The weights of the backbone do not fit it; check vision.weights.",
            )
        self._write({"keys": packed[new].view(np.uint8).reshape(-1, _KEY_BYTES), "features": halves})
        self._refresh()

    def remove(self, keys: Sequence[str]) -> int:
        """Take features out; each part that holds one is written anew.

        Returns:
            How many there were.
        """
        self._refresh()
        unwanted = _pack(keys)
        removed = 0
        for file, held in list(self._parts.items()):
            kept = ~np.isin(held, unwanted)
            if kept.all():
                continue
            removed += int((~kept).sum())
            if kept.any():
                halves = np.ascontiguousarray(_tensor(file, "features")[kept])
                self._write({"keys": held[kept].view(np.uint8).reshape(-1, _KEY_BYTES), "features": halves})
            file.unlink()
        self._forget_parts()
        self._refresh()
        return removed

    def read(self, keys: Sequence[str]) -> np.ndarray:
        """Read features in the order of the keys.

        Returns:
            float32 `(n, K)`.

        Raises:
            ModelError: A key has no feature.
        """
        packed = _pack(keys)
        if len(packed) == 0:
            return np.empty((0, self._channels or 0), dtype=np.float32)
        place = self._find(packed)
        if place is None:
            self._refresh()
            place = self._find(packed)
        if place is None:
            missing = int((~np.isin(packed, self._order)).sum())
            raise ModelError(
                f"{missing} of {len(packed)} pictures have no stored feature",
                where=str(self.folder),
                remedy="Embed the pictures first: housevis embed CONFIG.",
            )
        assert self._channels is not None
        found = np.empty((len(packed), self._channels), dtype=np.float32)
        parts, rows = self._part_of[place], self._row_of[place]
        files = list(self._parts)
        for part in np.unique(parts):
            here = parts == part
            found[here] = _tensor(files[part], "features")[rows[here]]
        return found

    def _find(self, packed: np.ndarray) -> np.ndarray | None:
        if len(self._order) == 0:
            return None
        place = np.minimum(np.searchsorted(self._order, packed), len(self._order) - 1)
        return place if bool((self._order[place] == packed).all()) else None

    def _refresh(self) -> None:
        files = sorted(file for file in self.folder.iterdir() if _PART.fullmatch(file.name))
        new = [file for file in files if file not in self._parts]
        if not new:
            return
        for file in new:
            self._parts[file] = self._keys_of(file)
        lengths = [len(keys) for keys in self._parts.values()]
        keys = np.concatenate(list(self._parts.values()))
        order = np.argsort(keys, kind="stable")
        self._order = keys[order]
        self._part_of = np.repeat(np.arange(len(lengths)), lengths)[order]
        self._row_of = np.concatenate([np.arange(length) for length in lengths])[order]

    def _keys_of(self, file: Path) -> np.ndarray:
        try:
            with safe_open(file, framework="np") as part:
                keys = np.ascontiguousarray(part.get_tensor("keys"), dtype=np.uint8)
                shape = part.get_slice("features").get_shape()
                written_by = (part.metadata() or {}).get("fingerprint")
        except (SafetensorError, OSError) as problem:
            raise ModelError(
                f"the part file is damaged ({problem})",
                where=str(file),
                remedy="Delete it; its features are computed again by the next run.",
            ) from None
        if self.fingerprint is not None and written_by is not None and written_by != self.fingerprint:
            raise self._other_backbone(written_by)
        if self._channels is not None and shape[1] != self._channels:
            raise self._other_backbone(f"{shape[1]} channels, not {self._channels}")
        self._channels = int(shape[1])
        return keys.view(_KEY).reshape(-1)

    def _other_backbone(self, found: str) -> ModelError:
        return ModelError(
            f"the folder holds features of another backbone ({found})",
            where=str(self.folder),
            remedy="Take another folder, or delete this one to compute the features again.",
        )

    def _write(self, tensors: dict[str, np.ndarray]) -> None:
        metadata = {"fingerprint": self.fingerprint} if self.fingerprint else None
        name = hashlib.sha256(tensors["keys"].tobytes()).hexdigest()[:16]
        write_file(self.folder / f"part-{name}.safetensors", save(tensors, metadata=metadata))


def _pack(keys: Sequence[str]) -> np.ndarray:
    try:
        joined = bytes.fromhex("".join(keys))
    except ValueError:
        joined = b""
    if len(joined) != _KEY_BYTES * len(keys):
        raise ModelError(
            "a picture key is no hex SHA-256 of 64 digits", remedy="Hand over the keys of the pictures."
        )
    return np.frombuffer(joined, dtype=_KEY)


def _tensor(file: Path, name: str) -> np.ndarray:
    with safe_open(file, framework="np") as part:
        return part.get_tensor(name)
