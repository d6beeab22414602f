"""Feature maps of the benchmark's pictures, computed once and kept in a cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from cub200_data import Framing, PictureSet, picture
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from housevis.core.config_sections import VisionSection
from housevis.core.progress import progress_bar
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import open_engine

COARSE: Final = 224
"""Input size in pixels at which the embedding is trained and explained, as in the papers."""

FINE: Final = 448
"""Input size at which positions are compared: the same ground on a grid twice as fine."""

Maps = NDArray[np.float16]


@dataclass(frozen=True)
class Trunk:
    """A backbone with the cache of its feature maps.

    Attributes:
        vision: Which backbone; its input size is set per call.
        folder: The cache.
        untrained: Seed of random weights in place of the trained ones; None keeps those.
        seen: Pictures that an untrained network takes the statistics of its batch norms from.
    """

    vision: VisionSection
    folder: Path
    untrained: int | None = None
    seen: PictureSet | None = None

    def maps(self, pictures: PictureSet, framing: Framing, size: int) -> Maps:
        """Feature maps float16 ``(n, K, h, w)``, read from the cache where they are there."""
        return self._cached("maps", pictures, framing, size, lambda batch: batch.astype(np.float16))

    def pooled(self, pictures: PictureSet, framing: Framing) -> NDArray[np.float32]:
        """Pooled features float32 ``(n, K)`` at :data:`COARSE`."""
        return self._cached(
            "pooled", pictures, framing, COARSE, lambda batch: batch.mean(axis=(2, 3)).astype(np.float32)
        )

    def backbone(self, size: int) -> Backbone:
        """The trained backbone for pictures of this size."""
        return load_backbone(self.vision.model_copy(update={"image_size": size}))

    def _cached(
        self,
        what: str,
        pictures: PictureSet,
        framing: Framing,
        size: int,
        keep: Callable[[NDArray[np.float32]], NDArray],
    ) -> NDArray:
        backbone = self.backbone(size)
        names = "".join(f"{path.parent.name}/{path.name} {path.stat().st_size}\n" for path in pictures.paths)
        identity = f"{what} {pictures.name} {framing} {backbone.fingerprint} {self.untrained} {names}"
        file = self.folder / f"{what}-{hashlib.sha256(identity.encode()).hexdigest()[:20]}.safetensors"
        if file.is_file():
            return load_file(file)[what]
        if self.untrained is not None and self.seen is not None:
            few = np.stack([picture(path, "centre crop", COARSE) for path in self.seen.paths[::20]])
            _forget(backbone, torch.from_numpy(few), self.untrained)
        kept = []
        with (
            open_engine(backbone, "auto", 16, threads=torch.get_num_threads()) as engine,
            progress_bar(f"{framing} at {size} pixels", len(pictures)) as bar,
        ):
            batches = iterate_features(
                lambda path: picture(path, framing, size), pictures.paths, engine, want="maps", workers=2
            )
            for batch in batches:
                assert batch.maps is not None
                kept.append(keep(batch.maps))
                bar.advance(len(batch.items))
        found = np.concatenate(kept)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({what: found}, file)
        return found


def _forget(backbone: Backbone, few: torch.Tensor, seed: int) -> None:
    """Random weights; the batch norms then take their statistics from a few pictures."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in backbone.module.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.reset_parameters()
                module.momentum = None
        backbone.module.train()
        backbone.module(few)
        backbone.module.eval()
