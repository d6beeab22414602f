"""Colour and texture of small squares of a picture as words of a small dictionary.

The feature map of a network is coarse, and what a cell says comes from far
around it. The picture itself is fine. So a second, plain model of the same
visual feature is fitted: the share of the picture that each word takes. It is
linear in the squares, hence it says of every square what it adds to the
feature. :mod:`housevis.explain.value_map` lets it show *where within the
neighbourhood of a cell* the value lies; it never decides how much there is.

Colours carry far in drawn pictures, less in real ones: shadows, seasons and
cameras change them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.explain.metrics import mask_on_grid

SQUARES: Final = 56
"""Squares on each side of a picture."""

WORDS: Final = 64
PENALTY: Final = 100.0
"""Ridge penalty on standardised shares, chosen on town 11 of the sample market."""

_LOOKS: Final = 5
_AROUND: Final = 2
_COARSE: Final = 14
_ITERATIONS: Final = 12
_SAMPLED_SQUARES: Final = 60_000

Float32 = NDArray[np.float32]


def looks_of(pictures: NDArray[np.uint8]) -> Float32:
    """Colour and texture of the squares of pictures.

    Args:
        pictures: uint8 RGB ``(n, H, W, 3)``, each side at least 56 pixels.

    Returns:
        float32 ``(n, 56, 56, 5)``: mean red, green and blue, the spread
        within the square, and the spread of brightness among the 5 x 5
        squares around it, each in a unit that makes a step of 1 visible.

    Raises:
        ModelError: The pictures are too small or no RGB pictures.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 3 or min(pictures.shape[1:3]) < SQUARES:
        raise ModelError(f"pictures must be (n, H, W, 3) of at least {SQUARES} pixels, not {pictures.shape}")
    found = np.empty((len(pictures), SQUARES, SQUARES, _LOOKS), dtype=np.float32)
    rows, columns = (np.linspace(0, side, SQUARES + 1).astype(int) for side in pictures.shape[1:3])
    pixels_per_square = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    for place, picture in enumerate(pictures):
        pixels = picture.astype(np.float32)
        mean = _sums(pixels, rows, columns) / pixels_per_square
        square = _sums(pixels**2, rows, columns) / pixels_per_square
        spread = np.sqrt(np.maximum(square - mean**2, 0)).mean(axis=2)
        bright = np.pad(mean.mean(axis=2), _AROUND, mode="edge")
        width = 2 * _AROUND + 1
        around = np.lib.stride_tricks.sliding_window_view(bright, (width, width)).std(axis=(2, 3))
        found[place] = np.concatenate(
            [mean / 60, np.sqrt(spread)[..., None] / 2, np.sqrt(around)[..., None] / 3], axis=2
        )
    return found


