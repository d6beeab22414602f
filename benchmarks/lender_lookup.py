"""How training pictures are looked up: time, and how often the nearest is found.

Embeddings are made up, in clusters as those of classes or districts are; the
queries are more of the same. The nearest counts as found where what was found
is as near.

    python benchmarks/lender_lookup.py

Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads

from housevis.core.progress import progress_bar
from housevis.explain.neighbours import TREE_UP_TO, IndexKind, neighbour_index
from housevis.runs import write_json

SIZES = ((54_000, 4), (1_000_000, 1), (1_000_000, 4), (54_000, 128), (300_000, 128))
CLUSTERS = 200


def made_up(
    count: int, dimension: int, queries: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stored embeddings and queries, spread around the same centres."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(CLUSTERS, dimension)).astype(np.float32)
    points = generator.standard_normal((count + queries, dimension), dtype=np.float32)
    points = 0.5 * points + centres[generator.integers(CLUSTERS, size=count + queries)]
    return points[:count], points[count:]


def measure(count: int, dimension: int, queries: int, seed: int) -> list[dict[str, Any]]:
    """A row for every look-up that applies."""
    stored, asked = made_up(count, dimension, queries, seed)
    kinds: list[IndexKind] = ["exact", "ivf-pq"]
    if dimension <= TREE_UP_TO:
        kinds.insert(1, "tree")
    rows, nearest = [], None
    for kind in kinds:
        started = time.perf_counter()
        index = neighbour_index(stored, kind)
        built = time.perf_counter() - started
        started = time.perf_counter()
        found = index.search(asked, 1)[:, 0]
        seconds = time.perf_counter() - started
        distances = ((stored[found].astype(float) - asked) ** 2).sum(axis=1)
        nearest = distances if nearest is None else nearest
        rows.append(
            {
                "embeddings": count,
                "dimension": dimension,
                "index": kind,
                "build_seconds": round(built, 2),
                "microseconds_per_query": round(1e6 * seconds / queries, 1),
                "found": float(np.mean(distances <= nearest * (1 + 1e-4) + 1e-9)),
            }
        )
    return rows


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "lender-lookup.json")
    options = parser.parse_args()
    faiss.omp_set_num_threads(use_threads())
    rows = []
    with progress_bar("sizes", len(SIZES)) as bar:
        for count, dimension in SIZES:
            rows += measure(count, dimension, options.queries, options.seed)
            bar.advance()
    write_json(
        options.out,
        result_facts() | {"queries": options.queries, "rows": rows},
    )
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
