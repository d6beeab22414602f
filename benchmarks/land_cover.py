"""Train the land-cover network on the fictional town, and score it on towns that it has not seen.

Writes the weights into the package and the scores to
``docs/results/land-cover.json``. The same seed gives the same pictures; the
pictures are kept beside each other in memory, 2,000 of them are 300 MB.

    python benchmarks/land_cover.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from land_cover_pictures import plain_picture, town_windows, varied_pictures
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market import SampleMarket
from housevis.explain.landcover import WEIGHTS, LandCoverSegmenter, save_weights
from housevis.explain.landcover_network import CELL, LandCoverNetwork
from housevis.runs import write_json

TRAINING_TOWNS = (11, 12, 13, 14, 15, 16)
TEST_TOWNS = (1, 2, 3)
HOUSES = 600
LEARNING_RATE = 3e-3
BATCH = 16


def pictures_of(towns: Sequence[int], count: int, varied: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """About `count` pictures of some towns and their classes.

    Args:
        towns: Seeds of the towns.
        count: Pictures wanted.
        varied: Pictures out of each window, made unlike the town; 0 takes one as it is.
    """
    found = []
    windows = count // (len(towns) * max(varied, 1))
    for town in towns:
        market = SampleMarket(HOUSES, seed=town)
        for number, place in enumerate(town_windows(market, windows, town)):
            if varied:
                found += varied_pictures(market, *place, seed=100_000 * town + number, count=varied)
            else:
                found.append(plain_picture(market, *place))
    return np.stack([picture for picture, _ in found]), np.stack([cover for _, cover in found])


def cell_shares(covers: NDArray[np.uint8]) -> torch.Tensor:
    """Share of each class in each cell: float32 ``(N, 7, H / 4, W / 4)``."""
    count, height, width = covers.shape
    blocks = covers.reshape(count, height // CELL, CELL, width // CELL, CELL)
    return torch.from_numpy(
        np.stack([(blocks == number).mean(axis=(2, 4)) for number in range(len(LAND_COVERS))], axis=1)
    ).float()


def train(pictures: NDArray[np.uint8], covers: NDArray[np.uint8], epochs: int, seed: int) -> LandCoverNetwork:
    """Fit the network by cross-entropy against the shares of the classes in each cell."""
    torch.manual_seed(seed)
    network = LandCoverNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shown, wanted = torch.from_numpy(pictures), cell_shares(covers)
    frequency = wanted.mean(dim=(0, 2, 3))
    weight = (frequency.clamp_min(1e-3) ** -0.5)[None, :, None, None]
    steps = epochs * (len(shown) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    draw = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    for epoch in range(epochs):
        order, losses = torch.randperm(len(shown), generator=draw), []
        for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
            batch, target = _turned(shown[rows].float(), wanted[rows], draw)
            light = 1 + 0.15 * torch.randn((len(rows), 1, 1, 3), generator=draw)
            scores = network(
                (batch * light + 8 * torch.randn((len(rows), 1, 1, 3), generator=draw)).clamp(0, 255)
            )
            loss = -(weight * target * scores.log_softmax(dim=1)).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    return network.eval()


def _turned(
    pictures: torch.Tensor, shares: torch.Tensor, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch turned by a quarter and mirrored, all alike."""
    quarter, mirrored = (int(torch.randint(0, most, (1,), generator=draw)) for most in (4, 2))
    pictures, shares = torch.rot90(pictures, quarter, (1, 2)), torch.rot90(shares, quarter, (2, 3))
    return (pictures.flip(2), shares.flip(3)) if mirrored else (pictures, shares)


def scores(
    segmenter: LandCoverSegmenter, pictures: NDArray[np.uint8], covers: NDArray[np.uint8]
) -> dict[str, Any]:
    """Pixel accuracy and intersection over union of each class, over all pixels together."""
    found = segmenter.classes(pictures).repeat(CELL, axis=1).repeat(CELL, axis=2)
    pairs = np.bincount(len(LAND_COVERS) * covers.ravel().astype(int) + found.ravel(), minlength=49)
    table = pairs.reshape(7, 7)
    right = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - right
    return {
        "pictures": len(pictures),
        "accuracy": float(right.sum() / table.sum()),
        "iou": {name: float(right[n] / max(union[n], 1)) for n, name in enumerate(LAND_COVERS)},
        "share": {name: float(table[n].sum() / table.sum()) for n, name in enumerate(LAND_COVERS)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where the weights are written")
    parser.add_argument("--score-only", action="store_true", help="score the weights that are there")
    parser.add_argument("--out", type=Path, default=RESULTS / "land-cover.json")
    options = parser.parse_args()
    use_threads()
    figures: dict[str, Any] = {}
    if not options.score_only:
        started = time.perf_counter()
        pictures, covers = pictures_of(TRAINING_TOWNS, options.pictures, varied=3)
        painted = time.perf_counter()
        print(f"{len(pictures)} pictures painted in {painted - started:.0f} s", flush=True)
        network = train(pictures, covers, options.epochs, options.seed)
        save_weights(network, options.weights)
        figures["seconds"] = {
            "painting": round(painted - started, 1),
            "training": round(time.perf_counter() - painted, 1),
        }
    segmenter = LandCoverSegmenter.load(options.weights)
    figures |= {
        "training": {"towns": list(TRAINING_TOWNS), "pictures": options.pictures, "epochs": options.epochs},
        "test_towns": list(TEST_TOWNS),
        "parameters": sum(part.numel() for part in LandCoverNetwork().parameters()),
        "bytes": options.weights.stat().st_size,
        "plain": scores(segmenter, *pictures_of(TEST_TOWNS, 150, varied=0)),
        "varied": scores(segmenter, *pictures_of(TEST_TOWNS, 150, varied=1)),
    }
    write_json(options.out, {**result_facts(), **figures})


if __name__ == "__main__":
    main()
