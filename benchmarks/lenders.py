"""Who lends the weights: the nearest house, a random one, or one vector for all.

Transfer (C section 3.3) borrows the channel weights of the nearest training
house. That is worth a look-up only where another house would lend worse ones.
For houses of the later sales, three lenders are scored side by side by the
rank correlation of their maps with the house's own, back-propagated one, and
in a town by the heat on the true drivers. Beside it stands the rank-one fact:
how much of all weights one direction holds, and how often the published sign
flips between two draws of 50 pairs.

    python benchmarks/lenders.py examples/king-county.toml --runs runs --houses 400
    python benchmarks/lenders.py examples/sample-market.toml --runs runs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads
from scipy.stats import rankdata

from data_pipeline.archive import TileArchive
from housevis.core.config import SiameseSection, load_config
from housevis.core.progress import console
from housevis.explain.gradweights import pair_factors
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.explaining import look_up_places
from housevis.pipeline.learning_targets import places_of, whole_target
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses
from housevis.pipeline.truth import open_town, score_attention
from housevis.runs import write_json
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import open_engine
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import FeatureLearner

LEARNERS: Final = {"rank": 1000.0, "price": 10_000.0, "kernel": 0.3}
"""Objectives and their penalties."""

PAIRS: Final = 50
REPEATS: Final = 2000


def later_maps(
    project: Project, sold: SoldHouses, houses: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of houses of later sales, drawn at random, and their feature maps ``(n, K, h, w)``."""
    config = project.config
    rows = np.flatnonzero(~sold.is_earlier & (sold.image_keys != ""))
    rows = np.random.default_rng(config.seed).permutation(rows)[:houses]
    places = {place.house_id: place for place in house_places(sold.sales.iloc[rows], config.imagery.zoom)}
    items = [places[house_id] for house_id in sold.sales["house_id"].astype(str).iloc[rows]]
    engine = open_engine(load_backbone(config.vision), config.vision.engine, config.vision.batch_size)
    with TileArchive(project.workspace.archive) as archive:
        loader = PictureLoader(archive, config.imagery, config.vision)
        batches = iterate_features(loader.pixels, items, engine, want="maps")
        return rows, np.concatenate([batch.maps for batch in batches if batch.maps is not None])


