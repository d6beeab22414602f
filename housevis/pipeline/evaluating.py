"""The `evaluate` step: figures on later sales, then the model that serves new houses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from db.store import last_step, save_estimates
from housevis.core.machine import machine_facts
from housevis.core.progress import progress_bar
from housevis.explain.metrics import TRUE_MASK
from housevis.pipeline.explaining import GRAD_WEIGHTS, build_grad_weights
from housevis.pipeline.judging import DRIVER_PREFIX, calibrate_model, driver_columns, judge_sold_houses
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult, percent, points
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses, current_run, load_sold_houses
from housevis.pipeline.training import fit_and_save
from housevis.pipeline.truth import town_figures
from housevis.pipeline.valuation import ValuationModel, is_complete
from housevis.pricing import metrics
from housevis.pricing.ablation import ablate
from housevis.pricing.attributes import ATTRIBUTE_SETS
from housevis.pricing.intervals import covered_share
from housevis.runs import METRICS, Run, package_versions, write_json, write_parquet

STEP = "evaluate"


def evaluate(project: Project) -> StepResult:
    """Measure the share within ±10 % on later sales, then fit the serving model.

    Writes ``evaluation/estimates.parquet`` (out of sample, every sold
    house), ``metrics.json``, the table of estimates in the database, and
    ``serving/``.

    Args:
        project: An open project whose `explain` step is finished.

    Returns:
        Figures as in ``metrics.json``.

    Raises:
        RunError: `explain` is not finished.
    """
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="explain")
    if STEP in run.steps() and _results_are_there(run):
        done = run.steps()[STEP]
        figures = run.metrics()
        return StepResult(STEP, _lines(figures), figures, done["seconds"], skipped=True)
    started = time.perf_counter()
    with progress_bar("evaluate", 4) as bar:
        table = judge_sold_houses(project.config, run, sold)
        write_parquet(table, run.estimates)
        save_estimates(project.engine, run.run_id, table)
        bar.advance()
        figures = _figures(project, run, sold, table)
        bar.advance()
        if project.config.sample_market is not None:
            figures["town"] = town_figures(project, run, sold)
        bar.advance()
        _fit_serving_model(project, run, sold, table)
        bar.advance()
    seconds = time.perf_counter() - started
    write_json(run.folder / METRICS, figures)
    run.finish(STEP, seconds, {"share_with": figures["headline"]["share_with"]})
    return StepResult(STEP, _lines(figures), figures, seconds)


def _results_are_there(run: Run) -> bool:
    files = (run.estimates, run.folder / METRICS, run.serving / GRAD_WEIGHTS)
    return is_complete(run.serving) and all(file.is_file() for file in files)


def _fit_serving_model(project: Project, run: Run, sold: SoldHouses, table: pd.DataFrame) -> None:
    if not is_complete(run.serving):
        fit_and_save(project, run, sold, SERVING)
    calibrate_model(project.config, run, sold, table, SERVING)
    build_grad_weights(project.config, run, sold, SERVING)


def _figures(project: Project, run: Run, sold: SoldHouses, table: pd.DataFrame) -> dict[str, Any]:
    config = project.config
    later = table[~sold.is_earlier]
    price = later["price"].to_numpy()
    with_picture = later["estimate"].to_numpy()
    without = later["without_picture"].to_numpy()
    gain = metrics.paired_bootstrap_difference(
        metrics.hit(without, price), metrics.hit(with_picture, price), config.pricing.bootstrap, config.seed
    )
    model = ValuationModel.load(run.evaluation / EARLIER)
    rows = sold.training_rows(EARLIER)
    ablation = ablate(
        sold.sales[rows].reset_index(drop=True),
        sold.sales[~sold.is_earlier].reset_index(drop=True),
        model.training_visual(),
        model.visual_features(sold.pooled[~sold.is_earlier]),
        {**ATTRIBUTE_SETS, **_everything(sold)},
        config.pricing,
        seed=config.seed,
    )
    drivers = later[driver_columns(later)]
    return {
        "run_id": run.run_id,
        "headline": {
            "sales": len(later),
            "share_with": float(metrics.pe(with_picture, price)),
            "share_without": float(metrics.pe(without, price)),
            "gain": gain.estimate,
            "gain_low": gain.low,
            "gain_high": gain.high,
        },
        "rank_accuracy": run.steps()["train"]["figures"]["rank_accuracy"],
        "split": run.steps()["train"]["figures"],
        "ratio_study": metrics.ratio_study(
            with_picture, price, repeats=config.pricing.bootstrap, seed=config.seed
        ),
        "interval": {
            "nominal": config.pricing.interval,
            "covered": covered_share(later["low"].to_numpy(), later["high"].to_numpy(), price),
        },
        "ablation": [row.to_dict() for row in ablation],
        "drivers": {
            name.removeprefix(DRIVER_PREFIX): {
                "mean_absolute": float(drivers[name].abs().mean()),
                "mean_absolute_share": float((drivers[name].abs() / later["estimate"]).mean()),
            }
            for name in driver_columns(later)
        },
        "deviations": _deviations(project),
        "pictures": {
            "later_sales_without_picture": int((~later["used_picture"]).sum()),
            "later_sales_sharing_a_picture_with_an_earlier_one": int(
                np.isin(
                    sold.image_keys[~sold.is_earlier], sold.image_keys[rows & (sold.image_keys != "")]
                ).sum()
            ),
        },
    }


def _everything(sold: SoldHouses) -> dict[str, tuple[str, ...]]:
    """One more attribute set where the listings have attributes beyond the paper's."""
    known = {"sale_id", "house_id", "sale_date", "price", "address"}
    extra = [name for name in sold.sales.columns if name not in known]
    paper = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
    everything = (*paper, *(name for name in extra if name not in paper))
    return {"all attributes": everything} if len(everything) > len(paper) else {}


