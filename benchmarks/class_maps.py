"""Do maps of one picture differ between classes? Asked of real class logits, by our methods and by peers.

EfficientNet-Lite0's 1,000 class logits were trained on ImageNet; pictures are
of the sample market, or those of a folder. Every method explains the
likeliest class, the second and the least likely one. A method whose maps of
the three are alike shows the picture and not the class. Nothing is timed.

    python benchmarks/class_maps.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from cam_peers import rank_correlation
from l2caf_speed import CHUNK, folder_pictures, heads, town_pictures
from result_facts import RESULTS, result_facts, use_threads
from torch import Tensor

from housevis.core.config_sections import VisionSection
from housevis.core.progress import progress_bar
from housevis.explain import LinearHead, grad_cam, l2_caf
from housevis.explain.peers import Peer, peer_heats
from housevis.runs import write_json
from housevis.vision.backbones import load_backbone

PEERS: Final[tuple[Peer, ...]] = (
    "grad-cam GradCAM",
    "grad-cam GradCAMPlusPlus",
    "captum LayerGradCam",
    "captum IntegratedGradients",
)
REFERENCE: Final = "grad-cam GradCAM"


def methods(maps: Tensor, logits: LinearHead) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every method by name: from the classes of the pictures ``(N,)`` to heat ``(N, h, w)``."""

    def any_head(each: Tensor) -> Tensor:
        return logits(each)

    def logit_of(classes: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda found: found.gather(1, classes[:, None])[:, 0]

    found: dict[str, Callable[[Tensor], Tensor]] = {
        "housevis Grad-CAM": lambda classes: grad_cam(maps, any_head, logit_of(classes)),
        "housevis Grad-CAM++": lambda classes: grad_cam(
            maps, any_head, logit_of(classes), method="grad-cam++"
        ),
        "housevis L2-CAF, class-specific": lambda classes: (
            l2_caf(maps, logits, classes=classes, exact=True).heats
        ),
        "housevis L2-CAF, class-specific, logits with mean 0": lambda classes: (
            l2_caf(maps, logits.centred(), classes=classes, exact=True).heats
        ),
        "housevis L2-CAF, class-oblivious": lambda classes: l2_caf(maps, logits, exact=True).heats,  # noqa: ARG005
    }
    for peer in PEERS:
        found[peer] = lambda classes, name=peer: peer_heats(maps, any_head, logit_of(classes), name)
    return found


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="take pictures from here, not from the sample market")
    parser.add_argument("--out", type=Path, default=RESULTS / "class-maps.json")
    options = parser.parse_args()
    use_threads()
    count = options.pictures
    pixels = folder_pictures(options.folder, count) if options.folder else town_pictures(count)
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    maps = torch.cat([backbone.feature_map(each) for each in torch.from_numpy(pixels).split(CHUNK)])
    logits = heads()["1,000 class logits"]
    scores = logits(maps)
    first, second = scores.topk(2, dim=1).indices.T
    last = scores.argmin(dim=1)
    ways = methods(maps, logits)
    reference = ways[REFERENCE](first)
    rows: list[dict[str, Any]] = []
    with progress_bar("methods", len(ways)) as bar:
        for name, way in ways.items():
            likeliest = way(first)
            rows.append(
                {
                    "method": name,
                    "likeliest_and_second": rank_correlation(likeliest, way(second)),
                    "likeliest_and_least": rank_correlation(likeliest, way(last)),
                    "with_grad_cam": rank_correlation(likeliest, reference),
                    "least_without_heat": int((way(last).flatten(1).amax(dim=1) <= 0).sum()),
                }
            )
            bar.advance()
    source = "a folder of photographs" if options.folder else "sample market"
    write_json(options.out, result_facts() | {"pictures": count, "source": source, "rows": rows})
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
