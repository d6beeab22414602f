"""What stands beside the table itself: selection, rank accuracy, blocks of land, strongest model, checks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from table2_bench import Bench
from table2_estimates import Array, Cell, Part, figures
from table2_learners import PAPER, Learned
from table2_market import ALL, FIVE, NO_LOCATION, write_features
from table2_targets import PRICE

from housevis.core.config_sections import PricingSection
from housevis.core.engine import map_shards
from housevis.core.progress import progress_bar
from housevis.pricing import metrics
from housevis.pricing.attributes import model_table, visual_names
from housevis.pricing.model import HousePriceModel
from housevis.vision.lessons import StoredRows, chunks
from housevis.vision.ranking import comparable, draw_pairs, ordered_share

RANKED_PAIRS = 200_000
SELECTION_SETS = ("G, Bed, Bath", FIVE, NO_LOCATION, ALL)
SHUFFLED_SETS = ("G, Bed, Bath", FIVE, NO_LOCATION)
DRAWS = 10
LEFT_OUT = 0.01
CRITERION = (
    "share within ±10 % of held-out earlier sales, gradient boosting, mean over the attribute sets "
    "of the gain over the attributes alone; folds keep houses that share a picture together"
)


def select(bench: Bench, visual: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Choose the best features by cross-validation among the earlier sales.

    The features of every earlier sale come from a learner that has not seen
    its fold. In-sample features have no such version and do not stand for
    election: the paper's own are in the table in any case.
    """
    market = bench.market
    seen = {learner.name for learner in bench.learners if learner.recipe == "in-sample"}
    candidates = [name for name in visual if name not in seen]
    folds = market.sold.folds
    parts = [
        Part(market.train & (folds != number), market.train & (folds == number), visual)
        for number in np.unique(folds[market.train])
    ]
    cells = bench.cells(candidates, SELECTION_SETS)
    estimates = bench.estimates(parts, cells, "selection")
    gains: dict[str, dict[str, float]] = {name: {} for name in candidates}
    for cell in cells:
        if cell.learner is not None:
            row = bench.row(cell, estimates)
            gains[cell.learner][cell.attributes] = row["gain"]["estimate"]
    means = {name: float(np.mean(list(values.values()))) for name, values in gains.items()}
    fitted = [name for name in candidates if name not in bench.scores]
    return {
        "criterion": CRITERION,
        "sales": int(market.train.sum()),
        "gains": gains,
        "mean_gain": means,
        "best": max(means, key=means.__getitem__),
        "best_fitted": max(fitted, key=means.__getitem__),
    }


def rank_accuracies(
    bench: Bench,
    visual: dict[str, NDArray[np.float32]],
    scores: dict[str, NDArray[np.float32]],
    estimates: dict[Cell, Array],
    found: dict[str, Learned],
) -> dict[str, Any]:
    """How well each learner's picture score alone orders later sales: all pairs, and comparable ones.

    The score is the learner's own; `boosted` is what the gradient boosting makes of its features alone.
    """
    market = bench.market
    later = market.later & np.logical_and.reduce(list(market.present.values()))
    sales, price = market.sales[later], market.price[later]
    area = sales["area_m2"].to_numpy()
    alike = comparable(sales["latitude"].to_numpy(), sales["longitude"].to_numpy(), area)
    pairs = {
        "all": draw_pairs(price, pairs=RANKED_PAIRS, seed=bench.seed),
        "comparable": draw_pairs(price, pairs=RANKED_PAIRS, seed=bench.seed, keep=alike),
    }
    fitted = {learner.name: learner for learner in bench.learners}
    rows = []
    for name, features in visual.items():
        sides = {"score": scores.get(name), "boosted": estimates[Cell("none", name)]}
        learner = fitted.get(name)
        row: dict[str, Any] = {
            "name": name,
            "pictures": market.backbones[learner.pictures] if learner else None,
            "dimension": features.shape[1],
            "penalty": bench.penalties.get(learner.penalty_key) if learner else None,
            "processor_seconds": round(found[learner.fit_key].seconds, 1) if learner else None,
            "rank_accuracy": {
                side: None
                if values is None or not np.isfinite(values[later]).all()
                else {kind: ordered_share(values[later], price, drawn) for kind, drawn in pairs.items()}
                for side, values in sides.items()
            },
        }
        rows.append(row)
    return {
        "ranked_pairs": {kind: len(drawn) for kind, drawn in pairs.items()},
        "learners": rows,
    }


