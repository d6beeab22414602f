"""How fast the rank siamese trains on cached features, beside a plain minibatch loop in PyTorch.

Both train the same network (K x 4, difference, 4 x 2, cross-entropy) with
Adam on the same 10,000 houses and 1.6 million pairs, and are judged on pairs
of 5,000 houses that neither has seen. The features are made: a few strong
directions and many weak ones, as those of a frozen network have, and a log
price that follows some of them.

    python benchmarks/rank_siamese_speed.py --out docs/results/rank-siamese-speed.json

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

from housevis.core.config_sections import SiameseSection
from housevis.core.machine import machine_facts
from housevis.core.progress import progress_bar
from housevis.runs import package_versions, write_json
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import RankSiamese, rank_accuracy

PROJECT = Path(__file__).resolve().parents[1]
HOUSES, HELD_OUT = 10_000, 5_000
PENALTY = 1000.0
PEER_BATCH = 1024

Scores = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def made_market(channels: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features `(n, K)` and log prices `(n,)` of the houses to learn from, then those held out."""
    generator = np.random.default_rng(seed)
    count = HOUSES + HELD_OUT
    strengths = 3.0 / np.sqrt(1 + np.arange(channels))
    hidden = generator.normal(size=(count, channels)).astype(np.float32) * strengths.astype(np.float32)
    turn = np.linalg.qr(generator.normal(size=(channels, channels)))[0].astype(np.float32)
    slopes = generator.normal(size=channels) / np.sqrt(channels)
    log_price = 13 + hidden @ slopes + 0.3 * generator.normal(size=count)
    return np.maximum(hidden @ turn + 1, 0), log_price


def ours(
    features: NDArray[np.float32], log_price: NDArray[np.float64], section: SiameseSection, seed: int
) -> Scores:
    """The rank siamese of housevis: `section.epochs` passes over the pairs."""
    return fit_learner("rank", features, log_price, section, seed, penalty=PENALTY).score


def minibatch_loop(
    features: NDArray[np.float32], log_price: NDArray[np.float64], section: SiameseSection, seed: int
) -> Scores:
    """The peer: one pass over the pairs in minibatches that embed the houses of their own pairs."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    standard = torch.from_numpy((features - mean) / deviation)
    generator = np.random.default_rng(seed)
    pairs = generator.integers(0, len(log_price), size=(section.pairs_per_house * len(log_price), 2))
    first, second = torch.from_numpy(pairs[:, 0].copy()), torch.from_numpy(pairs[:, 1].copy())
    dearer = torch.from_numpy((log_price[pairs[:, 0]] > log_price[pairs[:, 1]]).astype(np.int64))
    torch.manual_seed(seed)
    model = RankSiamese(features.shape[1], section.feature_dimension)
    optimiser = torch.optim.Adam(
        model.parameters(), lr=section.learning_rate, weight_decay=PENALTY / len(log_price)
    )
    for start in range(0, len(pairs), PEER_BATCH):
        batch = slice(start, start + PEER_BATCH)
        logits = model.logits(model.f(standard[first[batch]]), model.f(standard[second[batch]]))
        loss = torch.nn.functional.cross_entropy(logits, dearer[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return lambda new: model.score((new - mean) / deviation)


def measure(channels: int, repeats: int, seed: int) -> dict[str, Any]:
    """Seconds (the best of some repeats) and rank accuracy on houses held out, ours and the peer's."""
    features, log_price = made_market(channels, seed)
    section = SiameseSection()
    known, new = slice(0, HOUSES), slice(HOUSES, None)
    row: dict[str, Any] = {
        "channels": channels,
        "houses": HOUSES,
        "pairs": section.pairs_per_house * HOUSES,
    }
    for name, train, passes in (("housevis", ours, section.epochs), ("minibatch loop", minibatch_loop, 1)):
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            score = train(features[known], log_price[known], section, seed)
            seconds.append(time.perf_counter() - started)
        row[name] = {
            "seconds": round(min(seconds), 2),
            "all_seconds": [round(each, 2) for each in seconds],
            "passes_over_the_pairs": passes,
            "rank_accuracy": round(rank_accuracy(score(features[new]), log_price[new], seed=seed), 4),
        }
    return row


def main() -> int:
    """Measure both networks' widths and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "rank-siamese-speed.json")
    options = parser.parse_args()
    rows = []
    with progress_bar("rank siamese", len(options.channels)) as bar:
        for channels in options.channels:
            rows.append(measure(channels, options.repeats, options.seed))
            bar.advance()
    command = "python benchmarks/rank_siamese_speed.py"
    write_json(
        options.out,
        {"command": command, "machine": machine_facts(), "versions": package_versions(), "rows": rows},
    )
    for row in rows:
        print(
            f"K = {row['channels']}: housevis {row['housevis']['seconds']} s, "
            f"rank accuracy {row['housevis']['rank_accuracy']}; minibatch loop "
            f"{row['minibatch loop']['seconds']} s, {row['minibatch loop']['rank_accuracy']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
