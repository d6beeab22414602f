"""What the ranker's penalty does on small towns: learning by heart, gain of the pictures, heat.

Takes towns that are none of those in `sample_market.py`, so that nothing is
tuned on the towns that the figures come from:

    python benchmarks/ranker_penalty.py --towns 11 12 --out docs/results/ranker-penalty.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from planted_drivers import PLAIN_RECIPE, recipe_config, run_to_features
from sample_market import PROJECT, town_config, write_towns

from housevis.core.progress import progress_bar
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.pipeline.valuation import fit_valuation_model
from housevis.pricing import metrics
from housevis.vision.penalty import PENALTIES
from housevis.vision.siamese import rank_accuracy

RECIPES = ("in-sample", "cross-fitted")


def measure_town(seed: int, runs_folder: Path) -> list[dict[str, Any]]:
    """One row per penalty: rank accuracy on both sides of the cutoff, and the gain of each recipe."""
    config = recipe_config(town_config(seed, "efficientnet-lite0"), PLAIN_RECIPE)
    rows = []
    with open_project(config, runs_folder) as project:
        run_to_features(project)
        sold = load_sold_houses(project)
        train = sold.training_rows(EARLIER)
        later = ~sold.is_earlier
        price = sold.sales["price"].to_numpy()
        earlier_sales = sold.sales[train].reset_index(drop=True)
        with progress_bar(f"town {seed}", (1 + len(PENALTIES)) * len(RECIPES)) as bar:
            for penalty in (0.0, *PENALTIES):
                row: dict[str, Any] = {"seed": seed, "penalty": penalty}
                for recipe in RECIPES:
                    pricing = config.pricing.model_copy(update={"visual_features": recipe})
                    model = fit_valuation_model(
                        EARLIER,
                        earlier_sales,
                        sold.pooled[train],
                        sold.groups[train],
                        config.model_copy(update={"pricing": pricing}),
                        penalties={"price": penalty},
                    )
                    features = model.features(sold.sales[later], sold.pooled[later])
                    with_picture = metrics.pe(model.price_model.predict(features), price[later])
                    without = metrics.pe(model.price_model.predict_without_picture(features), price[later])
                    row[f"gain {recipe}"] = float(with_picture - without)
                    bar.advance()
                scores = model.picture_ranker().score(sold.pooled)
                row["rank accuracy, earlier"] = rank_accuracy(scores[train], price[train], seed=1)
                row["rank accuracy, later"] = rank_accuracy(scores[later], price[later], seed=1)
                rows.append(row)
    return rows


def main() -> int:
    """Measure the towns and write the mean per penalty."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--towns", type=int, nargs="+", default=[11, 12], help="seeds of the towns")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "ranker-penalty.json")
    options = parser.parse_args()
    rows = [row for seed in options.towns for row in measure_town(seed, options.runs)]
    names = [name for name in rows[0] if name not in ("seed", "penalty")]
    means = [
        {
            "penalty": penalty,
            **{
                name: float(np.mean([row[name] for row in rows if row["penalty"] == penalty]))
                for name in names
            },
        }
        for penalty in (0.0, *PENALTIES)
    ]
    write_towns(options.out, means, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
