"""The grad-weight database in closed form beside back-propagation: same weights, and how much faster.

Three ways from the pictures of 50 houses to their grad-weights, averaged over
50 pairs each, for the rank siamese (C sections 3.2 and 3.3):

* naive A: forward and backward through the network for every pair; the
  partner's embedding is remembered, so only the house itself is run. A second
  row stops the backward pass at the feature map.
* naive B: feature maps are remembered, one backward pass per pair through
  pooling, embedding and head.
* closed form: `housevis.explain.rank_grad_weights`, with drawing the pairs,
  keeping the top channels and writing the file.

A is measured on some pairs, B on all 2,500; both are scaled to 54,000 houses.
The closed form is measured on 54,000 houses, in a process of its own whose
peak memory is read. The features of these houses are made up in the shape of
real ones, and the embedding has random weights: neither changes the time.

    python benchmarks/grad_weight_database.py

Run it alone on the machine. The ResNet-50 trunk is measured where its weights
lie in ../shared/weights, or in the folder that HOUSEVIS_SHARED names.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from l2caf_speed import CHUNK, town_pictures
from numpy.typing import NDArray
from result_facts import PROJECT, RESULTS, result_facts, use_threads
from torch import Tensor, nn

from housevis.core.config_sections import VisionSection
from housevis.core.progress import progress_bar
from housevis.explain.gradweights import draw_partners, pair_factors, rank_grad_weights
from housevis.runs import write_json
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.engines import open_engine
from housevis.vision.siamese import RankSiamese

HOUSES, PAIRS, TOP, SEED = 50, 50, 50, 1
MANY = 54_000
"""Houses of the paper's market."""

TRUNK = Path("weights") / "resnet50-imagenet-stem-layer3.safetensors"
BARS = {
    "times_b": 1000,
    "times_a": 40,
    "seconds": 60,
    "gigabytes": 1.0,
    "megabytes": 15.0,
    "difference": 1e-5,
}


def backbones() -> list[Backbone]:
    """EfficientNet-Lite0, and the ResNet-50 trunk where its weights are there."""
    found = [load_backbone(VisionSection(backbone="efficientnet-lite0"))]
    file = Path(os.environ.get("HOUSEVIS_SHARED", PROJECT.parent / "shared")) / TRUNK
    if file.is_file():
        found.append(load_backbone(VisionSection(backbone="resnet50-trunk", weights=file)))
    return found


def random_ranker(channels: int) -> RankSiamese:
    """A rank siamese with random weights."""
    torch.manual_seed(SEED)
    return RankSiamese(channels, 4).eval().requires_grad_(False)


