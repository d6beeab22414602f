"""Estimates of sales that a regressor has not seen, with and without visual features, and their gain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.core.engine import ShardRunner, map_shards
from housevis.pricing import metrics
from housevis.pricing.ablation import PUBLISHED
from housevis.pricing.boosters import fit_booster, raw_prediction
from housevis.pricing.regressors import make_regressor

BOOSTING = "gradient-boosting"

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Cell(NamedTuple):
    """One column of estimates.

    Attributes:
        attributes: Name of the attribute set.
        learner: Name of the feature learner; None for the attributes alone.
        regressor: Name of the regressor.
    """

    attributes: str
    learner: str | None = None
    regressor: str = BOOSTING


@dataclass(frozen=True, eq=False)
class Part:
    """Sales that are judged by a regressor fitted on others.

    Attributes:
        teach: Sales that teach ``(n,)``.
        judged: Sales that are judged ``(n,)``.
        visual: Learner -> visual features of all sales ``(n, D)``, NaN rows where none.
    """

    teach: Mask
    judged: Mask
    visual: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Fit:
    """A regressor, what it learns from ``(n, F)`` and ``(n,)``, and what it is to estimate ``(m, F)``."""

    regressor: str
    section: PricingSection
    seed: int
    table: Array
    log_price: Array
    judged: Array


def log_estimates(fit: Fit) -> Array:
    """Fit and estimate: log prices ``(m,)``. One thread, so that two fits share two cores."""
    if fit.regressor == BOOSTING:
        booster = fit_booster(fit.section, fit.table, fit.log_price, fit.seed, 1)
        return raw_prediction(booster, fit.judged, 1)
    regressor = make_regressor(fit.regressor, seed=fit.seed, num_threads=1)
    regressor.fit(fit.table, fit.log_price)
    return np.asarray(regressor.predict(fit.judged), dtype=np.float64)


def estimate(
    parts: Sequence[Part],
    cells: Sequence[Cell],
    tables: Mapping[str, Array],
    log_price: Array,
    section: PricingSection,
    seed: int,
    runner: ShardRunner,
    advance: Callable[[], None],
) -> dict[Cell, Array]:
    """Log estimates of all judged sales by every cell.

    A sale without visual features neither teaches a cell that uses them nor
    is judged by it: it gets the estimate without, or NaN where there are no
    attributes either.

    Args:
        parts: Who teaches and who is judged.
        cells: What is estimated; a cell with visual features comes after the
            one without, if both are wanted.
        tables: Attribute set -> encoded attributes ``(n, F)``.
        log_price: Log prices ``(n,)``.
        section: Settings of the boosting.
        seed: Seed of all regressors.
        runner: Who fits.
        advance: Called after every fit.

    Returns:
        Cell -> log estimates ``(n,)``, NaN where a sale is not judged.
    """

    def wanted() -> Iterator[tuple[Cell, Part, Mask]]:
        for cell in cells:
            for part in parts:
                visual = None if cell.learner is None else part.visual[cell.learner]
                shown = np.ones(len(log_price), bool) if visual is None else np.isfinite(visual).all(axis=1)
                yield cell, part, shown

    def fits() -> Iterator[Fit]:
        for cell, part, shown in wanted():
            table = tables[cell.attributes]
            if cell.learner is not None:
                table = np.hstack([table, part.visual[cell.learner]])
            teach, judged = part.teach & shown, part.judged & shown
            yield Fit(cell.regressor, section, seed, table[teach], log_price[teach], table[judged])

    found: dict[Cell, Array] = {}
    for (cell, part, shown), values in zip(wanted(), map_shards(log_estimates, fits(), runner), strict=True):
        column = found.setdefault(cell, np.full(len(log_price), np.nan))
        column[part.judged & shown] = values
        rest = part.judged & ~shown
        without = found.get(cell._replace(learner=None))
        if without is not None:
            column[rest] = without[rest]
        advance()
    return found


def figures(
    cell: Cell,
    estimates: Mapping[Cell, Array],
    price: Array,
    repeats: int,
    seed: int,
    without: Cell | None = None,
) -> dict[str, Any]:
    """Shares within ±10 %, MdAPE and median ratio with and without visual features, and the paired gain.

    Args:
        cell: The estimates with visual features, or without any.
        estimates: Cell -> log estimates ``(n,)``, NaN where a sale is not judged.
        price: Prices ``(n,)``.
        repeats: Draws of the bootstrap.
        seed: Its seed.
        without: What is compared with; None takes the same cell without visual features.
    """
    base = cell._replace(learner=None) if without is None else without
    sides = {"without": estimates.get(base), "with": estimates[cell] if cell.learner else None}
    given = [values for values in sides.values() if values is not None]
    judged = np.isfinite(given[-1])
    row: dict[str, Any] = {**cell._asdict(), "sales": int(judged.sum())}
    hits = {}
    for side, values in sides.items():
        row[side] = None
        if values is not None:
            found = np.exp(values[judged])
            hits[side] = metrics.hit(found, price[judged])
            row[side] = {
                "share": float(hits[side].mean()),
                "mdape": float(metrics.mdape(found, price[judged])),
                "median_ratio": float(metrics.median_ratio(found, price[judged])),
            }
    row["gain"] = None
    if len(hits) == 2:
        gain = metrics.paired_bootstrap_difference(hits["without"], hits["with"], repeats, seed)
        row["gain"] = gain.to_dict()
    published = PUBLISHED.get(cell.attributes)
    row["published"] = None if published is None else dict(published._asdict())
    return row
