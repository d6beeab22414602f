"""What all parts of Table 2 share: the market, its learners, and how they are fitted in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from table2_estimates import BOOSTING, Array, Cell, Part, estimate, figures
from table2_learners import PAPER, Joined, Learned, Learner, Task, all_learners, chosen_penalty, learn
from table2_market import FIVE, NO_LOCATION, OTHER, Market
from table2_targets import PRICE, RESIDUALS, Target, price_target, residual_targets

from housevis.core.engine import map_shards
from housevis.core.processes import LocalRunner
from housevis.core.progress import progress_bar
from housevis.pricing.attributes import encode
from housevis.vision.pairs import sale_places


@dataclass(eq=False)
class Bench:
    """What all parts of the measurement share.

    Attributes:
        market: The sales and the features of their pictures.
        folder: For files that worker processes map.
        runner: Who fits.
        scores: Learner -> features of a file ``(n, D)``.
        only: Parts of names: learners that hold none of them are left out. Empty takes all.
    """

    market: Market
    folder: Path
    runner: LocalRunner
    scores: dict[str, NDArray[np.float32]]
    only: Sequence[str] = ()
    learners: list[Learner] = field(init=False)
    joined: list[Joined] = field(init=False)

    def __post_init__(self) -> None:
        market = self.market
        self.learners, self.joined = all_learners(market.config.siamese, market.backbones.get(OTHER))
        if self.only:
            self.learners = [
                learner
                for learner in self.learners
                if learner.name == PAPER or any(part in learner.name for part in self.only)
            ]
            kept = {learner.name for learner in self.learners}
            self.joined = [joined for joined in self.joined if kept.issuperset(joined.parts)]
        self.tables = {
            name: encode(market.sales, names).to_numpy(np.float64) for name, names in market.sets.items()
        }
        self.log_price = np.log(market.price)
        self.penalties: dict[str, float] = {}
        sales = market.sales
        self.places = sale_places(
            sales["latitude"].to_numpy(),
            sales["longitude"].to_numpy(),
            (sales["sale_date"] - sales["sale_date"].min()).dt.days.to_numpy(np.float64),
            sales["area_m2"].to_numpy(),
        )
        self.known = dict(zip(RESIDUALS, (self.tables[FIVE], self.tables[NO_LOCATION]), strict=True))

    @property
    def seed(self) -> int:
        """Seed of everything."""
        return self.market.config.seed

    def targets(
        self, teach: NDArray[np.bool_], folds: NDArray[np.int64], log_price: Array, *, residuals: bool = True
    ) -> dict[str, Target]:
        """What is learned from the sales that teach."""
        known = self.known if residuals else {}
        section = self.market.config.pricing
        found = residual_targets(known, log_price, teach, folds, section, self.seed, self.runner)
        return {PRICE: price_target(log_price, np.unique(folds[teach]).tolist()), **found}

    def task(
        self,
        learner: Learner,
        teach: NDArray[np.bool_],
        folds: NDArray[np.int64],
        targets: dict[str, Target],
        **changes: Any,
    ) -> Task:
        """What a worker needs to fit a learner."""
        made = Task(
            pooled=self.market.features_file(learner.pictures, learner.section.neighbourhood),
            section=learner.section,
            components=learner.components,
            teach=teach & self.market.present[learner.pictures],
            folds=folds,
            targets={name: targets[name] for name in learner.section.targets},
            places=self.places,
            seed=self.seed,
            penalty=self.penalties.get(learner.penalty_key, 0.0),
        )
        return replace(made, **changes)

    def choose_penalties(self, targets: dict[str, Target]) -> None:
        """Choose a penalty for each sort of features and objective, on the earlier sales."""
        groups: dict[str, Learner] = {}
        for learner in self.learners:
            if not learner.components:
                section = learner.section.model_copy(update={"targets": [PRICE], "pair_sampling": "uniform"})
                groups.setdefault(learner.penalty_key, replace(learner, section=section))
        market = self.market
        tasks = [self.task(learner, market.train, market.sold.folds, targets) for learner in groups.values()]
        with progress_bar("penalties", len(tasks)) as bar:
            for key, penalty in zip(groups, map_shards(chosen_penalty, tasks, self.runner), strict=True):
                self.penalties[key] = penalty
                bar.advance()

    def taught(self, tasks: Sequence[Task], title: str) -> list[Learned]:
        """Fit learners, those that take longest first; the results are in the order of the tasks."""
        order = sorted(range(len(tasks)), key=lambda position: tasks[position].section.objective != "kernel")
        found: dict[int, Learned] = {}
        with progress_bar(title, len(tasks)) as bar:
            learned = map_shards(learn, (tasks[position] for position in order), self.runner)
            for position, result in zip(order, learned, strict=True):
                found[position] = result
                bar.advance()
        return [found[position] for position in range(len(tasks))]

    def estimates(
        self, parts: Sequence[Part], cells: Sequence[Cell], title: str, log_price: Array | None = None
    ) -> dict[Cell, Array]:
        """Log estimates ``(n,)`` of all cells."""
        with progress_bar(title, len(parts) * len(cells)) as bar:
            return estimate(
                parts,
                cells,
                self.tables,
                self.log_price if log_price is None else log_price,
                self.market.config.pricing,
                self.seed,
                self.runner,
                bar.advance,
            )

    def row(self, cell: Cell, estimates: dict[Cell, Array], **changes: Any) -> dict[str, Any]:
        """The figures of one cell."""
        return figures(
            cell, estimates, self.market.price, self.market.config.pricing.bootstrap, self.seed, **changes
        )

    def cells(self, learners: Sequence[str], sets: Sequence[str], regressor: str = BOOSTING) -> list[Cell]:
        """Attribute sets with and without the features of learners; "none" has no side without."""
        names = [name for name in sets if name in self.market.sets]
        alone = [Cell(name, None, regressor) for name in names if self.market.sets[name]]
        return alone + [Cell(name, learner, regressor) for learner in learners for name in names]


def learned_features(
    bench: Bench, found: dict[str, Learned]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Visual features ``(n, D)`` and, where there is one, a score ``(n,)`` of every column of the table."""
    visual = {learner.name: found[learner.fit_key].features(learner.recipe) for learner in bench.learners}
    visual |= bench.scores
    for joined in bench.joined:
        visual[joined.name] = np.hstack([visual[part] for part in joined.parts])
    scores = {
        learner.name: found[learner.fit_key].score for learner in bench.learners if not learner.components
    }
    return visual, scores
