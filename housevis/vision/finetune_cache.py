"""The maps of layer3 on disk, so that the frozen trunk runs once over every picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from housevis.core.errors import ModelError
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file
from housevis.vision.embed import iterate_features
from housevis.vision.engines import FeatureEngine

_MAPS = "maps.npy"
_STATE = "maps.json"
_BATCHES_PER_SAVE = 8


class MapCache:
    """One float16 array `(n, K, h, w)` of feature maps, one row per picture.

    Rows are written in order and a small file says how many are finished, so
    that a process that was killed goes on where it was.

    Args:
        folder: Where the array lies; a folder of another backbone or of other
            pictures is written anew.
        fingerprint: The backbone's.
        keys: Keys of the `n` pictures, in the order of the rows.
        shape: `(K, h, w)`.
    """

    def __init__(
        self, folder: Path, fingerprint: str, keys: Sequence[str], shape: tuple[int, int, int]
    ) -> None:
        self.folder = folder
        self.keys = list(keys)
        self.shape = (len(self.keys), *shape)
        self._identity = hashlib.sha256(json.dumps([fingerprint, self.keys, shape]).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(np.float16).itemsize

    @property
    def finished(self) -> int:
        """Rows that are written."""
        try:
            state = json.loads((self.folder / _STATE).read_text())
            if state["pictures"] == self._identity and (self.folder / _MAPS).stat().st_size >= self.size:
                return int(state["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0

    def build(self, load: Callable[[str], np.ndarray | None], engine: FeatureEngine) -> int:
        """Write the rows that are missing.

        Args:
            load: Key to uint8 pixels `(H, W, 3)`; called in threads.
            engine: The trunk, ready to run.

        Returns:
            How many rows were written now.

        Raises:
            ModelError: A picture is gone.
        """
        first = self.finished
        if first == len(self.keys):
            return 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if first == 0:
            (self.folder / _STATE).unlink(missing_ok=True)
        maps = np.lib.format.open_memmap(
            self.folder / _MAPS, "r+" if first else "w+", np.float16, None if first else self.shape
        )
        row = first
        with progress_bar("maps of layer3", len(self.keys), done=first) as bar:
            batches = iterate_features(load, self.keys[first:], engine, want="maps")
            for number, batch in enumerate(batches, start=1):
                if batch.missing or batch.maps is None:
                    raise ModelError(
                        f"{len(batch.missing)} pictures that were embedded are no longer in the archive",
                        where=str(self.folder),
                        remedy="Run `housevis tiles CONFIG` and `housevis embed CONFIG` again.",
                    )
                maps[row : row + len(batch.maps)] = batch.maps
                row += len(batch.maps)
                if number % _BATCHES_PER_SAVE == 0 or row == len(self.keys):
                    maps.flush()
                    self._write_state(row)
                bar.advance(len(batch.items))
        return row - first

    def open(self) -> np.ndarray:
        """The array, read from disk as it is needed.

        Raises:
            ModelError: It is not complete.
        """
        if self.finished < len(self.keys):
            raise ModelError(
                f"{len(self.keys) - self.finished} maps are missing",
                where=str(self.folder),
                remedy="Give the same command again.",
            )
        maps: np.ndarray = np.load(self.folder / _MAPS, mmap_mode="r")
        return maps

    def _write_state(self, finished: int) -> None:
        write_file(
            self.folder / _STATE, json.dumps({"pictures": self._identity, "finished": finished}) + "\n"
        )
