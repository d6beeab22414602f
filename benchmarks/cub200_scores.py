"""Scores of every method on held-back and on test classes, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from housevis.explain.localisation import (
    THRESHOLDS,
    box_overlaps,
    heat_in_region,
    localisation_accuracy,
    pointing_hits,
    sparsity,
)

REPEATS: Final = 2000
PLAIN: Final = "mean feature map"


@dataclass(frozen=True, eq=False)
class Truth:
    """Where the birds are, for both framings.

    Attributes:
        crop_regions: Boxes of the papers' crop as pixels, bool ``(n, H, W)``.
        crop_masks: Segmentations of the crop; None where there are none.
        whole_boxes: Boxes of the whole picture as shares ``(n, 4)``.
    """

    crop_regions: NDArray[np.bool_]
    crop_masks: NDArray[np.bool_] | None
    whole_boxes: NDArray[np.float64]


@dataclass(eq=False)
class Scores:
    """One method on some pictures, one list entry per seed.

    Attributes:
        ratios: Share of the heat in the box, papers' crop, ``(n,)`` each.
        mask_ratios: The same in the segmentation.
        points: Pointing game, papers' crop, ``(n,)`` each.
        overlaps: IoU of the largest part with the true box, whole picture, ``(T, n)`` each.
        sparsities: Mean Gini coefficient of the maps.
    """

    ratios: list[NDArray[np.float64]] = field(default_factory=list)
    mask_ratios: list[NDArray[np.float64]] = field(default_factory=list)
    points: list[NDArray[np.bool_]] = field(default_factory=list)
    overlaps: list[NDArray[np.float64]] = field(default_factory=list)
    sparsities: list[float] = field(default_factory=list)

    def add(self, crop: Tensor, whole: Tensor, truth: Truth) -> None:
        """Judge the maps of one seed."""
        heats = crop.numpy()
        self.ratios.append(heat_in_region(heats, truth.crop_regions))
        if truth.crop_masks is not None:
            self.mask_ratios.append(heat_in_region(heats, truth.crop_masks))
        self.points.append(pointing_hits(heats, truth.crop_regions))
        self.overlaps.append(box_overlaps(whole.numpy(), truth.whole_boxes, pixels=56))
        self.sparsities.append(float(sparsity(heats).mean()))

    @property
    def ratio(self) -> float:
        """Mean share of the heat in the box over pictures and seeds."""
        return float(np.mean(self.ratios))

    @property
    def point(self) -> float:
        """Share of pictures whose hottest pixel lies in the box."""
        return float(np.mean(self.points))

    @property
    def curve(self) -> NDArray[np.float64]:
        """Localisation accuracy by threshold ``(T,)``."""
        return np.asarray(np.mean([localisation_accuracy(found) for found in self.overlaps], axis=0))

    @property
    def best_threshold(self) -> int:
        """Place of the threshold with the highest accuracy."""
        return int(self.curve.argmax())

    def hits(self, threshold: int) -> NDArray[np.float64]:
        """Share of the seeds that localise each picture ``(n,)``."""
        return np.asarray(np.mean([found[threshold] >= 0.5 for found in self.overlaps], axis=0))


def method_row(
    name: str, held: Scores, test: Scores, retrieved: Sequence[NDArray[np.bool_]]
) -> dict[str, Any]:
    """The figures of one method: the threshold from the held-back classes, all else on the test classes."""
    place = held.best_threshold
    right = [found[place] >= 0.5 for found in test.overlaps]
    return {
        "method": name,
        "ratio": test.ratio,
        "ratio_spread": float(np.mean([found.std() for found in test.ratios])),
        "ratio_seeds": [float(found.mean()) for found in test.ratios],
        "mask_ratio": float(np.mean(test.mask_ratios)) if test.mask_ratios else None,
        "pointing": test.point,
        "threshold": THRESHOLDS[place],
        "iou": float(np.mean(right)),
        "iou_seeds": [float(found.mean()) for found in right],
        "iou_by_threshold": [round(float(value), 4) for value in test.curve],
        "iou_and_retrieved": float(
            np.mean([(found & hit).mean() for found, hit in zip(right, retrieved, strict=True)])
        ),
        "sparsity": float(np.mean(test.sparsities)),
        "held": {"ratio": held.ratio, "pointing": held.point, "iou": float(held.curve[place])},
    }


def difference(first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0) -> dict[str, float]:
    """Mean of ``first - second`` per picture with a 95 % interval over drawn pictures."""
    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    generator = np.random.default_rng(seed)
    draws = [gaps[generator.integers(len(gaps), size=len(gaps))].mean() for _ in range(REPEATS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"estimate": float(gaps.mean()), "low": float(low), "high": float(high)}


def rank_correlations(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Spearman's rank correlation of two maps of each picture ``(n,)``; 0 where one of them is flat."""
    ranks = [rankdata(heats.flatten(1).numpy(), axis=1) for heats in (first, second)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    product = (centred[0] * centred[1]).sum(axis=1)
    length = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.divide(product, length, out=np.zeros(len(product)), where=length > 0)


def hot_overlaps(first: Tensor, second: Tensor, share: float = 0.2) -> NDArray[np.float64]:
    """Intersection over union of the hottest fifth of the cells of two maps ``(n,)``."""
    hot = []
    for heats in (first.flatten(1), second.flatten(1)):
        cells = torch.zeros_like(heats, dtype=torch.bool)
        cells.scatter_(1, heats.topk(max(1, round(share * heats.shape[1])), dim=1).indices, True)
        hot.append(cells)
    both, either = (hot[0] & hot[1]).sum(dim=1), (hot[0] | hot[1]).sum(dim=1)
    return (both / either).numpy().astype(np.float64)


def agreement(first: Tensor, second: Tensor) -> dict[str, float]:
    """Mean rank correlation and mean overlap of the hot cells."""
    return {
        "rank_correlation": float(rank_correlations(first, second).mean()),
        "hot_overlap": float(hot_overlaps(first, second).mean()),
    }


def retrieval(embeddings: Tensor, labels: Tensor) -> tuple[dict[str, float], NDArray[np.bool_]]:
    """Recall@1 and NMI (L section 4.1), and which pictures retrieve their own class first ``(n,)``."""
    unit = torch.nn.functional.normalize(embeddings)
    likeness = (unit @ unit.T).fill_diagonal_(-2)
    hits = (labels[likeness.argmax(dim=1)] == labels).numpy()
    clusters = KMeans(len(labels.unique()), n_init=3, random_state=0).fit_predict(unit.numpy())
    nmi = normalized_mutual_info_score(labels.numpy(), clusters, average_method="geometric")
    return {"recall_at_1": float(hits.mean()), "nmi": float(nmi)}, hits


def chosen(
    held: Mapping[str, Scores], names: Sequence[str], *, least_ratio: float, least_point: float
) -> str:
    """The method that localises best on the held-back classes among those that hold two bounds there.

    Where none holds both, the bounds are dropped.
    """
    fit = [name for name in names if held[name].ratio >= least_ratio and held[name].point >= least_point]
    return max(fit or names, key=lambda name: float(held[name].curve.max()))


def against_mean_map(
    best: str,
    candidates: Sequence[str],
    held: Mapping[str, Scores],
    test: Mapping[str, Scores],
    centre_accuracy: float,
) -> dict[str, Any]:
    """What the chosen method gains over the mean feature map, over a box in the middle, and by its neighbour.

    Args:
        best: The chosen method, its name ending in where its weights come from.
        candidates: What it was chosen from.
        held: Scores on the held-back classes, which give every threshold.
        test: Scores on the test classes.
        centre_accuracy: Share that the box in the middle localises.
    """
    own, plain = test[best], test[PLAIN]
    hits = own.hits(held[best].best_threshold)
    drawn = best.split(": ")[0] + ": random training picture"
    found = {
        "method": best,
        "candidates": list(candidates),
        "ratio_gain": difference(np.mean(own.ratios, axis=0), np.mean(plain.ratios, axis=0)),
        "iou_gain": difference(hits, plain.hits(held[PLAIN].best_threshold)),
        "pointing_gain": difference(np.mean(own.points, axis=0), np.mean(plain.points, axis=0)),
        "over_centre_box": float(hits.mean() - centre_accuracy),
    }
    other = test[drawn]
    found["nearest_over_random"] = {
        "ratio": difference(np.mean(own.ratios, axis=0), np.mean(other.ratios, axis=0)),
        "iou": difference(hits, other.hits(held[drawn].best_threshold)),
    }
    return found


def orderings(test: Mapping[str, Scores]) -> dict[str, dict[str, dict[str, float]]]:
    """C's ordering, top-50 over all channels over a single triplet: gains of the box ratio by sense."""

    def gap(first: str, second: str) -> dict[str, float]:
        return difference(*(np.mean(test[name].ratios, axis=0) for name in (first, second)))

    return {
        sense: {
            "top-50 over all": gap(f"GC top-50, {sense}", f"GC all, {sense}"),
            "all over ST": gap(f"GC all, {sense}", f"GC ST, {sense}"),
            "GC++ top-50 over GC top-50": gap(f"GC++ top-50, {sense}", f"GC top-50, {sense}"),
        }
        for sense in ("against", "for")
    }
