"""Grad-CAM for retrieval without any example: the baselines of L (L eq. 6 and 7)."""

from __future__ import annotations

from torch import Tensor

from housevis.explain.gradcam import example_grad_weights, weighted_map, weighted_sum
from housevis.explain.networks import Head


def retrieval_grad_cam(maps: Tensor, head: Head, *, absolute: bool = False) -> Tensor:
    """Grad-CAM of the sum of the embedding's components.

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        absolute: False keeps the positive part of the weighted sum (L eq. 6),
            True takes its absolute value (L eq. 7).

    Returns:
        Heat ``(N, h, w)``, at least 0.

    Raises:
        ModelError: What the head gives is no embedding ``(N, D)``.
    """
    weights = example_grad_weights(maps, head, lambda embeddings: embeddings.sum(dim=1))
    if absolute:
        return weighted_sum(maps, weights).abs()
    return weighted_map(maps, weights)
