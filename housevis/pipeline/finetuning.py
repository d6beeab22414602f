"""The `finetune` step: a ResNet-50 that learned from the earlier sales of this market."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from housevis import __version__
from housevis.core.errors import UsageError
from housevis.core.storage import write_file
from housevis.pipeline.finetune_pictures import open_source, starting_weights
from housevis.pipeline.finetune_targets import PRICE, TARGETS, picture_targets, sale_targets
from housevis.pipeline.learned_weights import weights_file
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.results import StepResult, percent
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses
from housevis.pricing.splits import grouped_folds
from housevis.runs import read_json, write_json, write_parquet
from housevis.vision.finetune_folds import FoldScores, cross_fitted_scores
from housevis.vision.finetune_network import Trained, resnet_of, scoring_network
from housevis.vision.finetune_processes import Processes, open_processes
from housevis.vision.finetune_sources import Source
from housevis.vision.finetune_training import FinetuneSettings, Training
from housevis.vision.neighbourhood import PicturePool
from housevis.vision.siamese import rank_accuracy
from housevis.vision.weights import Weights, file_sha256

STEP = "finetune"
SCORES = "scores.parquet"
ALL = "all"
_HELD_OUT_MEASURED = 1000


@dataclass(frozen=True)
class _Work:
    """One call of `finetune`: what is learned, from what, and where it is kept."""

    sold: SoldHouses
    weights: Weights
    trained: Trained
    targets: tuple[str, ...]
    settings: FinetuneSettings
    project: Project
    folder: Path
    keys: NDArray[np.str_]
    """The distinct pictures of all sold houses: the rows of the source."""
    picture_of: NDArray[np.int64]
    """Picture of each sale, -1 where it has none."""
    job: str


@for_pictures(STEP)
def finetune(
    project: Project,
    *,
    train: Trained = "layer4",
    folds: int = 0,
    targets: Sequence[str] = TARGETS,
    settings: FinetuneSettings | None = None,
) -> StepResult:
    """Train layer4, or the whole ResNet-50, to rank the pictures of the earlier sales.

    The learned ResNet-50 goes to the user's cache as safetensors, for
    ``vision.weights``. With `folds`, every earlier sale also gets scores
    from a network that learned from other folds, and every later sale from
    the network of all earlier ones, as one table.

    Args:
        project: An open project whose `embed` step is finished.
        train: ``"layer4"`` from cached maps of layer3, ``"trunk"`` all of
            it, from pictures.
        folds: Networks for cross-fitted scores; 0 trains none.
        targets: What is ranked by, see
            :data:`housevis.pipeline.finetune_targets.TARGETS`.
        settings: Epochs, batch, learning rate; None takes the usual ones.

    Returns:
        Figures ``weights``, ``weights_sha256``, ``pictures``,
        ``rank_accuracy`` on later sales, ``held_out`` (one list of rank
        accuracies, epoch by epoch, for each fold), ``losses`` and
        ``scores``, the path of the table, None without folds.

    Raises:
        RunError: The pictures are not embedded.
        UsageError: One fold, or an unknown target.
        WeightsError: No ResNet-50 to start from.
        StorageError: No room for the maps.
    """
    _check(folds, targets)
    settings = settings or FinetuneSettings(seed=project.config.seed)
    started = time.perf_counter()
    with open_processes() as processes:
        work = _plan(project, train, tuple(targets), settings)
        record = work.folder / _table_of(work, folds) / "result.json"
        if record.is_file() and Path(read_json(record)["weights"]).is_file():
            figures = read_json(record)
            return StepResult(STEP, _lines(figures), figures, figures["seconds"], skipped=True)
        figures = _train_all(work, folds, processes)
        figures["seconds"] = round(time.perf_counter() - started, 2)
        if processes.is_first:
            write_json(record, figures)
        processes.wait()
    return StepResult(STEP, _lines(figures), figures, figures["seconds"])


def _check(folds: int, targets: Sequence[str]) -> None:
    if folds == 1 or folds < 0:
        raise UsageError(
            f"{folds} folds cannot be cross-fitted",
            where="--folds",
            remedy="Give 2 or more, or 0 to train one network on all earlier sales.",
        )
    unknown = [name for name in targets if name not in TARGETS]
    if unknown or not targets or len(set(targets)) < len(targets):
        raise UsageError(
            f"the targets {', '.join(targets) or 'given'} cannot be ranked by",
            where="--target",
            remedy=f"Take each at most once of: {', '.join(TARGETS)}.",
        )


def _plan(project: Project, trained: Trained, targets: tuple[str, ...], settings: FinetuneSettings) -> _Work:
    weights = starting_weights(project.config.vision)
    sold = load_sold_houses(project)
    pictured = sold.image_keys != ""
    keys, position = np.unique(sold.image_keys[pictured], return_inverse=True)
    picture_of = np.full(len(sold.sales), -1, dtype=np.int64)
    picture_of[pictured] = position
    job = fingerprint(
        version=__version__,
        weights=weights.sha256,
        trained=trained,
        targets=targets,
        settings=asdict(settings),
        sales=frame_digest(sold.sales),
        pictures=fingerprint(keys=sold.image_keys.tolist()),
        image_size=project.config.vision.image_size,
        pricing=project.config.pricing.deciding(),
        seed=project.config.seed,
    )
    folder = project.workspace.finetuning / job[:16]
    return _Work(sold, weights, trained, targets, settings, project, folder, keys, picture_of, job)


def _train_all(work: _Work, folds: int, processes: Processes) -> dict[str, Any]:
    sold = work.sold
    usable = sold.training_rows(EARLIER) & (work.picture_of >= 0)
    fold_of = np.full(len(sold.sales), -1, dtype=np.int64)
    if folds:
        fold_of[usable] = grouped_folds(sold.groups[usable], folds, work.project.config.seed)
    first_sale = np.unique(work.picture_of[work.picture_of >= 0], return_index=True)[1]
    house_ids = sold.sales["house_id"][work.picture_of >= 0].iloc[first_sale]
    with open_source(work.project, work.weights, house_ids, work.keys, work.trained, processes) as source:
        made = [
            _train_one(work, f"fold-{fold} of {folds}", source, usable & (fold_of != fold), processes)
            for fold in range(folds)
        ]
        whole = _train_one(work, ALL, source, usable, processes)
    judged = np.unique(work.picture_of[usable])
    figures: dict[str, Any] = {
        "pictures": len(judged),
        "trained": work.trained,
        "targets": list(work.targets),
        "epochs": work.settings.epochs,
        "losses": whole.losses,
        "held_out": [one.held_out for one in made],
        "rank_accuracy": _accuracy_on_later(work, whole.scores),
        "processes": processes.description,
        "weights": str(whole.weights),
        "weights_sha256": file_sha256(whole.weights),
        "scores": None,
    }
    if folds:
        figures["scores"] = str(work.folder / _table_of(work, folds) / SCORES)
        if processes.is_first:
            table = _score_table(work, made, whole, fold_of, usable)
            write_parquet(table, Path(figures["scores"]))
    return figures


@dataclass(frozen=True)
class _Learned:
    """One trained network: what it says of all pictures, and where its weights lie."""

    scores: NDArray[np.float32]
    losses: list[float]
    held_out: list[float]
    weights: Path


def _train_one(
    work: _Work, name: str, source: Source, rows: NDArray[np.bool_], processes: Processes
) -> _Learned:
    """Train one network, or read what an earlier call wrote of it."""
    slug = name.replace(" ", "-")
    result, learned_file = (
        work.folder / f"{slug}.safetensors",
        weights_file(work.project.config.name, work.job),
    )
    about = work.folder / f"{slug}.json"
    keeps_weights = name == ALL
    if about.is_file() and result.is_file() and (not keeps_weights or learned_file.is_file()):
        figures = read_json(about)
        return _Learned(load_file(result)["scores"], figures["losses"], figures["held_out"], learned_file)
    sales = work.sold.sales[rows].reset_index(drop=True)
    values = sale_targets(sales, work.sold.groups[rows], work.targets, work.project.config)
    pictures, targets = picture_targets(values, work.picture_of[rows])
    network = scoring_network(work.weights, work.targets, work.trained, seed=work.settings.seed)
    checkpoint = work.folder / f"{slug}.checkpoint.safetensors"
    training = Training(
        network,
        source,
        pictures,
        targets,
        work.settings,
        processes,
        checkpoint=checkpoint,
        job=f"{work.job} {name}",
    )
    held_out = _held_out(work, rows)
    held_out_prices = work.sold.sales["price"].to_numpy()[held_out]

    def measure(training: Training) -> float | None:
        if PRICE not in work.targets or len(np.unique(held_out_prices)) < 2:
            return None
        return _rank_accuracy(work, training.score(work.picture_of[held_out])[0], held_out_prices)

    training.run(measure, title=f"finetune {name}")
    scores = np.zeros((len(work.keys), len(work.targets)), dtype=np.float32)
    if processes.is_first:
        scores, _ = training.score(np.arange(len(work.keys)))
        if keeps_weights:
            _save_weights(work, training, len(pictures), sales["sale_date"].max(), learned_file)
        write_file(result, save({"scores": scores}))
        write_json(about, {"losses": training.losses, "held_out": training.measured})
        checkpoint.unlink(missing_ok=True)
    processes.wait()
    return _Learned(load_file(result)["scores"], training.losses, training.measured, learned_file)


def _table_of(work: _Work, folds: int) -> str:
    near = "".join(f"-near-{number}" for number in work.project.config.siamese.neighbourhood)
    return f"{folds}-folds{near}"


def _held_out(work: _Work, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Some earlier sales that a network does not learn from, to measure it on after every epoch."""
    usable = work.sold.training_rows(EARLIER) & (work.picture_of >= 0)
    rest = np.flatnonzero(usable & ~rows)
    return np.random.default_rng(work.settings.seed).permutation(rest)[:_HELD_OUT_MEASURED]


