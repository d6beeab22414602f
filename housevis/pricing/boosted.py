"""One side of the price model: a linear base and the boosters that learn what it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.pricing.boosters import fit_boosters, mean_contributions, mean_prediction
from housevis.pricing.linear_base import LinearBase

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Boosted:
    """Boosters of F features, over a linear model of the same features where one is wanted.

    Attributes:
        base: The linear model, or None.
        boosters: At least one.
    """

    base: LinearBase | None
    boosters: tuple[lightgbm.Booster, ...]

    @classmethod
    def fit(
        cls, section: PricingSection, features: Array, target: Array, seed: int, num_threads: int
    ) -> Boosted:
        """Fit both.

        Args:
            section: Settings, among them whether there is a linear base.
            features: ``(n, F)``, NaN where missing.
            target: ``(n,)``, log units.
            seed: Seed of the boosting.
            num_threads: Most threads to use.
        """
        base = LinearBase.fit(features, target) if section.linear_base else None
        rest = target if base is None else target - base.predict(features)
        return cls(base, fit_boosters(section, features, rest, seed, num_threads))

    def predict(self, features: Array, num_threads: int) -> Array:
        """Predictions ``(n,)`` from features ``(n, F)``, log units."""
        found = mean_prediction(self.boosters, features, num_threads)
        return found if self.base is None else found + self.base.predict(features)

    def contributions(self, features: Array, num_threads: int) -> Array:
        """Exact Shapley values ``(n, F + 1)``, log units, the base last; rows sum to the prediction.

        Those of a sum are the sums of those of its parts: TreeSHAP of the
        trees, and what each feature adds to the linear model.
        """
        found = mean_contributions(self.boosters, features, num_threads)
        return found if self.base is None else found + self.base.contributions(features)
