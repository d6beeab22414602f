"""What the fine-tuned network is asked: the order of every pair of a batch, for several targets."""

from __future__ import annotations

import torch
from torch.nn import functional


def all_pairs_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Rank cross-entropy over all pairs of a batch (C section 4), averaged over the targets.

    A pair counts where its targets are known and differ: the loss is
    ``log(1 + exp(-(s_i - s_j)))`` for the dearer `i`, that is, the
    cross-entropy of "i is dearer than j". A batch of 64 holds 2,016 pairs
    for the price of 64 pictures.

    Args:
        scores: `(N, T)`.
        targets: `(N, T)`, NaN where unknown.

    Returns:
        The loss; 0 where no pair counts.
    """
    difference = scores[:, None] - scores[None]
    dearer = (targets[:, None] > targets[None]).to(scores.dtype)
    pairs = dearer.sum(dim=(0, 1))
    per_target = (functional.softplus(-difference) * dearer).sum(dim=(0, 1)) / pairs.clamp(min=1)
    return per_target.sum() / (pairs > 0).sum().clamp(min=1)
