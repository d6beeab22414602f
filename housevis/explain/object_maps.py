"""From the heat of a few coarse cells to the whole object that it lies on.

A grad-weight map says which cells speak for the answer. Its cells are coarse,
and it is high only on the most telling part. Here the picture's own features
finish it: the hot cells lend their mean feature, the cold cells theirs, and
every position of a finer feature map is told by which of the two it is nearer
to. What is hot is asked of the embedding, and so of the neighbour that lends
its weights; how far the object reaches is read from the picture.

No back-propagation, no training, no box: three small matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain.networks import check_maps


@dataclass(frozen=True)
class ObjectSettings:
    """How a heat map becomes an object map; the defaults were chosen on held-back classes of birds.

    Attributes:
        hot_from: Quantile of the heat within a picture above which a position
            counts as hot and below which as cold, weighted by the distance from it.
        rounds: How often the two mean features are taken; each round after
            the first starts from the result of the one before.
        steepness: Of the sigmoid between the two sides, per distance between them.
        beyond: How far past the middle a position must lie to be half in the
            object, in distances between the two mean features.
        heat_share: Part of the result that stays proportional to the heat; the
            rest is the same over the whole object.
    """

    hot_from: float = 0.7
    rounds: int = 2
    steepness: float = 10.0
    beyond: float = 0.1
    heat_share: float = 0.5


def object_maps(heats: Tensor, maps: Tensor, settings: ObjectSettings | None = None) -> Tensor:
    """Spread the heat over the object that it lies on.

    Args:
        heats: Heat of any method, ``(N, h, w)``; negative heat counts as none.
        maps: Feature maps of the same pictures over the same ground, at least
            0, ``(N, K, H, W)``; finer than the heat is best.
        settings: How; None for the defaults.

    Returns:
        ``(N, H, W)`` within [0, 1]; 0 everywhere for a picture without heat or
        with the same heat everywhere.

    Raises:
        ModelError: The shapes do not fit.
    """
    chosen = settings or ObjectSettings()
    check_maps(maps)
    if heats.ndim != 3 or len(heats) != len(maps):
        raise ModelError(
            f"heat {tuple(heats.shape)} and feature maps {tuple(maps.shape)} do not fit; "
            "they must be (N, h, w) and (N, K, H, W)"
        )
    if len(maps) == 0:
        return maps.new_zeros(maps.shape[0], *maps.shape[2:])
    fine = nn.functional.interpolate(
        heats[:, None].to(maps).clamp(min=0), maps.shape[2:], mode="bilinear", align_corners=False
    ).flatten(1)
    positions = nn.functional.normalize(maps.clamp(min=0).sqrt().flatten(2).transpose(1, 2), dim=2)
    middle = fine.quantile(chosen.hot_from, dim=1, keepdim=True)
    hot, cold = (fine - middle).clamp(min=0), (middle - fine).clamp(min=0)
    side = torch.zeros_like(fine)
    for _ in range(chosen.rounds):
        side = _nearer_to_hot(positions, hot, cold)
        hot = torch.sigmoid(chosen.steepness * side)
        cold = 1 - hot
    inside = torch.sigmoid(chosen.steepness * (side - chosen.beyond))
    highest = fine.amax(dim=1, keepdim=True)
    relative = fine / torch.where(highest > 0, highest, 1.0)
    result = inside * (1 - chosen.heat_share + chosen.heat_share * relative)
    empty = highest <= fine.amin(dim=1, keepdim=True)
    return torch.where(empty, 0.0, result).reshape(len(maps), *maps.shape[2:])


def _nearer_to_hot(positions: Tensor, hot: Tensor, cold: Tensor) -> Tensor:
    """Where positions lie between the mean cold (-0.5) and the mean hot feature (0.5): ``(N, P)``."""
    hot_mean, cold_mean = _weighted_mean(positions, hot), _weighted_mean(positions, cold)
    across = hot_mean - cold_mean
    offset = torch.einsum("npk,nk->np", positions, across) - ((hot_mean + cold_mean) / 2 * across).sum(
        dim=1, keepdim=True
    )
    squared = (across**2).sum(dim=1, keepdim=True)
    return offset / torch.where(squared > 0, squared, 1.0)


def _weighted_mean(positions: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum(dim=1, keepdim=True)
    return torch.einsum("npk,np->nk", positions, weights / torch.where(total > 0, total, 1.0))
