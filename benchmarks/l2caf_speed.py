"""How fast L2-CAF is: batched beside one picture at a time, fast beside ordinary (L Fig. 12).

Feature maps and class logits are EfficientNet-Lite0's own, trained on
ImageNet; pictures are of the sample market, or those of a folder. Two heads
are measured: the 1,000 logits, and their 128 principal directions, as wide as
the embeddings of the papers.

* one at a time: a search per picture, by back-propagation through the head, as L has it;
* one at a time, Gram matrix: the same search with the quadratic form of a linear head;
* batched: all filters searched together, by either way;
* exact: solved instead of searched;
* ordinary: the whole network at every step, one picture at a time.

All searches start at the same filter and follow the same stop rule. Ways are
measured in turn, several times, and the best time counts, so that a busy
machine slows all alike.

    python benchmarks/l2caf_speed.py --out docs/results/l2caf-speed.json

Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from result_facts import RESULTS, result_facts, use_threads
from torch import Tensor

from data_pipeline.sample_market.market import SampleMarket
from housevis.core.config_sections import VisionSection
from housevis.core.progress import progress_bar
from housevis.explain import (
    EmbeddingNetwork,
    FilterSearch,
    FilterSettings,
    LinearHead,
    embedding_cam,
    l2_caf,
    ordinary_l2_caf,
)
from housevis.runs import write_json
from housevis.vision.backbones import Backbone, load_backbone, packaged_efficientnet_file
from housevis.vision.weights import read_weights

SIZE = 224
DIRECTIONS = 128
CHUNK = 16


def town_pictures(count: int) -> NDArray[np.uint8]:
    """Pictures of the sample market, uint8 `(n, 224, 224, 3)`."""
    town = SampleMarket(4 * count, seed=1)
    side = int(np.ceil(np.sqrt(count)))
    corners = [(SIZE * (place % side), SIZE * (place // side)) for place in range(count)]
    return np.stack([town.render(left, top, SIZE, SIZE) for left, top in corners])


def folder_pictures(folder: Path, count: int) -> NDArray[np.uint8]:
    """Pictures spread over a folder, cut to squares: uint8 `(n, 224, 224, 3)`."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = [files[place] for place in np.linspace(0, len(files) - 1, count).astype(int)]
    return np.stack(
        [np.asarray(ImageOps.fit(Image.open(file).convert("RGB"), (SIZE, SIZE))) for file in chosen]
    )


def heads() -> dict[str, LinearHead]:
    """EfficientNet-Lite0's class logits, and their principal directions."""
    tensors = read_weights(packaged_efficientnet_file()).tensors
    logits = LinearHead(tensors["_fc.weight"], tensors["_fc.bias"])
    _, strengths, directions = torch.linalg.svd(logits.weight, full_matrices=False)
    principal = LinearHead((strengths[:, None] * directions)[:DIRECTIONS])
    return {f"{DIRECTIONS} principal directions of the logits": principal, "1,000 class logits": logits}


def one_by_one(maps: Tensor, search: Callable[[Tensor], FilterSearch]) -> Tensor:
    return torch.cat([search(maps[row : row + 1]).heats for row in range(len(maps))])


def timed(ways: dict[str, tuple[int, Callable[[], Tensor]]], repeats: int) -> dict[str, tuple[float, Tensor]]:
    """Best seconds per picture of every way, measured in turn, and the maps it gave."""
    best: dict[str, tuple[float, Tensor]] = {}
    for _ in range(repeats):
        for name, (count, way) in ways.items():
            started = time.perf_counter()
            heats = way()
            seconds = (time.perf_counter() - started) / count
            if name not in best or seconds < best[name][0]:
                best[name] = (seconds, heats)
    return best


def measure_head(name: str, head: LinearHead, maps: Tensor, single: int, repeats: int) -> dict[str, Any]:
    """One table: pictures per second of every way, and how far apart their maps are."""

    def any_head(each: Tensor) -> Tensor:
        return head(each)

    some = maps[:single]
    ways: dict[str, tuple[int, Callable[[], Tensor]]] = {
        "one at a time": (single, lambda: one_by_one(some, lambda one: l2_caf(one, any_head))),
        "one at a time, Gram matrix": (single, lambda: one_by_one(some, lambda one: l2_caf(one, head))),
        "batched, any head": (single, lambda: l2_caf(some, any_head).heats),
        "batched, Gram matrix": (len(maps), lambda: l2_caf(maps, head).heats),
        "exact": (len(maps), lambda: l2_caf(maps, head, exact=True).heats),
    }
    best = timed(ways, repeats)
    reference = best["exact"][1]
    search = l2_caf(maps, head)
    slowest = best["one at a time"][0]
    rows = [
        {
            "way": way,
            "pictures_per_second": round(1 / seconds, 1),
            "times_one_at_a_time": round(slowest / seconds, 1),
            "times_one_at_a_time_gram": round(best["one at a time, Gram matrix"][0] / seconds, 1),
            "largest_difference_from_exact": float((heats - reference[: len(heats)]).abs().max()),
        }
        for way, (seconds, heats) in best.items()
    ]
    agreement = embedding_cam(maps, LinearHead(head.weight))
    return {
        "head": name,
        "ways": rows,
        "mean_steps": round(float(search.steps.float().mean()), 1),
        "ended_by_the_stop_rule": float(search.stopped.float().mean()),
        "correlation_with_single_point_embeddingcam": round(mean_correlation(reference, agreement), 4),
    }


