"""What surrounds the table of methods: channels kept, centres, agreement, and networks at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from cub200_methods import TOP, TRIPLETS, Lenders, View, all_methods, drawn_triplets
from cub200_scores import Truth, agreement, rank_correlations
from torch import Tensor

from housevis.explain.gradcam import example_grad_weights, keep_top, weighted_map
from housevis.explain.localisation import box_overlaps, heat_in_region, max_box_accuracy
from housevis.explain.networks import LinearHead
from housevis.explain.scalars import Sense, triplet_loss

CHANNELS: Final = (1, 2, 4, 8, 16, 32, 50, 64, 128, 256, 512, 640, 1024)
CENTRES: Final = (10, 25, 50, 100, 200, 400)


def ratio_of(heat: Tensor, truth: Truth) -> float:
    """Mean heat ratio in the box."""
    return float(heat_in_region(heat.numpy(), truth.crop_regions).mean())


def channel_sweep(view: View, lenders: Lenders, truth: Truth, sense: Sense) -> dict[str, float]:
    """Heat ratio by the number of channels kept, 50 triplets, transferred (C Fig. 7 a)."""
    nearest = lenders.nearest(lenders.head(view.maps))
    weights = lenders.weights(TRIPLETS, "grad-cam", sense)[nearest]
    channels = weights.shape[1]
    kept = [*(top for top in CHANNELS if top < channels), channels]
    return {str(top): ratio_of(weighted_map(view.maps, keep_top(weights, top)), truth) for top in kept}


def centre_sweep(view: View, lenders: Lenders, truth: Truth, sense: Sense) -> dict[str, float]:
    """Heat ratio by the number of k-means centres in place of the database (C Fig. 7 b)."""
    embeddings = torch.nn.functional.normalize(lenders.head(view.maps))
    weights = lenders.weights(TRIPLETS, "grad-cam", sense)
    nearest = lenders.nearest(embeddings)
    found = {}
    for count in CENTRES:
        if count < len(lenders.able):
            centres, mean_weights = lenders.centres(count, weights)
            rows = torch.cdist(embeddings, centres).argmin(dim=1)
            found[str(count)] = ratio_of(weighted_map(view.maps, keep_top(mean_weights, TOP)[rows]), truth)
    found["all"] = ratio_of(weighted_map(view.maps, keep_top(weights, TOP)[nearest]), truth)
    return found


def transfer_study(view: View, lenders: Lenders, truth: Truth, sense: Sense) -> dict[str, Any]:
    """Weights of the nearest neighbour, of a random picture and of all, beside the picture's own (C 3.3)."""
    head = lenders.head
    embeddings = head(view.maps)
    positives, negatives, valid = drawn_triplets(
        embeddings, view.labels, embeddings, view.labels, lenders.seed
    )
    own = example_grad_weights(
        view.maps.mean(dim=(2, 3), keepdim=True),
        head,
        lambda found: triplet_loss(found, positives, negatives, sense=sense),
        valid=valid,
    )
    weights = keep_top(lenders.weights(TRIPLETS, "grad-cam", sense), TOP)
    able = lenders.able
    drawn = able[torch.from_numpy(np.random.default_rng(lenders.seed).integers(len(able), size=len(own)))]
    mean = lenders.weights(TRIPLETS, "grad-cam", sense)[able].mean(dim=0, keepdim=True)
    sources = {
        "nearest neighbour": weights[lenders.nearest(embeddings)],
        "random training picture": weights[drawn],
        "one global weight vector": keep_top(mean, TOP),
    }
    back = weighted_map(view.maps, keep_top(own, TOP))
    found: dict[str, Any] = {
        "back-propagated": {"ratio": ratio_of(back, truth), "valid": float(valid.any(dim=1).float().mean())}
    }
    for name, lent in sources.items():
        heat = weighted_map(view.maps, lent)
        found[name] = {"ratio": ratio_of(heat, truth), **agreement(heat, back)}
    return found


def randomisation(
    names: Sequence[str], view: View, lenders: Lenders, untrained: View, untrained_lenders: Lenders
) -> dict[str, dict[str, float]]:
    """Rank correlation of each method's maps with those of a random head, and of a random trunk."""
    generator = torch.Generator().manual_seed(lenders.seed)
    weight = lenders.head.weight
    random_head = LinearHead(torch.randn(weight.shape, generator=generator) * weight.std())
    plain = all_methods(view, lenders)
    head = all_methods(view, Lenders(lenders.pooled, lenders.labels, random_head, lenders.seed))
    trunk = all_methods(untrained, replace(untrained_lenders, head=random_head))
    found = {}
    for name in names:
        heat = plain[name]()
        found[name] = {
            "head": float(rank_correlations(heat, head[name]()).mean()),
            "trunk": float(rank_correlations(heat, trunk[name]()).mean()),
        }
    return found


def strict_accuracy(heat: Callable[[], Tensor], truth: Truth) -> float:
    """MaxBoxAccV2 on the whole picture."""
    return max_box_accuracy(box_overlaps(heat().numpy(), truth.whole_boxes, components="best", pixels=56))
