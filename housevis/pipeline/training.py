"""The `train` step: the models that judge sold houses, each on sales it has not seen."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from housevis.core.config import Config
from housevis.core.config_sections import PricingSection
from housevis.core.errors import ConfigError, ModelError
from housevis.core.progress import progress_bar
from housevis.pipeline.leaks import check_leaks
from housevis.pipeline.learning_targets import places_of, whole_target
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult, percent
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses, keep_pool, load_sold_houses, start_run
from housevis.pipeline.valuation import ValuationModel, fit_valuation_model, is_complete
from housevis.pricing.attributes import LOCATION, check_attributes
from housevis.pricing.model import MARKET, MINIMUM_SALES
from housevis.runs import Run, read_json, write_json
from housevis.vision.penalty import choose_penalty
from housevis.vision.siamese import rank_accuracy

STEP = "train"
PENALTY = "penalty.json"
FEW_LATER_SALES = 30
"""Fewer later sales than that are too few to judge a model by."""


def train(project: Project) -> StepResult:
    """Fit one model per fold of the earlier sales, and one on all of them.

    Each model is one feature learner per target (C section 4) and a boosting
    on attributes + visual features, or a boosting on attributes alone where the configuration
    uses no pictures. Models that an earlier, stopped run wrote are kept.

    Args:
        project: An open project whose `embed` step is finished, or `ingest`
            where it uses no pictures.

    Returns:
        Figures ``run_id``, the numbers of sales and, with pictures,
        ``penalty`` (of each target) and ``rank_accuracy`` of the first
        learner on later sales (None where fewer than two of them can be
        compared).

    Raises:
        RunError: The pictures are not embedded.
        ConfigError: The sales do not have an attribute, or no value of it.
        LeakError: An attribute gives the price back or is dated after the
            sale, or a house on both sides of the split is refused.
        ModelError: Too few sales or pictures.
    """
    sold = load_sold_houses(project)
    check_sold_houses(project.config, sold)
    run = start_run(project, sold)
    checked = check_leaks(project.config.pricing, run, sold)
    keep_pool(run, sold)
    models = sold.evaluation_models()
    if STEP in run.steps() and all(is_complete(run.evaluation / model_id) for model_id in models):
        done = run.steps()[STEP]
        lines = checked + _lines(done["figures"])
        return StepResult(STEP, lines, done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    with progress_bar("train", len(models)) as bar:
        for model_id in models:
            if not is_complete(run.evaluation / model_id):
                fit_and_save(project, run, sold, model_id)
            bar.advance()
    figures: dict[str, Any] = {
        "run_id": run.run_id,
        "sales": len(sold.sales),
        "earlier_sales": int(sold.is_earlier.sum()),
        "later_sales": int((~sold.is_earlier).sum()),
        "sold_again_left_out": int((sold.is_earlier & ~sold.training_rows(EARLIER)).sum()),
        "cutoff": sold.cutoff.date().isoformat(),
    }
    if project.config.uses_pictures:
        figures["penalty"] = learner_penalties(project, run, sold)
        figures["rank_accuracy"] = _rank_accuracy_later(project.config, run, sold)
    seconds = time.perf_counter() - started
    run.finish(STEP, seconds, figures)
    return StepResult(STEP, checked + _lines(figures), figures, seconds)


def check_sold_houses(config: Config, sold: SoldHouses) -> None:
    """Say what is missing before anything is fitted.

    Raises:
        ConfigError: The sales do not have an attribute, or no value of it,
            or an attribute is left out that another setting needs.
        ModelError: A model would learn from too few sales, or from too few
            with a picture, or no later sale has one.
    """
    check_attributes(sold.sales, config.pricing.attributes)
    _check_market(config.pricing)
    known = {model_id: sold.training_rows(model_id) for model_id in sold.evaluation_models()}
    fewest = min(int(rows.sum()) for rows in known.values())
    if fewest < MINIMUM_SALES:
        taught = config.pricing.train_share * (1 - 1 / config.pricing.folds)
        raise ModelError(
            f"{len(sold.sales)} sales are too few: a model would learn from {fewest} of them, "
            f"and it takes {MINIMUM_SALES}",
            where=f"the sales up to {sold.cutoff:%Y-%m-%d}",
            remedy=f"Give at least about {math.ceil(MINIMUM_SALES / taught)} sales, spread over several "
            "dates; the rejects of `ingest` say which rows were left out.",
        )
    if not config.uses_pictures:
        return
    remedy = (
        "Fetch more imagery with `housevis tiles CONFIG`, or estimate from attributes alone: "
        'visual_features = "none" in [pricing].'
    )
    has_picture = sold.image_keys != ""
    for model_id, rows in known.items():
        pictures = int((rows & has_picture).sum())
        if pictures < MINIMUM_SALES:
            raise ModelError(
                f"only {pictures} of {rows.sum()} sales have a picture; "
                f"the rank siamese needs at least {MINIMUM_SALES}",
                where=f"model {model_id}",
                remedy=remedy,
            )
    if not (has_picture & ~sold.is_earlier).any():
        raise ModelError(
            f"none of {(~sold.is_earlier).sum()} later sales has a picture",
            where=f"the sales from {sold.cutoff:%Y-%m-%d}",
            remedy=remedy,
        )


def _check_market(pricing: PricingSection) -> None:
    """Refuse a market index without time, and comparable sales without place."""
    needs = {MARKET: pricing.market_index != "none"} | dict.fromkeys(LOCATION, pricing.comparables > 0)
    for name, needed in needs.items():
        if needed and name not in pricing.attributes:
            setting = "market_index" if name == MARKET else "comparables"
            raise ConfigError(
                f"{setting} needs the attribute {name!r}, which is not among the attributes",
                where="pricing.attributes",
                remedy=f"Add {name!r} to attributes in [pricing], or leave out {setting}.",
            )


def _rank_accuracy_later(config: Config, run: Run, sold: SoldHouses) -> float | None:
    """Rank accuracy on the later sales; None where no two with a picture have different prices."""
    later = ~sold.is_earlier & (sold.image_keys != "")
    prices = sold.sales.loc[later, "price"].to_numpy()
    if len(np.unique(prices)) < 2:
        return None
    ranker = ValuationModel.load(run.evaluation / EARLIER).picture_ranker()
    return rank_accuracy(ranker.score(sold.pooled[later]), prices, seed=config.seed)


def learner_penalties(project: Project, run: Run, sold: SoldHouses) -> dict[str, float]:
    """The penalty of all learners of each target, chosen once on the earlier sales where it is ``auto``."""
    config = project.config
    setting = config.siamese.penalty
    if setting != "auto":
        return dict.fromkeys(config.siamese.targets, setting)
    record = run.evaluation / PENALTY
    if not record.is_file():
        rows = sold.training_rows(EARLIER)
        sales, folds = sold.sales[rows].reset_index(drop=True), sold.folds[rows]
        has_picture = sold.image_keys[rows] != ""
        choices = {}
        with progress_bar("penalty of the learners", len(config.siamese.targets)) as bar:
            for name in config.siamese.targets:
                choices[name] = choose_penalty(
                    config.siamese.objective,
                    sold.pooled[rows][has_picture],
                    whole_target(name, sales, folds, config)[has_picture],
                    folds[has_picture],
                    config.siamese,
                    config.seed,
                    places=places_of(sales[has_picture], config),
                )
                bar.advance()
        write_json(record, {name: asdict(choice) for name, choice in choices.items()})
    return {name: float(choice["penalty"]) for name, choice in read_json(record).items()}


def fit_and_save(project: Project, run: Run, sold: SoldHouses, model_id: str) -> ValuationModel:
    """Fit one model of a run and write it to the run's folder."""
    rows = sold.training_rows(model_id)
    penalties = learner_penalties(project, run, sold) if project.config.uses_pictures else None
    model = fit_valuation_model(
        model_id,
        sold.sales[rows].reset_index(drop=True),
        sold.pooled[rows],
        sold.groups[rows],
        project.config,
        penalties=penalties,
    )
    model.save(model_folder(run, model_id))
    return model


def model_folder(run: Run, model_id: str) -> Path:
    """The folder of a run's model; the serving model lies apart from those that judge."""
    return run.serving if model_id == SERVING else run.evaluation / model_id


def _lines(figures: dict) -> list[str]:
    lines = [
        f"split by date at {figures['cutoff']}: {figures['earlier_sales']:,} earlier sales to learn from, "
        f"{figures['later_sales']:,} later ones to measure on "
        f"({figures['sold_again_left_out']:,} earlier sales of houses sold again later are left out)"
    ]
    if figures["later_sales"] < FEW_LATER_SALES:
        lines.append(
            f"only {figures['later_sales']:,} later sales: what is measured on so few is mostly chance"
        )
    if figures.get("rank_accuracy") is not None:
        lines.append(
            f"rank accuracy on later sales: {percent(figures['rank_accuracy'])} of pairs in the right order"
        )
    return lines
