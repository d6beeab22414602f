"""Price intervals: conformal, on the absolute log residuals of out-of-fold estimates.

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
from numpy.typing import NDArray

from housevis.core.config import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing.boosters import damaged, fit_booster, raw_prediction, read_artefact, write_artefact
from housevis.pricing.splits import grouped_folds

Array = NDArray[np.float64]

_KIND: Final = "calibration"
_DIFFICULTY_SETTINGS: Final = PricingSection.model_validate(
    {"objective": "absolute", "rounds": 100, "learning_rate": 0.05, "leaves": 7}
)
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
        difficulty: Predicts ``|log residual|`` of a house, or None where
            one width for all houses is no wider on average.
        least_difficulty: Floor of the predicted difficulty, log units.
    """

    coverage: float
    residuals: int
    quantile: float
    features: tuple[str, ...]
    difficulty: lightgbm.Booster | None
    least_difficulty: float

    def half_width(self, features: pd.DataFrame, *, num_threads: int = 2) -> Array:
        """Half widths ``(n,)`` of the intervals of n houses, log units.

        Args:
            features: Features of the houses, columns as in calibration.
            num_threads: Threads of the boosting.

        Raises:
            ModelError: A feature that the difficulty needs is missing.
        """
        if self.difficulty is None:
            return np.full(len(features), self.quantile)
        missing = [name for name in self.features if name not in features.columns]
        if missing:
            raise ModelError(
                f"the calibration needs the feature {missing[0]!r}, which is not given",
                remedy=f"It takes: {', '.join(self.features)}.",
            )
        table = features[list(self.features)].to_numpy(dtype="float64", na_value=np.nan)
        predicted = raw_prediction(self.difficulty, table, num_threads)
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
        factor = np.exp(self.half_width(features, num_threads=num_threads))
        return estimate / factor, estimate * factor

    def save(self, folder: str | Path) -> None:
        """Write ``calibration.json`` and, where there is one, ``difficulty.txt``.

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
        write_artefact(Path(folder), "calibration", _KIND, facts, {"difficulty": self.difficulty})

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
                difficulty=boosters["difficulty"],
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
    difficulty of a house, which a second booster learns from ``|log
    residual|`` and which is itself judged out of fold. The one with the
    smaller mean width in log units is kept; both cover the same share of the
    sales.

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
    names = tuple(str(name) for name in features.columns)
    table = features.to_numpy(dtype="float64", na_value=np.nan)

    def learn(rows: NDArray[np.bool_]) -> lightgbm.Booster:
        return fit_booster(_DIFFICULTY_SETTINGS, table[rows], residual[rows], seed, num_threads)

    folds = grouped_folds(np.arange(len(table)), 5, seed)
    difficulty = np.empty(len(table))
    for fold in range(5):
        held_out = folds == fold
        difficulty[held_out] = raw_prediction(learn(~held_out), table[held_out], num_threads)
    least = _EASIEST * float(np.median(residual))
    difficulty = np.maximum(difficulty, least)
    adaptive = conformal_quantile(residual / difficulty, coverage)
    if least > 0 and adaptive * difficulty.mean() < plain:
        booster = learn(np.ones(len(table), dtype=bool))
        return Calibration(coverage, len(table), adaptive, names, booster, least)
    return Calibration(coverage, len(table), plain, names, None, 0.0)


def conformal_quantile(scores: Array, coverage: float) -> float:
    """The ``ceil((n + 1) * coverage)``-th smallest of n scores.

    The share of further scores of the same distribution that are no larger
    is then at least `coverage`.

    Raises:
        ModelError: n is too small for this coverage.
    """
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    if rank > len(scores):
        raise ModelError(
            f"{len(scores)} sales are too few for intervals that hold {coverage:.0%} of the prices",
            where="pricing.interval",
            remedy="Give more sales, or lower the coverage.",
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


def covered_share(low: Array, high: Array, price: Array) -> float:
    """Share of prices with ``low <= price <= high``."""
    return float(((low <= price) & (price <= high)).mean())


def mean_log_width(low: Array, high: Array) -> float:
    """Mean of ``ln(high / low)``: 0.2 is about 10 % to either side."""
    return float(np.log(high / low).mean())
