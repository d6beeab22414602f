"""The birds as a page: a row per picture, a column per method, the true box drawn, scores beneath.

The page holds the pictures of the data set, so it belongs where the data set
is, not into the project.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from cub200_data import CROP, PictureSet, box_regions, framed_boxes, picture
from cub200_methods import Lenders, View, all_methods
from numpy.typing import NDArray

from housevis.explain.heatmap import heatmaps_of
from housevis.explain.localisation import box_overlaps, heat_in_region, sparsity
from housevis.views.gallery import (
    GalleryCell,
    GalleryData,
    GalleryMethod,
    GalleryPicture,
    GalleryRow,
    GalleryScore,
    build_gallery,
)

PICTURES: Final = 12
"""Rows of the page."""

SAYS: Final = {
    "mean feature map": "No explanation: where the feature map is strong. What the others have to beat.",
    "GC ST, against": "Grad-CAM of one triplet's loss, by the weights of the nearest training picture.",
    "GC all, against": "The same of 50 triplets.",
    "GC top-50, against": "The same with the 50 highest channels alone: what C proposes.",
    "GC++ top-50, against": "Grad-CAM++ in its place.",
    "EmbeddingCAM single point": "Where the picture agrees with its own embedding (E).",
    "Grad-CAM abs": "Grad-CAM of the sum of the embedding, absolute: a baseline of L.",
    "L2-CAF": "What the embedding cannot do without (L).",
}
"""Columns beside housevis's own method, and what their maps show."""

SCORES: Final = (
    GalleryScore(
        "ratio",
        "Box ratio",
        "Share of the heat inside the true box (C section 4.1).",
        "higher",
        "percent",
    ),
    GalleryScore(
        "iou",
        "IoU",
        "Overlap of the true box with the box round the hot part, cut at the method's own threshold, chosen "
        "on classes held back. Here in the papers' crop; the published figures are on the whole picture.",
        "higher",
    ),
    GalleryScore(
        "concentration",
        "Concentration",
        "The Gini coefficient of the heat: how a map is drawn, not whether it is right.",
        "neither",
    ),
)

_REGION_PIXELS: Final = 112
_NOWHERE: Final = (0.0, 0.0, 0.0, 0.0)


def write_gallery(
    path: Path,
    pictures: PictureSet,
    taught: PictureSet,
    view: View,
    lenders: Lenders,
    rows: Sequence[dict[str, Any]],
    best: str,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        pictures: Pictures of the test classes.
        taught: The training pictures, which lend weights.
        view: Maps of `pictures` in the papers' crop.
        lenders: The training pictures' weights.
        rows: Rows of the methods' table, for their thresholds.
        best: housevis's own method, the last column.
    """
    places = np.unique(np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).astype(int))
    some = pictures.rows(np.isin(np.arange(len(pictures)), places))
    few = View(view.maps[places], view.fine[places], view.random[places], view.labels[places])
    boxes = framed_boxes(some, "centre crop")
    threshold = {row["method"]: row["threshold"] for row in rows}
    says = SAYS | {best: "housevis's own: the heat spread over the object that it lies on."}
    lent_by = [taught.paths[each] for each in lenders.nearest(lenders.head(few.maps)).tolist()]
    methods = all_methods(few, lenders)
    columns = [_cells(methods[name]().numpy(), name, boxes, threshold[name], lent_by) for name in says]
    covers = box_regions(boxes, _REGION_PIXELS).mean(axis=(1, 2))
    found = []
    for row, (file, label, box) in enumerate(zip(some.paths, some.labels, boxes.tolist(), strict=True)):
        facts = (("Class", str(label)), ("Box covers", f"{100 * covers[row]:.1f} %"))
        shown = GalleryPicture(picture(file, "centre crop", CROP), pictures.name, box=tuple(box))
        found.append(GalleryRow(_name(file), facts, shown, [column[row] for column in columns]))
    data = GalleryData(
        title=f"{pictures.name}: methods side by side",
        meta="For analysts · benchmarks/cub200.py --gallery",
        lead=(
            f"{len(some)} pictures of classes that the embedding has not learned from, spread evenly over "
            "the data set, in the papers' crop.",
        ),
        subject="picture",
        methods=[GalleryMethod(_title(name), sentence) for name, sentence in says.items()],
        scores=[_with_reference(score, float(covers.mean())) for score in SCORES],
        rows=found,
        lenders={
            _name(file): GalleryPicture(picture(file, "centre crop", CROP), taught.name) for file in lent_by
        },
    )
    build_gallery(data, path)


def _cells(
    heats: NDArray[np.float32],
    name: str,
    boxes: NDArray[np.float64],
    threshold: float,
    lent_by: Sequence[Path],
) -> list[GalleryCell]:
    """One method's maps with their scores; those of C name who lent the weights."""
    heatmaps = heatmaps_of(heats, _NOWHERE, unit="attention", method=name)
    ratios = heat_in_region(heats, box_regions(boxes, _REGION_PIXELS))
    overlaps = box_overlaps(heats, boxes, [threshold])[0]
    spread = sparsity(heats)
    return [
        GalleryCell(
            heatmap,
            {"ratio": float(ratio), "iou": float(overlap), "concentration": float(gini)}
            if heatmap.status == "ok"
            else {},
            _name(lender) if name.startswith("GC") else None,
        )
        for heatmap, ratio, overlap, gini, lender in zip(
            heatmaps, ratios, overlaps, spread, lent_by, strict=True
        )
    ]


def _with_reference(score: GalleryScore, covered: float) -> GalleryScore:
    if score.key != "ratio":
        return score
    words = f"The boxes cover {100 * covered:.1f} % of the pictures"
    return GalleryScore(score.key, score.name, score.meaning, score.better, score.style, words)


def _name(file: Path) -> str:
    return file.stem.replace("_", " ")


def _title(name: str) -> str:
    return name[0].upper() + name[1:]
