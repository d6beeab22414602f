"""Every method of the three papers on birds with true boxes, beside what the papers print.

Trains a 128-D embedding (distance-weighted sampling, margin loss) on some
classes of CUB-200-2011 and explains it on others. Thresholds, senses and
housevis's own method are chosen on the last training classes, which the
embedding has not seen either:

    python benchmarks/cub200.py --root CUB_200_2011 --train-classes 1-20 --test-classes 21-40 --seeds 3
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import platformdirs
import torch
from cub200_data import (
    BenchmarkDataError,
    Framing,
    PictureSet,
    box_regions,
    class_range,
    framed_boxes,
    mask_regions,
    read_cars196,
    read_coco_birds,
    read_cub200,
)
from cub200_features import COARSE, FINE, Trunk
from cub200_gallery import write_gallery
from cub200_methods import ASKING, OBJECT, Lenders, View, all_methods
from cub200_removal import removal_study
from cub200_scores import PLAIN, Scores, Truth, against_mean_map, chosen, method_row, orderings, retrieval
from cub200_studies import (
    centre_sweep,
    channel_sweep,
    randomisation,
    ratio_of,
    strict_accuracy,
    transfer_study,
)
from numpy.typing import NDArray

from housevis.core.config_sections import VisionSection
from housevis.core.errors import HousevisError
from housevis.core.machine import machine_facts
from housevis.core.progress import progress_bar
from housevis.explain.localisation import THRESHOLDS, centre_box, fixed_box_overlaps, heat_in_region
from housevis.explain.metrics import mask_on_grid
from housevis.explain.networks import LinearHead
from housevis.explain.object_maps import ObjectSettings
from housevis.vision.backbones import load_backbone
from housevis.vision.metric_learning import EmbeddingTraining, LinearEmbedding, fit_linear_embedding

PROJECT: Final = Path(__file__).resolve().parents[1]
CROP: Final[Framing] = "centre crop"
WHOLE: Final[Framing] = "whole picture"
REGION_PIXELS: Final = 112
STRICT: Final = (PLAIN, "EmbeddingCAM single point", "L2-CAF", f"{OBJECT}nearest neighbour")
REMOVED: Final = (
    "random network",
    PLAIN,
    "EmbeddingCAM single point",
    "GC top-50, against",
    "L2-CAF",
    "positive weights, nearest neighbour",
    f"{OBJECT}nearest neighbour",
)
RANDOMISED: Final = (
    "EmbeddingCAM single point",
    "GC top-50, against",
    "GC top-50, for",
    "GC++ top-50, against",
    "Grad-CAM abs",
    "L2-CAF",
    "positive weights, nearest neighbour",
    f"{OBJECT}nearest neighbour",
    f"{OBJECT}GC top-50, for",
)


@dataclass(frozen=True, eq=False)
class Part:
    """The pictures of some classes, with their maps and the truth.

    Attributes:
        pictures: The pictures.
        trunk: Where their maps come from.
        untrained: The same with random weights.
    """

    pictures: PictureSet
    trunk: Trunk
    untrained: Trunk

    @cached_property
    def truth(self) -> Truth:
        """Boxes, and masks where there are any."""
        masks = None
        if self.pictures.masks is not None:
            masks = mask_regions(self.pictures, CROP, REGION_PIXELS)
        boxes = framed_boxes(self.pictures, CROP)
        return Truth(box_regions(boxes, REGION_PIXELS), masks, framed_boxes(self.pictures, WHOLE))

    @cached_property
    def labels(self) -> torch.Tensor:
        """Class numbers ``(n,)``."""
        return torch.from_numpy(self.pictures.labels)

    def view(self, framing: Framing) -> View:
        """The maps of one framing."""
        random = self.untrained.maps(self.pictures, framing, COARSE)
        return View(
            maps=_tensor(self.trunk.maps(self.pictures, framing, COARSE)),
            fine=_tensor(self.trunk.maps(self.pictures, framing, FINE)),
            random=_tensor(random.mean(axis=1, dtype=np.float32)),
            labels=self.labels,
        )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train, explain, score; the content of the result file."""
    pictures = read_cub200(options.root)
    classes = _classes(options)
    train, held, test = (pictures.of_classes(*found) for found in classes.values())
    vision = VisionSection(backbone=options.backbone, weights=options.weights)
    trunk = Trunk(vision, options.cache)
    untrained = Trunk(vision, options.cache, untrained=0, seen=train)
    parts = {"held": Part(held, trunk, untrained), "test": Part(test, trunk, untrained)}
    pooled = trunk.pooled(train, CROP)
    heads = [
        _trained(pooled, train, trunk, options.cache, seed, EmbeddingTraining())
        for seed in range(options.seeds)
    ]
    labels = torch.from_numpy(train.labels)
    lenders = [Lenders(torch.from_numpy(pooled), labels, head, seed) for seed, head in enumerate(heads)]
    scores, found, hits, kept = _score(parts, lenders)
    names = list(scores["test"])
    fixed = _references(parts)
    candidates = [f"{OBJECT}{source}" for source in ASKING]
    best = chosen(scores["held"], candidates, least_ratio=0.85, least_point=scores["held"][PLAIN].point)
    rows = [method_row(name, scores["held"][name], scores["test"][name], hits) for name in names]
    if options.gallery:
        write_gallery(options.gallery, test, train, parts["test"].view(CROP), lenders[0], rows, best)
    return {
        "command": _command(options),
        "machine": machine_facts(),
        "versions": {name: version(name) for name in ("torch", "pytorch-metric-learning", "scikit-learn")},
        "backbone": _backbone_facts(trunk),
        "data": {
            name: {"classes": list(classes[name]), "pictures": len(part), "masks": part.masks is not None}
            for name, part in (("train", train), ("held", held), ("test", test))
        },
        "seeds": options.seeds,
        "training": asdict(EmbeddingTraining()),
        "object_settings": asdict(ObjectSettings()),
        "thresholds": list(THRESHOLDS),
        "retrieval": found,
        "references": fixed,
        "methods": rows,
        "best": against_mean_map(
            best, candidates, scores["held"], scores["test"], fixed["centre_box"]["iou"]
        ),
        "orderings": orderings(scores["test"]),
        **kept,
        "removal": _removed(parts["test"], lenders[0], options.removal_pictures),
        **_other_pictures(options, trunk, lenders[0]),
    }


