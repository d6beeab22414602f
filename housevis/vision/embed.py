"""From pictures to features: decoding in threads, overlapped with computing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from housevis.vision.engines import FeatureEngine, Features, Want

T = TypeVar("T")

_BATCHES_IN_FLIGHT = 2


@dataclass(frozen=True)
class Batch(Generic[T]):
    """The features of some consecutive items.

    Attributes:
        items: The items that have a picture, in order; row `i` of every
            array belongs to `items[i]`.
        missing: The items among them that have no picture.
        images: uint8 `(n, H, W, 3)` as the backbone saw them, if asked for.
        maps: float32 `(n, K, h, w)`, if asked for.
        pooled: float32 `(n, K)`, if asked for.
    """

    items: list[T]
    missing: list[T]
    images: np.ndarray | None
    maps: np.ndarray | None
    pooled: np.ndarray | None


def fit_picture(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize a picture to the backbone's input, antialiased; no copy if it fits.

    Args:
        pixels: uint8 `(H, W, 3)`.
        size: Pixels per side.

    Returns:
        uint8 `(size, size, 3)`.
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def iterate_features(
    load: Callable[[T], np.ndarray | None],
    items: Sequence[T],
    engine: FeatureEngine,
    *,
    batch_size: int | None = None,
    want: Want = "pooled",
    workers: int | None = None,
    images: bool = False,
) -> Iterator[Batch[T]]:
    """Run a backbone over many pictures, in order.

    Args:
        load: Decodes one item to uint8 `(H, W, 3)`, or None where it has no
            picture; called in threads.
        items: What to load.
        engine: The backbone, ready to run.
        batch_size: Items per batch; None takes the engine's.
        want: Which features: ``"pooled"``, ``"maps"`` or ``"both"``.
        workers: Threads that decode; None takes one per processor, 8 at most.
        images: Also hand back the pictures.

    Yields:
        One batch after another; together they hold every item once.
    """
    size = batch_size or engine.batch_size
    side = engine.backbone.input_size

    def prepare(item: T) -> np.ndarray | None:
        pixels = load(item)
        return None if pixels is None else fit_picture(pixels, side)

    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="decode")
    decoding: deque[list[Future[np.ndarray | None]]] = deque()
    computing: deque[tuple[list[T], list[T], np.ndarray, Future[Features]]] = deque()
    starts = list(range(0, len(items), size))
    ahead = iter(starts)

    def decode_next() -> None:
        start = next(ahead, None)
        if start is not None:
            decoding.append([pool.submit(prepare, item) for item in items[start : start + size]])

    def finish() -> Batch[T]:
        present, missing, stacked, future = computing.popleft()
        features = future.result()
        return Batch(present, missing, stacked if images else None, features.maps, features.pooled)

    try:
        for _ in range(_BATCHES_IN_FLIGHT + 1):
            decode_next()
        for start in starts:
            pictures = [future.result() for future in decoding.popleft()]
            decode_next()
            pairs = list(zip(items[start : start + size], pictures, strict=True))
            present = [item for item, picture in pairs if picture is not None]
            missing = [item for item, picture in pairs if picture is None]
            found = [picture for picture in pictures if picture is not None]
            stacked = np.stack(found) if found else np.empty((0, side, side, 3), dtype=np.uint8)
            computing.append((present, missing, stacked, engine.submit(stacked, want)))
            if len(computing) > _BATCHES_IN_FLIGHT:
                yield finish()
        while computing:
            yield finish()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
