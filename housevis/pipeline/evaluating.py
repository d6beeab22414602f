"""The `evaluate` step: figures on later sales, then the model that serves new houses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from db.store import last_step, save_estimates
from housevis.core.config import Config
from housevis.core.machine import machine_facts
from housevis.core.progress import progress_bar
from housevis.explain.metrics import TRUE_MASK
from housevis.pipeline.comparables import keep_comparables
from housevis.pipeline.driver_tables import keep_driver_tables
from housevis.pipeline.explaining import GRAD_WEIGHTS, build_grad_weights, build_value_map_models
from housevis.pipeline.judging import (
    DRIVER_PREFIX,
    calibrate_model,
    driver_columns,
    judge_sold_houses,
)
from housevis.pipeline.leaks import leakage_figures
from housevis.pipeline.project import Project
from housevis.pipeline.ratio_studies import keep_ratio_studies
from housevis.pipeline.results import StepResult, percent, points
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses, current_run, keep_pool, load_sold_houses
from housevis.pipeline.training import fit_and_save
from housevis.pipeline.truth import town_figures
from housevis.pipeline.valuation import ValuationModel, is_complete
from housevis.pricing import metrics
from housevis.pricing.ablation import ablate
from housevis.pricing.attributes import ATTRIBUTE_SETS, present_attributes
from housevis.pricing.intervals import covered_share
from housevis.runs import METRICS, Run, package_versions, write_json, write_parquet

STEP = "evaluate"


def evaluate(project: Project) -> StepResult:
    """Measure the share within ±10 % on later sales, then fit the serving model.

    Writes ``evaluation/estimates.parquet`` (out of sample, every sold
    house), ``ratio_studies.parquet``, ``comparables.parquet``, ``metrics.json``, the table of
    estimates in the database, and ``serving/``.

    Args:
        project: An open project whose `explain` step is finished, or `train`
            where it uses no pictures.

    Returns:
        Figures as in ``metrics.json``. Without pictures, what only pictures
        have a figure of is None (in the headline and the ablation) or absent.

    Raises:
        RunError: That step is not finished.
    """
    uses_pictures = project.config.uses_pictures
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="explain" if uses_pictures else "train")
    if STEP in run.steps() and _results_are_there(run, uses_pictures):
        done = run.steps()[STEP]
        figures = run.metrics()
        keep_ratio_studies(project.config, run, sold)
        keep_driver_tables(project.config, run, sold)
        keep_comparables(project.config, run, sold)
        return StepResult(STEP, _lines(figures), figures, done["seconds"], skipped=True)
    started = time.perf_counter()
    with progress_bar("evaluate", 4) as bar:
        table = judge_sold_houses(project.config, run, sold)
        write_parquet(table, run.estimates)
        save_estimates(project.engine, run.run_id, table)
        keep_ratio_studies(project.config, run, sold, table)
        keep_driver_tables(project.config, run, sold, table)
        bar.advance()
        figures = _figures(project, run, sold, table)
        bar.advance()
        if project.config.sample_market is not None:
            figures["town"] = town_figures(project, run, sold, table)
        bar.advance()
        _fit_serving_model(project, run, sold, table)
        keep_comparables(project.config, run, sold)
        bar.advance()
    seconds = time.perf_counter() - started
    write_json(run.folder / METRICS, figures)
    run.finish(STEP, seconds, figures["headline"])
    return StepResult(STEP, _lines(figures), figures, seconds)


def _results_are_there(run: Run, uses_pictures: bool) -> bool:
    files = [run.estimates, run.folder / METRICS]
    if uses_pictures:
        files.append(run.serving / GRAD_WEIGHTS)
    return is_complete(run.serving) and all(file.is_file() for file in files)


def _fit_serving_model(project: Project, run: Run, sold: SoldHouses, table: pd.DataFrame) -> None:
    keep_pool(run, sold)
    if not is_complete(run.serving):
        fit_and_save(project, run, sold, SERVING)
    calibrate_model(project.config, run, sold, table, SERVING)
    if project.config.uses_pictures:
        build_grad_weights(project.config, run, sold, SERVING)
        build_value_map_models(project, run, sold, [SERVING])


def _figures(project: Project, run: Run, sold: SoldHouses, table: pd.DataFrame) -> dict[str, Any]:
    config = project.config
    later = table[~sold.is_earlier]
    price = later["price"].to_numpy()
    estimate = later["estimate"].to_numpy()
    model = ValuationModel.load(run.evaluation / EARLIER)
    rows = sold.training_rows(EARLIER)
    ablation = ablate(
        sold.sales[rows].reset_index(drop=True),
        sold.sales[~sold.is_earlier].reset_index(drop=True),
        model.training_visual(),
        model.visual_features(sold.pooled[~sold.is_earlier]),
        _attribute_sets(sold, config),
        config.pricing,
        seed=config.seed,
    )
    drivers = later[driver_columns(later)]
    trained = run.steps()["train"]["figures"]
    figures: dict[str, Any] = {
        "run_id": run.run_id,
        "headline": _headline(later, config),
        "split": trained,
        "ratio_study": metrics.ratio_study(
            estimate, price, repeats=config.pricing.bootstrap, seed=config.seed
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
        "leakage": leakage_figures(run, sold, later),
    }
    if config.uses_pictures:
        figures["rank_accuracy"] = trained["rank_accuracy"]
        figures["pictures"] = {
            "later_sales_without_picture": int((~later["used_picture"]).sum()),
            "later_sales_sharing_a_picture_with_an_earlier_one": int(
                np.isin(
                    sold.image_keys[~sold.is_earlier], sold.image_keys[rows & (sold.image_keys != "")]
                ).sum()
            ),
        }
    return figures


def _headline(later: pd.DataFrame, config: Config) -> dict[str, Any]:
    """Shares within ±10 % of the later sales; None where the run uses no pictures to compare with."""
    price = later["price"].to_numpy()
    without = metrics.hit(later["without_picture"].to_numpy(), price)
    headline: dict[str, Any] = {
        "sales": len(later),
        "share_with": None,
        "share_without": float(without.mean()),
        "gain": None,
        "gain_low": None,
        "gain_high": None,
    }
    if config.uses_pictures:
        hits = metrics.hit(later["estimate"].to_numpy(), price)
        gain = metrics.paired_bootstrap_difference(without, hits, config.pricing.bootstrap, config.seed)
        headline |= {
            "share_with": float(hits.mean()),
            "gain": gain.estimate,
            "gain_low": gain.low,
            "gain_high": gain.high,
        }
    return headline


def _attribute_sets(sold: SoldHouses, config: Config) -> dict[str, tuple[str, ...]]:
    """The paper's attribute sets that these sales can fill, and one of all their attributes.

    The last is there where the listings have attributes beyond the paper's,
    the set without any where there are pictures to estimate from.
    """
    present = present_attributes(sold.sales)
    sets = {
        name: attributes
        for name, attributes in ATTRIBUTE_SETS.items()
        if set(attributes) <= set(present) and (attributes or config.uses_pictures)
    }
    paper = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
    columns = [*paper, *(str(name) for name in sold.sales.columns if name not in paper)]
    everything = tuple(name for name in columns if name in present)
    return sets if everything in sets.values() else {**sets, "all attributes": everything}


def _deviations(project: Project) -> list[str]:
    """What the run does otherwise than paper C, a sentence each."""
    if not project.config.uses_pictures:
        return []
    deviations = []
    if project.config.pricing.visual_features == "cross-fitted":
        deviations.append(
            "the boosting is fitted on visual features that are cross-fitted, "
            "so that no ranker has seen the sale it describes"
        )
    siamese = project.config.siamese
    if siamese.targets != ["price"]:
        deviations.append(f"visual features are learned from: {', '.join(siamese.targets)}")
    if siamese.neighbourhood:
        numbers = " and ".join(map(str, siamese.neighbourhood))
        deviations.append(f"visual features look at the {numbers} nearest other pictures too")
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
    names = ("ingest", "tiles", "embed") if project.config.uses_pictures else ("ingest",)
    shared = {name: last_step(project.engine, name) for name in names}
    seconds = {name: float(figures["seconds"]) for name, figures in shared.items() if figures}
    return seconds | {name: float(step["seconds"]) for name, step in run.steps().items()}


def _lines(figures: dict[str, Any]) -> list[str]:
    headline = figures["headline"]
    lines = [f"deviation from paper C: {sentence}" for sentence in figures["deviations"]]
    share = f"share of later sales within ±10 %: {percent(headline['share_without'])}"
    if headline["share_with"] is None:
        lines.append(f"{share} from attributes alone (n = {headline['sales']:,})")
    else:
        lines.append(
            f"{share} without visual features, "
            f"{percent(headline['share_with'])} with them ({points(headline['gain'])}, "
            f"95 % interval {points(headline['gain_low'])} to {points(headline['gain_high'])}, "
            f"n = {headline['sales']:,})"
        )
    lines += _ratio_lines(figures["ratio_study"])
    if "town" in figures:
        lines += _town_lines(figures)
    return lines


def _ratio_lines(study: dict[str, Any]) -> list[str]:
    if "pe5" not in study or "mdape" not in study:
        return []
    return [
        f"of the same sales within ±5 %: {percent(study['pe5']['estimate'])}, "
        f"within ±20 %: {percent(study['pe20']['estimate'])}; "
        f"median error (MdAPE) {percent(study['mdape']['estimate'])}, "
        f"COD {study['cod']['estimate']:.1f}, median ratio {study['median_ratio']['estimate']:.3f}"
    ]


def _town_lines(figures: dict[str, Any]) -> list[str]:
    town, gain = figures["town"], figures["headline"]["gain"]
    ceiling_gain = town["gain_of_ceiling"]["estimate"]
    brought = ""
    if gain is not None and ceiling_gain > 0:
        brought = f"; the pictures bring {gain / ceiling_gain:.0%} of that"
    lines = [
        f"the town's truth: {percent(town['ceiling'])} with the true drivers as columns "
        f"({points(ceiling_gain)}{brought}), {percent(town['location_only'])} with the location alone"
    ]
    recovered = ", ".join(f"{part['part']} {part['recovered']:.2f}" for part in town.get("recovered", ()))
    if recovered:
        lines.append(f"recovered / planted in the estimates of later sales: {recovered}")
    lifts: dict[str, float | None] = {}
    for score in town.get("attention", ()):
        lifts.setdefault(score["method"], score["lift"])
    if lifts.get("transferred") is not None and lifts.get(TRUE_MASK) is not None:
        lines.append(
            f"heat on the true drivers: {lifts['transferred']:.2f} times a uniform map "
            f"(true masks on the same grid: {lifts[TRUE_MASK]:.2f})"
        )
    return lines
