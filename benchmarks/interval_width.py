"""How wide the ranges of a run are beside single widths, and whom they cover.

Three ways, all calibrated on earlier sales alone and judged on the later ones:
the run's own locally adaptive ranges; one width for all houses around the
same estimates; and split-conformal prediction as it is usually done, where a
model learns from half of the earlier sales and the other half calibrates one
width. Widths are compared at equal measured coverage: a single width is taken
that holds exactly as many of the later prices as the adaptive ranges do.

    python benchmarks/interval_width.py RUNS --config examples/king-county-all-attributes.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from result_facts import PROJECT, RESULTS, result_facts, use_threads

from housevis.core.config import Config, load_config
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.attributes import model_table
from housevis.pricing.intervals import conformal_quantile
from housevis.pricing.model import HousePriceModel
from housevis.pricing.sale_groups import AREA, ESTIMATE, PRICE, groupings
from housevis.runs import Run, find_run, read_parquet, write_json

FEWEST_SALES = 200
"""Smaller areas are not judged."""

Array = NDArray[np.float64]


def coverage(later: pd.DataFrame, half_width: Array, config: Config) -> dict[str, Any]:
    """Covered shares of half widths ``(n,)``, log units: of all, by tenth and area, and the mean width."""
    error = np.abs(np.log(later["price"].to_numpy() / later["estimate"].to_numpy()))
    covered = error <= half_width
    groups = {each.by: each for each in groupings(later, area=config.ratio_studies.area)}

    def by(name: str, fewest: int) -> list[float]:
        members = groups[name].group
        return [
            float(covered[members == number].mean())
            for number in np.unique(members)
            if (members == number).sum() >= fewest
        ]

    return {
        "covered": float(covered.mean()),
        "by_estimate": by(ESTIMATE, 1),
        "by_price": by(PRICE, 1),
        "by_area": by(AREA, FEWEST_SALES),
        "log_width": 2 * float(half_width.mean()),
        "log_width_at_equal_coverage": 2 * float(half_width.mean()),
    }


def single(later: pd.DataFrame, width: float, config: Config, covered: float) -> dict[str, Any]:
    """The same of one half width for all, and the single width that covers as many later prices as asked."""
    found = coverage(later, np.full(len(later), width), config)
    error = np.abs(np.log(later["price"].to_numpy() / later["estimate"].to_numpy()))
    return found | {"log_width_at_equal_coverage": 2 * float(np.quantile(error, covered))}


def half_and_half(run: Run, sold: SoldHouses, config: Config) -> tuple[Array, float]:
    """Estimates of the later sales ``(n,)`` by a model of half the earlier ones; the other half's width."""
    model = ValuationModel.load(model_folder(run, EARLIER))
    sales = sold.sales[sold.training_rows(EARLIER)].reset_index(drop=True)
    table = model_table(sales, model.price_model.attributes_, model.training_visual())
    price = sales["price"].to_numpy(np.float64)
    teaches = np.random.default_rng(config.seed).permutation(len(sales)) < len(sales) // 2
    half = HousePriceModel.from_section(
        config.pricing, config.pricing.attributes, model.price_model.visual_names, seed=config.seed
    )
    half.fit(table[teaches].reset_index(drop=True), price[teaches])
    rest = half.predict(table[~teaches].reset_index(drop=True))
    later = ~sold.is_earlier
    shown = model.features(sold.sales[later].reset_index(drop=True), sold.pooled[later])
    width = conformal_quantile(np.log(price[~teaches] / rest), config.pricing.interval)
    return half.predict(shown), width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, default=RESULTS / "interval-width.json")
    options = parser.parse_args()
    use_threads()
    markets = []
    for path in options.config:
        config = load_config(path)
        with open_project(config, options.runs, reads_only=True) as project:
            sold = load_sold_houses(project)
        run = find_run(options.runs, config.name)
        judged = read_parquet(run.estimates)
        extra = [name for name in sold.sales.columns if name not in judged.columns]
        table = judged.merge(sold.sales[["sale_id", *extra]], on="sale_id", validate="one_to_one")
        later = table[table["sample"] == "later sale"].reset_index(drop=True)
        known = table[table["sample"] != "later sale"]
        adaptive = coverage(later, np.log(later["high"].to_numpy() / later["low"].to_numpy()) / 2, config)
        residual = np.log(known["price"].to_numpy() / known["estimate"].to_numpy())
        width = conformal_quantile(residual, config.pricing.interval)
        halved, halved_width = half_and_half(run, sold, config)
        markets.append(
            {
                "market": config.atlas.title or config.name,
                "later_sales": len(later),
                "nominal": config.pricing.interval,
                "adaptive": adaptive,
                "one width": single(later, width, config, adaptive["covered"]),
                "split-conformal": single(
                    later.assign(estimate=halved), halved_width, config, adaptive["covered"]
                ),
            }
        )
        print(markets[-1])
    target = options.out if options.out.is_absolute() else PROJECT / options.out
    write_json(target, result_facts() | {"markets": markets})


if __name__ == "__main__":
    main()
