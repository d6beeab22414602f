"""The `train` step: the models that judge sold houses, each on sales it has not seen."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from housevis.core.progress import progress_bar
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult, percent
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses, load_sold_houses, start_run
from housevis.pipeline.valuation import ValuationModel, fit_valuation_model, is_complete
from housevis.runs import Run, read_json, write_json
from housevis.vision.penalty import choose_penalty
from housevis.vision.siamese import rank_accuracy

STEP = "train"
PENALTY = "penalty.json"


def train(project: Project) -> StepResult:
    """Fit one model per fold of the earlier sales, and one on all of them.

    Each model is a rank siamese (C section 4) and a boosting on attributes +
    visual features. Models that an earlier, stopped run wrote are kept.

    Args:
        project: An open project whose `embed` step is finished.

    Returns:
        Figures ``run_id``, ``rank_accuracy`` of the ranker on later sales,
        and the numbers of sales.

    Raises:
        RunError: The pictures are not embedded.
        ModelError: Too few sales or pictures.
    """
    sold = load_sold_houses(project)
    run = start_run(project, sold)
    models = sold.evaluation_models()
    if STEP in run.steps() and all(is_complete(run.evaluation / model_id) for model_id in models):
        done = run.steps()[STEP]
        return StepResult(STEP, _lines(done["figures"]), done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    with progress_bar("train", len(models)) as bar:
        for model_id in models:
            if not is_complete(run.evaluation / model_id):
                fit_and_save(project, run, sold, model_id)
            bar.advance()
    ranker = ValuationModel.load(run.evaluation / EARLIER).ranker
    later = ~sold.is_earlier & (sold.image_keys != "")
    figures = {
        "run_id": run.run_id,
        "sales": len(sold.sales),
        "earlier_sales": int(sold.is_earlier.sum()),
        "later_sales": int((~sold.is_earlier).sum()),
        "sold_again_left_out": int(sold.sold_again.sum()),
        "cutoff": sold.cutoff.date().isoformat(),
        "penalty": ranker_penalty(project, run, sold),
        "rank_accuracy": rank_accuracy(
            ranker.score(sold.pooled[later]),
            sold.sales.loc[later, "price"].to_numpy(),
            seed=project.config.seed,
        ),
    }
    seconds = time.perf_counter() - started
    run.finish(STEP, seconds, figures)
    return StepResult(STEP, _lines(figures), figures, seconds)


def ranker_penalty(project: Project, run: Run, sold: SoldHouses) -> float:
    """The penalty of all rankers of a run, chosen once on the earlier sales where it is ``auto``."""
    setting = project.config.siamese.penalty
    if setting != "auto":
        return setting
    record = run.evaluation / PENALTY
    if not record.is_file():
        rows = sold.training_rows(EARLIER) & (sold.image_keys != "")
        choice = choose_penalty(
            sold.pooled[rows],
            sold.sales.loc[rows, "price"].to_numpy(),
            sold.folds[rows],
            project.config.siamese,
            project.config.seed,
        )
        write_json(record, asdict(choice))
    return float(read_json(record)["penalty"])


def fit_and_save(project: Project, run: Run, sold: SoldHouses, model_id: str) -> ValuationModel:
    """Fit one model of a run and write it to the run's folder."""
    rows = sold.training_rows(model_id)
    model = fit_valuation_model(
        model_id,
        sold.sales[rows].reset_index(drop=True),
        sold.pooled[rows],
        sold.groups[rows],
        project.config,
        penalty=ranker_penalty(project, run, sold),
    )
    model.save(model_folder(run, model_id))
    return model


def model_folder(run: Run, model_id: str) -> Path:
    """The folder of a run's model; the serving model lies apart from those that judge."""
    return run.serving if model_id == SERVING else run.evaluation / model_id


def _lines(figures: dict) -> list[str]:
    return [
        f"split by date at {figures['cutoff']}: {figures['earlier_sales']:,} earlier sales to learn from, "
        f"{figures['later_sales']:,} later ones to measure on "
        f"({figures['sold_again_left_out']:,} earlier sales of houses sold again later are left out)",
        f"rank accuracy on later sales: {percent(figures['rank_accuracy'])} of pairs in the right order",
    ]
