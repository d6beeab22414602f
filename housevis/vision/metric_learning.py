"""An embedding in which pictures of one class lie together (C section 4.1, after Wu et al. 2017).

Margin loss over triplets whose negatives are sampled by distance, from
pytorch-metric-learning, an optional dependency:
``pip install housevis[research]``. What learns is a linear layer on pooled
features; the trunk stays as it is.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from housevis.core.errors import ModelError
from housevis.core.storage import write_file

DIMENSION: Final = 128
"""Size of the embedding in all three papers."""

_NAMES = ("weight", "bias")


@dataclass(frozen=True)
class EmbeddingTraining:
    """How the embedding is trained.

    Attributes:
        dimension: Size of the embedding.
        steps: Batches.
        classes_per_batch: Classes in a batch.
        pictures_per_class: Pictures of each of them.
        learning_rate: Of Adam, falling to 0 by a cosine.
        weight_decay: Decoupled.
        margin: Of the margin loss.
        boundary: Distance at the middle of the margin at the start; learned.
    """

    dimension: int = DIMENSION
    steps: int = 300
    classes_per_batch: int = 16
    pictures_per_class: int = 5
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    margin: float = 0.2
    boundary: float = 1.2


@dataclass(frozen=True, eq=False)
class LinearEmbedding:
    """A linear layer from pooled features to the raw embedding.

    Attributes:
        weight: float32 ``(D, K)``.
        bias: float32 ``(D,)``.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def embed(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        """Raw embeddings ``(n, D)``, not normalised, of pooled features ``(n, K)``."""
        return np.asarray(pooled, dtype=np.float32) @ self.weight.T + self.bias

    def save(self, path: Path, *, about: str) -> None:
        """Write a safetensors file.

        Args:
            path: The file.
            about: What it was trained on and how; :meth:`load` compares it.
        """
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in _NAMES}
        write_file(path, save(tensors, metadata={"about": about}))

    @classmethod
    def load(cls, path: Path, *, about: str) -> LinearEmbedding | None:
        """Read a file, or None where there is none that was trained on just this and just so."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="np") as file:
                if (file.metadata() or {}).get("about") != about:
                    return None
                return cls(*(file.get_tensor(name) for name in _NAMES))
        except SafetensorError:
            return None


def fit_linear_embedding(
    pooled: NDArray[np.floating],
    labels: NDArray[np.integer],
    training: EmbeddingTraining | None = None,
    *,
    seed: int,
) -> LinearEmbedding:
    """Train a linear embedding with distance-weighted sampling and margin loss.

    The features are standardised for training; mean and spread are folded
    into the layer, which so acts on raw pooled features.

    Args:
        pooled: Pooled features ``(n, K)``; or ``(n, V, K)`` with `V` views of
            each picture, one of which is drawn each time.
        labels: Class numbers ``(n,)``.
        training: How; None for the defaults.
        seed: Of the start, the batches and the sampling.

    Raises:
        ModelError: pytorch-metric-learning is not installed, or there are
            fewer than two classes.
    """
    settings = training or EmbeddingTraining()
    losses, miners = _library()
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ModelError("an embedding is learned from pictures of at least two classes")
    views = np.asarray(pooled, dtype=np.float32)
    views = views[:, None] if views.ndim == 2 else views
    mean, spread = views.mean(axis=(0, 1)), views.std(axis=(0, 1)) + 1e-6
    inputs = torch.from_numpy((views - mean) / spread)
    members = [np.flatnonzero(codes == code) for code in range(len(classes))]
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(views.shape[2], settings.dimension)
        torch.nn.init.orthogonal_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        loss = losses.MarginLoss(margin=settings.margin, beta=settings.boundary, learn_beta=True)
        miner = miners.DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)
        optimiser = torch.optim.AdamW(
            [*layer.parameters(), *loss.parameters()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        for _ in range(settings.steps):
            rows = _batch(members, settings, generator)
            seen = inputs[rows, generator.integers(views.shape[1], size=len(rows))]
            embedded = torch.nn.functional.normalize(layer(seen))
            targets = torch.from_numpy(codes[rows])
            optimiser.zero_grad()
            loss(embedded, targets, miner(embedded, targets)).backward()
            optimiser.step()
            schedule.step()
    weight = layer.weight.detach().numpy() / spread
    bias = layer.bias.detach().numpy() - weight @ mean
    return LinearEmbedding(weight.astype(np.float32), bias.astype(np.float32))


def _batch(
    members: list[NDArray[np.intp]], settings: EmbeddingTraining, generator: np.random.Generator
) -> NDArray[np.intp]:
    chosen = generator.permutation(len(members))[: settings.classes_per_batch]
    return np.concatenate(
        [generator.choice(members[code], settings.pictures_per_class, replace=True) for code in chosen]
    )


def _library() -> tuple[Any, Any]:
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        raise ModelError(
            "the embedding is trained with pytorch-metric-learning, which is not installed",
            remedy='Install it: pip install "housevis[research]".',
        )
    from pytorch_metric_learning import losses, miners

    return losses, miners
