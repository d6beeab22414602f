"""Every method of the benchmark as a function from feature maps to heat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import faiss
import numpy as np
import torch
from torch import Tensor

from housevis.explain.embeddingcam import embedding_cam, mean_proxies
from housevis.explain.gradcam import Method, example_grad_weights, keep_top, weighted_map
from housevis.explain.l2caf import l2_caf
from housevis.explain.networks import LinearHead
from housevis.explain.object_maps import object_maps
from housevis.explain.retrieval import retrieval_grad_cam
from housevis.explain.scalars import Sense, normalised, triplet_loss, valid_triplets

TRIPLETS: Final = 50
TOP: Final = 50
"""C's numbers of triplets and of channels."""

_CANDIDATES: Final = 300
SENSES: Final[tuple[Sense, ...]] = ("against", "for")
OBJECT: Final = "object map: "
"""How the names of housevis's own methods begin."""
ASKING: Final = ("nearest neighbour", "single point", "GC top-50, for", "GC top-50, against")
"""Sources of heat that ask the embedding something about the picture; the others are there to compare."""


@dataclass(frozen=True, eq=False)
class View:
    """Some pictures in one framing.

    Attributes:
        maps: Feature maps ``(N, K, h, w)``, float32.
        fine: The same pictures on a finer grid.
        random: Mean over the channels of a network with random weights, ``(N, h, w)``.
        labels: Class numbers ``(N,)``.
    """

    maps: Tensor
    fine: Tensor
    random: Tensor
    labels: Tensor


