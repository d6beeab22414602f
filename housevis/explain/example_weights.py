"""The grad-weight database of any embedding network and any scalar (C sections 3.2 and 3.3).

Examples are drawn for every training picture, its grad-weights are averaged
over the valid ones, and the highest channels are kept. With a
:class:`~housevis.explain.networks.LinearHead` the weights are in closed form
and pooled features are enough; any other head is back-propagated through,
once per batch for all its examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from housevis.core.errors import ModelError
from housevis.explain.database import ChannelOrder, GradWeightDatabase, GradWeightsAbout
from housevis.explain.examples import Question
from housevis.explain.gradcam import Method, example_grad_weights
from housevis.explain.gradweights import keep_top_channels
from housevis.explain.networks import Head, evaluating
from housevis.explain.scalars import normalised

_CHUNK = 64

Features = NDArray[np.floating] | Tensor
"""Feature maps ``(N, K, h, w)``, or pooled features ``(N, K)`` for a head that does nothing else first
than global average pooling. Read in chunks, so a memory map will do."""


@dataclass(frozen=True, eq=False)
class _Chunk:
    rows: slice
    weights: Tensor
    valid: Tensor


def embedding_grad_weights(
    head: Head,
    features: Features,
    question: Question,
    *,
    ids: Sequence[str],
    cells: int | None = None,
    examples: int = 50,
    top_channels: int = 50,
    channel_order: ChannelOrder = "weight",
    method: Method = "grad-cam",
    seed: int = 1,
    backbone_fingerprint: str = "",
    model_id: str = "",
) -> GradWeightDatabase:
    """Build the database of a set of training pictures.

    Args:
        head: From feature maps to raw embeddings ``(N, D)``.
        features: See :data:`Features`; on the device of the head.
        question: What is explained, see :mod:`housevis.explain.examples`.
        ids: Name of every picture; each explanation says whose weights it borrowed.
        cells: Cells of the feature map, `Z`; needed with pooled features.
        examples: Examples per picture, at most (50 in C).
        top_channels: Channels kept, `M` (50 in C); all of them where there are fewer.
        channel_order: How channels are compared, ``"weight"`` in C.
        method: Grad-CAM or Grad-CAM++.
        seed: Of the examples.
        backbone_fingerprint: The backbone whose channels are numbered.
        model_id: The network.

    Returns:
        The database, one row per picture. Embeddings have the length 1 where
        the question compares directions only. A picture without a valid
        example has 0 `pairs` and nothing to lend.

    Raises:
        ModelError: Shapes that do not fit, or an embedding that is not finite.
    """
    if features.ndim == 2 and cells is None:
        raise ModelError(
            "pooled features do not say how many cells the feature map has", remedy="Give cells."
        )
    if len(ids) != len(features):
        raise ModelError(f"there are {len(ids)} ids for {len(features)} pictures")
    channels_in_all = features.shape[1]
    if channels_in_all > np.iinfo(np.uint16).max + 1:
        raise ModelError(f"a grad-weight database holds up to 65,536 channels, not {channels_in_all:,}")
    embeddings, deviations = _embedded(head, features)
    kept = min(top_channels, channels_in_all)
    channels = np.empty((len(ids), kept), dtype=np.uint16)
    weights = np.empty((len(ids), kept), dtype=np.float16)
    scales = np.empty(len(ids), dtype=np.float32)
    pairs = np.empty(len(ids), dtype=np.int32)
    for chunk in _chunks(head, features, embeddings, question, cells, examples, method, seed):
        alpha = chunk.weights.cpu().numpy()
        order = deviations if channel_order == "effect" else None
        rows = chunk.rows
        channels[rows], weights[rows], scales[rows] = keep_top_channels(alpha, kept, order)
        pairs[rows] = chunk.valid.cpu().numpy()
    stored = normalised(embeddings) if question.normalise else embeddings
    return GradWeightDatabase(
        house_ids=tuple(ids),
        embeddings=stored.cpu().numpy().astype(np.float32),
        channels=channels,
        weights=weights,
        scales=scales,
        pairs=pairs,
        about=GradWeightsAbout(
            scalar=question.scalar,
            pairs=examples,
            channel_order=channel_order,
            channels_in_all=channels_in_all,
            cells=int(cells or features.shape[2] * features.shape[3]),
            seed=seed,
            backbone_fingerprint=backbone_fingerprint,
            model_id=model_id,
            sense=question.sense,
            method=method,
            normalised=question.normalise,
            settings=dict(question.settings()),
        ),
    )


def averaged_grad_weights(
    head: Head,
    features: Features,
    question: Question,
    *,
    cells: int | None = None,
    examples: int = 50,
    method: Method = "grad-cam",
    seed: int = 1,
) -> tuple[Tensor, Tensor]:
    """The grad-weights that :func:`embedding_grad_weights` stores, of all channels and not rounded.

    Args:
        head: See :func:`embedding_grad_weights`, as all that follow.
        features: `cells` may be None with pooled features: they then count as one cell.
        question: What is explained.
        cells: Cells of the feature map, `Z`.
        examples: Examples per picture, at most.
        method: Grad-CAM or Grad-CAM++.
        seed: Of the examples.

    Returns:
        ``(N, K)``, and the number of valid examples of every picture, ``(N,)``.

    Raises:
        ModelError: As :func:`embedding_grad_weights`.
    """
    embeddings, _ = _embedded(head, features)
    found = list(_chunks(head, features, embeddings, question, cells, examples, method, seed))
    return torch.cat([each.weights for each in found]), torch.cat([each.valid for each in found])


def _chunks(
    head: Head,
    features: Features,
    embeddings: Tensor,
    question: Question,
    cells: int | None,
    examples: int,
    method: Method,
    seed: int,
) -> Iterator[_Chunk]:
    generator = np.random.default_rng(seed)
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(features)))
        asked = question.ask(embeddings, rows, examples, generator)
        weights = example_grad_weights(
            _maps(features, rows), head, asked.values, method=method, valid=asked.valid
        )
        if features.ndim == 2 and method == "grad-cam":
            # Pooled features stand for maps of one cell. Grad-CAM averages over the cells; Grad-CAM++
            # sums over them, and is the same for Z equal cells as for their mean.
            weights = weights / (cells or 1)
        yield _Chunk(rows, weights, asked.valid.sum(dim=1))


def _embedded(head: Head, features: Features) -> tuple[Tensor, NDArray[np.float64]]:
    """Raw embeddings ``(N, D)``, and the standard deviation of every pooled channel ``(K,)``."""
    if features.ndim not in (2, 4) or len(features) == 0:
        raise ModelError(
            f"features must be maps (N, K, h, w) or pooled (N, K), but these are {tuple(features.shape)}"
        )
    parts: list[Tensor] = []
    sums: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    with torch.no_grad(), evaluating(head):
        for start in range(0, len(features), _CHUNK):
            maps = _maps(features, slice(start, start + _CHUNK))
            parts.append(head(maps))
            pooled = maps.mean(dim=(2, 3)).double()
            sums, squares = sums + pooled.sum(dim=0), squares + (pooled**2).sum(dim=0)
    embeddings = torch.cat(parts)
    bad = ~embeddings.isfinite().all(dim=1)
    if bad.any():
        raise ModelError(
            f"{int(bad.sum())} pictures have an embedding that is no finite number",
            where=f"row {int(bad.int().argmax())} of the features",
        )
    mean = torch.as_tensor(sums) / len(features)
    variance = torch.as_tensor(squares) / len(features) - mean**2
    return embeddings, variance.clamp(min=0).sqrt().cpu().numpy()


def _maps(features: Features, rows: slice) -> Tensor:
    some = features[rows]
    some = some if isinstance(some, Tensor) else torch.from_numpy(np.array(some))
    some = some.float()
    return some if some.ndim == 4 else some[:, :, None, None]