def mean_correlation(first: Tensor, second: Tensor) -> float:
    """Mean over the pictures of the correlation of two maps' cells."""
    pairs = zip(first.flatten(1), second.flatten(1), strict=True)
    return float(np.mean([float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs]))


def measure_ordinary(
    backbone: Backbone, head: LinearHead, pictures: Tensor, count: int, repeats: int
) -> dict[str, Any]:
    """L Fig. 12: the whole network at every step beside the head alone, one picture at a time."""
    network = EmbeddingNetwork(backbone.feature_map, lambda maps: head(maps))
    settings = FilterSettings()
    some = pictures[:count]

    def fast() -> Tensor:
        return one_by_one(some, lambda one: l2_caf(network.maps(one), network.head, settings=settings))

    best = timed(
        {
            "fast": (count, fast),
            "ordinary": (
                count,
                lambda: one_by_one(some, lambda one: ordinary_l2_caf(network, one, settings=settings)),
            ),
        },
        repeats,
    )
    return {
        "pictures": count,
        "fast_seconds": round(best["fast"][0], 4),
        "ordinary_seconds": round(best["ordinary"][0], 3),
        "speed_up": round(best["ordinary"][0] / best["fast"][0], 1),
        "largest_difference": float((best["ordinary"][1] - best["fast"][1]).abs().max()),
    }


def measure_classes(head: LinearHead, maps: Tensor) -> dict[str, Any]:
    """Class-specific filters (L eq. 2): how alike are those of different classes?"""
    best = head(maps).topk(2, dim=1).indices
    worst = head(maps).argmin(dim=1)
    found: dict[str, Any] = {}
    for name, each in (("logits as trained", head), ("logits with mean 0", head.centred())):
        first, second, last = (
            l2_caf(maps, each, classes=classes, exact=True).heats
            for classes in (best[:, 0], best[:, 1], worst)
        )
        searched = l2_caf(maps, each, classes=best[:, 0])
        found[name] = {
            "correlation_of_first_and_second_class": round(mean_correlation(first, second), 4),
            "correlation_of_first_and_last_class": round(mean_correlation(first, last), 4),
            "ended_by_the_stop_rule": float(searched.stopped.float().mean()),
            "largest_difference_from_exact": float((searched.heats - first).abs().max()),
        }
    return found


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=256, help="pictures of a batch")
    parser.add_argument("--single", type=int, default=16, help="pictures measured one at a time")
    parser.add_argument("--ordinary", type=int, default=4, help="pictures measured with the whole network")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="take pictures from here, not from the sample market")
    parser.add_argument("--out", type=Path, default=RESULTS / "l2caf-speed.json")
    options = parser.parse_args()
    use_threads()
    count = options.pictures
    pixels = folder_pictures(options.folder, count) if options.folder else town_pictures(count)
    pictures = torch.from_numpy(pixels)
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    maps = torch.cat([backbone.feature_map(each) for each in pictures.split(CHUNK)])
    found: dict[str, Any] = {"heads": []}
    with progress_bar("L2-CAF", len(heads()) + 2) as bar:
        for name, head in heads().items():
            found["heads"].append(measure_head(name, head, maps, options.single, options.repeats))
            bar.advance()
        logits = heads()["1,000 class logits"]
        found["ordinary"] = measure_ordinary(
            backbone, logits, pictures, options.ordinary, min(options.repeats, 2)
        )
        bar.advance()
        found["classes"] = measure_classes(logits, maps)
        bar.advance()
    write_json(
        options.out,
        result_facts()
        | {
            "pictures": "a folder of photographs" if options.folder else "sample market",
            "batch": count,
            "grid": list(backbone.grid),
            "channels": backbone.channels,
            **found,
        },
    )
    for table in found["heads"]:
        print(table["head"])
        for row in table["ways"]:
            print(
                f"  {row['way']}: {row['pictures_per_second']} pictures a second, "
                f"{row['times_one_at_a_time']} times one at a time, "
                f"maps within {row['largest_difference_from_exact']:.1e} of the exact one"
            )
    ordinary = found["ordinary"]
    print(
        f"fast {ordinary['fast_seconds']} s, ordinary {ordinary['ordinary_seconds']} s a picture: "
        f"{ordinary['speed_up']} times, maps within {ordinary['largest_difference']:.1e}"
    )
    for name, row in found["classes"].items():
        print(f"{name}: {row}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
