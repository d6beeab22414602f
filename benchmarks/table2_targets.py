"""What feature learners learn from: log prices, and what the attributes leave unexplained of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from table2_estimates import BOOSTING, Array, Fit, Mask, log_estimates

from housevis.core.config_sections import PricingSection
from housevis.core.engine import ShardRunner, map_shards

PRICE = "price"
RESIDUALS = ("residual", "residual-without-location")


@dataclass(frozen=True, eq=False)
class Target:
    """One target of all sales.

    Attributes:
        whole: For the learner of all teaching sales ``(n,)``.
        by_fold: A row per fold, for the learner that has not seen that fold ``(F, n)``; it comes
            from boosters that have not seen it either, and is 0 there.
    """

    whole: Array
    by_fold: Array


def price_target(log_price: Array, numbers: Sequence[int]) -> Target:
    """The log price is the same for every learner."""
    return Target(log_price, np.repeat(log_price[None], len(numbers), axis=0))


def residual_targets(
    tables: Mapping[str, Array],
    log_price: Array,
    teach: Mask,
    folds: NDArray[np.int64],
    section: PricingSection,
    seed: int,
    runner: ShardRunner,
) -> dict[str, Target]:
    """Out-of-fold residuals of a boosting on attributes.

    A booster without the folds `f` and `g` serves both: the residuals of `g`
    for the learner that has not seen `f`, and the other way round.

    Args:
        tables: Target -> the attributes that explain ``(n, F)``.
        log_price: Log prices ``(n,)``; read in `teach` alone.
        teach: Sales that teach ``(n,)``.
        folds: Fold of each of them ``(n,)``.
        section: Settings of the boosting.
        seed: Its seed.
        runner: Who fits.
    """
    numbers = np.unique(folds[teach])
    pairs = list(combinations_with_replacement(range(len(numbers)), 2))

    def fits() -> Iterator[Fit]:
        for table in tables.values():
            for first, second in pairs:
                held_out = teach & np.isin(folds, numbers[[first, second]])
                others = teach & ~held_out
                yield Fit(BOOSTING, section, seed, table[others], log_price[others], table[held_out])

    found = map_shards(log_estimates, fits(), runner)
    targets = {}
    for name in tables:
        whole, by_fold = np.zeros(len(teach)), np.zeros((len(numbers), len(teach)))
        for first, second in pairs:
            held_out = np.flatnonzero(teach & np.isin(folds, numbers[[first, second]]))
            residual = log_price[held_out] - next(found)
            if first == second:
                whole[held_out] = residual
            for unseen, described in ((first, second), (second, first)):
                rows = folds[held_out] == numbers[described]
                if unseen != described:
                    by_fold[unseen, held_out[rows]] = residual[rows]
        targets[name] = Target(whole, by_fold)
    return targets
