"""The house-price model: gradient boosting on log price, with and without the picture.

A model holds two boosters. `without_picture` is fitted on the attributes of
all sales; `with_picture` on attributes and visual features of the sales that
have a picture. A house without imagery is estimated by the first, so that a
missing picture is never passed off as a seen one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from housevis.core.config import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing.boosters import (
    damaged,
    fit_booster,
    raw_contributions,
    raw_prediction,
    read_artefact,
    write_artefact,
)

MINIMUM_SALES: Final = 50
"""Fewest sales that a booster is fitted on."""

_KIND: Final = "house-price-model"


class Prediction(NamedTuple):
    """Estimates of n houses.

    Attributes:
        price: Estimates ``(n,)``, currency.
        used_picture: Whether the visual features took part, bool ``(n,)``.
    """

    price: NDArray[np.float64]
    used_picture: NDArray[np.bool_]


class HousePriceModel:
    """Gradient boosting on log price (C section 4, the best regressor there).

    Args:
        section: Objective ("squared" or "absolute"), rounds, learning rate,
            leaves.
        attributes: Names of the attributes, see
            :func:`housevis.pricing.attributes.encode`.
        visual_names: Names of the visual features; empty for a model of the
            attributes alone.
        seed: Seed of the boosting.
        num_threads: Most threads to use; the result does not depend on them.

    Raises:
        ModelError: There is neither an attribute nor a visual feature.
    """

    def __init__(
        self,
        section: PricingSection,
        attributes: Sequence[str],
        visual_names: Sequence[str] = (),
        *,
        seed: int = 1,
        num_threads: int = 2,
    ) -> None:
        self.section = section
        self.attributes = tuple(attributes)
        self.visual_names = tuple(visual_names)
        self.seed = seed
        self.num_threads = num_threads
        self.with_picture: lightgbm.Booster | None = None
        self.without_picture: lightgbm.Booster | None = None
        self.sales = 0
        self.sales_with_picture = 0
        self._typical_log_price = float("nan")
        if not self.features:
            raise ModelError(
                "a model needs at least one attribute or visual feature",
                where="pricing.attributes",
                remedy="Name an attribute, for example 'latitude'.",
            )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the F features: the attributes, then the visual features."""
        return self.attributes + self.visual_names

    def fit(self, features: pd.DataFrame, price: pd.Series[Any] | NDArray[Any]) -> HousePriceModel:
        """Fit both boosters.

        Args:
            features: Columns as in :attr:`features`, n rows; NaN where an
                attribute is missing, and in all visual columns where there
                is no picture.
            price: Sale prices ``(n,)``, currency.

        Returns:
            The model itself.

        Raises:
            ModelError: A column is missing, a price is not above zero, or
                there are too few sales (or too few with a picture).
        """
        table = self._table(features)
        log_price = _log_price(price, len(table))
        pictured = self._pictured(table)
        self.sales, self.sales_with_picture = len(table), int(pictured.sum())
        self._enough(self.sales, f"{self.sales} sales")
        self._typical_log_price = float(np.median(log_price))
        if self.attributes:
            self.without_picture = self._booster(table[:, : len(self.attributes)], log_price)
        if self.visual_names:
            self._enough(
                self.sales_with_picture, f"{self.sales_with_picture} sales with a picture of {self.sales}"
            )
            self.with_picture = self._booster(table[pictured], log_price[pictured])
        return self

    def predict(self, features: pd.DataFrame) -> Prediction:
        """Estimate houses, each by the booster that its data allow.

        A house without a picture in a model without attributes gets the
        median price of the training sales.

        Args:
            features: Columns as in :attr:`features`, n rows.

        Returns:
            Estimates in currency, and whether the picture was used.

        Raises:
            ModelError: A column is missing, or the model is not fitted.
        """
        table = self._fitted_table(features)
        pictured = self._pictured(table)
        log_price = np.full(len(table), self._typical_log_price)
        if self.with_picture is not None:
            log_price[pictured] = raw_prediction(self.with_picture, table[pictured], self.num_threads)
        if self.without_picture is not None:
            rest = table[~pictured, : len(self.attributes)]
            log_price[~pictured] = raw_prediction(self.without_picture, rest, self.num_threads)
        return Prediction(np.exp(log_price), pictured)

    def predict_without_picture(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Estimate all houses from their attributes alone.

        Args:
            features: Columns as in :attr:`attributes`, n rows; visual columns
                may be absent.

        Returns:
            Estimates ``(n,)``, currency.

        Raises:
            ModelError: A column is missing, or the model is not fitted or
                has no attributes.
        """
        if self.without_picture is None:
            raise ModelError(
                "the model is not fitted on attributes",
                remedy="Fit it first, with at least one attribute.",
            )
        table = _columns(features, self.attributes)
        return np.exp(raw_prediction(self.without_picture, table, self.num_threads))

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Exact TreeSHAP of the log estimates, by LightGBM's own ``pred_contrib``.

        Args:
            features: Columns as in :attr:`features`, n rows.

        Returns:
            Log units ``(n, F + 1)``: one column per feature, then the base.
            A row sums to the log of the estimate. Visual columns are zero
            where the picture was not used.

        Raises:
            ModelError: As for :meth:`predict`.
        """
        table = self._fitted_table(features)
        pictured = self._pictured(table)
        result = np.zeros((len(table), len(self.features) + 1))
        result[:, -1] = self._typical_log_price
        if self.with_picture is not None:
            result[pictured] = raw_contributions(self.with_picture, table[pictured], self.num_threads)
        if self.without_picture is not None:
            count = len(self.attributes)
            phi = raw_contributions(self.without_picture, table[~pictured, :count], self.num_threads)
            result[~pictured, :count] = phi[:, :-1]
            result[~pictured, -1] = phi[:, -1]
        return result

    def save(self, folder: str | Path) -> None:
        """Write ``model.json`` and one LightGBM text file per booster.

        Args:
            folder: Folder to write to; made where it does not exist.

        Raises:
            ModelError: The model is not fitted, or the folder cannot be
                written to.
        """
        self._check_fitted()
        boosters = {"with_picture": self.with_picture, "without_picture": self.without_picture}
        facts = {
            "attributes": list(self.attributes),
            "visual_names": list(self.visual_names),
            "section": self.section.model_dump(mode="json"),
            "seed": self.seed,
            "sales": self.sales,
            "sales_with_picture": self.sales_with_picture,
            "typical_log_price": self._typical_log_price,
        }
        write_artefact(Path(folder), "model", _KIND, facts, boosters)

    @classmethod
    def load(cls, folder: str | Path, *, num_threads: int = 2) -> HousePriceModel:
        """Read a model that :meth:`save` wrote.

        Args:
            folder: The folder.
            num_threads: Threads of the boosting.

        Returns:
            A model whose estimates equal those of the saved one.

        Raises:
            ModelError: A file is missing, damaged or no house-price model.
        """
        facts, boosters = read_artefact(Path(folder), "model", _KIND)
        try:
            model = cls(
                PricingSection.model_validate(facts["section"]),
                facts["attributes"],
                facts["visual_names"],
                seed=facts["seed"],
                num_threads=num_threads,
            )
            model.sales, model.sales_with_picture = facts["sales"], facts["sales_with_picture"]
            model._typical_log_price = facts["typical_log_price"]
            model.with_picture = boosters["with_picture"]
            model.without_picture = boosters["without_picture"]
        except (KeyError, TypeError, ValidationError):
            raise damaged(Path(folder) / "model.json", _KIND) from None
        return model

    def _booster(self, table: NDArray[np.float64], log_price: NDArray[np.float64]) -> lightgbm.Booster:
        return fit_booster(self.section, table, log_price, self.seed, self.num_threads)

    def _check_fitted(self) -> None:
        if self.with_picture is None and self.without_picture is None:
            raise ModelError("the model is not fitted", remedy="Call fit first.")

    def _fitted_table(self, features: pd.DataFrame) -> NDArray[np.float64]:
        self._check_fitted()
        return self._table(features)

    def _table(self, features: pd.DataFrame) -> NDArray[np.float64]:
        return _columns(features, self.features)

    def _pictured(self, table: NDArray[np.float64]) -> NDArray[np.bool_]:
        if not self.visual_names:
            return np.zeros(len(table), dtype=bool)
        return np.asarray(~np.isnan(table[:, len(self.attributes) :]).any(axis=1))

    @staticmethod
    def _enough(count: int, found: str) -> None:
        if count < MINIMUM_SALES:
            raise ModelError(
                f"{found} are too few to fit a model; it takes {MINIMUM_SALES}",
                remedy="Give more sales; see the rejects of `ingest` if some were left out.",
            )


def _columns(features: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    missing = [name for name in names if name not in features.columns]
    if missing:
        raise ModelError(
            f"the model needs the feature {missing[0]!r}, which is not given",
            remedy=f"It takes: {', '.join(names)}.",
        )
    return features[list(names)].to_numpy(dtype="float64", na_value=np.nan)


def _log_price(price: pd.Series[Any] | NDArray[Any], rows: int) -> NDArray[np.float64]:
    prices = np.asarray(price, dtype="float64")
    if prices.shape != (rows,):
        raise ModelError(
            f"{prices.size} prices do not fit {rows} sales", remedy="Give one sale price per sale."
        )
    wrong = int((~(np.isfinite(prices) & (prices > 0))).sum())
    if wrong:
        raise ModelError(
            f"{wrong} of {rows} sales have a price that is missing or not above zero",
            remedy="Leave these sales out; `ingest` rejects them.",
        )
    return np.log(prices)