def _sums(pixels: Float32, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Float32:
    return np.add.reduceat(np.add.reduceat(pixels, rows[:-1], axis=0), columns[:-1], axis=1)


@dataclass(frozen=True, eq=False)
class PictureWords:
    """A dictionary of looks.

    Attributes:
        looks: float32 ``(V, 5)``, the middle of each word.
    """

    looks: Float32

    @classmethod
    def fit(cls, pictures: NDArray[np.uint8], *, words: int = WORDS, seed: int = 1) -> PictureWords:
        """Find the words of some pictures by k-means; no price is looked at.

        Args:
            pictures: uint8 ``(n, H, W, 3)``.
            words: How many; fewer where the pictures have fewer squares.
            seed: Of the draw of squares and of the starts.
        """
        looks = looks_of(pictures).reshape(-1, _LOOKS)
        drawn = np.random.default_rng(seed).permutation(len(looks))[:_SAMPLED_SQUARES]
        sample = np.ascontiguousarray(looks[drawn])
        found = faiss.Kmeans(
            _LOOKS,
            min(words, len(sample)),
            niter=_ITERATIONS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=len(sample),
        )
        found.train(sample)
        return cls(np.asarray(found.centroids, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.looks)

    def read(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The word of every square: ``(n, 56, 56)``."""
        index = faiss.IndexFlatL2(_LOOKS)
        index.add(np.ascontiguousarray(self.looks))
        squares = np.ascontiguousarray(looks_of(pictures).reshape(-1, _LOOKS))
        return index.search(squares, 1)[1].reshape(len(pictures), SQUARES, SQUARES)


@dataclass(frozen=True, eq=False)
class WordValues:
    """What each word adds to a visual feature, everywhere and in the middle of the picture.

    Attributes:
        everywhere: float32 ``(V,)``.
        middle: float32 ``(V,)``, what it adds besides in the middle.
        typical: float32 ``(56, 56)``, the mean over the pictures it was fitted on.
        scale: Mean absolute part over those pictures, on a grid of 14 x 14 cells; above 0.
        correlation: Of the plain model with the feature, on those pictures.
    """

    everywhere: Float32
    middle: Float32
    typical: Float32
    scale: float
    correlation: float

    @classmethod
    def fit(
        cls, words: NDArray[np.int64], feature: NDArray[np.floating], number: int, *, penalty: float = PENALTY
    ) -> WordValues:
        """Ridge regression of a feature on the shares that the words take.

        Args:
            words: ``(n, 56, 56)``, see :meth:`PictureWords.read`.
            feature: ``(n,)``.
            number: Words in the dictionary.
            penalty: On standardised shares.

        Raises:
            ModelError: The shapes do not fit, or there are fewer than two pictures.
        """
        if len(words) < 2 or feature.shape != (len(words),):
            raise ModelError(f"{len(words)} pictures and features {feature.shape} do not fit")
        middle = middle_of_picture()
        flat = words.reshape(len(words), -1)
        shares = np.zeros((len(words), 2 * number))
        for place, found in enumerate(flat):
            shares[place, :number] = np.bincount(found, minlength=number)
            shares[place, number:] = np.bincount(found, weights=middle.reshape(-1), minlength=number)
        shares /= flat.shape[1]
        deviation = shares.std(axis=0)
        known = deviation > 1e-9
        standard = (shares - shares.mean(axis=0))[:, known] / deviation[known]
        target = np.asarray(feature, dtype=np.float64) - np.mean(feature)
        equations = standard.T @ standard + penalty * np.eye(standard.shape[1])
        solution = np.linalg.solve(equations, standard.T @ target)
        weights = np.zeros(2 * number)
        weights[known] = solution / deviation[known]
        fitted = standard @ solution
        spread = float(fitted.std() * target.std())
        plain = cls(
            weights[:number].astype(np.float32),
            weights[number:].astype(np.float32),
            np.zeros((SQUARES, SQUARES), dtype=np.float32),
            1.0,
            float(np.mean(fitted * target)) / spread if spread > 0 else 0.0,
        )
        typical = sum(plain.parts(some[None])[0] for some in words) / np.float32(len(words))
        values = replace(plain, typical=np.asarray(typical, dtype=np.float32))
        sizes = [float(np.abs(on_grid(values.parts(some[None]), _COARSE, _COARSE)).mean()) for some in words]
        return replace(values, scale=max(float(np.mean(sizes)), 1e-12))

    def parts(self, words: NDArray[np.int64]) -> Float32:
        """What every square adds to the feature, against the typical picture: ``(n, 56, 56)``."""
        added = self.everywhere[words] + self.middle[words] * middle_of_picture()
        return np.asarray(added / SQUARES**2 - self.typical, dtype=np.float32)


def middle_of_picture() -> Float32:
    """1 / its share of the picture in the middle 3/7 of both sides, 0 elsewhere: ``(56, 56)``."""
    side = np.zeros(SQUARES, dtype=np.float32)
    side[SQUARES * 2 // 7 : SQUARES * 5 // 7] = 7 / 3
    return side[:, None] * side[None, :]


def on_grid(parts: NDArray[np.floating], height: int, width: int) -> NDArray[np.float64]:
    """Parts of squares as means over the cells of a coarser grid: ``(n, height, width)``."""
    return mask_on_grid(np.asarray(parts), height, width)