def _deviations(project: Project) -> list[str]:
    """What the run does otherwise than paper C, a sentence each."""
    deviations = []
    if project.config.pricing.visual_features == "cross-fitted":
        deviations.append(
            "the boosting is fitted on visual features that are cross-fitted, "
            "so that no ranker has seen the sale it describes"
        )
    if project.config.explain.scalar != "loss-against":
        deviations.append(
            f"the grad-weights explain the scalar '{project.config.explain.scalar}', "
            "where paper C back-propagates the loss ('loss-against')"
        )
    return deviations


def write_results(project: Project, run: Run) -> None:
    """Write a run's figures for the docs, without anything that belongs to one house."""
    if project.config.results is None:
        return
    write_json(
        project.config.results,
        {
            "command": f"housevis run examples/{project.config.name}.toml",
            "machine": machine_facts(),
            "versions": package_versions(),
            "backbone": run.record["backbone"],
            "stages_seconds": stage_seconds(project, run),
            **{name: value for name, value in run.metrics().items() if name != "run_id"},
        },
    )


def stage_seconds(project: Project, run: Run) -> dict[str, float]:
    """Seconds of every finished step of a run, those of the ETL included."""
    shared = {name: last_step(project.engine, name) for name in ("ingest", "tiles", "embed")}
    seconds = {name: float(figures["seconds"]) for name, figures in shared.items() if figures}
    return seconds | {name: float(step["seconds"]) for name, step in run.steps().items()}


def _lines(figures: dict[str, Any]) -> list[str]:
    headline = figures["headline"]
    lines = [f"deviation from paper C: {sentence}" for sentence in figures["deviations"]]
    lines.append(
        f"share of later sales within ±10 %: {percent(headline['share_without'])} without visual features, "
        f"{percent(headline['share_with'])} with them ({points(headline['gain'])}, "
        f"95 % interval {points(headline['gain_low'])} to {points(headline['gain_high'])}, "
        f"n = {headline['sales']:,})"
    )
    if "town" in figures:
        lines += _town_lines(figures)
    return lines


def _town_lines(figures: dict[str, Any]) -> list[str]:
    town, headline = figures["town"], figures["headline"]
    ceiling_gain = town["gain_of_ceiling"]["estimate"]
    pooled = next(score for score in town["attention"] if score["method"] == "transferred")
    best = next(score for score in town["attention"] if score["method"] == TRUE_MASK)
    brought = (
        f"; the pictures bring {headline['gain'] / ceiling_gain:.0%} of that" if ceiling_gain > 0 else ""
    )
    lines = [
        f"the town's truth: {percent(town['ceiling'])} with the true drivers as columns "
        f"({points(ceiling_gain)}{brought}), {percent(town['location_only'])} with the location alone"
    ]
    if pooled["lift"] is not None and best["lift"] is not None:
        lines.append(
            f"heat on the true drivers: {pooled['lift']:.2f} times a uniform map "
            f"(true masks on the same grid: {best['lift']:.2f})"
        )
    return lines
