"""Pictures of the neighbourhood: the mean pooled feature of a house's nearest other pictures."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from housevis.core.errors import ModelError
from housevis.core.storage import write_file

_KIND: Final = "pictures of the neighbourhood"
_CHUNK: Final = 4096


class PicturePool:
    """The distinct pictures of a run's houses, from which neighbourhoods are made.

    A picture that several houses share, such as a tile, counts once and lies
    in their middle. Features are kept as float16.

    Args:
        image_keys: Identity of each picture's content, `p` different ones.
        latitude: Degrees north `(p,)`.
        longitude: Degrees east `(p,)`.
        features: Pooled features `(p, K)`.
    """

    def __init__(
        self,
        image_keys: Sequence[str],
        latitude: NDArray[np.floating],
        longitude: NDArray[np.floating],
        features: NDArray[np.floating],
    ) -> None:
        self.image_keys = list(image_keys)
        self.latitude = np.asarray(latitude, dtype=np.float64)
        self.longitude = np.asarray(longitude, dtype=np.float64)
        self.features = np.asarray(features, dtype=np.float16)
        self._row_of = {key: row for row, key in enumerate(self.image_keys)}
        self._tree = cKDTree(_on_the_sphere(self.latitude, self.longitude))

    def __len__(self) -> int:
        return len(self.image_keys)

    @classmethod
    def of_houses(
        cls,
        image_keys: NDArray[np.str_],
        latitude: NDArray[np.floating],
        longitude: NDArray[np.floating],
        features: NDArray[np.floating],
    ) -> PicturePool:
        """The pool of the pictures of `n` houses.

        Args:
            image_keys: `(n,)`, empty where a house has no picture.
            latitude: `(n,)`.
            longitude: `(n,)`.
            features: Pooled features `(n, K)`, of houses with a picture finite.
        """
        shown = np.flatnonzero(image_keys != "")
        keys, first, which = np.unique(image_keys[shown], return_index=True, return_inverse=True)
        houses = np.maximum(np.bincount(which, minlength=len(keys)), 1)
        return cls(
            keys.tolist(),
            np.bincount(which, latitude[shown], len(keys)) / houses,
            np.bincount(which, longitude[shown], len(keys)) / houses,
            features[shown[first]],
        )

    def joined(
        self,
        features: NDArray[np.floating],
        image_keys: NDArray[np.str_] | Sequence[str],
        latitude: NDArray[np.floating],
        longitude: NDArray[np.floating],
        numbers: Sequence[int],
    ) -> NDArray[np.float32]:
        """Pooled features of houses, and behind them the mean features of their neighbourhoods.

        A house's own picture is none of its neighbours, known by its key.
        Where there are fewer other pictures than asked for, the mean is of
        those there are, and without any the house's own feature stands in.

        Args:
            features: The houses' own pooled features `(n, K)`, NaN rows where
                a house has no picture; these stay NaN.
            image_keys: Keys of the houses' pictures `(n,)`.
            latitude: Degrees north `(n,)`.
            longitude: Degrees east `(n,)`.
            numbers: How many nearest pictures each block is the mean of.

        Returns:
            float32 ``(n, K * (1 + len(numbers)))``.

        Raises:
            ModelError: The pictures are of another backbone.
        """
        own = np.asarray(features, dtype=np.float32)
        if own.ndim != 2 or own.shape[1] != self.features.shape[1]:
            raise ModelError(
                f"features of shape {own.shape} do not fit pictures with {self.features.shape[1]} channels",
                remedy="Use the backbone that the run was trained on.",
            )
        channels = own.shape[1]
        result = np.full((len(own), channels * (1 + len(numbers))), np.nan, dtype=np.float32)
        result[:, :channels] = own
        shown = np.flatnonzero(np.isfinite(own[:, 0]))
        places = _on_the_sphere(np.asarray(latitude), np.asarray(longitude))
        keys = np.asarray(image_keys)
        for start in range(0, len(shown), _CHUNK):
            rows = shown[start : start + _CHUNK]
            nearest, is_other = self._nearest(places[rows], keys[rows], max(numbers))
            used, position = np.unique(nearest, return_inverse=True)
            position = position.reshape(nearest.shape)
            pictures = self.features[used].astype(np.float32)
            rank = np.cumsum(is_other, axis=1)
            for block, number in enumerate(numbers, start=1):
                taken = is_other & (rank <= number)
                count = taken.sum(axis=1)
                share = csr_array(
                    (
                        np.repeat(1 / np.maximum(count, 1), count).astype(np.float32),
                        position[taken],
                        np.concatenate([[0], np.cumsum(count)]),
                    ),
                    shape=(len(rows), len(used)),
                )
                mean = np.where(count[:, None] > 0, share @ pictures, own[rows])
                result[rows, block * channels : (block + 1) * channels] = mean
        return result

    def without(self, image_keys: Collection[str]) -> PicturePool:
        """The pool without some pictures."""
        left_out = set(image_keys)
        kept = np.array([key not in left_out for key in self.image_keys], dtype=bool)
        return PicturePool(
            [key for key in self.image_keys if key not in left_out],
            self.latitude[kept],
            self.longitude[kept],
            self.features[kept],
        )

    def save(self, path: str | Path) -> None:
        """Write the pool as safetensors, atomically; the keys lie in its JSON metadata."""
        places = np.column_stack([self.latitude, self.longitude])
        tensors: dict[str, NDArray[Any]] = {"features": self.features, "places": places}
        about = json.dumps({"kind": _KIND, "image_keys": self.image_keys})
        write_file(Path(path), save(tensors, metadata={"housevis": about}))

    @classmethod
    def load(cls, path: str | Path) -> PicturePool:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: There is no such file, or it is damaged.
        """
        try:
            with safe_open(Path(path), framework="numpy") as stored:
                about = json.loads(stored.metadata()["housevis"])
                places, features = stored.get_tensor("places"), stored.get_tensor("features")
            if about["kind"] != _KIND or not len(about["image_keys"]) == len(places) == len(features):
                raise ValueError
            return cls(about["image_keys"], places[:, 0], places[:, 1], features)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as problem:
            raise ModelError(
                f"no {_KIND} can be read here ({problem.__class__.__name__})",
                where=str(path),
                remedy="Run `housevis run CONFIG` again.",
            ) from None

    def _nearest(
        self, places: NDArray[np.float64], image_keys: NDArray[np.str_], number: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of the nearest pictures `(m, number + 1)`, and which of them are not the house's own."""
        if not len(self):
            return np.empty((len(places), 0), dtype=np.int64), np.empty((len(places), 0), dtype=bool)
        wanted = np.arange(1, min(number + 1, len(self)) + 1)
        nearest = self._tree.query(places, k=wanted)[1]
        own = np.array([self._row_of.get(key, -1) for key in image_keys.tolist()])
        return nearest, nearest != own[:, None]


def _on_the_sphere(latitude: NDArray[np.floating], longitude: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points of the unit sphere `(n, 3)`; straight lines between them grow with the distance."""
    north, east = np.radians(np.asarray(latitude, np.float64)), np.radians(np.asarray(longitude, np.float64))
    return np.column_stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