def _rank_accuracy(work: _Work, scores: NDArray[np.float32], prices: NDArray[np.float64]) -> float | None:
    if PRICE not in work.targets or len(np.unique(prices)) < 2:
        return None
    return rank_accuracy(scores[:, work.targets.index(PRICE)], prices, seed=work.project.config.seed)


def _accuracy_on_later(work: _Work, scores: NDArray[np.float32]) -> float | None:
    later = ~work.sold.is_earlier & (work.picture_of >= 0)
    prices = work.sold.sales["price"].to_numpy()[later]
    return _rank_accuracy(work, scores[work.picture_of[later]], prices)


def _save_weights(
    work: _Work, training: Training, pictures: int, last_sale: pd.Timestamp, file: Path
) -> None:
    begun = "random start" if resnet_of(work.weights) == "resnet50-trunk" else "pretrained start"
    learned = "layer4" if work.trained == "layer4" else "all layers"
    finetuned = (
        f"{learned} trained here ({begun} of layer4) on {pictures:,} pictures of sales of "
        f"{work.project.config.name} up to {last_sale:%Y-%m-%d}"
    )
    about = {
        "kind": "ResNet-50 trained on sales",
        "version": __version__,
        "torch": torch.__version__,
        "trained": work.trained,
        "targets": work.targets,
        "settings": asdict(work.settings),
        "start": work.weights.sha256,
        "market": work.project.config.name,
        "sales": frame_digest(work.sold.sales),
        "pictures": pictures,
        "last_sale": last_sale.date().isoformat(),
        "job": work.job,
        "losses": training.losses,
    }
    training.network.save(file, finetuned=finetuned, about=json.dumps(about))


