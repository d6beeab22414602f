"""What the estimates give back of the planted price drivers, recipe by recipe: five towns.

Every recipe is fitted on the earlier sales of a town and judged on its later
ones. The settings were chosen on towns 11 to 14, which are none of these. The
towns and their tiles are those of `sample_market.py`, where it has run before.

    python benchmarks/planted_drivers.py --towns 1 2 3 4 5 --out docs/results/planted-drivers.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sample_market import PROJECT, town_config, write_towns
from scipy.stats import t

from data_pipeline.sample_market import DRIVERS
from housevis import pipeline
from housevis.core.config import Config
from housevis.core.progress import progress_bar
from housevis.pipeline.judging import estimate_table
from housevis.pipeline.planted import recovered_parts
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses, start_run
from housevis.pipeline.training import fit_and_save, learner_penalties, model_folder
from housevis.pipeline.truth import later_estimates, open_town
from housevis.pipeline.valuation import ValuationModel, is_complete
from housevis.pricing import metrics

PLAIN: dict[str, dict[str, Any]] = {
    "vision": {"pooling": "average"},
    "siamese": {"objective": "rank", "targets": ["price"], "penalty": "auto"},
    "pricing": {"visual_features": "in-sample", "objective": "absolute", "leaves": 31, "rounds": 400},
}
"""The whole picture averaged and the price learned in sample, as in C, with the default boosting."""

MIDDLE = {"vision": {"pooling": "average-and-centre"}}
CROSS_FITTED = {"pricing": {"visual_features": "cross-fitted"}}
REGRESSION = {"siamese": {"objective": "price", "targets": ["residual"], "penalty": 10_000.0}}
GENTLE = {"visual_features": "cross-fitted", "objective": "squared", "leaves": 8, "rounds": 200}

PLAIN_RECIPE = "as in the paper"
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    PLAIN_RECIPE: {},
    "middle": MIDDLE,
    "middle, cross-fitted": MIDDLE | CROSS_FITTED,
    "middle, cross-fitted, gentle boosting": MIDDLE | {"pricing": GENTLE},
    "cross-fitted, gentle boosting": {"pricing": GENTLE},
    "middle, residual, cross-fitted, gentle boosting": MIDDLE
    | {"pricing": GENTLE, "siamese": {"targets": ["residual"]}},
    "middle, regression on the residual, cross-fitted, gentle boosting": MIDDLE
    | REGRESSION
    | {"pricing": GENTLE},
}
"""Name -> the settings that differ from `PLAIN`."""

CEILINGS = {
    "true drivers as columns": PLAIN_RECIPE,
    "true drivers as columns, gentle boosting": "cross-fitted, gentle boosting",
}
"""Name of a boosting that knows the true drivers -> the recipe whose boosting it is."""

RECOMMENDED = "middle, regression on the residual, cross-fitted, gentle boosting"
"""The recipe of the demo, chosen on other towns."""


def recipe_config(config: Config, recipe: str) -> Config:
    """A town's configuration with a recipe's settings."""
    sections = {
        section: getattr(config, section).model_copy(update=settings | RECIPES[recipe].get(section, {}))
        for section, settings in PLAIN.items()
    }
    return config.model_copy(update=sections)


def run_to_features(project: Project) -> None:
    """Take the steps up to the pooled features, those that are not done yet."""
    for step in (pipeline.ingest, pipeline.tiles, pipeline.embed):
        step(project)


def measure(config: Config, recipe: str, truth: pd.DataFrame, runs_folder: Path) -> dict[str, Any]:
    """Fit one recipe on a town's earlier sales and judge its estimates of the later ones.

    Args:
        config: The town's configuration.
        recipe: One of `RECIPES`.
        truth: The truth about its houses, by id.
        runs_folder: Where its workspace is.
    """
    with open_project(recipe_config(config, recipe), runs_folder) as project:
        run_to_features(project)
        sold = load_sold_houses(project)
        run = start_run(project, sold)
        folder = model_folder(run, EARLIER)
        model = (
            ValuationModel.load(folder) if is_complete(folder) else fit_and_save(project, run, sold, EARLIER)
        )
        later = ~sold.is_earlier
        table = estimate_table(model, sold.sales[later].reset_index(drop=True), sold.pooled[later])
        (penalty,) = learner_penalties(project, run, sold).values()
    estimate, without = (table[name].to_numpy() for name in ("estimate", "without_picture"))
    return {"recipe": recipe, "penalty": penalty} | judged(config, truth, sold, estimate, without)


def measure_ceiling(config: Config, name: str, truth: pd.DataFrame, runs_folder: Path) -> dict[str, Any]:
    """The same of a boosting that is given the true effects of the drivers in place of pictures."""
    config = recipe_config(config, CEILINGS[name])
    effects = truth[[f"{driver}_effect" for driver in DRIVERS]]
    with open_project(config, runs_folder) as project:
        sold = load_sold_houses(project)
    estimate, without = (
        later_estimates(config, sold, config.pricing.attributes, known) for known in (effects, None)
    )
    return {"recipe": name, "penalty": None} | judged(config, truth, sold, estimate, without)


def judged(
    config: Config, truth: pd.DataFrame, sold: SoldHouses, estimate: np.ndarray, without: np.ndarray
) -> dict[str, Any]:
    """Figures of estimates of the later sales ``(m,)``, beside those without pictures."""
    later = sold.sales[~sold.is_earlier]
    price = later["price"].to_numpy()
    repeats, seed = config.pricing.bootstrap, config.seed
    gain = metrics.paired_bootstrap_difference(
        metrics.hit(without, price), metrics.hit(estimate, price), repeats, seed
    )
    parts = recovered_parts(truth.loc[later["house_id"]], np.log(estimate), repeats=repeats, seed=seed)
    return {
        "share_with": float(metrics.pe(estimate, price)),
        "gain": gain.to_dict(),
        "recovered": [part.to_dict() for part in parts],
    }


def mean_of_recipes(towns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per recipe the means over the towns, and how many drivers of how many towns came back."""
    means = []
    for recipe in (*RECIPES, *CEILINGS):
        found = [entry for town in towns for entry in town["recipes"] if entry["recipe"] == recipe]
        parts = [part for entry in found for part in entry["recovered"]]
        names = [part["part"] for part in found[0]["recovered"]]
        drivers = [part for part in parts if part["part"] in DRIVERS]
        means.append(
            {
                "recipe": recipe,
                "gain": float(np.mean([entry["gain"]["estimate"] for entry in found])),
                "share_with": float(np.mean([entry["share_with"] for entry in found])),
                "recovered": {
                    name: _mean_with_interval([part for part in parts if part["part"] == name])
                    for name in names
                },
                "drivers": len(drivers),
                "right_sign": sum(part["recovered"] > 0 for part in drivers),
                "within_factor": sum(part["within_factor"] for part in drivers),
            }
        )
    return means


def _mean_with_interval(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Mean over towns, and its 95 % interval by Student's t from the spread between them."""
    values = np.array([part["recovered"] for part in parts])
    mean = float(values.mean())
    if len(values) == 1:
        return {"estimate": mean, "low": parts[0]["low"], "high": parts[0]["high"]}
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return {"estimate": mean, "low": mean - half, "high": mean + half}


def main() -> int:
    """Measure the towns and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--towns", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="seeds of the towns")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "planted-drivers.json")
    options = parser.parse_args()
    towns = []
    with progress_bar("planted drivers", len(options.towns) * (len(RECIPES) + len(CEILINGS))) as bar:
        for seed in options.towns:
            config = town_config(seed, options.backbone)
            assert config.sample_market is not None
            truth = open_town(config.sample_market).houses().set_index("id")
            entries = []
            for recipe in RECIPES:
                entries.append(measure(config, recipe, truth, options.runs))
                bar.advance()
            for name in CEILINGS:
                entries.append(measure_ceiling(config, name, truth, options.runs))
                bar.advance()
            towns.append({"seed": seed, "recipes": entries})
    write_towns(options.out, mean_of_recipes(towns), towns, recommended=RECOMMENDED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
