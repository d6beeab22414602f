"""Grad-weights of all houses in closed form (C sections 3.2 and 3.3).

With global average pooling and an embedding whose gradient is known, the
grad-weight of every channel has a closed form: the gradient of the scalar that
is explained with respect to the pooled feature, over the ``Z = h w`` cells.
For a linear embedding with the weight `W` ``(D, K)`` that is
``alpha = W^T (dS/df) / Z``. So a database for all houses costs a few matrix
products and no back-propagation. :mod:`housevis.explain.gradcam` has the
general path.

With a *linear* head the gradient with respect to the embedding always lies
along ``V_1 - V_0``. With a linear embedding too, all houses share one channel
direction up to sign and scale, for each of the scalars; `dearer` and `cheaper`
share the scale as well. The maps then differ between houses because their
feature maps do. A kernel embedding gives every house a direction of its own.
So for a linear embedding the highest channels are looked for twice, once for
each sign, and not once per house.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from housevis.core.errors import ModelError
from housevis.explain.database import SCALARS, ChannelOrder, GradWeightDatabase, GradWeightsAbout, Scalar

_CHUNK = 2048


class PooledEmbedding(Protocol):
    """An embedding of pooled features whose gradient has a closed form."""

    @property
    def channels(self) -> int:
        """`K`."""

    @property
    def dimension(self) -> int:
        """`D`."""

    def embed(self, pooled: NDArray[np.floating]) -> NDArray[np.float32]:
        """Pooled features ``(n, K)`` to ``(n, D)``."""

    def pull_back(
        self, pooled: NDArray[np.floating], directions: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Gradient of ``directions . f`` with respect to the pooled features: ``(n, D)`` to ``(n, K)``."""


def rank_grad_weights(
    *,
    embedding: PooledEmbedding,
    head_weight: ArrayLike,
    head_bias: ArrayLike,
    features: NDArray[np.floating],
    prices: ArrayLike,
    house_ids: Sequence[str],
    cells: int,
    backbone_fingerprint: str,
    model_id: str,
    scalar: Scalar = "loss-against",
    pairs: int = 50,
    top_channels: int = 50,
    channel_order: ChannelOrder = "weight",
    seed: int = 1,
    picture_channels: int | None = None,
) -> GradWeightDatabase:
    """Grad-weights of all houses for the rank siamese with a linear head (C sections 3.2 and 3.3).

    Each house is paired with `pairs` others drawn at random, with
    replacement, from those with a different price: cross-entropy is never
    zero, so a different price is what makes a rank pair valid. The gradient
    is taken for the house itself (the anchor), averaged over its pairs, and
    the channels with the highest weight are kept.

    Args:
        embedding: The embedding of pooled features that the head reads.
        head_weight: ``(2, D)``; class 1 is "the first house is dearer".
        head_bias: ``(2,)``.
        features: Pooled features ``(N, K)``; read in chunks, so a memory map will do.
        prices: ``(N,)``.
        house_ids: ``N`` ids.
        cells: Cells of the feature map, ``Z = h w``.
        backbone_fingerprint: The backbone of the features.
        model_id: The siamese model.
        scalar: What is explained, see :data:`~housevis.explain.database.Scalar`.
        pairs: Pairs per house (50 in C).
        top_channels: Channels kept, `M` (50 in C); all of them where there are fewer.
        channel_order: How channels are compared, ``"weight"`` in C.
        seed: Seed of the pairs.
        picture_channels: How many of the `K` features, from the first on, are
            of the house's own picture, which alone is explained; None means
            all of them.

    Returns:
        The database, one row per house, in the order given.

    Raises:
        ModelError: Shapes that do not fit, numbers that are not finite, or
            no two houses with different prices.
    """
    V = np.asarray(head_weight, dtype=np.float64)
    c = np.asarray(head_bias, dtype=np.float64)
    y = np.asarray(prices, dtype=np.float64)
    _check_inputs(embedding, V, c, features, y, house_ids)
    direction = V[1] - V[0]
    linear: NDArray[np.float32] | None = getattr(embedding, "linear_weight", None)
    embeddings = _embed(features, embedding)
    channels_in_all = picture_channels or embedding.channels
    factors, counts = pair_factors(
        embeddings @ direction, float(c[1] - c[0]), y, scalar, pairs, np.random.default_rng(seed)
    )
    kept = min(top_channels, channels_in_all)
    deviations = _channel_deviations(features[:, :picture_channels]) if channel_order == "effect" else None
    if linear is not None:
        slope = (direction @ linear)[:channels_in_all] / cells
        channels, weights, scales = _scaled(slope, factors, kept, deviations)
    else:
        channels = np.empty((len(y), kept), dtype=np.uint16)
        weights = np.empty((len(y), kept), dtype=np.float16)
        scales = np.empty(len(y), dtype=np.float32)
        for start in range(0, len(y), _CHUNK):
            rows = slice(start, start + _CHUNK)
            some = np.asarray(features[rows], dtype=np.float32)
            gradient = embedding.pull_back(some, factors[rows, None] * direction)
            alpha = gradient[:, :channels_in_all] / np.float32(cells)
            channels[rows], weights[rows], scales[rows] = keep_top_channels(alpha, kept, deviations)
    return GradWeightDatabase(
        house_ids=tuple(house_ids),
        embeddings=embeddings.astype(np.float32),
        channels=channels,
        weights=weights,
        scales=scales,
        pairs=counts,
        about=GradWeightsAbout(
            scalar=scalar,
            pairs=pairs,
            channel_order=channel_order,
            channels_in_all=channels_in_all,
            cells=cells,
            seed=seed,
            backbone_fingerprint=backbone_fingerprint,
            model_id=model_id,
        ),
    )


