"""Where a worker turns pictures into features: archive and backbone, opened once per process.

A shard of houses is sent to a worker with a :class:`PictureWork`. The first
shard opens what the work names; the ones after it find it open.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from data_pipeline.archive import TileArchive
from housevis.core.config_sections import ImagerySection, VisionSection
from housevis.core.engine import worker_threads
from housevis.core.errors import WorkerError
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.engines import FeatureEngine, open_engine
from housevis.vision.store import FeatureStore

T = TypeVar("T")
R = TypeVar("R")

_DESKS_KEPT = 2
_MOST_DECODERS = 8


@dataclass(frozen=True)
class PictureWork:
    """What a worker has to know to make features of houses; it can be sent to another machine.

    Attributes:
        archive: The tiles, at the same path on every worker.
        imagery: How pictures are cut.
        vision: The backbone and its engine.
        fingerprint: The backbone's. A worker that loads another one is refused.
        features: Folder of the features that are stored already, which are
            not computed again; None computes all.
        token: Names this piece of work, so that nothing older is taken for it.
    """

    archive: Path
    imagery: ImagerySection
    vision: VisionSection
    fingerprint: str
    features: Path | None = None
    token: str = field(default_factory=lambda: uuid4().hex)


def picture_work(
    archive: Path,
    imagery: ImagerySection,
    vision: VisionSection,
    backbone: Backbone,
    features: Path | None = None,
) -> PictureWork:
    """The work on one backbone's features; the address of the imagery, which may hold a key, stays here."""
    return PictureWork(
        archive.resolve(),
        imagery.model_copy(update={"url": None, "wmts": None, "record": None}),
        vision.model_copy(update={"backbone": backbone.name}),
        backbone.fingerprint,
        None if features is None else features.resolve(),
    )


class Desk:
    """What one piece of work needs, open in this process.

    Attributes:
        archive: The tiles.
        engine: The backbone, ready to run.
        known: Keys of pictures whose features were stored when the work began here.
    """

    def __init__(self, work: PictureWork, engine: FeatureEngine) -> None:
        self.archive = TileArchive(work.archive)
        self.engine = engine
        self.known: frozenset[str] = frozenset()
        if work.features is not None:
            self.known = frozenset(FeatureStore(work.features, work.fingerprint).keys())
        threads = worker_threads() or min(_MOST_DECODERS, os.cpu_count() or 1)
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._kept: dict[str, Any] = {}
        self._lock = threading.Lock()

    def decode(self, load: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Load items in threads; results in order."""
        return list(self._decoders.map(load, items))

    def once(self, name: str, make: Callable[[], R]) -> R:
        """Make something at the first call, and hand out the same ever after."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            return self._kept[name]

    def close(self) -> None:
        """Wait for what runs, and close everything."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self.engine.close()
        self.archive.close()


_lock = threading.Lock()
_desks: OrderedDict[str, Desk] = OrderedDict()
_lent: dict[str, Backbone] = {}


@contextmanager
def lent_backbone(work: PictureWork, backbone: Backbone) -> Iterator[None]:
    """Let work that stays in this process use a backbone that is loaded already.

    What the work opened here is closed after the block.
    """
    _lent[work.token] = backbone
    try:
        yield
    finally:
        with _lock:
            del _lent[work.token]
            desk = _desks.pop(work.token, None)
        if desk is not None:
            desk.close()


def desk_for(work: PictureWork) -> Desk:
    """The desk of a piece of work, opened by the first shard that comes to this process.

    Raises:
        WorkerError: This machine does not see the archive, or has another backbone.
        WeightsError: The backbone's weights are missing here.
    """
    with _lock:
        desk = _desks.get(work.token)
        if desk is None:
            if not work.archive.is_file():
                raise WorkerError(
                    "a worker does not see the archive of tiles",
                    where=f"{socket.gethostname()}, {work.archive}",
                    remedy="Workers need the folder of the runs and the weights at the same paths as here: "
                    "put them on a file system that all machines share.",
                )
            desk = _desks[work.token] = Desk(work, _engine_for(work))
            while len(_desks) > _DESKS_KEPT:
                _desks.popitem(last=False)
        return desk


def _engine_for(work: PictureWork) -> FeatureEngine:
    lent = _lent.get(work.token)
    if lent is None:
        for desk in _desks.values():
            engine = desk.engine
            if (
                engine.backbone.fingerprint == work.fingerprint
                and engine.batch_size == work.vision.batch_size
            ):
                return engine
    backbone = lent or load_backbone(work.vision)
    if backbone.fingerprint != work.fingerprint:
        raise WorkerError(
            f"a worker has the backbone {backbone.fingerprint}, not {work.fingerprint}",
            where=socket.gethostname(),
            remedy="Give all machines the same weights file, see vision.weights.",
        )
    return open_engine(backbone, work.vision.engine, work.vision.batch_size, threads=worker_threads())