def measure_draws(bench: Bench, best: str, features: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The gain of the best features in the mean over several draws of the sales that teach.

    Trees turn the smallest change of their table into another estimate, so
    one fit with and one without pictures say little to half a point. Each
    draw leaves out :data:`LEFT_OUT` of the sales at random, the same on both
    sides. The interval is of the mean gain, over the later sales.
    """
    market = bench.market
    names = [name for name in market.sets if market.sets[name]]
    cells = bench.cells([best], names)
    hits: dict[Cell, list[NDArray[np.bool_]]] = {cell: [] for cell in cells}
    for number in range(DRAWS):
        kept = np.random.default_rng(bench.seed + number).random(len(market.train)) >= LEFT_OUT
        part = Part(market.train & kept, market.later, {best: features})
        estimates = bench.estimates([part], cells, f"draw {number + 1} of {DRAWS}")
        for cell, values in estimates.items():
            hits[cell].append(metrics.hit(np.exp(values[market.later]), market.price[market.later]))
    rows = []
    for name in names:
        without, pictured = (
            np.array(hits[Cell(name, learner)], dtype=np.float64) for learner in (None, best)
        )
        gains = pictured - without
        rows.append(
            {
                "attributes": name,
                "learner": best,
                "without": float(without.mean()),
                "with": float(pictured.mean()),
                "gain": _mean_interval(gains.mean(axis=0), market.config.pricing.bootstrap, bench.seed),
                "deviation": float(gains.mean(axis=1).std(ddof=1)),
            }
        )
    return rows


def _mean_interval(values: Array, repeats: int, seed: int) -> dict[str, float]:
    """The mean over sales and its 95 % bootstrap interval."""
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(repeats)]
    low, high = np.percentile(means, [2.5, 97.5])
    return metrics.Interval(float(values.mean()), float(low), float(high)).to_dict()


def measure_blocks(bench: Bench, best: str) -> dict[str, Any]:
    """The same gains where whole blocks of land are held out instead of the later sales.

    No learner and no booster sees a sale of the blocks that are judged, and
    the features that boosters are fitted on come from learners that have
    not seen their block either. The pictures of the neighbourhood may lie
    in other blocks: they are pictures, not prices. The penalties are those
    chosen on the earlier sales.
    """
    market = bench.market
    numbers = np.unique(market.blocks)
    fitted = {learner.name: learner for learner in bench.learners}
    wanted = [name for joined in bench.joined if joined.name == best for name in joined.parts] or [best]
    chosen = [fitted[name] for name in dict.fromkeys((PAPER, *wanted))]
    residuals = any(name != PRICE for learner in chosen for name in learner.section.targets)
    targets = {
        number: bench.targets(market.blocks != number, market.blocks, bench.log_price, residuals=residuals)
        for number in numbers
    }
    tasks = [
        bench.task(
            learner,
            market.blocks != number,
            market.blocks,
            targets[number],
            crossed=learner.recipe == "cross-fitted",
        )
        for learner in chosen
        for number in numbers
    ]
    learned = iter(bench.taught(tasks, "blocks: learners"))
    by_learner = {learner.name: [next(learned) for _ in numbers] for learner in chosen}
    parts = []
    for position, number in enumerate(numbers):
        visual = {
            learner.name: by_learner[learner.name][position].features(learner.recipe) for learner in chosen
        }
        visual[best] = np.hstack([visual[name] for name in wanted])
        parts.append(Part(market.blocks != number, market.blocks == number, visual))
    learners = list(dict.fromkeys((PAPER, best)))
    estimates = bench.estimates(parts, bench.cells(learners, list(market.sets)), "blocks")
    return {
        "folds": len(numbers),
        "sales": len(market.blocks),
        "rows": [bench.row(cell, estimates) for cell in estimates],
    }


def measure_shuffled(bench: Bench, best: str) -> list[dict[str, Any]]:
    """The gain of the best features after prices, or pictures, changed houses: it must be nothing.

    Prices are dealt anew among all sales; pictures among all that there are,
    so that houses which shared one still do.
    """
    market = bench.market
    fitted = {learner.name: learner for learner in bench.learners}
    wanted = [name for joined in bench.joined if joined.name == best for name in joined.parts] or [best]
    generator = np.random.default_rng(bench.seed)
    dealt = bench.log_price[generator.permutation(len(bench.log_price))]
    log_prices = {"prices": dealt, "pictures": bench.log_price}
    tasks = []
    for what, log_price in log_prices.items():
        targets = bench.targets(market.train, market.sold.folds, log_price)
        for name in wanted:
            task = bench.task(fitted[name], market.train, market.sold.folds, targets)
            if what == "pictures":
                file = bench.folder / f"dealt-{len(tasks)}.npy"
                task = replace(task, pooled=deal_pictures(task.pooled, file, bench))
            tasks.append(task)
    learned = iter(bench.taught(tasks, "shuffled: learners"))
    rows = []
    for what, log_price in log_prices.items():
        visual = {best: np.hstack([next(learned).features(fitted[name].recipe) for name in wanted])}
        part = Part(market.train, market.later, visual)
        cells = bench.cells([best], SHUFFLED_SETS)
        estimates = bench.estimates([part], cells, f"shuffled {what}", log_price)
        for cell in cells:
            if cell.learner is not None:
                row = figures(cell, estimates, np.exp(log_price), market.config.pricing.bootstrap, bench.seed)
                rows.append({"shuffled": what, **row})
    return rows


def deal_pictures(features: Path, file: Path, bench: Bench) -> Path:
    """Write features ``(n, K)`` whose pictures have changed houses."""
    stored = np.load(features, mmap_mode="r")
    shown = np.flatnonzero(np.isfinite(stored[:, 0]))
    _, first, position = np.unique(
        bench.market.sold.image_keys[shown], return_index=True, return_inverse=True
    )
    order = np.random.default_rng(bench.seed).permutation(len(first))
    dealt = np.arange(len(stored))
    dealt[shown] = shown[first[order][position]]
    pictures = StoredRows(features, dealt)
    return write_features(file, pictures.shape, (pictures[rows] for rows in chunks(len(dealt))))


@dataclass(frozen=True, eq=False)
class StrongTask:
    """One set of attributes for the strongest model, with visual features of all sales ``(n, D)``."""

    name: str
    model: str
    section: PricingSection
    attributes: tuple[str, ...]
    sales: pd.DataFrame
    visual: NDArray[np.float32]
    train: NDArray[np.bool_]
    later: NDArray[np.bool_]
    seed: int


def strong_estimates(task: StrongTask) -> tuple[Array, Array]:
    """Log estimates of the later sales ``(m,)`` without and with visual features."""
    table = model_table(task.sales, task.attributes, task.visual)
    names = visual_names(task.visual.shape[1])
    model = HousePriceModel.from_section(task.section, task.attributes, names, seed=task.seed, num_threads=1)
    model.fit(table[task.train], task.sales.loc[task.train, "price"])
    judged = table[task.later]
    return np.log(model.predict_without_picture(judged)), np.log(model.predict(judged))


def strong_sections(base: PricingSection) -> dict[str, PricingSection]:
    """The strongest models of attributes alone: more and slower rounds, subsamples, averaged boosters."""
    common = {
        "objective": "absolute",
        "comparables": 60,
        "rounds": 2 * base.rounds,
        "learning_rate": 0.6 * base.learning_rate,
        "feature_fraction": 0.6,
        "row_fraction": 0.8,
        "boosters": 2,
        "random_boosters": 2,
    }
    return {
        "comparable sales": base.model_copy(update=common),
        "comparable sales, linear base": base.model_copy(update=common | {"linear_base": True}),
        "comparable sales, market index": base.model_copy(
            update=common | {"market_index": "rolling-residual"}
        ),
    }


def measure_strongest(bench: Bench, best: str, visual: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The gain over the strongest models of the attributes alone."""
    market = bench.market
    tasks = [
        StrongTask(
            name,
            model,
            section,
            market.sets[name],
            market.sales,
            visual,
            market.train,
            market.later,
            bench.seed,
        )
        for name in (FIVE, ALL)
        if name in market.sets
        for model, section in strong_sections(market.config.pricing).items()
    ]
    rows = []
    with progress_bar("strongest model", len(tasks)) as bar:
        for task, found in zip(tasks, map_shards(strong_estimates, tasks, bench.runner), strict=True):
            cells = (Cell(task.name), Cell(task.name, best))
            estimates = {}
            for cell, values in zip(cells, found, strict=True):
                estimates[cell] = np.full(len(market.sales), np.nan)
                estimates[cell][market.later] = values
            rows.append({"model": task.model, **bench.row(cells[1], estimates)})
            bar.advance()
    return rows
