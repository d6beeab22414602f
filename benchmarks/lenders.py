"""Who lends the weights: the nearest house, a random one, or one vector for all.

Transfer (C section 3.3) borrows the channel weights of the nearest training
house. That is worth a look-up only where another house would lend worse ones.
For houses of later sales, the lenders are scored side by side by the rank
correlation of their maps with the house's own, back-propagated one, and in a
town by the heat on the true drivers. Beside it stands the rank-one fact: how
much of all weights one direction holds, how often the sign of the published
weights turns round between two draws of 50 pairs, and what each remedy
changes of that:

* a kernel embedding, whose gradient turns from place to place;
* the price instead of the ranking: the features' SHAP values weight their gradients;
* a head with a hidden layer behind the linear embedding;
* another scalar than the loss: the order of the pair, or "dearer".

    python benchmarks/lenders.py examples/king-county.toml --runs runs
    python benchmarks/lenders.py examples/sample-market.toml --runs runs

The pictures must be embedded. Only these folders are read; nothing is trained there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss
import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray
from result_facts import RESULTS, result_facts, use_threads
from scipy.stats import rankdata
from torch import nn

from data_pipeline.archive import TileArchive
from data_pipeline.sample_market.market import SampleMarket
from housevis.core.config import load_config
from housevis.core.config_sections import SiameseSection
from housevis.core.progress import console
from housevis.explain.gradweights import pair_factors
from housevis.explain.heatmap import interpolation_matrix
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.explaining import look_up_places
from housevis.pipeline.learning_targets import places_of, whole_target
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses
from housevis.pipeline.truth import open_town
from housevis.runs import write_json
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import open_engine
from housevis.vision.objectives import Objective, fit_learner, one_thread
from housevis.vision.siamese import FeatureLearner

Floats = NDArray[np.float32]

LEARNERS: Final[dict[Objective, float]] = {"rank": 1000.0, "price": 10_000.0, "kernel": 0.3}
"""Objectives and their penalties."""

SCALARS: Final = ("loss-against", "ordering", "dearer")
PAIRS: Final = 50
REPEATS: Final = 2000
_CHUNK: Final = 1024
_FOR_SPECTRUM: Final = 2000
_STEPS: Final = 300
_TREES: Final = 100


@dataclass(frozen=True, eq=False)
class Asked:
    """Something whose gradient is explained.

    Attributes:
        gradients: Pooled features ``(n, K)`` to grad-weights ``(n, K)``.
        places: Pooled features ``(n, K)`` to where houses are looked up ``(n, D)``.
    """

    gradients: Callable[[Floats], Floats]
    places: Callable[[Floats], Floats]


def later_maps(project: Project, sold: SoldHouses, houses: int) -> tuple[NDArray[np.int64], Floats]:
    """Rows of houses of later sales, drawn at random, and their feature maps ``(n, K, h, w)``."""
    config = project.config
    rows = np.flatnonzero(~sold.is_earlier & (sold.image_keys != ""))
    rows = np.random.default_rng(config.seed).permutation(rows)[:houses]
    places = {place.house_id: place for place in house_places(sold.sales.iloc[rows], config.imagery.zoom)}
    items = [places[house_id] for house_id in sold.sales["house_id"].astype(str).iloc[rows]]
    vision, threads = config.vision, torch.get_num_threads()
    with (
        open_engine(load_backbone(vision), vision.engine, vision.batch_size, threads=threads) as engine,
        TileArchive(project.workspace.archive) as archive,
    ):
        loader = PictureLoader(archive, config.imagery, config.vision)
        batches = iterate_features(loader.pixels, items, engine, want="maps")
        return rows, np.concatenate([batch.maps for batch in batches if batch.maps is not None])


def of_learner(learner: FeatureLearner) -> Asked:
    """The gradient of "this house is dearer"."""
    direction = learner.direction().detach().numpy()

    def gradients(pooled: Floats) -> Floats:
        return learner.pull_back(pooled, np.repeat(direction[None], len(pooled), axis=0))

    return Asked(gradients, lambda pooled: look_up_places(learner, pooled))


def of_shap_values(learner: FeatureLearner, taught: Floats, target: NDArray[np.float64], seed: int) -> Asked:
    """The gradients of the features, weighted by the SHAP values that the house's price has of them."""
    settings = {"num_leaves": 8, "learning_rate": 0.05, "seed": seed, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(learner.embed(taught), target), _TREES)

    def gradients(pooled: Floats) -> Floats:
        contributions = np.asarray(booster.predict(learner.embed(pooled), pred_contrib=True))
        return learner.pull_back(pooled, contributions[:, :-1].astype(np.float32))

    return Asked(gradients, learner.embed)


