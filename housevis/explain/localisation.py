"""How well a heat map finds one object: heat ratio, pointing, and the box around the hottest part.

The scores of the three papers per picture, so that two methods can be
compared picture by picture. Maps are enlarged bilinearly before they are
judged, and negative heat counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from housevis.core.errors import ModelError
from housevis.explain.heatmap import interpolation_matrix, upsample

THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(1, 19))
"""Shares of a map's highest heat at which its box is cut out: 0.05 to 0.9."""

BOX_PIXELS: Final = 112
"""Pixels per side at which boxes are cut out."""

Components = Literal["largest", "best"]
"""Which connected part is judged: the largest (C, E), or the one that fits best (MaxBoxAccV2)."""


def heat_in_region(heats: NDArray[np.floating], regions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of each map's heat that falls inside its region (C section 4.1).

    Args:
        heats: Maps ``(n, h, w)``.
        regions: bool ``(n, H, W)``, over the same ground.

    Returns:
        float64 ``(n,)`` within [0, 1]; 0 where a map holds no heat.

    Raises:
        ModelError: The shapes do not fit.
    """
    _check(heats, regions)
    positive = np.maximum(heats, 0).astype(np.float64)
    rows = interpolation_matrix(heats.shape[1], regions.shape[1])
    columns = interpolation_matrix(heats.shape[2], regions.shape[2])
    inside = (positive * (rows.T @ regions.astype(np.float32) @ columns)).sum(axis=(1, 2))
    in_all = (positive * np.outer(rows.sum(axis=0), columns.sum(axis=0))).sum(axis=(1, 2))
    return np.divide(inside, in_all, out=np.zeros(len(heats)), where=in_all > 0)


def pointing_hits(heats: NDArray[np.floating], regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pointing game: whether the hottest pixel lies inside the region.

    A map that is the same everywhere points nowhere, and misses.

    Args:
        heats: Maps ``(n, h, w)``.
        regions: bool ``(n, H, W)``.

    Returns:
        bool ``(n,)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    _check(heats, regions)
    enlarged = upsample(heats, *regions.shape[1:]).reshape(len(heats), -1)
    hottest = enlarged.argmax(axis=1)
    hit = regions.reshape(len(heats), -1)[np.arange(len(heats)), hottest]
    return np.asarray(hit & (heats.max(axis=(1, 2)) > heats.min(axis=(1, 2))))


def box_overlaps(
    heats: NDArray[np.floating],
    boxes: NDArray[np.floating],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    components: Components = "largest",
    pixels: int = BOX_PIXELS,
) -> NDArray[np.float64]:
    """Intersection over union of the true box with the box around the hot part (C section 4.1).

    Args:
        heats: Maps ``(n, h, w)``.
        boxes: True boxes ``(n, 4)``: left, top, right, bottom as shares of the map's sides.
        thresholds: Shares of a map's highest heat above which a pixel is hot.
        components: Which connected part of the hot pixels is judged.
        pixels: Pixels per side of the enlarged map.

    Returns:
        float64 ``(T, n)``; 0 where a map holds no heat.

    Raises:
        ModelError: The shapes do not fit.
    """
    if heats.ndim != 3 or boxes.shape != (len(heats), 4):
        raise ModelError(f"maps {heats.shape} and boxes {boxes.shape} must be (n, h, w) and (n, 4)")
    enlarged = upsample(np.maximum(heats, 0), pixels, pixels)
    found = np.zeros((len(thresholds), len(heats)))
    for picture, (heat, box) in enumerate(zip(enlarged, boxes, strict=True)):
        highest = heat.max()
        if not highest > 0:
            continue
        for place, threshold in enumerate(thresholds):
            hot_boxes = _component_boxes(heat >= threshold * highest, components) / pixels
            found[place, picture] = _overlap(hot_boxes, box).max()
    return found


def localisation_accuracy(overlaps: NDArray[np.floating], least: float = 0.5) -> NDArray[np.float64]:
    """The share of pictures whose box overlaps enough, by threshold: ``(T, n)`` to ``(T,)``."""
    return np.asarray((overlaps >= least).mean(axis=1), dtype=np.float64)


def max_box_accuracy(overlaps: NDArray[np.floating], least: Sequence[float] = (0.3, 0.5, 0.7)) -> float:
    """MaxBoxAccV2 (Choe et al. 2020): the best threshold's accuracy, averaged over three strictnesses.

    Args:
        overlaps: From :func:`box_overlaps` with ``components="best"``, ``(T, n)``.
        least: The overlaps that count as right.
    """
    return float(np.mean([localisation_accuracy(overlaps, value).max() for value in least]))


def centre_box(share: float) -> NDArray[np.float64]:
    """A box in the middle of the picture, the same for all: the baseline that looks at nothing.

    Args:
        share: Its part of the picture's width and height.

    Returns:
        Left, top, right, bottom ``(4,)`` as shares.
    """
    return np.array([0.5 - share / 2] * 2 + [0.5 + share / 2] * 2)


def fixed_box_overlaps(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union ``(n,)`` of one box ``(4,)`` with the true boxes ``(n, 4)``."""
    return _overlap(np.asarray(boxes, dtype=np.float64), np.asarray(box, dtype=np.float64))


def sparsity(heats: NDArray[np.floating]) -> NDArray[np.float64]:
    """How few cells hold the heat: the Gini coefficient of each map.

    Args:
        heats: Maps ``(n, h, w)``; negative heat counts as none.

    Returns:
        float64 ``(n,)``: 0 for the same heat everywhere or none, near 1 for one hot cell.
    """
    values = np.sort(np.maximum(heats, 0).reshape(len(heats), -1).astype(np.float64), axis=1)
    cells = values.shape[1]
    total = values.sum(axis=1)
    ranked = (values * (2 * np.arange(1, cells + 1) - cells - 1)).sum(axis=1)
    return np.divide(ranked, cells * total, out=np.zeros(len(values)), where=total > 0)


def _component_boxes(hot: NDArray[np.bool_], components: Components) -> NDArray[np.float64]:
    labels, count = ndimage.label(hot)
    places = ndimage.find_objects(labels)
    if components == "largest" and count > 1:
        places = [places[int(np.bincount(labels.ravel())[1:].argmax())]]
    return np.array([[x.start, y.start, x.stop, y.stop] for y, x in places], dtype=np.float64)


def _overlap(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union ``(m,)`` of boxes ``(m, 4)`` with one box ``(4,)``."""
    shared = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    intersection = np.maximum(shared, 0).prod(axis=1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    union = areas + np.maximum(box[2:] - box[:2], 0).prod() - intersection
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=union > 0)


def _check(heats: NDArray[np.floating], regions: NDArray[np.bool_]) -> None:
    if heats.ndim != 3 or regions.ndim != 3 or len(heats) != len(regions) or regions.dtype != np.bool_:
        raise ModelError(
            f"maps {heats.shape} and regions {regions.dtype} {regions.shape} do not fit; "
            "they must be (n, h, w) and bool (n, H, W)"
        )
    if not np.isfinite(heats).all():
        raise ModelError("a map holds a value that is no finite number")