def _scaled(
    slope: NDArray[np.floating],
    factors: NDArray[np.floating],
    kept: int,
    deviations: NDArray[np.floating] | None,
) -> tuple[NDArray[np.uint16], NDArray[np.float16], NDArray[np.float32]]:
    """What :func:`keep_top_channels` finds for ``factors * slope``, the same channels for each sign."""
    both = np.stack([slope, -slope]).astype(np.float32)
    channels, weights, scales = keep_top_channels(both, kept, deviations)
    sign = (factors < 0).astype(np.intp)
    return channels[sign], weights[sign], (np.abs(factors) * scales[sign]).astype(np.float32)


def keep_top_channels(
    alpha: NDArray[np.floating], top_channels: int, deviations: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.uint16], NDArray[np.float16], NDArray[np.float32]]:
    """Keep the channels with the highest weight (C section 3.3).

    Args:
        alpha: Grad-weights ``(n, K)``, `K` at most 65,536.
        top_channels: `M`, at most `K`.
        deviations: ``(K,)``, what weights are multiplied by when channels
            are compared; None compares the weights themselves.

    Returns:
        Channels uint16 ``(n, M)`` with the highest first, their weights
        float16 ``(n, M)`` relative to the scale, scales float32 ``(n,)``.
    """
    compared = alpha if deviations is None else alpha * deviations.astype(alpha.dtype)
    split = alpha.shape[1] - top_channels
    top = np.argpartition(compared, split, axis=1)[:, split:] if split else np.argsort(compared, axis=1)
    order = np.lexsort((top, -np.take_along_axis(compared, top, axis=1)), axis=1)
    channels = np.take_along_axis(top, order, axis=1)
    values = np.take_along_axis(alpha, channels, axis=1)
    scales = np.abs(values).max(axis=1).astype(np.float32)
    relative = values / np.where(scales > 0, scales, 1)[:, None]
    return channels.astype(np.uint16), relative.astype(np.float16), scales