def of_hidden_layer(taught: Floats, target: NDArray[np.float64], penalty: float, seed: int) -> Asked:
    """The gradient of a price head with a hidden layer behind a linear embedding of 4 numbers."""
    torch.manual_seed(seed)
    mean, deviation = taught.mean(axis=0), taught.std(axis=0)
    scale = np.where(deviation > 1e-6 * deviation.max(), 1 / np.maximum(deviation, 1e-12), 0)
    scale = scale.astype(np.float32)
    embedding = nn.Linear(taught.shape[1], SiameseSection().feature_dimension)
    head = nn.Sequential(nn.Linear(embedding.out_features, 32), nn.Tanh(), nn.Linear(32, 1))
    optimiser = torch.optim.Adam([*embedding.parameters(), *head.parameters()], lr=3e-3)
    standard = torch.from_numpy((taught - mean) * scale)
    wanted = torch.from_numpy((target - target.mean()) / target.std()).float()
    with one_thread():
        for _ in range(_STEPS):
            optimiser.zero_grad()
            squared = (head(embedding(standard))[:, 0] - wanted).square().mean()
            (squared + penalty / len(taught) * embedding.weight.square().sum()).backward()
            optimiser.step()

    def places(pooled: Floats) -> Floats:
        with torch.no_grad():
            return embedding(torch.from_numpy((pooled - mean) * scale)).numpy()

    def gradients(pooled: Floats) -> Floats:
        embedded = torch.from_numpy(places(pooled)).requires_grad_()
        (slope,) = torch.autograd.grad(head(embedded).sum(), embedded)
        return (slope @ embedding.weight.detach()).numpy() * scale

    return Asked(gradients, places)


def own_channels(asked: Asked, pooled: Floats, channels: int) -> Floats:
    """Grad-weights in the channels of the house's own picture ``(n, channels)``, a part at a time."""
    starts = range(0, len(pooled), _CHUNK)
    return np.concatenate([asked.gradients(pooled[start : start + _CHUNK])[:, :channels] for start in starts])


def maps_of(weights: Floats, maps: Floats) -> Floats:
    """``sum_k alpha_k A_k``, signed: ``(n, h, w)``."""
    flat = maps.reshape(*maps.shape[:2], -1)
    return np.matmul(weights[:, None], flat)[:, 0].reshape(len(maps), *maps.shape[2:])


def keep_top(weights: Floats, top: int) -> Floats:
    """The highest weights, 0 elsewhere."""
    kept = np.argpartition(-weights, top - 1, axis=1)[:, :top]
    found = np.zeros_like(weights)
    np.put_along_axis(found, kept, np.take_along_axis(weights, kept, axis=1), axis=1)
    return found


def agreement(found: Floats, own: Floats) -> NDArray[np.float64]:
    """Rank correlation of each house's map with its own ``(n,)``; 0 where one is flat."""
    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (found, own)]
    ranks = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide((ranks[0] * ranks[1]).sum(axis=1), spread, out=np.zeros(len(found)), where=spread > 0)


def resampled(houses: int) -> Iterator[NDArray[np.int64]]:
    """Draws of as many houses, the same ones each time."""
    generator = np.random.default_rng(1)
    return (generator.integers(0, houses, houses) for _ in range(REPEATS))


def interval(values: NDArray[np.float64]) -> dict[str, float]:
    """The mean with its 95 % bootstrap interval over houses."""
    low, high = np.percentile([values[rows].mean() for rows in resampled(len(values))], [2.5, 97.5])
    return {"estimate": float(values.mean()), "low": float(low), "high": float(high)}