def _score_table(
    work: _Work,
    made: Sequence[_Learned],
    whole: _Learned,
    fold_of: NDArray[np.int64],
    usable: NDArray[np.bool_],
) -> pd.DataFrame:
    """One row per sale with a picture, judged by a network that did not learn from that picture.

    An earlier sale is judged by its fold's network, a later one by the
    network of all earlier sales, or by its picture's fold where an earlier
    sale shares the picture. Means over the nearest other pictures come from
    the network that judges the sale.
    """
    fold_of_picture = np.full(len(work.keys), -1, dtype=np.int64)
    fold_of_picture[work.picture_of[usable]] = fold_of[usable]
    pictured = work.picture_of >= 0
    picture = work.picture_of[pictured]
    fold = fold_of_picture[picture]
    sales = work.sold.sales[pictured].reset_index(drop=True)
    numbers = work.project.config.siamese.neighbourhood
    place = (
        work.sold.image_keys[pictured],
        sales["latitude"].to_numpy(np.float64),
        sales["longitude"].to_numpy(np.float64),
    )

    def of_sales(learned: _Learned) -> NDArray[np.float32]:
        own = learned.scores[picture]
        return PicturePool.of_houses(*place, own).joined(own, *place, numbers) if numbers else own

    folds = [
        FoldScores(of_sales(one), (fold >= 0) & (fold != number), fold == number)
        for number, one in enumerate(made)
    ]
    aligned = cross_fitted_scores(folds, FoldScores(of_sales(whole), fold >= 0, fold < 0))
    names = [f"score_{name}" for name in work.targets]
    names += [f"score_{name}_near_{number}" for number in numbers for name in work.targets]
    table = sales[["sale_id", "house_id", "sale_date"]].assign(image_key=place[0], fold=fold)
    return table.assign(**dict(zip(names, aligned.T, strict=True)))


def _lines(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"{figures['trained']} learned from {figures['pictures']:,} pictures of earlier sales "
        f"in {figures['epochs']} epochs, {figures['processes']}"
    ]
    for number, accuracies in enumerate(figures["held_out"]):
        curve = ", ".join(percent(accuracy) for accuracy in accuracies)
        lines.append(f"fold {number}: rank accuracy on held-out earlier sales, epoch by epoch: {curve}")
    if figures["rank_accuracy"] is not None:
        lines.append(
            f"rank accuracy on later sales: {percent(figures['rank_accuracy'])} of pairs in the right order"
        )
    if figures["scores"]:
        lines.append(f"cross-fitted scores of every sale: {figures['scores']}")
    return [
        *lines,
        "to use this network, put into the configuration:",
        "[vision]",
        'backbone = "resnet50"',
        f'weights = "{figures["weights"]}"',
        f'weights_sha256 = "{figures["weights_sha256"]}"',
        "it has learned from the earlier sales: with it, only figures on later sales are out of sample",
    ]
