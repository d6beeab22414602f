"""How long exact drivers of all sold houses of a run take, and how exactly they add up to the estimates.

Every house is explained by the model of the run that has not seen its sale.
Time is counted for the Shapley values alone, without reading the run. LightGBM's
own are timed on some of the houses, and compared.

    python benchmarks/tree_shap.py RUNS --config examples/king-county.toml
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from result_facts import PROJECT, RESULTS, result_facts, use_threads

from housevis.core.config import load_config
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import SoldHouses, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.boosted import Boosted
from housevis.pricing.drivers import driver_groups, to_currency
from housevis.runs import Run, find_run, write_json

CENT = 0.005
COMPARED = 600


def model_figures(run: Run, sold: SoldHouses, model_id: str) -> dict[str, Any]:
    """Time and exactness of the drivers of the houses that one model judges."""
    rows = np.flatnonzero(sold.model_ids == model_id)
    model = ValuationModel.load(model_folder(run, model_id))
    prices = model.price_model
    features = model.features(sold.sales.iloc[rows].reset_index(drop=True), sold.pooled[rows])
    started, worked = time.perf_counter(), time.process_time()
    phi = prices.contributions(features)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    groups = driver_groups(prices.visual_names, prices.comparable_names_)
    drivers = to_currency(phi[:, :-1], phi[:, -1], prices.features_, groups)
    estimate = prices.predict(features)
    worst = np.abs(drivers.estimate - estimate)
    return {
        "model": model_id,
        "houses": len(rows),
        "seconds": seconds,
        "processor_seconds": processor,
        "worst_difference": float(worst.max()),
        "differing_by_a_cent": int((worst >= CENT).sum()),
    }


def peer_figures(run: Run, sold: SoldHouses) -> dict[str, Any]:
    """LightGBM's own values for some houses of the model that judges most."""
    model_id = max(sold.evaluation_models(), key=lambda name: int((sold.model_ids == name).sum()))
    model = ValuationModel.load(model_folder(run, model_id))
    rows = np.flatnonzero(sold.model_ids == model_id)[:COMPARED]
    features = model.features(sold.sales.iloc[rows].reset_index(drop=True), sold.pooled[rows])
    table, pictured = model.price_model.boosted_features(features)
    side = model.price_model.with_picture_
    if side is None:
        side, pictured = model.price_model.without_picture_, np.ones(len(table), dtype=bool)
    assert isinstance(side, Boosted)
    table = table[pictured]
    worked = time.process_time()
    own = [booster.predict(table, pred_contrib=True, num_threads=1) for booster in side.boosters]
    processor = time.process_time() - worked
    expected = np.mean(own, axis=0)
    if side.base is not None:
        expected = expected + side.base.contributions(table)
    return {
        "houses": len(table),
        "processor_milliseconds_a_house": 1000 * processor / len(table),
        "worst_difference_log": float(np.abs(side.contributions(table, 1) - expected).max()),
        "boosters": len(side.boosters),
        "trees": sum(booster.num_trees() for booster in side.boosters),
        "features": table.shape[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--config", type=Path, default=PROJECT / "examples" / "king-county.toml")
    parser.add_argument("--out", type=Path, default=RESULTS / "tree-shap.json")
    options = parser.parse_args()
    use_threads()
    config = load_config(options.config)
    load = os.getloadavg()[0]
    with open_project(config, options.runs, reads_only=True) as project:
        sold = load_sold_houses(project)
        run = find_run(options.runs, config.name)
        models = [model_figures(run, sold, model_id) for model_id in sold.evaluation_models()]
        peer = peer_figures(run, sold)
    houses = sum(each["houses"] for each in models)
    seconds = sum(each["seconds"] for each in models)
    processor = sum(each["processor_seconds"] for each in models)
    own = 1000 * processor / houses
    print(f"{houses:,} houses: {seconds:.1f} s, {processor:.1f} s of processor")
    facts = result_facts() | {
        "command": f"python benchmarks/tree_shap.py RUNS --config examples/{options.config.name}"
    }
    figures = {
        "load_before": load,
        "houses": houses,
        "seconds": seconds,
        "processor_seconds": processor,
        "processor_milliseconds_a_house": own,
        "times_faster": peer["processor_milliseconds_a_house"] / own,
        "worst_difference": max(each["worst_difference"] for each in models),
        "differing_by_a_cent": sum(each["differing_by_a_cent"] for each in models),
        "currency": config.listings.currency,
        "lightgbm": peer,
        "models": models,
    }
    write_json(options.out, facts | figures)


if __name__ == "__main__":
    main()
