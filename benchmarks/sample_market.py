"""What the pictures bring on the sample market, and where the attention falls: five towns.

Every town goes through the whole pipeline with the demo's configuration. The
true drivers as columns are the ceiling of the gain. Heat on the true drivers
stands beside a uniform map, a centred Gaussian, the true masks on the feature
grid, and the same method on a network with random weights.

    python benchmarks/sample_market.py --towns 1 2 3 4 5 --out docs/results/sample-market.json
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_pipeline.archive import TileArchive
from housevis import pipeline
from housevis.core.config import Config, parse_config
from housevis.core.machine import machine_facts
from housevis.core.progress import console
from housevis.explain.gradweights import rank_grad_weights
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.explaining import Explainer
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.pipeline.training import learner_penalties, model_folder
from housevis.pipeline.truth import open_town, score_attention
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run, find_run, package_versions, write_json
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import open_engine
from housevis.vision.objectives import fit_learner

PROJECT = Path(__file__).resolve().parents[1]
CALIBRATION_PICTURES = 64


def town_config(seed: int, backbone: str) -> Config:
    """The demo's configuration for another town."""
    table = tomllib.loads((PROJECT / "examples" / "sample-market.toml").read_text(encoding="utf-8"))
    table["name"] = f"town-{seed}"
    table["sample_market"]["seed"] = seed
    table["vision"]["backbone"] = backbone
    return parse_config(table, where=f"town {seed}", directory=PROJECT / "examples")


def randomised(backbone: Backbone, pictures: np.ndarray) -> Backbone:
    """The same network with random weights; its batch-norm statistics fit the pictures."""
    torch.manual_seed(0)
    module = backbone.module
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(pictures))
    module.eval()
    return backbone


def random_network_heats(project: Project, run: Run, house_ids: list[str], penalty: float) -> np.ndarray:
    """Transferred maps ``(n, h, w)`` of later sales' houses by a network with random weights.

    Its learner has the same target as that of the run's model of the earlier sales.
    """
    config = project.config
    sold = load_sold_houses(project)
    places = {place.house_id: place for place in house_places(sold.sales, config.imagery.zoom)}
    train = sold.training_rows(EARLIER) & (sold.image_keys != "")
    train_ids = sold.sales.loc[train, "house_id"].astype(str).tolist()
    known = ValuationModel.load(model_folder(run, EARLIER)).training.set_index("sale_id")["target"]
    target = known.loc[sold.sales.loc[train, "sale_id"]].to_numpy()
    with TileArchive(project.workspace.archive) as archive:
        loader = PictureLoader(archive, config.imagery, config.vision)
        sample = [loader.pixels(places[house_id]) for house_id in train_ids[:CALIBRATION_PICTURES]]
        backbone = randomised(
            load_backbone(config.vision), np.stack([pixels for pixels in sample if pixels is not None])
        )
        engine = open_engine(backbone, config.vision.engine, config.vision.batch_size)

        def batches(ids: list[str], want: str) -> Any:
            return iterate_features(loader.pixels, [places[house_id] for house_id in ids], engine, want=want)

        pooled = np.concatenate([batch.pooled for batch in batches(train_ids, "pooled")])
        ranker = fit_learner(
            config.siamese.objective, pooled, target, config.siamese, config.seed, penalty=penalty
        )
        head_weight, head_bias = (part.detach().numpy() for part in ranker.ordering())
        database = rank_grad_weights(
            embedding=ranker,
            head_weight=head_weight,
            head_bias=head_bias,
            features=pooled,
            prices=target,
            house_ids=train_ids,
            cells=int(np.prod(backbone.grid)),
            backbone_fingerprint="random weights",
            model_id=EARLIER,
            scalar=config.explain.scalar,
            pairs=config.explain.pairs,
            top_channels=config.explain.top_channels,
            seed=config.seed,
        )
        explainer = Explainer(ranker, database)
        return np.concatenate(
            [
                explainer.explain(batch.maps, batch.pooled, [place.house_id for place in batch.items])[1]
                for batch in batches(house_ids, "both")
            ]
        )


def measure_town(seed: int, backbone: str, runs_folder: Path) -> dict[str, Any]:
    """Run one town through the pipeline and score it."""
    config = town_config(seed, backbone)
    with open_project(config, runs_folder) as project:
        pipeline.run(project)
        run = find_run(runs_folder, config.name)
        sold = load_sold_houses(project)
        later = sold.sales.loc[~sold.is_earlier & (sold.image_keys != ""), "house_id"].astype(str).tolist()
        penalty = next(iter(learner_penalties(project, run, sold).values()))
        heats = random_network_heats(project, run, later, penalty)
        assert config.sample_market is not None
        scores = score_attention(open_town(config.sample_market), later, {"random network": heats})
        figures = run.metrics()
        headline, town = figures["headline"], figures["town"]
        random_scores = [share.__dict__ for share in scores if share.method == "random network"]
        return {
            "seed": seed,
            "later_sales": headline["sales"],
            "rank_accuracy": figures["rank_accuracy"],
            "penalty": penalty,
            "share_without": headline["share_without"],
            "share_with": headline["share_with"],
            "gain": {name: headline[f"gain{end}"] for name, end in _ENDS.items()},
            "ceiling": town["ceiling"],
            "gain_of_ceiling": town["gain_of_ceiling"],
            "part_of_ceiling": headline["gain"] / town["gain_of_ceiling"]["estimate"],
            "location_only": town["location_only"],
            "recovered": town["recovered"],
            "recovered_by_ceiling": town["recovered_by_ceiling"],
            "attention": town["attention"] + random_scores,
            "value_map": town["value_map"],
        }


_ENDS = {"estimate": "", "low": "_low", "high": "_high"}
_MEANS = ("rank_accuracy", "share_without", "share_with", "ceiling", "location_only")


def mean_of_towns(towns: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the towns; lifts by method and driver."""
    lifts: dict[str, dict[str, float]] = {}
    for score in towns[0]["attention"]:
        values = [
            other["lift"]
            for town in towns
            for other in town["attention"]
            if (other["method"], other["region"]) == (score["method"], score["region"])
        ]
        lifts.setdefault(score["method"], {})[score["region"]] = round(float(np.mean(values)), 3)
    gain = float(np.mean([town["gain"]["estimate"] for town in towns]))
    ceiling = float(np.mean([town["gain_of_ceiling"]["estimate"] for town in towns]))
    return {
        **{name: float(np.mean([town[name] for town in towns])) for name in _MEANS},
        "gain": gain,
        "gain_of_ceiling": ceiling,
        "part_of_ceiling": gain / ceiling,
        "value_map": {
            name: float(np.mean([town["value_map"][name] for town in towns])) for name in ("right", "refused")
        }
        | {"largest_error": max(town["value_map"]["largest_error"] for town in towns)},
        "every_interval_excludes_0": all(town["gain"]["low"] > 0 for town in towns),
        "lift": lifts,
    }


def write_towns(path: Path, means: Any, towns: list[dict[str, Any]], **facts: Any) -> None:
    """Write and print the figures of some towns, with the command, machine and versions behind them."""
    write_json(
        path,
        {
            "command": "python " + " ".join(sys.argv),
            "machine": machine_facts(),
            "versions": package_versions(),
            **facts,
            "mean": means,
            "towns": towns,
        },
    )
    console.print_json(data=means)


def main() -> int:
    """Measure the towns and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--towns", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="seeds of the towns")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "sample-market.json")
    options = parser.parse_args()
    towns = [measure_town(seed, options.backbone, options.runs) for seed in options.towns]
    means = mean_of_towns(towns)
    write_towns(options.out, means, towns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