def draw_partners(
    prices: NDArray[np.floating], pairs: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Draw partners of a different price for every house, with replacement.

    Args:
        prices: ``(N,)``.
        pairs: Partners per house, `P`.
        generator: Source of the draw.

    Returns:
        Rows of the partners ``(N, P)``, and which houses have any partner at
        all ``(N,)``; the row of a house without one means nothing.
    """
    partners = Partners(prices)
    return partners.draw(slice(None), pairs, generator), partners.different > 0


class Partners:
    """Houses in the order of their prices, so that those of another price are two ranges.

    Args:
        prices: ``(N,)``; any numbers will do, such as those of classes.

    Attributes:
        different: How many have another price, ``(N,)``.
    """

    def __init__(self, prices: NDArray[np.generic]) -> None:
        self._order = np.argsort(prices, kind="stable")
        ordered = prices[self._order]
        self._first = np.searchsorted(ordered, prices, side="left")
        self._same = np.searchsorted(ordered, prices, side="right") - self._first
        self._own = np.empty(len(prices), dtype=np.intp)
        self._own[self._order] = np.arange(len(prices))
        self.different = len(prices) - self._same

    def draw(self, rows: slice, count: int, generator: np.random.Generator) -> NDArray[np.intp]:
        """Houses of another price, with replacement.

        Args:
            rows: For which houses; drawn for all in turn they are as drawn for all at once.
            count: How many for each, `P`.
            generator: Source of the draw.

        Returns:
            Rows ``(n, P)``; they mean nothing for a house of whose price all are.
        """
        first, same, different = (part[rows, None] for part in (self._first, self._same, self.different))
        drawn = (generator.random((len(first), count)) * different).astype(np.intp)
        drawn += np.where(drawn >= first, same, 0)
        return self._order[np.minimum(drawn, len(self._order) - 1)]

    def draw_equal(
        self, rows: slice, count: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Other houses of the same price, with replacement.

        Args:
            rows: For which houses.
            count: How many for each, `P`.
            generator: Source of the draw.

        Returns:
            Rows ``(n, P)``, and which houses have any ``(n,)``; the rows of
            one without mean nothing.
        """
        first, same, own = (part[rows, None] for part in (self._first, self._same, self._own))
        drawn = first + (generator.random((len(first), count)) * (same - 1)).astype(np.intp)
        drawn += drawn >= own
        return self._order[np.minimum(drawn, len(self._order) - 1)], same[:, 0] > 1


def pair_factors(
    scores: NDArray[np.float64],
    bias: float,
    prices: NDArray[np.float64],
    scalar: Scalar,
    pairs: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The factor before ``V_1 - V_0`` in the gradient of a house's scalar, averaged over its pairs.

    For the loss it is ``p_ij - t_ij``, the ranking residual.

    Args:
        scores: ``(V_1 - V_0) . f``, ``(N,)``.
        bias: The head's ``c_1 - c_0``.
        prices: ``(N,)``.
        scalar: What is explained.
        pairs: Pairs per house.
        generator: Source of the pairs, see :func:`draw_partners`.

    Returns:
        Factors ``(N,)``, 0 for a house without a valid pair, and the valid
        pairs averaged, int32 ``(N,)``.

    Raises:
        ModelError: No two houses have different prices, or there is no such scalar.
    """
    if scalar not in SCALARS:
        raise ModelError(
            f"there is no scalar {scalar!r} to explain", remedy=f"Choose one of {', '.join(SCALARS)}."
        )
    partners = Partners(prices)
    valid = partners.different > 0
    if not valid.any():
        raise ModelError(
            "no two houses have different prices, so there is no valid pair",
            remedy="The price column is probably not the one that was meant.",
        )
    factors = np.empty(len(prices))
    for start in range(0, len(prices), _CHUNK):
        rows = slice(start, start + _CHUNK)
        drawn = partners.draw(rows, pairs, generator)
        dearer = prices[rows, None] > prices[drawn]
        match scalar:
            case "loss-against" | "loss-for":
                logit = np.clip(scores[rows, None] - scores[drawn] + bias, -60, 60)
                residual = (1 / (1 + np.exp(-logit)) - dearer).mean(axis=1)
                factors[rows] = residual if scalar == "loss-against" else -residual
            case "ordering":
                factors[rows] = np.where(dearer, 1.0, -1.0).mean(axis=1)
            case "dearer" | "cheaper":
                factors[rows] = 1.0 if scalar == "dearer" else -1.0
    return np.where(valid, factors, 0.0), np.where(valid, pairs, 0).astype(np.int32)


def _embed(features: NDArray[np.floating], embedding: PooledEmbedding) -> NDArray[np.float64]:
    embeddings = np.empty((len(features), embedding.dimension))
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        embeddings[rows] = embedding.embed(np.asarray(features[rows], dtype=np.float32))
    bad = ~np.isfinite(embeddings).all(axis=1)
    if bad.any():
        raise ModelError(
            f"{int(bad.sum())} houses have a feature that is no finite number",
            where=f"row {int(np.argmax(bad))} of the features",
            remedy="Remove the folder of stored features and run `housevis embed` again.",
        )
    return embeddings


def _channel_deviations(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard deviation of every channel over the houses ``(K,)``, read in chunks."""
    starts = range(0, len(features), _CHUNK)
    chunks = (np.asarray(features[start : start + _CHUNK]) for start in starts)
    mean = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks) / len(features)
    chunks = (np.asarray(features[start : start + _CHUNK]) for start in starts)
    return np.sqrt(sum(((chunk - mean) ** 2).sum(axis=0) for chunk in chunks) / len(features))


def _check_inputs(
    embedding: PooledEmbedding,
    V: NDArray[np.float64],
    c: NDArray[np.float64],
    features: NDArray[np.floating],
    prices: NDArray[np.float64],
    house_ids: Sequence[str],
) -> None:
    if embedding.channels > np.iinfo(np.uint16).max + 1:
        raise ModelError(f"a grad-weight database holds up to 65,536 channels, not {embedding.channels:,}")
    expected = {
        "the head's weight": (V.shape, (2, embedding.dimension)),
        "the head's bias": (c.shape, (2,)),
        "the array of features": (features.shape, (len(prices), embedding.channels)),
        "the array of prices": (prices.shape, (len(house_ids),)),
    }
    for name, (found, needed) in expected.items():
        if found != needed:
            raise ModelError(f"{name} has the shape {found}, not {needed}")
    if not all(np.isfinite(values).all() for values in (V, c)):
        raise ModelError("the siamese has a weight that is no finite number", remedy="Train it again.")
    if not np.isfinite(prices).all():
        row = int(np.argmin(np.isfinite(prices)))
        raise ModelError("a price is no finite number", where=f"house {house_ids[row]}")