def _classes(options: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """First and last class of each part; without --held-classes the last fifth of the training classes."""
    first, last = options.train_classes
    held = options.held_classes
    if held is None:
        held = (last + 1 - max(1, (last + 1 - first) // 5), last)
        last = held[0] - 1
    return {"train": (first, last), "held": held, "test": options.test_classes}


def _command(options: argparse.Namespace) -> str:
    """The command that gives these figures, without the places of files."""
    ranges = [("--train-classes", options.train_classes), ("--held-classes", options.held_classes)]
    ranges.append(("--test-classes", options.test_classes))
    words = ["python benchmarks/cub200.py --root CUB_200_2011"]
    words += [f"{name} {found[0]}-{found[1]}" for name, found in ranges if found is not None]
    words.append(f"--seeds {options.seeds} --removal-pictures {options.removal_pictures}")
    words += [f"--backbone {options.backbone}"] if options.backbone != "efficientnet-lite0" else []
    return " ".join(words)


def _backbone_facts(trunk: Trunk) -> dict[str, Any]:
    """Which backbone it is."""
    found = load_backbone(trunk.vision)
    return {"name": found.name, "deviation": found.deviation, "channels": found.channels, "grid": found.grid}


def _score(
    parts: dict[str, Part], lenders: list[Lenders]
) -> tuple[dict[str, dict[str, Scores]], list[dict[str, float]], list[NDArray[np.bool_]], dict[str, Any]]:
    scores: dict[str, dict[str, Scores]] = {}
    figures: list[dict[str, float]] = []
    hits: list[NDArray[np.bool_]] = []
    kept: dict[str, Any] = {}
    for part_name, part in parts.items():
        crop, whole = part.view(CROP), part.view(WHOLE)
        table: dict[str, Scores] = {}
        with progress_bar(f"methods, {part_name} classes", len(lenders)) as bar:
            for lender in lenders:
                on_crop, on_whole = all_methods(crop, lender), all_methods(whole, lender)
                for name, heat in on_crop.items():
                    table.setdefault(name, Scores()).add(heat(), on_whole[name](), part.truth)
                if part_name == "test":
                    figure, hit = retrieval(lender.head(crop.maps), part.labels)
                    figures.append(figure)
                    hits.append(hit)
                bar.advance()
        scores[part_name] = table
        if part_name == "test":
            kept = _studies(part, crop, whole, lenders)
    return scores, figures, hits, kept


def _studies(part: Part, crop: View, whole: View, lenders: list[Lenders]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for sense in ("against", "for"):
        for name, study in (("channels", channel_sweep), ("centres", centre_sweep)):
            runs = [study(crop, lender, part.truth, sense) for lender in lenders]
            kept.setdefault(name, {})[sense] = {
                key: float(np.mean([run[key] for run in runs])) for key in runs[0]
            }
        transfers = [transfer_study(crop, lender, part.truth, sense) for lender in lenders]
        kept.setdefault("transfer", {})[sense] = {
            source: {
                key: float(np.mean([found[source][key] for found in transfers]))
                for key in transfers[0][source]
            }
            for source in transfers[0]
        }
    methods = all_methods(whole, lenders[0])
    kept["max_box_accuracy"] = {name: strict_accuracy(methods[name], part.truth) for name in STRICT}
    kept["randomisation"] = _randomised(part, lenders[0])
    return kept


def _randomised(part: Part, lender: Lenders) -> dict[str, Any]:
    few = np.arange(len(part.pictures)) % 5 == 0
    pictures = part.pictures.rows(few)
    trained, untrained = (
        Part(pictures, part.trunk, part.untrained),
        Part(pictures, part.untrained, part.untrained),
    )
    seen = part.untrained.seen
    assert seen is not None
    pooled = torch.from_numpy(part.untrained.pooled(seen, CROP))
    other = Lenders(pooled, lender.labels, lender.head, lender.seed)
    return {
        "pictures": len(pictures),
        "methods": randomisation(RANDOMISED, trained.view(CROP), lender, untrained.view(CROP), other),
    }


def _removed(part: Part, lender: Lenders, count: int) -> dict[str, Any]:
    spread = np.linspace(0, len(part.pictures) - 1, min(count, len(part.pictures))).astype(int)
    few = np.isin(np.arange(len(part.pictures)), spread)
    some = Part(part.pictures.rows(few), part.trunk, part.untrained)
    return removal_study(REMOVED, some.pictures, some.view(CROP), part.trunk, lender)


def _references(parts: dict[str, Part]) -> dict[str, Any]:
    """Baselines that look at no picture, and the limits of the grids."""
    shares = np.round(np.arange(0.4, 0.96, 0.05), 2)
    held, test = parts["held"].truth, parts["test"].truth

    def accuracy(share: float, truth: Truth) -> NDArray[np.bool_]:
        return fixed_box_overlaps(centre_box(share), truth.whole_boxes) >= 0.5

    share = float(max(shares, key=lambda value: accuracy(value, held).mean()))
    regions = test.crop_regions
    box = box_regions(centre_box(share)[None], regions.shape[1]).repeat(len(regions), axis=0)
    return {
        "centre_box": {
            "share": share,
            "ratio": float((box & regions).sum(axis=(1, 2)).mean() / box[0].sum()),
            "iou": float(accuracy(share, test).mean()),
            "iou_60": float(accuracy(0.6, test).mean()),
        },
        "limits": {
            str(cells): float(heat_in_region(mask_on_grid(regions, cells, cells), regions).mean())
            for cells in (7, 14)
        },
    }


def _other_pictures(options: argparse.Namespace, trunk: Trunk, lender: Lenders) -> dict[str, Any]:
    """CARS196 and the birds of MS COCO where they are at hand, else the reason why they are not here."""
    found: dict[str, Any] = {}
    try:
        if options.cars is None:
            raise BenchmarkDataError("no folder was named (--cars)")
        cars = read_cars196(options.cars)
        last = int(cars.labels.max())
        known, new = cars.of_classes(1, last // 2), cars.of_classes(last // 2 + 1, last)
        head = _trained(trunk.pooled(known, CROP), known, trunk, options.cache, 0, EmbeddingTraining())
        pooled = torch.from_numpy(trunk.pooled(new, CROP))[:, :, None, None]
        found["cars196"] = retrieval(head(pooled), torch.from_numpy(new.labels))[0]
    except BenchmarkDataError as problem:
        found["cars196"] = {"skipped": problem.what}
    try:
        if options.coco is None:
            raise BenchmarkDataError("no folder was named (--coco)")
        birds = read_coco_birds(options.coco)
        part = Part(birds, trunk, trunk)
        view = part.view(CROP)
        found["coco"] = {
            "pictures": len(birds),
            **{name: ratio_of(all_methods(view, lender)[name](), part.truth) for name in STRICT},
        }
    except BenchmarkDataError as problem:
        found["coco"] = {"skipped": problem.what}
    return found


def _trained(
    pooled: NDArray[np.float32],
    pictures: PictureSet,
    trunk: Trunk,
    cache: Path,
    seed: int,
    training: EmbeddingTraining,
) -> LinearHead:
    """The embedding of one seed, from the cache where it was trained on just this before."""
    classes = f"{pictures.labels.min()}-{pictures.labels.max()}"
    about = json.dumps(
        {
            "data": f"{pictures.name} {classes} {len(pictures)}",
            "features": float(pooled.sum(dtype=np.float64)),
            "training": asdict(training),
            "seed": seed,
        }
    )
    file = cache / f"embedding-{pictures.name}-{classes}-{trunk.vision.backbone}-{seed}.safetensors"
    found = LinearEmbedding.load(file, about=about)
    if found is None:
        found = fit_linear_embedding(pooled, pictures.labels, training, seed=seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save(file, about=about)
    return LinearHead(torch.from_numpy(found.weight), torch.from_numpy(found.bias))


def _tensor(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="CUB-200-2011, or a part of it")
    parser.add_argument("--train-classes", type=class_range, default=(1, 100))
    parser.add_argument(
        "--held-classes",
        type=class_range,
        help="on which all is chosen; without it the last fifth of the training classes is held back",
    )
    parser.add_argument("--test-classes", type=class_range, default=(101, 200))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--weights", type=Path, help="weights file of the backbone")
    parser.add_argument("--removal-pictures", type=int, default=60, help="for insertion, deletion and ROAD")
    parser.add_argument("--cars", type=Path, help="CARS196: retrieval only")
    parser.add_argument("--coco", type=Path, help="MS COCO: birds of val2017")
    parser.add_argument("--gallery", type=Path, help="also a page of pictures, maps and scores, in this file")
    parser.add_argument("--cache", type=Path, default=platformdirs.user_cache_path("housevis") / "cub200")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "cub200.json")
    options = parser.parse_args()
    try:
        figures = measure(options)
    except HousevisError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for row in figures["methods"]:
        print(
            f"{row['method']:44} ratio {row['ratio']:.3f}  pointing {row['pointing']:.3f}  "
            f"IoU@0.5 {row['iou']:.3f} at {row['threshold']}"
        )
    print(json.dumps(figures["best"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
