"""What can be explained about an embedding: one value per example, in either sense (C eq. 1 and 6).

Every function takes the embeddings of the pictures that are explained
(anchors, ``(N, D)``) and those of their examples, and gives ``(N, P)``, one
value per picture and example. Gradients reach the anchors; the examples are
constants. Examples ``(P, D)`` serve all anchors.

A *sense* says which sign is differentiated. ``"for"``: a channel with a high
weight speaks for what is known to be true (the positive is alike, the negative
is not, the house is dearer, the feature is high). ``"against"``: it speaks
against that. C back-propagates losses and distances as they are, and so its
published sense is ``"against"`` for all but the distance to a negative, whose
growth is agreement. Each function's default is what C publishes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError

Sense = Literal["for", "against"]
"""Which sign is differentiated."""

Polarity = Literal["positive", "negative"]
"""Whether an example is alike or not."""


def triplet_loss(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float = 0.2,
    normalise: bool = True,
    sense: Sense = "against",
) -> Tensor:
    """``[D(a, p) - D(a, n) + margin]_+`` with squared Euclidean distances (C eq. 1 and 6).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        positives: ``(N, P, D)`` or ``(P, D)``, raw.
        negatives: The same shape.
        margin: `delta`.
        normalise: Whether embeddings are L2-normalised first, as C has it.
        sense: The loss itself, or its opposite.

    Returns:
        ``(N, P)``; examples that are not valid (see :func:`valid_triplets`)
        are 0 and have no gradient.

    Raises:
        ModelError: The shapes do not fit.
    """
    difference = distance_difference(anchors, positives, negatives, normalise=normalise)
    return _in_sense((difference + margin).clamp(min=0), sense, published="against")


def valid_triplets(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float = 0.2,
    normalise: bool = True,
) -> Tensor:
    """Which triplets are valid: those whose loss is not zero (C section 3.2).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        positives: ``(N, P, D)`` or ``(P, D)``.
        negatives: The same shape.
        margin: `delta`.
        normalise: Whether embeddings are L2-normalised first.

    Returns:
        bool ``(N, P)``; its sum over `P` is the number of valid examples.

    Raises:
        ModelError: The shapes do not fit.
    """
    with torch.no_grad():
        return triplet_loss(anchors, positives, negatives, margin=margin, normalise=normalise) > 0


def distance_difference(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    normalise: bool = True,
    sense: Sense = "against",
) -> Tensor:
    """``D(a, p) - D(a, n)``: the triplet loss without its margin and its floor (C section 4).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        positives: ``(N, P, D)`` or ``(P, D)``.
        negatives: The same shape.
        normalise: Whether embeddings are L2-normalised first.
        sense: The difference itself, or its opposite.

    Returns:
        ``(N, P)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    near = _squared_distances(anchors, positives, normalise)
    far = _squared_distances(anchors, negatives, normalise)
    return _in_sense(near - far, sense, published="against")


def pairwise_distance(
    anchors: Tensor,
    others: Tensor,
    *,
    polarity: Polarity,
    normalise: bool = True,
    sense: Sense | None = None,
) -> Tensor:
    """``D(a, p)`` or ``D(a, n)`` alone (C section 4).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        others: ``(N, P, D)`` or ``(P, D)``.
        polarity: Whether the others are positives or negatives.
        normalise: Whether embeddings are L2-normalised first.
        sense: None takes C's, the distance as it is: ``"against"`` for
            positives, ``"for"`` for negatives.

    Returns:
        ``(N, P)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    published: Sense = "against" if polarity == "positive" else "for"
    return _in_sense(_squared_distances(anchors, others, normalise), sense or published, published)


def n_pair_loss(anchors: Tensor, positives: Tensor, negatives: Tensor, *, sense: Sense = "against") -> Tensor:
    """``log(1 + sum_q exp(a . n_q - a . p))``, embeddings as they are, not normalised (L section 4).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        positives: ``(N, P, D)`` or ``(P, D)``.
        negatives: The `Q` negatives of each example, ``(N, P, Q, D)``;
            ``(Q, D)`` serves all.
        sense: The loss itself, or its opposite.

    Returns:
        ``(N, P)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    positive = _examples(anchors, positives)
    if negatives.ndim not in (2, 4) or negatives.shape[-1] != anchors.shape[1]:
        raise _no_fit(anchors, negatives, "(N, P, Q, D) or (Q, D)")
    agreement = (anchors[:, None] * positive).sum(dim=-1)
    if negatives.ndim == 2:
        opposition = (anchors @ negatives.detach().T)[:, None]
    else:
        opposition = torch.einsum("nd,npqd->npq", anchors, negatives.detach())
    margins = opposition - agreement[..., None]
    loss = torch.logsumexp(torch.cat([torch.zeros_like(margins[..., :1]), margins], dim=-1), dim=-1)
    return _in_sense(loss, sense, published="against")


