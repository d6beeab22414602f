"""From pictures to features: decoding in threads, overlapped with computing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from PIL import Image

from housevis.core.progress import ProgressBar
from housevis.vision.engines import FeatureEngine, Features, Want
from housevis.vision.store import FeatureStore

__all__ = ["Batch", "FeatureStore", "Picture", "embed", "fit_picture", "iterate_features"]

T = TypeVar("T")

_BATCHES_IN_FLIGHT = 2
_PART_ROWS = 1024


class Picture(Protocol):
    """What `embed` needs to know of a house's picture."""

    @property
    def pixels(self) -> np.ndarray:
        """uint8 `(H, W, 3)`, RGB."""
        ...

    @property
    def key(self) -> str:
        """Hex SHA-256 of the content."""
        ...


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


def embed(
    items: Sequence[tuple[str | None, Callable[[], Picture | None]]],
    store: FeatureStore,
    engine: FeatureEngine,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: ProgressBar | None = None,
) -> list[str | None]:
    """Store the pooled feature of every picture that is not in the store yet.

    Each picture content is computed once, however many items show it, and
    each finished part stays if the process is killed.

    Args:
        items: Per item its picture's key, if it is known already, and a
            function that loads the picture; that one is not called for a key
            that is in the store. It is called in a thread, and gives None
            where there is no picture.
        store: Where features are kept.
        engine: The backbone, ready to run.
        batch_size: Pictures per batch; None takes the engine's.
        workers: Threads that decode; None takes one per processor, 8 at most.
        progress: Advanced by one per item.

    Returns:
        Per item its picture's key, or None where it has no picture.
    """
    stored = store.keys()
    keys: list[str | None] = [key for key, _ in items]
    seen: set[str] = set(stored)
    todo: list[int] = []
    for index, key in enumerate(keys):
        if key is None or key not in seen:
            todo.append(index)
        if key is not None:
            seen.add(key)
    if progress is not None:
        progress.advance(len(items) - len(todo))

    def load(index: int) -> np.ndarray | None:
        picture = items[index][1]()
        if picture is None:
            keys[index] = None
            return None
        keys[index] = picture.key
        return picture.pixels

    waiting_keys: list[str] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            store.append(waiting_keys, np.concatenate(waiting))
            waiting_keys.clear()
            waiting.clear()

    try:
        for batch in iterate_features(load, todo, engine, batch_size=batch_size, workers=workers):
            assert batch.pooled is not None
            waiting.append(batch.pooled)
            waiting_keys.extend(key for index in batch.items if (key := keys[index]) is not None)
            if len(waiting_keys) >= _PART_ROWS:
                flush()
            if progress is not None:
                progress.advance(len(batch.items) + len(batch.missing))
    finally:
        flush()
    return keys
