"""Price intervals: conformal, on the absolute log residuals of out-of-fold estimates.

The width grows with the difficulty of a house: a quantile regression says how
large the errors of houses like it are, and the conformal quantile of the
errors in units of that difficulty makes it keep its promise (normalised
split-conformal prediction by the library crepes).

Among sales like those it was calibrated on, an interval holds the sale price
with at least the nominal share. A market that moves between calibration and
use breaks that promise, so coverage is measured on later sales.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
import pandas as pd
from crepes import ConformalRegressor
from numpy.typing import NDArray

from housevis.core.errors import ModelError
from housevis.pricing.boosters import damaged, mean_prediction, read_artefact, threads_for, write_artefact
from housevis.pricing.splits import grouped_folds

Array = NDArray[np.float64]

_KIND: Final = "calibration"
ESTIMATE: Final = "log estimate"
"""The feature of the difficulty that every calibration has."""

_BOOSTERS: Final = 3
_ROUNDS: Final = 300
_DIFFICULTY: Final = {
    "objective": "quantile",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
"""Chosen on a forward split inside the earlier sales of King County, see docs/what-we-tried.md."""
_ROUNDING: Final = 1e-12
"""Taken off a coverage, so that 20 * 0.9 is not taken for more than 18."""
_EASIEST: Final = 0.25
"""Least difficulty, as a share of the median one: no interval shrinks to a point."""


@dataclass(frozen=True)
class Calibration:
    """How wide an interval must be around an estimate.

    Attributes:
        coverage: Nominal share of sale prices inside.
        residuals: Number of out-of-fold residuals it was calibrated on.
        quantile: Half width in log units; with `difficulty`, half width per
            unit of difficulty.
        features: Names of the features of `difficulty`.
        difficulty: Boosters whose mean is the difficulty of a house, log units;
            none where one width for all houses is no wider on average.
        least_difficulty: Floor of the predicted difficulty, log units.
    """

    coverage: float
    residuals: int
    quantile: float
    features: tuple[str, ...]
    difficulty: tuple[lightgbm.Booster, ...]
    least_difficulty: float

    def half_width(self, estimate: Array, features: pd.DataFrame, *, num_threads: int = 2) -> Array:
        """Half widths ``(n,)`` of the intervals of n houses, log units.

        Args:
            estimate: Estimates ``(n,)``, currency.
            features: Features of the houses, columns as in calibration.
            num_threads: Threads of the boosting.

        Raises:
            ModelError: A feature that the difficulty needs is missing.
        """
        if not self.difficulty:
            return np.full(len(features), self.quantile)
        given = _with_estimate(features, estimate)
        missing = [name for name in self.features if name not in given.columns]
        if missing:
            raise ModelError(
                f"the calibration needs the feature {missing[0]!r}, which is not given",
                remedy=f"It takes: {', '.join(name for name in self.features if name != ESTIMATE)}.",
            )
        predicted = mean_prediction(self.difficulty, _numbers(given[list(self.features)]), num_threads)
        return self.quantile * np.maximum(predicted, self.least_difficulty)

    def interval(
        self, estimate: Array, features: pd.DataFrame, *, num_threads: int = 2
    ) -> tuple[Array, Array]:
        """Intervals ``estimate * exp(±half width)`` around estimates.

        For the very sales it was calibrated on the coverage comes out a
        little high (90.2 % for 90 % on 10,000 sales), as the difficulty was
        fitted on them.

        Args:
            estimate: Estimates ``(n,)``, currency.
            features: Features of the houses, columns as in calibration.
            num_threads: Threads of the boosting.

        Returns:
            Low and high prices ``(n,)``, currency.

        Raises:
            ModelError: As for :meth:`half_width`.
        """
        factor = np.exp(self.half_width(estimate, features, num_threads=num_threads))
        return estimate / factor, estimate * factor

    def save(self, folder: str | Path) -> None:
        """Write ``calibration.json`` and the text of each booster of the difficulty.

        Raises:
            ModelError: The folder cannot be written to.
        """
        facts: dict[str, Any] = {
            "coverage": self.coverage,
            "residuals": self.residuals,
            "quantile": self.quantile,
            "features": list(self.features),
            "least_difficulty": self.least_difficulty,
        }
        write_artefact(
            Path(folder),
            "calibration",
            _KIND,
            facts,
            {_booster_name(number): booster for number, booster in enumerate(self.difficulty)},
        )

    @classmethod
    def load(cls, folder: str | Path) -> Calibration:
        """Read a calibration that :meth:`save` wrote.

        Raises:
            ModelError: A file is missing, damaged or no calibration.
        """
        facts, boosters = read_artefact(Path(folder), "calibration", _KIND)
        try:
            return cls(
                coverage=facts["coverage"],
                residuals=facts["residuals"],
                quantile=facts["quantile"],
                features=tuple(facts["features"]),
                difficulty=tuple(booster for booster in boosters.values() if booster is not None),
                least_difficulty=facts["least_difficulty"],
            )
        except (KeyError, TypeError):
            raise damaged(Path(folder) / "calibration.json", _KIND) from None


def calibrate(
    features: pd.DataFrame,
    estimate: Array,
    price: pd.Series[Any] | Array,
    coverage: float,
    *,
    seed: int = 1,
    num_threads: int = 2,
) -> Calibration:
    """Calibrate intervals on out-of-fold estimates.

    Two forms are tried: one width for all, and a width that grows with the
    difficulty of a house. Difficulty is the `coverage` quantile of ``|log
    residual|`` as boosters learn it from the features and the estimate, and
    is itself judged out of fold. The form with the smaller mean width in log
    units is kept; both cover the same share of the sales.

    Args:
        features: Features of n sales, as the model had them.
        estimate: Their out-of-fold estimates ``(n,)``, currency.
        price: Their sale prices ``(n,)``, currency.
        coverage: Nominal share of prices inside, between 0 and 1.
        seed: Seed of folds and boosting.
        num_threads: Threads of the boosting.

    Returns:
        The calibration.

    Raises:
        ModelError: There are too few sales for this coverage.
    """
    residual = np.abs(np.log(np.asarray(price, dtype="float64")) - np.log(estimate))
    plain = conformal_quantile(residual, coverage)
    given = _with_estimate(features, estimate)
    table = _numbers(given)
    names = tuple(str(name) for name in given.columns)

    def learn(rows: NDArray[np.bool_]) -> tuple[lightgbm.Booster, ...]:
        return _fit_difficulty(table[rows], residual[rows], coverage, seed, num_threads)

    folds = grouped_folds(np.arange(len(table)), 5, seed)
    difficulty = np.empty(len(table))
    for fold in range(5):
        held_out = folds == fold
        difficulty[held_out] = mean_prediction(learn(~held_out), table[held_out], num_threads)
    least = _EASIEST * float(np.median(residual))
    difficulty = np.maximum(difficulty, least)
    if least > 0:
        adaptive = conformal_quantile(residual, coverage, difficulty)
        if adaptive * difficulty.mean() < plain:
            boosters = learn(np.ones(len(table), dtype=bool))
            return Calibration(coverage, len(table), adaptive, names, boosters, least)
    return Calibration(coverage, len(table), plain, names, (), 0.0)


def conformal_quantile(residuals: Array, coverage: float, difficulty: Array | None = None) -> float:
    """Half width of a conformal interval, or half width per unit of difficulty.

    It is the ``ceil((n + 1) * coverage)``-th smallest of n scores ``|residual|
    / difficulty``: the share of further scores of the same distribution that
    are no larger is then at least `coverage`.

    Args:
        residuals: Residuals ``(n,)``.
        coverage: Nominal share, between 0 and 1.
        difficulty: Difficulties ``(n,)``, above 0; None is 1 for all.

    Raises:
        ModelError: n is too small for this coverage.
    """
    if np.ceil((len(residuals) + 1) * (coverage - _ROUNDING)) > len(residuals):
        raise ModelError(
            f"{len(residuals)} sales are too few for intervals that hold {coverage:.0%} of the prices",
            where="pricing.interval",
            remedy="Give more sales, or lower the coverage.",
        )
    sigmas = np.ones(len(residuals)) if difficulty is None else difficulty
    regressor = ConformalRegressor().fit(residuals=residuals, sigmas=sigmas)
    interval = regressor.predict_int(np.zeros(1), sigmas=np.ones(1), confidence=coverage - _ROUNDING)
    return float(interval[0, 1])


def _fit_difficulty(
    table: Array, residual: Array, coverage: float, seed: int, num_threads: int
) -> tuple[lightgbm.Booster, ...]:
    parameters = _DIFFICULTY | {"alpha": coverage, "num_threads": threads_for(len(table), num_threads)}
    data = lightgbm.Dataset(table, residual, params=parameters, free_raw_data=False)
    return tuple(
        lightgbm.train(parameters | {"seed": seed + number}, data, num_boost_round=_ROUNDS)
        for number in range(_BOOSTERS)
    )


def _booster_name(number: int) -> str:
    return "difficulty" if number == 0 else f"difficulty-{number + 1}"


def _with_estimate(features: pd.DataFrame, estimate: Array) -> pd.DataFrame:
    return features.assign(**{ESTIMATE: np.log(estimate)})


def _numbers(table: pd.DataFrame) -> Array:
    return np.asarray(table.to_numpy(dtype="float64", na_value=np.nan))


def covered_share(low: Array, high: Array, price: Array) -> float:
    """Share of prices with ``low <= price <= high``."""
    return float(((low <= price) & (price <= high)).mean())


def mean_log_width(low: Array, high: Array) -> float:
    """Mean of ``ln(high / low)``: 0.2 is about 10 % to either side."""
    return float(np.log(high / low).mean())