def single_feature(anchors: Tensor, feature: int, *, sense: Sense = "for") -> Tensor:
    """One number of the embedding.

    Args:
        anchors: Raw embeddings ``(N, D)``.
        feature: Which of the `D`, counted from 0.
        sense: The feature itself, or its opposite.

    Returns:
        ``(N,)``.

    Raises:
        ModelError: There is no such feature.
    """
    if not 0 <= feature < anchors.shape[1]:
        raise ModelError(f"there is no feature {feature}: the embedding has {anchors.shape[1]}, from 0")
    return _in_sense(anchors[:, feature], sense, published="for")


def price(
    anchors: Tensor,
    weights: Tensor,
    base: Tensor | float = 0.0,
    *,
    sense: Sense = "for",
) -> Tensor:
    """The price itself: the exponential of a weighted sum of the features, in currency.

    Args:
        anchors: Raw embeddings ``(N, D)``.
        weights: Log price per unit of each feature: ``(D,)``, or ``(N, D)``
            where each house has its own, as SHAP gives them.
        base: Log price without the features, a number or ``(N,)``.
        sense: ``"for"``: what raises the price; ``"against"``: what lowers it.

    Returns:
        ``(N,)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    if weights.shape not in (anchors.shape[1:], anchors.shape):
        raise _no_fit(anchors, weights, "(D,) or (N, D)")
    return _in_sense((base + (anchors * weights).sum(dim=1)).exp(), sense, published="for")


def rank_cross_entropy(
    anchors: Tensor,
    partners: Tensor,
    dearer: Tensor,
    rank_head: Callable[[Tensor], Tensor],
    *,
    sense: Sense = "against",
) -> Tensor:
    """Cross-entropy of "the house is dearer than its partner" (C section 4.3), for any rank head.

    A valid pair is one with different prices, since the loss is never zero.

    Args:
        anchors: Raw embeddings ``(N, D)``.
        partners: ``(N, P, D)`` or ``(P, D)``.
        dearer: bool ``(N, P)``: the truth.
        rank_head: From differences ``(N, P, D)`` to logits ``(N, P, 2)``, class 1 = dearer.
        sense: The loss itself, or its opposite.

    Returns:
        ``(N, P)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    margin = _margins(anchors, partners, rank_head)
    toward_truth = torch.where(dearer.to(margin.device), margin, -margin)
    return _in_sense(nn.functional.softplus(-toward_truth), sense, published="against")


def ordering_logit(
    anchors: Tensor,
    partners: Tensor,
    rank_head: Callable[[Tensor], Tensor],
    *,
    sense: Sense = "for",
) -> Tensor:
    """The logit margin of "the house is dearer than its partner", whatever the truth.

    Its gradient has a price direction, so its maps may be labelled "raises"
    (``"for"``) and "lowers" (``"against"``).

    Args:
        anchors: Raw embeddings ``(N, D)``.
        partners: ``(N, P, D)`` or ``(P, D)``.
        rank_head: From differences ``(N, P, D)`` to logits ``(N, P, 2)``, class 1 = dearer.
        sense: The margin itself, or its opposite.

    Returns:
        ``(N, P)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    return _in_sense(_margins(anchors, partners, rank_head), sense, published="for")


def normalised(embeddings: Tensor) -> Tensor:
    """Embeddings ``(..., D)`` of length 1; one that is all zero stays zero."""
    return nn.functional.normalize(embeddings, dim=-1)


def _squared_distances(anchors: Tensor, others: Tensor, normalise: bool) -> Tensor:
    examples = _examples(anchors, others)
    if normalise:
        anchors, examples = normalised(anchors), normalised(examples)
    return ((anchors[:, None] - examples) ** 2).sum(dim=-1)


def _margins(anchors: Tensor, partners: Tensor, rank_head: Callable[[Tensor], Tensor]) -> Tensor:
    logits = rank_head(anchors[:, None] - _examples(anchors, partners))
    if logits.ndim != 3 or logits.shape[-1] != 2:
        raise ModelError(f"the rank head must give logits (N, P, 2), but these are {tuple(logits.shape)}")
    return logits[..., 1] - logits[..., 0]


def _examples(anchors: Tensor, others: Tensor) -> Tensor:
    """Examples as constants ``(N or 1, P, D)``."""
    fits = others.ndim in (2, 3) and others.shape[-1] == anchors.shape[-1] and anchors.ndim == 2
    if not fits or (others.ndim == 3 and len(others) != len(anchors)):
        raise _no_fit(anchors, others, "(N, P, D) or (P, D)")
    return (others if others.ndim == 3 else others[None]).detach()


def _in_sense(values: Tensor, sense: Sense, published: Sense) -> Tensor:
    if sense not in ("for", "against"):
        raise ModelError(f"there is no sense {sense!r}", remedy="Choose one of for, against.")
    return values if sense == published else -values


def _no_fit(anchors: Tensor, others: Tensor, needed: str) -> ModelError:
    return ModelError(
        f"embeddings {tuple(anchors.shape)} and {tuple(others.shape)} do not fit; "
        f"they must be (N, D) and {needed}"
    )