def gradients(learner: FeatureLearner, pooled: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """The grad-weights of "this house is dearer" in the channels of the house's own picture ``(n, K)``."""
    direction = learner.direction().detach().numpy()
    found = learner.pull_back(pooled, np.repeat(direction[None], len(pooled), axis=0))
    return found[:, :channels]


def maps_of(weights: NDArray[np.float32], maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sum_k alpha_k A_k``, signed: ``(n, h, w)``."""
    flat = maps.reshape(*maps.shape[:2], -1)
    return np.matmul(weights[:, None], flat)[:, 0].reshape(len(maps), *maps.shape[2:])


def keep_top(weights: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """The highest weights, 0 elsewhere."""
    kept = np.argpartition(-weights, top - 1, axis=1)[:, :top]
    found = np.zeros_like(weights)
    np.put_along_axis(found, kept, np.take_along_axis(weights, kept, axis=1), axis=1)
    return found


def agreement(found: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rank correlation of each house's map with its own ``(n,)``; 0 where one is flat."""
    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (found, own)]
    ranks = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide((ranks[0] * ranks[1]).sum(axis=1), spread, out=np.zeros(len(found)), where=spread > 0)


def interval(values: NDArray[np.float64]) -> dict[str, float]:
    """The mean with its 95 % bootstrap interval over houses."""
    drawn = np.random.default_rng(1).integers(0, len(values), (REPEATS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return {"estimate": float(values.mean()), "low": float(low), "high": float(high)}


def sign_flips(learner: FeatureLearner, pooled: NDArray[np.float32], prices: NDArray[np.float64]) -> float:
    """Share of houses whose published weights turn round between two draws of 50 pairs."""
    weight, bias = (part.detach().numpy() for part in learner.ordering())
    scores = learner.embed(pooled).astype(np.float64) @ (weight[1] - weight[0])
    drawn = [
        pair_factors(
            scores, float(bias[1] - bias[0]), prices, "loss-against", PAIRS, np.random.default_rng(seed)
        )[0]
        for seed in (1, 2)
    ]
    return float((np.sign(drawn[0]) != np.sign(drawn[1])).mean())


def measure(project: Project, houses: int, most_taught: int) -> dict[str, Any]:
    """Score the lenders for each learner."""
    config = project.config
    sold = load_sold_houses(project)
    train = np.flatnonzero(sold.training_rows(EARLIER) & (sold.image_keys != ""))
    train = np.sort(np.random.default_rng(config.seed).permutation(train)[:most_taught])
    sales, folds = sold.sales.iloc[train].reset_index(drop=True), sold.folds[train]
    target = whole_target(config.siamese.targets[0], sales, folds, config)
    rows, maps = later_maps(project, sold, houses)
    taught, asked = sold.pooled[train], sold.pooled[rows]
    lender = np.random.default_rng(config.seed).integers(0, len(taught), len(rows))
    section = SiameseSection()
    figures: dict[str, Any] = {"taught": len(taught), "houses": len(rows), "learners": {}}
    for objective, penalty in LEARNERS.items():
        learner = fit_learner(
            objective,  # type: ignore[arg-type]
            taught,
            target,
            section,
            config.seed,
            penalty=penalty,
            places=places_of(sales, config),
        )
        lent = gradients(learner, taught, maps.shape[1])
        own = gradients(learner, asked, maps.shape[1])
        index = faiss.IndexFlatL2(look_up_places(learner, asked[:1]).shape[1])
        index.add(np.ascontiguousarray(look_up_places(learner, taught)))
        nearest = index.search(np.ascontiguousarray(look_up_places(learner, asked)), 5)[1]
        weights = {
            "own": own,
            "nearest": lent[nearest[:, 0]],
            "mean of 5 nearest": lent[nearest].mean(axis=1),
            "random": lent[lender],
            "global": np.repeat(lent.mean(axis=0, keepdims=True), len(own), axis=0),
        }
        signed = {name: maps_of(each, maps) for name, each in weights.items()}
        top = {
            name: np.maximum(maps_of(keep_top(each, config.explain.top_channels), maps), 0)
            for name, each in weights.items()
        }
        agree = {name: agreement(each, signed["own"]) for name, each in signed.items()}
        top_agree = {name: agreement(each, top["own"]) for name, each in top.items()}
        spectrum = np.linalg.svd(lent[:: max(1, len(lent) // 2000)], compute_uv=False) ** 2
        result: dict[str, Any] = {
            "share_of_first_direction": float(spectrum[0] / spectrum.sum()),
            "published_sign_flips": sign_flips(learner, taught, target),
            "agreement": {name: interval(each) for name, each in agree.items() if name != "own"},
            "agreement_top": {name: interval(each) for name, each in top_agree.items() if name != "own"},
            "nearest_less_random": interval(agree["nearest"] - agree["random"]),
            "nearest_less_global": interval(agree["nearest"] - agree["global"]),
            "five_less_global": interval(agree["mean of 5 nearest"] - agree["global"]),
            "top_nearest_less_random": interval(top_agree["nearest"] - top_agree["random"]),
        }
        if config.sample_market is not None:
            side = round(config.vision.image_size * config.imagery.window)
            ids = sold.sales["house_id"].astype(str).iloc[rows].tolist()
            shares = score_attention(open_town(config.sample_market), ids, top, side)
            result["lift"] = {
                name: {share.region: share.lift for share in shares if share.method == name} for name in top
            }
        figures["learners"][learner.kind] = result
        console.print_json(data={learner.kind: result})
    return figures


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where its pictures are embedded")
    parser.add_argument("--houses", type=int, default=600, help="houses of later sales, drawn at random")
    parser.add_argument("--taught", type=int, default=20_000, help="houses that teach and lend, at most")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(use_threads())
    config = load_config(options.config)
    with open_project(config, options.runs) as project:
        figures = measure(project, options.houses, options.taught)
    out = options.out or RESULTS / f"lenders-{config.name}.json"
    write_json(out, result_facts() | figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