class DriverHeat:
    """Heat on the true drivers of a town, by house.

    Args:
        town: The town.
        house_ids: The n houses.
        side: Side of the pictures' ground, in pixels of zoom 18.
        grid: Rows and columns of the maps.
    """

    def __init__(self, town: SampleMarket, house_ids: list[str], side: int, grid: tuple[int, int]) -> None:
        rows, columns = (interpolation_matrix(cells, side) for cells in grid)
        self._weight = np.outer(rows.sum(axis=0), columns.sum(axis=0))
        self._masks = np.empty((len(house_ids), *grid))
        self._area = np.empty(len(house_ids))
        for row, house_id in enumerate(house_ids):
            mask = town.driver_masks([house_id], side)[0].any(axis=0)
            self._masks[row], self._area[row] = rows.T @ mask @ columns, mask.mean()

    def lifts(self, heats: dict[str, Floats]) -> dict[str, Any]:
        """Pooled heat on any driver, times a uniform map, and the nearest lender's less the random one's."""
        parts = {
            name: ((heat * self._masks).sum(axis=(1, 2)), (heat * self._weight).sum(axis=(1, 2)))
            for name, heat in heats.items()
        }

        def lift(name: str, rows: NDArray[np.int64] | slice) -> float:
            inside, whole = (part[rows].sum() for part in parts[name])
            return float(inside / whole / self._area[rows].mean()) if whole > 0 else 0.0

        draws = list(resampled(len(self._area)))
        drawn = {name: np.array([lift(name, rows) for rows in draws]) for name in parts}
        found = {name: (lift(name, slice(None)), drawn[name]) for name in parts}
        found["nearest less random"] = (
            found["nearest"][0] - found["random"][0],
            drawn["nearest"] - drawn["random"],
        )
        ends = {name: np.percentile(values, [2.5, 97.5]) for name, (_, values) in found.items()}
        return {
            name: {"estimate": value, "low": float(ends[name][0]), "high": float(ends[name][1])}
            for name, (value, _) in found.items()
        }


def signs(learner: FeatureLearner, pooled: Floats, target: NDArray[np.float64]) -> dict[str, Any]:
    """How often the sign of a house's weights turns between two draws of pairs, and whether lenders share it.

    Returns:
        For each scalar ``flips`` (share of houses), and ``nearest`` and
        ``random``: share of houses whose lender has their sign.
    """
    weight, bias = (part.detach().numpy() for part in learner.ordering())
    scores = learner.embed(pooled).astype(np.float64) @ (weight[1] - weight[0])
    index = faiss.IndexFlatL2(look_up_places(learner, pooled[:1]).shape[1])
    index.add(np.ascontiguousarray(look_up_places(learner, pooled)))
    found = index.search(np.ascontiguousarray(look_up_places(learner, pooled)), 2)[1]
    nearest = np.where(found[:, 0] == np.arange(len(pooled)), found[:, 1], found[:, 0])
    random = np.random.default_rng(3).integers(0, len(pooled), len(pooled))
    result = {}
    for scalar in SCALARS:
        first, second = (
            np.sign(
                pair_factors(
                    scores, float(bias[1] - bias[0]), target, scalar, PAIRS, np.random.default_rng(seed)
                )[0]
            )
            for seed in (1, 2)
        )
        result[scalar] = {
            "flips": interval((first != second).astype(float)),
            "nearest": interval((first[nearest] == first).astype(float)),
            "random": interval((first[random] == first).astype(float)),
        }
    return result