@dataclass(eq=False)
class Lenders:
    """The training pictures: their embeddings, and the weights that they lend (C section 3.2).

    Attributes:
        pooled: Pooled features ``(N, K)``.
        labels: Class numbers ``(N,)``.
        head: From feature maps to embeddings.
        seed: Of the triplets.
    """

    pooled: Tensor
    labels: Tensor
    head: LinearHead
    seed: int
    _weights: dict[tuple[int, Method, Sense], Tensor] = field(default_factory=dict)

    @cached_property
    def cells(self) -> Tensor:
        """The pooled features as feature maps of one cell: with a linear head the weights are the same."""
        return self.pooled[:, :, None, None]

    @cached_property
    def embeddings(self) -> Tensor:
        """Raw embeddings ``(N, D)``."""
        return self.head(self.cells)

    @cached_property
    def triplets(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positives and negatives ``(N, 50, D)`` of valid triplets, and which are there ``(N, 50)``."""
        return drawn_triplets(self.embeddings, self.labels, self.embeddings, self.labels, self.seed)

    def weights(self, triplets: int, method: Method, sense: Sense) -> Tensor:
        """Grad-weights ``(N, K)`` averaged over the first so many valid triplets."""
        key = (triplets, method, sense)
        if key not in self._weights:
            positives, negatives, valid = (part[:, :triplets] for part in self.triplets)
            self._weights[key] = example_grad_weights(
                self.cells,
                self.head,
                lambda embeddings: triplet_loss(embeddings, positives, negatives, sense=sense),
                method=method,
                valid=valid,
            )
        return self._weights[key]

    @cached_property
    def able(self) -> Tensor:
        """Rows that have a valid triplet, and so something to lend; all where none has."""
        valid = self.triplets[2].any(dim=1)
        return (valid if valid.any() else ~valid).nonzero()[:, 0]

    def nearest(self, embeddings: Tensor, *, lending: bool = True) -> Tensor:
        """The nearest training picture ``(n,)`` of each normalised embedding."""
        rows = self.able if lending else torch.arange(len(self.pooled))
        return rows[(normalised(embeddings) @ normalised(self.embeddings[rows]).T).argmax(dim=1)]

    def centres(self, count: int, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Centres of k-means ``(C, D)`` and the mean weights of their pictures ``(C, K)``."""
        points = np.ascontiguousarray(normalised(self.embeddings[self.able]).numpy())
        means = faiss.Kmeans(
            points.shape[1], count, niter=30, seed=self.seed, min_points_per_centroid=1, verbose=False
        )
        means.train(points)
        _, member = means.index.search(points, 1)
        sums = torch.zeros(count, weights.shape[1]).index_add_(
            0, torch.from_numpy(member[:, 0]), weights[self.able]
        )
        sizes = torch.from_numpy(np.bincount(member[:, 0], minlength=count)).clamp(min=1)
        return torch.from_numpy(means.centroids), sums / sizes[:, None]


def drawn_triplets(
    anchors: Tensor, anchor_labels: Tensor, others: Tensor, other_labels: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Up to 50 valid triplets of each anchor: positives, negatives ``(N, 50, D)``, and which are there."""
    generator = np.random.default_rng(seed)
    shape = (len(anchors), TRIPLETS)
    positives, negatives = (torch.zeros(*shape, anchors.shape[1]) for _ in range(2))
    there = torch.zeros(shape, dtype=torch.bool)
    classes = other_labels.numpy()
    for row, label in enumerate(anchor_labels.tolist()):
        alike, unlike = np.flatnonzero(classes == label), np.flatnonzero(classes != label)
        if not len(alike) or not len(unlike):
            continue
        drawn = others[generator.choice(alike, _CANDIDATES)], others[generator.choice(unlike, _CANDIDATES)]
        valid = valid_triplets(anchors[row : row + 1], *drawn)[0].nonzero()[:TRIPLETS, 0]
        positives[row, : len(valid)], negatives[row, : len(valid)] = drawn[0][valid], drawn[1][valid]
        there[row, : len(valid)] = True
    return positives, negatives, there


def all_methods(view: View, lenders: Lenders) -> Mapping[str, Callable[[], Tensor]]:
    """Name to heat ``(N, h, w)``, made when it is called for."""
    return {
        **_references(view),
        **_paper_c(view, lenders),
        **_paper_e(view, lenders),
        **_paper_l(view, lenders),
        **_own(view, lenders),
    }


def _references(view: View) -> dict[str, Callable[[], Tensor]]:
    mean = view.maps.mean(dim=1)
    middle = mean.flatten(1).median(dim=1).values[:, None, None]
    return {
        "uniform": lambda: torch.ones_like(mean),
        "random network": lambda: view.random,
        "mean feature map": lambda: mean,
        "mean feature map, squared": lambda: mean**2,
        "mean feature map less its median": lambda: (mean - middle).clamp(min=0),
        "mean feature map, fine grid": lambda: view.fine.mean(dim=1),
    }


def _paper_c(view: View, lenders: Lenders) -> dict[str, Callable[[], Tensor]]:
    nearest = lenders.nearest(lenders.head(view.maps))

    def transferred(triplets: int, method: Method, sense: Sense, top: int | None) -> Callable[[], Tensor]:
        def heat() -> Tensor:
            weights = lenders.weights(triplets, method, sense)
            return weighted_map(view.maps, (weights if top is None else keep_top(weights, top))[nearest])

        return heat

    found: dict[str, Callable[[], Tensor]] = {}
    for sense in SENSES:
        for short, method in (("GC", "grad-cam"), ("GC++", "grad-cam++")):
            for what, triplets, top in (("ST", 1, None), ("all", TRIPLETS, None), ("top-50", TRIPLETS, TOP)):
                found[f"{short} {what}, {sense}"] = transferred(triplets, method, sense, top)  # type: ignore[arg-type]
    return found


def _paper_e(view: View, lenders: Lenders) -> dict[str, Callable[[], Tensor]]:
    head = lenders.head
    classes, proxies = mean_proxies(head(view.maps), view.labels)
    own_class = proxies[torch.searchsorted(classes, view.labels)]
    return {
        "EmbeddingCAM single point": lambda: embedding_cam(view.maps, head),
        "EmbeddingCAM single point top-50": lambda: embedding_cam(view.maps, head, top=TOP),
        "EmbeddingCAM mean proxy": lambda: embedding_cam(view.maps, head, own_class),
        "EmbeddingCAM mean proxy top-50": lambda: embedding_cam(view.maps, head, own_class, top=TOP),
    }


def _paper_l(view: View, lenders: Lenders) -> dict[str, Callable[[], Tensor]]:
    head = lenders.head
    return {
        "Grad-CAM vanilla": lambda: retrieval_grad_cam(view.maps, head),
        "Grad-CAM abs": lambda: retrieval_grad_cam(view.maps, head, absolute=True),
        "L2-CAF": lambda: l2_caf(view.maps, head, exact=True).heats,
    }


def _own(view: View, lenders: Lenders) -> dict[str, Callable[[], Tensor]]:
    head = lenders.head
    weights = lent_weights(lenders)
    embeddings = head(view.maps)
    nearest = lenders.nearest(embeddings, lending=False)
    drawn = torch.from_numpy(np.random.default_rng(lenders.seed).integers(len(weights), size=len(nearest)))
    everywhere = weights.mean(dim=0)
    own = (normalised(embeddings) @ head.weight).clamp(min=0)
    heats = {
        "nearest neighbour": lambda: weighted_map(view.maps, weights[nearest]),
        "random training picture": lambda: weighted_map(view.maps, weights[drawn]),
        "one global weight vector": lambda: weighted_map(view.maps, everywhere),
        "single point": lambda: weighted_map(view.maps, own),
        "GC top-50, for": _paper_c(view, lenders)["GC top-50, for"],
        "GC top-50, against": _paper_c(view, lenders)["GC top-50, against"],
        "mean feature map": lambda: view.maps.mean(dim=1),
    }
    spread = {f"{OBJECT}{name}": _spread(heat, view.fine) for name, heat in heats.items()}
    plain = {f"positive weights, {name}": heats[name] for name in list(heats)[:4]}
    return {**plain, **spread}


def lent_weights(lenders: Lenders) -> Tensor:
    """What speaks for likeness to each training picture: the positive part of ``W^T p`` (E eq. 17)."""
    return (normalised(lenders.embeddings) @ lenders.head.weight).clamp(min=0)


def _spread(heat: Callable[[], Tensor], fine: Tensor) -> Callable[[], Tensor]:
    return lambda: torch.cat(
        [object_maps(heats, maps) for heats, maps in zip(heat().split(64), fine.split(64), strict=True)]
    )
