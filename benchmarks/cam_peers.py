"""The methods of housevis beside those of grad-cam and Captum: same feature maps, head and scalar.

The scalar is the agreement of the embedding with itself (E eq. 9, single
point); feature maps are EfficientNet-Lite0's of sample-market pictures, the
head is the 128 principal directions of its class logits. Every map is
compared, cell by cell, with the mean of the feature map over its channels, an
"explanation" that asks nothing, and with the single-point EmbeddingCAM. The
forward pass of the trunk is not counted. Methods of other libraries go
through `housevis.explain.peers` and need the extra `research`.

    python benchmarks/cam_peers.py --out docs/results/cam-peers.json

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
from l2caf_speed import CHUNK, heads, town_pictures
from result_facts import RESULTS, result_facts, use_threads
from scipy.stats import spearmanr
from torch import Tensor

from housevis.core.config_sections import VisionSection
from housevis.core.progress import progress_bar
from housevis.explain import LinearHead, embedding_cam, grad_cam, l2_caf, retrieval_grad_cam
from housevis.explain.embeddingcam import single_point_proxies
from housevis.explain.peers import PEERS, peer_heats
from housevis.runs import write_json
from housevis.vision.backbones import load_backbone


def methods(maps: Tensor, head: LinearHead) -> dict[str, Callable[[], Tensor]]:
    """Every method by name, as a call that gives heat `(N, h, w)`."""
    proxies = single_point_proxies(head(maps))

    def agreement(embeddings: Tensor) -> Tensor:
        return (embeddings * proxies).sum(dim=1)

    def any_head(each: Tensor) -> Tensor:
        return head(each)

    found: dict[str, Callable[[], Tensor]] = {
        "mean feature map": lambda: maps.mean(dim=1),
        "housevis EmbeddingCAM, closed form": lambda: embedding_cam(maps, head),
        "housevis EmbeddingCAM, by back-propagation": lambda: embedding_cam(maps, any_head),
        "housevis EmbeddingCAM, top 50": lambda: embedding_cam(maps, head, top=50),
        "housevis Grad-CAM++": lambda: grad_cam(maps, head, agreement, method="grad-cam++"),
        "housevis retrieval Grad-CAM": lambda: retrieval_grad_cam(maps, head),
        "housevis retrieval Grad-CAM, absolute": lambda: retrieval_grad_cam(maps, head, absolute=True),
        "housevis L2-CAF, exact": lambda: l2_caf(maps, head, exact=True).heats,
        "housevis L2-CAF, searched": lambda: l2_caf(maps, head).heats,
    }
    for peer in PEERS:
        found[peer] = lambda name=peer: peer_heats(maps, any_head, agreement, name)
    return found


def rank_correlation(first: Tensor, second: Tensor) -> float | None:
    """Mean over the pictures of the rank correlation of two maps' cells; None where a map is flat."""
    pairs = zip(first.flatten(1).numpy(), second.flatten(1).numpy(), strict=True)
    values = [spearmanr(*pair).statistic for pair in pairs if all(each.std() > 0 for each in pair)]
    return round(float(np.mean(values)), 3) if values else None


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "cam-peers.json")
    options = parser.parse_args()
    use_threads()
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    pictures = torch.from_numpy(town_pictures(options.pictures))
    maps = torch.cat([backbone.feature_map(each) for each in pictures.split(CHUNK)])
    head = next(iter(heads().values()))
    ways = methods(maps, head)
    heats, seconds = {}, dict.fromkeys(ways, float("inf"))
    with progress_bar("methods", options.repeats * len(ways)) as bar:
        for _ in range(options.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                heats[name] = way()
                seconds[name] = min(seconds[name], time.perf_counter() - started)
                bar.advance()
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            "milliseconds_per_picture": round(1000 * seconds[name] / options.pictures, 3),
            "rank_correlation_with_embeddingcam": rank_correlation(
                heats[name], heats["housevis EmbeddingCAM, closed form"]
            ),
            "rank_correlation_with_mean_feature_map": rank_correlation(
                heats[name], heats["mean feature map"]
            ),
            "maps_without_heat": int((heats[name].flatten(1).amax(dim=1) <= 0).sum()),
        }
        for name in ways
    ]
    write_json(
        options.out,
        result_facts() | {"pictures": options.pictures, "rows": rows},
    )
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