def lenders_of(
    asked: Asked, taught: Floats, houses: Floats, maps: Floats, top: int, heat: DriverHeat | None, seed: int
) -> dict[str, Any]:
    """Score the lenders of one thing that is asked.

    Args:
        asked: What is explained.
        taught: Pooled features of the houses that lend ``(N, K)``.
        houses: Those of the houses that are explained ``(n, K)``.
        maps: Their feature maps ``(n, K, h, w)``.
        top: Channels that the published maps are made of.
        heat: Measures heat on true drivers, if there are any.
        seed: Of the random lender.
    """
    lent, own = own_channels(asked, taught, maps.shape[1]), own_channels(asked, houses, maps.shape[1])
    stored, queries = (np.ascontiguousarray(asked.places(each), np.float32) for each in (taught, houses))
    index = faiss.IndexFlatL2(stored.shape[1])
    index.add(stored)
    nearest = index.search(queries, 5)[1]
    lender = np.random.default_rng(seed).integers(0, len(taught), len(houses))
    weights = {
        "own": own,
        "nearest": lent[nearest[:, 0]],
        "mean of 5 nearest": lent[nearest].mean(axis=1),
        "random": lent[lender],
        "global": np.repeat(lent.mean(axis=0, keepdims=True), len(own), axis=0),
    }
    some = lent[:: max(1, len(lent) // _FOR_SPECTRUM)].astype(np.float64)
    spectrum = np.linalg.eigvalsh(some @ some.T if len(some) < some.shape[1] else some.T @ some)
    shown = {
        "all channels": {name: maps_of(each, maps) for name, each in weights.items()},
        "top channels": {
            name: np.maximum(maps_of(keep_top(each, top), maps), 0) for name, each in weights.items()
        },
    }
    result: dict[str, Any] = {"share_of_first_direction": float(spectrum[-1] / spectrum.sum())}
    for kind, found in shown.items():
        agree = {name: agreement(each, found["own"]) for name, each in found.items() if name != "own"}
        result[kind] = {name: interval(each) for name, each in agree.items()} | {
            "nearest less random": interval(agree["nearest"] - agree["random"]),
            "nearest less global": interval(agree["nearest"] - agree["global"]),
            "5 nearest less global": interval(agree["mean of 5 nearest"] - agree["global"]),
        }
    if heat is not None:
        result["lift"] = heat.lifts(shown["top channels"])
    return result


def measure(project: Project, houses: int, most_taught: int) -> dict[str, Any]:
    """Score the lenders for each learner and each remedy."""
    config = project.config
    sold = load_sold_houses(project)
    train = np.flatnonzero(sold.training_rows(EARLIER) & (sold.image_keys != ""))
    train = np.sort(np.random.default_rng(config.seed).permutation(train)[:most_taught])
    sales, folds = sold.sales.iloc[train].reset_index(drop=True), sold.folds[train]
    target = whole_target(config.siamese.targets[0], sales, folds, config)
    rows, maps = later_maps(project, sold, houses)
    taught, pooled = sold.pooled[train], sold.pooled[rows]
    heat = None
    if config.sample_market is not None:
        side = round(config.vision.image_size * config.imagery.window)
        ids = sold.sales["house_id"].astype(str).iloc[rows].tolist()
        heat = DriverHeat(open_town(config.sample_market), ids, side, maps.shape[2:])
    del sold
    figures: dict[str, Any] = {
        "market": config.name,
        "backbone": load_backbone(config.vision).name,
        "target": config.siamese.targets[0],
        "taught": len(taught),
        "houses": len(rows),
        "top_channels": config.explain.top_channels,
        "learners": {},
        "remedies": {},
    }

    def score(asked: Asked) -> dict[str, Any]:
        return lenders_of(asked, taught, pooled, maps, config.explain.top_channels, heat, config.seed)

    for objective, penalty in LEARNERS.items():
        learner = fit_learner(
            objective,
            taught,
            target,
            SiameseSection(),
            config.seed,
            penalty=penalty,
            places=places_of(sales, config),
        )
        result = score(of_learner(learner)) | {"signs": signs(learner, taught, target)}
        figures["learners"][learner.kind] = result
        console.print_json(data={learner.kind: result})
        if objective == "rank":
            found = score(of_shap_values(learner, taught, target, config.seed))
            figures["remedies"]["features weighted by SHAP values"] = found
            console.print_json(data=figures["remedies"])
    found = score(of_hidden_layer(taught, target, 1.0, config.seed))
    figures["remedies"]["head with a hidden layer"] = found
    console.print_json(data=figures["remedies"])
    return figures


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where its pictures are embedded")
    parser.add_argument("--houses", type=int, default=400, help="houses of later sales, drawn at random")
    parser.add_argument("--taught", type=int, default=20_000, help="houses that teach and lend, at most")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(use_threads())
    config = load_config(options.config)
    with open_project(config, options.runs, reads_only=True) as project:
        figures = measure(project, options.houses, options.taught)
    write_json(options.out or RESULTS / f"lenders-{config.name}.json", result_facts() | figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
