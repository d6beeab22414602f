"""What an explanation by transfer costs beside the bare forward pass, and beside grad-cam's Grad-CAM.

An explanation by transfer (C section 3.3) is the feature map taken out, the
embedding, the look-up among 54,000 houses, the map and its status. It is
measured on batches of pictures

* with the CPU engine of housevis, beside the same engine without it;
* with the plain float32 network in PyTorch, beside `GradCAM` of the package
  `grad-cam` on that network: same batch, same number type, same question
  ("dearer"). A second row of theirs freezes the trunk, so that their backward
  pass stops at the feature map, which nothing in their documentation asks for.

`grad-cam` also stretches its maps to the size of the picture; a row says what
that costs. Ways are measured in turn, many times; the best times count, so
that a busy machine slows all alike. The embedding has random weights and the
embeddings of the 54,000 are spread around those of the pictures: neither
changes the time.

    python benchmarks/transfer_cost.py

Run it alone on the machine. It needs the extra `research`. The ResNet-50 trunk
is measured where its weights lie in ../shared/weights, or in the folder that
HOUSEVIS_SHARED names.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from grad_weight_database import MANY, PAIRS, SEED, TOP, backbones, random_prices, random_ranker
from l2caf_speed import town_pictures
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads
from torch import Tensor, nn

from housevis.core.progress import progress_bar
from housevis.explain import GradWeightDatabase, Transfer, rank_grad_weights
from housevis.runs import write_json
from housevis.vision.backbones import Backbone
from housevis.vision.engines import open_engine
from housevis.vision.networks import PictureNetwork
from housevis.vision.siamese import RankSiamese
from housevis.vision.torchvision_import import import_torchvision

BARE, TRANSFER = "engine, bare forward pass", "engine, explained by transfer"
PLAIN, PLAIN_TRANSFER = "PyTorch, bare forward pass", "PyTorch, explained by transfer"
PEER, FROZEN, RESIZED = "grad-cam GradCAM", "grad-cam GradCAM, trunk frozen", "stretching of grad-cam's maps"
BARS = {"transfer_by_bare": 1.05, "times_grad_cam_same_engine": 2.5, "times_grad_cam_our_engine": 10.0}


class Question(nn.Module):
    """The whole network with "dearer" as its only class, as `grad-cam` takes it."""

    def __init__(self, network: PictureNetwork, ranker: RankSiamese, trunk_learns: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(trunk_learns)
        self.maps = Marked()
        self.ranker = ranker

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` from 0 to 255 to logits ``(N, 1)``."""
        maps = self.maps(self.network.trunk((pixels - self.network.mean) / self.network.deviation))
        return (self.ranker.f(maps.mean(dim=(2, 3))) @ self.ranker.direction())[:, None]


class Marked(nn.Module):
    """The feature map as a layer of its own, whose output has a gradient even where the trunk is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor) -> Tensor:
        """The feature map as it is."""
        return maps * self.one


def first(output: Tensor) -> Tensor:
    return output[0]


def database_around(ranker: RankSiamese, pooled: NDArray[np.float32], cells: int) -> GradWeightDatabase:
    """Grad-weights of 54,000 houses whose features are mixtures of those of the pictures."""
    generator = np.random.default_rng(SEED)
    some = generator.integers(len(pooled), size=(2, MANY))
    share = generator.random((MANY, 1), dtype=np.float32)
    return rank_grad_weights(
        embedding=ranker,
        head_weight=ranker.head.weight.numpy(),
        head_bias=ranker.head.bias.numpy(),
        features=share * pooled[some[0]] + (1 - share) * pooled[some[1]],
        prices=random_prices(MANY),
        house_ids=[str(row) for row in range(MANY)],
        cells=cells,
        backbone_fingerprint="made up",
        model_id="random",
        scalar="dearer",
        pairs=PAIRS,
        top_channels=TOP,
        seed=SEED,
    )


def measure(backbone: Backbone, batch: int, rounds: int) -> dict[str, Any]:
    """All ways on one backbone: seconds of every round."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import scale_cam_image

    pictures = town_pictures(batch)
    tensors = torch.from_numpy(pictures)
    ranker = random_ranker(backbone.channels)
    module = backbone.module
    models = {PEER: Question(module, ranker, True), FROZEN: Question(module, ranker, False)}
    cams = {name: GradCAM(model=model.eval(), target_layers=[model.maps]) for name, model in models.items()}

    def peer(name: str) -> NDArray[np.float32]:
        pixels = tensors.permute(0, 3, 1, 2).float()
        return cams[name](input_tensor=pixels, targets=[first] * batch)

    def plain() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            maps, pooled = module(tensors)
        return maps.numpy(), pooled.numpy()

    with open_engine(backbone, "auto", batch, threads=torch.get_num_threads()) as engine:
        maps, pooled = engine.both(pictures)
        cells = int(np.prod(backbone.grid))
        transfer = Transfer(database_around(ranker, pooled, cells))

        def explained(features: Callable[[], tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Any:
            own_maps, own_pooled = features()
            return transfer.explain(own_maps, ranker.embed(own_pooled))

        ways: dict[str, Callable[[], Any]] = {
            BARE: lambda: engine.pooled(pictures),
            TRANSFER: lambda: explained(lambda: engine.both(pictures)),
            PLAIN: plain,
            PLAIN_TRANSFER: lambda: explained(plain),
            PEER: partial(peer, PEER),
            FROZEN: partial(peer, FROZEN),
            RESIZED: lambda: scale_cam_image(maps[:, 0], (backbone.input_size, backbone.input_size)),
        }
        seconds = timed(ways, rounds, often=(BARE, TRANSFER))
        description = engine.description
    for cam in cams.values():
        cam.activations_and_grads.release()
    best = {name: min(each) for name, each in seconds.items()}
    return {
        "backbone": backbone.name,
        "channels": backbone.channels,
        "grid": list(backbone.grid),
        "engine": description,
        "milliseconds_per_picture": {name: 1000 * each / batch for name, each in best.items()},
        "transfer_by_bare": best[TRANSFER] / best[BARE],
        "transfer_by_bare_median_of_rounds": float(
            np.median(np.array(seconds[TRANSFER]) / np.array(seconds[BARE]))
        ),
        "times_grad_cam_same_engine": best[PEER] / best[PLAIN_TRANSFER],
        "times_grad_cam_trunk_frozen": best[FROZEN] / best[PLAIN_TRANSFER],
        "times_grad_cam_our_engine": best[PEER] / best[TRANSFER],
    }


def timed(ways: dict[str, Callable[[], Any]], rounds: int, often: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds of every way in every round; some are measured five times as often as the others."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()
    for turn in range(5 * rounds):
        for name, way in ways.items():
            if name in often or turn % 5 == 0:
                started = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - started)
    return seconds


def held(row: dict[str, Any]) -> dict[str, bool]:
    """Which bars a backbone holds."""
    return {
        name: row[name] <= bar if name == "transfer_by_bare" else row[name] >= bar
        for name, bar in BARS.items()
    }


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS / "transfer-cost.json")
    options = parser.parse_args()
    use_threads()
    import_torchvision()
    rows, networks = [], backbones()
    with progress_bar("backbones", len(networks)) as bar:
        for backbone in networks:
            row = measure(backbone, options.batch, options.rounds)
            rows.append(row | {"bars_held": held(row)})
            bar.advance()
    write_json(
        options.out,
        result_facts()
        | {
            "houses": MANY,
            "batch": options.batch,
            "bars": BARS,
            "rows": rows,
        },
    )
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