def random_prices(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(SEED).lognormal(13, 0.5, count).round(-3)


def pair_weights(ranker: RankSiamese, maps: Tensor, partner: Tensor, dearer: bool) -> Tensor:
    """Grad-weights ``(K,)`` of the cross-entropy of one pair, by back-propagation."""
    own = ranker.f(maps.mean(dim=(2, 3)))
    loss = nn.functional.cross_entropy(ranker.logits(own, partner[None]), torch.tensor([int(dearer)]))
    loss.backward()
    assert maps.grad is not None
    return maps.grad.mean(dim=(2, 3))[0]


class NaiveNetwork:
    """A: the whole network for every pair.

    Args:
        backbone: The network.
        whole: Whether the backward pass goes through all of it, or stops at the feature map.
    """

    def __init__(self, backbone: Backbone, ranker: RankSiamese, whole: bool) -> None:
        self._module = copy.deepcopy(backbone.module).requires_grad_(whole)
        self._ranker = ranker

    def weights(self, picture: Tensor, partner: Tensor, dearer: bool) -> Tensor:
        """Grad-weights ``(K,)`` of one pair."""
        maps, _ = self._module(picture)
        if maps.requires_grad:
            maps.retain_grad()
        else:
            maps.requires_grad_(True)
        found = pair_weights(self._ranker, maps, partner, dearer)
        self._module.zero_grad(set_to_none=True)
        return found


def best_of(repeats: int, ways: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Best seconds of every way, measured in turn, and what it gave."""
    seconds, results = dict.fromkeys(ways, float("inf")), {}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            results[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds, results


def build(ranker: RankSiamese, features: NDArray[np.float32], cells: int, path: Path) -> None:
    """The closed form, written to a file."""
    rank_grad_weights(
        embedding=ranker,
        head_weight=ranker.head.weight.numpy(),
        head_bias=ranker.head.bias.numpy(),
        features=features,
        prices=random_prices(len(features)),
        house_ids=[f"{7_000_000_000 + 1_234_567 * row % 3_000_000_000}" for row in range(len(features))],
        cells=cells,
        backbone_fingerprint="made up",
        model_id="random",
        pairs=PAIRS,
        top_channels=TOP,
        seed=SEED,
    ).save(path)


def peak_memory() -> int:
    """Most bytes of memory that this process held, pages of mapped files among them.

    `ru_maxrss` will not do: a new process starts with that of its parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def build_many(folder: Path, cells: int, repeats: int) -> dict[str, Any]:
    """What the process of its own does: seconds, peak memory and size of the file."""
    features = np.load(folder / "features.npy", mmap_mode="r")
    ranker, seconds = random_ranker(features.shape[1]), []
    for _ in range(repeats):
        started = time.perf_counter()
        build(ranker, features, cells, folder / "many.safetensors")
        seconds.append(time.perf_counter() - started)
    return {
        "seconds": min(seconds),
        "peak_gigabytes": peak_memory() / 1e9,
        "file_megabytes": (folder / "many.safetensors").stat().st_size / 1e6,
    }


def in_a_process(channels: int, cells: int, repeats: int) -> dict[str, Any]:
    """Made-up features in a file, and the database of them built by another process."""
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(SEED)
        file = np.lib.format.open_memmap(
            Path(folder) / "features.npy", mode="w+", dtype=np.float32, shape=(MANY, channels)
        )
        for start in range(0, MANY, 2000):
            file[start : start + 2000] = generator.random((min(2000, MANY - start), channels), np.float32)
        file.flush()
        del file
        command = [sys.executable, __file__, "--build", folder, "--cells", str(cells)]
        done = subprocess.run(
            [*command, "--repeats", str(repeats)], check=True, capture_output=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def measure(backbone: Backbone, network_pairs: int, repeats: int) -> dict[str, Any]:
    """All ways on one backbone."""
    pictures = town_pictures(HOUSES)
    tensors = torch.from_numpy(pictures)
    maps = torch.cat([backbone.feature_map(each) for each in tensors.split(CHUNK)])
    pooled, cells = backbone.pool(maps), int(np.prod(backbone.grid))
    ranker, prices = random_ranker(backbone.channels), random_prices(HOUSES)
    embedded = ranker.f(pooled)
    partners, _ = draw_partners(prices, PAIRS, np.random.default_rng(SEED))
    dearer = prices[:, None] > prices[partners]
    few = [(row % HOUSES, row // HOUSES) for row in range(network_pairs)]

    def by_network(naive: NaiveNetwork) -> Tensor:
        return torch.stack(
            [
                naive.weights(tensors[row : row + 1], embedded[partners[row, place]], dearer[row, place])
                for row, place in few
            ]
        )

    def by_maps(chosen: list[tuple[int, int]]) -> Tensor:
        return torch.stack(
            [
                pair_weights(
                    ranker,
                    maps[row : row + 1].requires_grad_(True),
                    embedded[partners[row, place]],
                    dearer[row, place],
                )
                for row, place in chosen
            ]
        )

    everything = [(row, place) for row in range(HOUSES) for place in range(PAIRS)]
    with (
        open_engine(backbone, "auto", 16, threads=torch.get_num_threads()) as engine,
        tempfile.TemporaryDirectory() as folder,
    ):
        engine.pooled(pictures[:16])
        seconds, found = best_of(
            repeats,
            {
                "feature pass": lambda: engine.pooled(pictures),
                "naive B": lambda: by_maps(everything),
                "closed form of 50 houses": lambda: build(
                    ranker, pooled.numpy(), cells, Path(folder) / "few.safetensors"
                ),
            },
        )
        description = engine.description
    ways = {
        "naive A": NaiveNetwork(backbone, ranker, whole=True),
        "naive A, backward to the feature map": NaiveNetwork(backbone, ranker, whole=False),
    }
    network_seconds, network_found = best_of(
        2, {name: (lambda naive=naive: by_network(naive)) for name, naive in ways.items()}
    )
    many = in_a_process(backbone.channels, cells, repeats)
    bias = ranker.head.bias.numpy()
    factors, _ = pair_factors(
        embedded.double().numpy() @ ranker.direction().double().numpy(),
        float(bias[1] - bias[0]),
        prices,
        "loss-against",
        PAIRS,
        np.random.default_rng(SEED),
    )
    closed = ranker.pull_back(pooled.numpy(), factors[:, None] * ranker.direction().numpy()) / cells
    by_pair = found["naive B"]
    averaged = by_pair.reshape(HOUSES, PAIRS, -1).mean(dim=1).numpy()
    same_pairs = by_maps(few)
    pair_b = seconds["naive B"] / len(everything)
    pair_a = {name: each / len(few) for name, each in network_seconds.items()}
    closed_house, pass_house = many["seconds"] / MANY, seconds["feature pass"] / HOUSES
    return {
        "backbone": backbone.name,
        "channels": backbone.channels,
        "grid": list(backbone.grid),
        "engine": description,
        "network_pairs": len(few),
        "milliseconds_per_pair": {"naive B": 1000 * pair_b}
        | {name: 1000 * each for name, each in pair_a.items()},
        "milliseconds_per_house": {
            "feature pass": 1000 * pass_house,
            "closed form": 1000 * closed_house,
            "closed form of 50 houses": 1000 * seconds["closed form of 50 houses"] / HOUSES,
        },
        "times_b": pair_b * PAIRS / closed_house,
        "times_b_of_50_houses": pair_b * PAIRS * HOUSES / seconds["closed form of 50 houses"],
        "times_a": pair_a["naive A"] * PAIRS / (pass_house + closed_house),
        "times_a_to_the_feature_map": pair_a["naive A, backward to the feature map"]
        * PAIRS
        / (pass_house + closed_house),
        "largest_weight": float(np.abs(averaged).max()),
        "largest_difference_from_b": float(np.abs(closed - averaged).max() / np.abs(averaged).max()),
        "largest_difference_of_a_from_b": float(
            (network_found["naive A"] - same_pairs).abs().max() / same_pairs.abs().max()
        ),
        "database": {"houses": MANY} | many,
    }


def held(row: dict[str, Any]) -> dict[str, bool]:
    """Which bars a backbone holds."""
    database = row["database"]
    return {
        "times_b": row["times_b"] >= BARS["times_b"],
        "times_a": row["times_a"] >= BARS["times_a"],
        "difference": row["largest_difference_from_b"] <= BARS["difference"],
        "seconds": database["seconds"] < BARS["seconds"],
        "gigabytes": database["peak_gigabytes"] < BARS["gigabytes"],
        "megabytes": database["file_megabytes"] < BARS["megabytes"],
    }


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network-pairs", type=int, default=40, help="pairs that naive A is measured on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "grad-weight-database.json")
    options = parser.parse_args()
    use_threads()
    if options.build:
        print(json.dumps(build_many(options.build, options.cells, options.repeats)))
        return 0
    rows, networks = [], backbones()
    with progress_bar("backbones", len(networks)) as bar:
        for backbone in networks:
            row = measure(backbone, options.network_pairs, options.repeats)
            rows.append(row | {"bars_held": held(row)})
            bar.advance()
    write_json(
        options.out,
        result_facts()
        | {
            "houses": HOUSES,
            "pairs": PAIRS,
            "bars": BARS,
            "rows": rows,
        },
    )
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
