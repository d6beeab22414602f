"""What the fine-tuned network looks at: cached maps or pictures, turned at random."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from housevis.core.errors import ImageryError
from housevis.vision.embed import fit_picture

TURNS = 8
"""Ways to flip and transpose a square: from above, a house has no upside."""

_MOST_DECODERS = 8


class Source(Protocol):
    """Makes batches of what the network takes."""

    def batch(self, rows: NDArray[np.int64], turns: NDArray[np.int64]) -> torch.Tensor:
        """The rows asked for, each turned by its number from 0 (as it is) to 7."""
        ...


def turned(square: np.ndarray, turn: int, axes: tuple[int, int]) -> np.ndarray:
    """Flip and transpose the two axes of a square; all eight turns are different.

    Args:
        square: Any array with two axes of one length.
        turn: 0 leaves it; bit 0 flips the first axis, bit 1 the second,
            bit 2 exchanges them.
        axes: The axes.
    """
    if turn & 1:
        square = np.flip(square, axes[0])
    if turn & 2:
        square = np.flip(square, axes[1])
    if turn & 4:
        square = np.swapaxes(square, *axes)
    return square


class MapSource:
    """Cached maps of layer3.

    A turned map stands for the map of the turned picture. That is not exact,
    as filters have an orientation, and costs nothing.

    Args:
        maps: float16 `(n, 1024, h, w)`, in memory or on disk.
    """

    def __init__(self, maps: np.ndarray) -> None:
        self._maps = maps

    def batch(self, rows: NDArray[np.int64], turns: NDArray[np.int64]) -> torch.Tensor:
        """Maps float32 `(N, 1024, h, w)`, channels last."""
        _, channels, height, width = self._maps.shape
        made = np.empty((len(rows), height, width, channels), dtype=np.float32)
        for place, (row, turn) in enumerate(zip(rows, turns, strict=True)):
            made[place] = turned(self._maps[row], int(turn), (1, 2)).transpose(1, 2, 0)
        return torch.from_numpy(made).permute(0, 3, 1, 2)


class PictureSource:
    """Pictures, decoded in threads.

    Args:
        load: Row to uint8 pixels `(H, W, 3)`, or None where there is no
            picture; called in threads.
        size: Pixels per side that the network takes.
    """

    def __init__(self, load: Callable[[int], np.ndarray | None], size: int) -> None:
        self._load = load
        self._size = size
        self._threads = ThreadPoolExecutor(
            min(_MOST_DECODERS, os.cpu_count() or 1), thread_name_prefix="decode"
        )

    def batch(self, rows: NDArray[np.int64], turns: NDArray[np.int64]) -> torch.Tensor:
        """Pictures uint8 `(N, size, size, 3)`.

        Raises:
            ImageryError: A picture that was there is gone.
        """
        pictures = self._threads.map(self._picture, rows.tolist(), turns.tolist())
        return torch.from_numpy(np.stack(list(pictures)))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _picture(self, row: int, turn: int) -> np.ndarray:
        pixels = self._load(row)
        if pixels is None:
            raise ImageryError(
                "a picture that was embedded is no longer in the archive",
                remedy="Run `housevis tiles CONFIG` and `housevis embed CONFIG` again.",
            )
        return turned(fit_picture(pixels, self._size), turn, (0, 1))
