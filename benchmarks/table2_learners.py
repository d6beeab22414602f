"""The feature learners of Table 2, and how they are fitted: each on others' sales than those it describes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from table2_market import OTHER, OWN
from table2_targets import PRICE, RESIDUALS, Target

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import RunError
from housevis.vision.cross_fitting import FoldTargets, fit_and_cross_fit
from housevis.vision.lessons import StoredRows
from housevis.vision.objectives import fit_learner
from housevis.vision.penalty import choose_penalty
from housevis.vision.siamese import embed_all

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Recipe = Literal["in-sample", "cross-fitted"]


@dataclass(frozen=True)
class Learner:
    """A way to turn pooled features into visual features.

    Attributes:
        name: Its name in the table.
        pictures: Which features it takes, a key of the market's.
        section: Objective, targets, pairs, neighbourhood and dimension.
        recipe: Whether the regressor is fitted on features of a learner that
            was fitted on the same sales, as in the paper, or on others only.
        components: Instead of learning from prices, so many principal
            components of the pooled features.
    """

    name: str
    pictures: str
    section: SiameseSection
    recipe: Recipe
    components: int = 0

    @property
    def fit_key(self) -> str:
        """Learners of one key differ in the recipe alone and are fitted once."""
        return f"{self.pictures} {self.components} {self.section.model_dump_json()}"

    @property
    def penalty_key(self) -> str:
        """Learners of one key take the penalty that is chosen for the price on uniform pairs."""
        return f"{self.pictures} {self.section.neighbourhood} {self.section.objective}"


@dataclass(frozen=True, eq=False)
class Task:
    """One learner to be fitted for one set of teaching sales.

    Attributes:
        pooled: File of pooled features of all sales ``(n, K)``.
        section: Settings of the learner.
        components: See :class:`Learner`.
        teach: Sales that teach ``(n,)``, all with a picture.
        folds: Fold of each teaching sale ``(n,)``; read in `teach` alone.
        targets: Target -> what is learned.
        places: Where sales lie, for near pairs ``(n, 4)``.
        seed: Seed of everything.
        penalty: L2 penalty.
        crossed: False where features of the teaching sales by others are not needed.
    """

    pooled: Path
    section: SiameseSection
    components: int
    teach: Mask
    folds: NDArray[np.int64]
    targets: Mapping[str, Target]
    places: Array
    seed: int
    penalty: float = 0.0
    crossed: bool = True


@dataclass(frozen=True, eq=False)
class Learned:
    """Visual features of all sales, NaN where there is no picture.

    Attributes:
        in_sample: By the learner of all teaching sales ``(n, D)``.
        crossed: The same, but the teaching sales' by learners that have not
            seen their fold ``(n, D)``.
        score: One number per sale ``(n,)`` that is to order houses by price.
        seconds: Processor time that it took.
    """

    in_sample: NDArray[np.float32]
    crossed: NDArray[np.float32]
    score: NDArray[np.float32]
    seconds: float

    def features(self, recipe: Recipe) -> NDArray[np.float32]:
        """The features of one recipe ``(n, D)``."""
        return self.in_sample if recipe == "in-sample" else self.crossed


@dataclass(frozen=True)
class Joined:
    """Visual features of several learners side by side.

    Attributes:
        name: Its name in the table.
        parts: Names of the learners.
    """

    name: str
    parts: tuple[str, ...]


PAPER = "rank siamese, in-sample"
NEIGHBOURHOOD = (8, 30)
WIDE_NEIGHBOURHOOD = (8, 30, 100)
KERNEL_PENALTY = 0.3
"""Chosen inside the earlier sales, by a forward split and by folds."""
TRIPLET_PENALTY = 10_000.0
"""Chosen inside the earlier sales, by folds; to choose it again takes two minutes of processor time."""


def all_learners(base: SiameseSection, other: str | None) -> tuple[list[Learner], list[Joined]]:
    """The columns of the table.

    Args:
        base: Pairs, epochs, learning rate and penalty of every learner.
        other: Name of the other backbone, if there is one.
    """

    def learner(name: str, recipe: Recipe = "cross-fitted", pictures: str = OWN, **changes: Any) -> Learner:
        return Learner(name, pictures, SiameseSection.model_validate(base.model_dump() | changes), recipe)

    three, one = [PRICE, *RESIDUALS], {"feature_dimension": 1}
    near = list(NEIGHBOURHOOD)
    ridge = {"objective": "price", **one}
    triplet = {"objective": "log-ratio-triplet", "penalty": TRIPLET_PENALTY}
    learners = [
        learner(PAPER, "in-sample"),
        learner("rank siamese, cross-fitted"),
        learner("price regression, in-sample", "in-sample", objective="price"),
        learner("price regression, cross-fitted", objective="price"),
        learner("log-ratio triplet, in-sample", "in-sample", **triplet),
        learner("log-ratio triplet, cross-fitted", **triplet),
        learner("rank siamese on near pairs, cross-fitted", pair_sampling="near"),
        learner("rank siamese on residuals, cross-fitted", targets=list(RESIDUALS), **one),
        learner(
            "rank siamese on residuals, near pairs", targets=list(RESIDUALS), pair_sampling="near", **one
        ),
        learner("price and residual regression, cross-fitted", targets=three, **ridge),
        learner("neighbourhood: rank siamese, in-sample", "in-sample", neighbourhood=near),
        learner("neighbourhood: rank siamese, cross-fitted", neighbourhood=near),
        learner(
            "neighbourhood: price and residuals, cross-fitted", targets=three, neighbourhood=near, **ridge
        ),
        learner(
            "wide neighbourhood: price and residual, cross-fitted",
            targets=[PRICE, RESIDUALS[1]],
            neighbourhood=list(WIDE_NEIGHBOURHOOD),
            **ridge,
        ),
        learner(
            "wide neighbourhood: rank siamese on price and residual, cross-fitted",
            targets=[PRICE, RESIDUALS[1]],
            neighbourhood=list(WIDE_NEIGHBOURHOOD),
        ),
        learner(
            "wide neighbourhood: kernel regression on price and residual, cross-fitted",
            targets=[PRICE, RESIDUALS[1]],
            neighbourhood=list(WIDE_NEIGHBOURHOOD),
            penalty=KERNEL_PENALTY,
            **one,
            objective="kernel",
        ),
        replace(learner("16 principal components, no prices"), components=16),
    ]
    joined = [
        Joined(
            "rank siamese on prices and on residuals, cross-fitted",
            ("rank siamese, cross-fitted", "rank siamese on residuals, cross-fitted"),
        ),
        Joined(
            "own and neighbourhood: price and residuals, cross-fitted",
            (
                "price and residual regression, cross-fitted",
                "neighbourhood: price and residuals, cross-fitted",
            ),
        ),
    ]
    if other is not None:
        learners += [
            learner(f"{other}: rank siamese, in-sample", "in-sample", OTHER),
            learner(f"{other}: rank siamese, cross-fitted", pictures=OTHER),
        ]
    return learners, joined


def learn(task: Task) -> Learned:
    """Fit a learner on all teaching sales and, where wanted, on all but each fold of them."""
    started = time.process_time()
    if task.components:
        return _components(task)
    section, teach = task.section, task.teach
    features, folds = StoredRows(task.pooled, np.flatnonzero(teach)), task.folds[teach]
    places = task.places[teach]
    targets = [
        FoldTargets(task.targets[name].whole[teach], task.targets[name].by_fold[:, teach], task.penalty)
        for name in section.targets
    ]
    if task.crossed:
        learners, held_out = fit_and_cross_fit(
            section.objective, features, targets, folds, section, task.seed, places=places
        )
    else:
        learners = [
            fit_learner(
                section.objective,
                features,
                target.whole,
                section,
                task.seed,
                penalty=task.penalty,
                places=places,
            )
            for target in targets
        ]
    in_sample = np.full((len(teach), sum(learner.dimension for learner in learners)), np.nan, np.float32)
    score = np.full(len(teach), np.nan, dtype=np.float32)
    for rows in np.array_split(_shown(task), 8):
        some = StoredRows(task.pooled, rows)[:]
        in_sample[rows] = embed_all(learners, some)
        score[rows] = in_sample[rows, : learners[0].dimension] @ learners[0].direction().detach().numpy()
    crossed = in_sample.copy()
    if task.crossed:
        crossed[teach] = held_out
    return Learned(in_sample, crossed, score, time.process_time() - started)


def chosen_penalty(task: Task) -> float:
    """The penalty of learners of the price with these features and this objective, by cross-validation."""
    if task.section.penalty != "auto":
        return float(task.section.penalty)
    features = StoredRows(task.pooled, np.flatnonzero(task.teach))
    folds, places = task.folds[task.teach], task.places[task.teach]
    target = task.targets[PRICE].whole[task.teach]
    objective = task.section.objective
    return choose_penalty(objective, features, target, folds, task.section, task.seed, places=places).penalty


def _shown(task: Task) -> NDArray[np.int64]:
    """Positions of the sales that have a picture."""
    return np.flatnonzero(np.isfinite(np.load(task.pooled, mmap_mode="r")[:, 0]))


def _components(task: Task) -> Learned:
    """Principal components of the standardised pooled features; no price is looked at."""
    standard = StoredRows(task.pooled, np.flatnonzero(task.teach))[:].astype(np.float64)
    mean, deviation = standard.mean(axis=0), standard.std(axis=0)
    deviation[deviation == 0] = np.inf
    standard -= mean
    standard /= deviation
    _, vectors = np.linalg.eigh(standard.T @ standard)
    turn = vectors[:, ::-1][:, : task.components]
    found = np.full((len(task.teach), task.components), np.nan, dtype=np.float32)
    for rows in np.array_split(_shown(task), 8):
        found[rows] = ((StoredRows(task.pooled, rows)[:] - mean) / deviation) @ turn
    return Learned(found, found, np.full(len(found), np.nan, dtype=np.float32), 0.0)


def read_scores(file: Path, sales: pd.DataFrame) -> NDArray[np.float32]:
    """Visual features that another program cross-fitted: ``(n, D)``, NaN rows where none.

    Args:
        file: Parquet with a column ``sale_id`` and columns ``score_…``, as `housevis finetune` writes.
        sales: Sale frame, n rows.

    Raises:
        RunError: The file has no such columns, or names hardly any of the sales.
    """
    table = pd.read_parquet(file)
    if "sale_id" not in table:
        raise RunError("these scores have no column sale_id", where=str(file), remedy="Write them again.")
    table = table.set_index("sale_id")
    numbers = table[[name for name in table.columns if name.startswith("score_")]]
    found = numbers.reindex(sales["sale_id"]).to_numpy(np.float32)
    if not numbers.shape[1] or np.isfinite(found).all(axis=1).mean() < 0.5:
        raise RunError(
            "these scores are of other sales, or hold no numbers",
            where=str(file),
            remedy="Take the file that was made from this database.",
        )
    return found
