"""The house-price model: gradient boosting on log price, with and without the picture.

A model holds two boosters, or two groups of averaged ones. Those without
picture are fitted on the attributes of all sales; those with picture on
attributes and visual features of the sales that have one. A house without
imagery is estimated by the first, so that a missing picture is never passed
off as a seen one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing.attributes import LOCATION
from housevis.pricing.boosted import Boosted
from housevis.pricing.comparables import ComparableSales
from housevis.pricing.market_index import MarketIndex, fit_market_index
from housevis.pricing.model_files import read_model, write_model
from housevis.pricing.sale_table import KnownSales, SaleTable, read_prices, read_table

Array = NDArray[np.float64]

MINIMUM_SALES: Final = 50
"""Fewest sales that a booster of the pipeline is fitted on."""

MARKET: Final = "sale_month"
"""The feature that tells the market's level: the month of sale or, with a market index, the index there."""

_SETTINGS: Final = (
    "objective",
    "rounds",
    "learning_rate",
    "leaves",
    "minimum_leaf",
    "feature_fraction",
    "row_fraction",
    "boosters",
    "random_boosters",
    "linear_base",
    "market_index",
    "comparables",
    "folds",
)
"""Parameters that a configuration's section [pricing] knows by the same names."""


class UnfittedModelError(ModelError, NotFittedError):
    """A model that is used before it is fitted."""


class HousePriceModel(RegressorMixin, BaseEstimator):
    """Gradient boosting on log price (C section 4, the best regressor there), as scikit-learn estimator.

    ``fit(X, y)`` and ``predict(X)`` take a table with named columns, such as
    a sale frame, or bare numbers, and prices. ``sale_month`` comes from the
    column ``sale_date`` where it is not given.

    Args:
        attributes: Names of the attributes, see
            :func:`housevis.pricing.attributes.encode`; None takes every
            column.
        visual_names: Names of the columns that hold visual features; empty
            for a model of the attributes alone.
        objective: ``"squared"`` or ``"absolute"`` error of the log price.
        rounds: Trees of a booster.
        learning_rate: Of the boosting.
        leaves: Leaves of a tree.
        minimum_leaf: Fewest sales in a leaf.
        feature_fraction: Share of the features that a tree is grown from.
        row_fraction: Share of the sales that a tree is grown from.
        boosters: Boosters of different seeds that are averaged.
        random_boosters: Further ones in the mean whose splits are drawn at
            random (:func:`housevis.pricing.boosters.fit_booster`).
        linear_base: Whether a linear model of the features comes first
            (:mod:`housevis.pricing.linear_base`), and the boosting learns
            what it leaves.
        market_index: ``"none"``, or the kind of index
            (:mod:`housevis.pricing.market_index`) that takes the place of
            the attribute ``sale_month``: the boosting is fitted on log price
            less the index at the day of sale, and an estimate adds its level
            at the day of valuation, the column ``sale_date``. Of no effect
            where ``sale_month`` is no attribute.
        comparables: Nearest other sales whose prices become features
            (:mod:`housevis.pricing.comparables`), 0 for none. Of no effect
            where latitude and longitude are no attributes. The column
            ``house_id`` tells which sales are of one house.
        folds: Folds of the cross-fitting behind a market index.
        minimum_sales: Fewest sales that a booster is fitted on.
        seed: Seed of the boosting.
        num_threads: Most threads to use; the result does not depend on them.

    Attributes:
        attributes_: Names of the A attributes.
        without_picture_, with_picture_: The boosters and their linear base
            (:class:`housevis.pricing.boosted.Boosted`); None where there is
            no attribute, or no visual feature.
        market_index_: The fitted market index, or None.
        comparables_: The fitted comparable sales, or None.
        sales_, sales_with_picture_: How many sales it was fitted on.
        data_fingerprint_: Hex SHA-256 over the training table, the prices and
            the parameters.
        n_features_in_, feature_names_in_: As in scikit-learn.
    """

    def __init__(
        self,
        *,
        attributes: Sequence[str] | None = None,
        visual_names: Sequence[str] = (),
        objective: str = "absolute",
        rounds: int = 400,
        learning_rate: float = 0.05,
        leaves: int = 31,
        minimum_leaf: int = 20,
        feature_fraction: float = 1.0,
        row_fraction: float = 1.0,
        boosters: int = 1,
        random_boosters: int = 0,
        linear_base: bool = False,
        market_index: str = "none",
        comparables: int = 0,
        folds: int = 5,
        minimum_sales: int = 2,
        seed: int = 1,
        num_threads: int = 2,
    ) -> None:
        self.attributes = attributes
        self.visual_names = visual_names
        self.objective = objective
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.minimum_leaf = minimum_leaf
        self.feature_fraction = feature_fraction
        self.row_fraction = row_fraction
        self.boosters = boosters
        self.random_boosters = random_boosters
        self.linear_base = linear_base
        self.market_index = market_index
        self.comparables = comparables
        self.folds = folds
        self.minimum_sales = minimum_sales
        self.seed = seed
        self.num_threads = num_threads

    @classmethod
    def from_section(
        cls,
        section: PricingSection,
        attributes: Sequence[str],
        visual_names: Sequence[str] = (),
        *,
        seed: int = 1,
        num_threads: int = 2,
    ) -> HousePriceModel:
        """The unfitted model of a configuration's section [pricing].

        Args:
            section: The section; its attributes are not looked at.
            attributes: Names of the attributes.
            visual_names: Names of the visual features.
            seed: Seed of the boosting.
            num_threads: Most threads to use.
        """
        return cls(
            attributes=tuple(attributes),
            visual_names=tuple(visual_names),
            **{name: getattr(section, name) for name in _SETTINGS},
            minimum_sales=MINIMUM_SALES,
            seed=seed,
            num_threads=num_threads,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.positive_only = True
        return tags

    def fit(self, X: Any, y: Any) -> HousePriceModel:
        """Fit the boosters.

        Args:
            X: n sales: attributes, NaN where one is missing, and visual
                features, NaN where there is no picture.
            y: Sale prices ``(n,)``, currency.

        Returns:
            The model itself.

        Raises:
            ModelError: A column is missing, a price is not above zero, a
                parameter has no sense, or there are too few sales (or too
                few with a picture).
        """
        section = self.check_parameters()
        if self.attributes is not None and not (*self.attributes, *self.visual_names):
            raise ModelError(
                "a model needs at least one attribute or visual feature",
                where="pricing.attributes",
                remedy="Name an attribute, for example 'latitude'.",
            )
        table = read_table(self, X, self.attributes, self.visual_names, fitting=True)
        price = read_prices(y, len(table), type(self).__name__)
        pictured = table.pictured
        self.attributes_ = tuple(map(str, table.attributes.columns))
        self.sales_, self.sales_with_picture_ = len(table), int(pictured.sum())
        self._enough(self.sales_, f"{self.sales_} sales")
        if self.visual_names:
            found = f"{self.sales_with_picture_} sales with a picture of {self.sales_}"
            self._enough(self.sales_with_picture_, found)
        log_price = np.log(price)
        self.market_index_ = self._fit_market_index(table, price, section)
        target = log_price
        if self.market_index_ is not None:
            target = log_price - self.market_index_.level(table.sale_dates)
        self.typical_log_price_ = float(np.median(target))
        features = self._boosted_attributes(table)
        self.comparables_: ComparableSales | None = None
        if self.comparables and set(LOCATION) <= set(self.attributes_):
            self.comparables_ = ComparableSales(self.comparables, self.attributes_)
            features = np.hstack([features, self.comparables_.fit_transform(table.sales(), target)])
        self.without_picture_: Boosted | None = None
        self.with_picture_: Boosted | None = None
        if features.shape[1]:
            self.without_picture_ = Boosted.fit(section, features, target, self.seed, self.num_threads)
        if self.visual_names:
            both = np.column_stack([features, table.visual])[pictured]
            self.with_picture_ = Boosted.fit(section, both, target[pictured], self.seed, self.num_threads)
        self.data_fingerprint_ = table.digest(price, self.parameters())
        return self

    def known(self, X: Any) -> KnownSales:
        """Read houses once for several questions: what it answers is taken wherever houses are.

        Args:
            X: n houses, as for :meth:`fit`; what this method has answered stays as it is.

        Raises:
            ModelError: As for :meth:`predict`.
        """
        return X if isinstance(X, KnownSales) else self._known(self._read(X))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate houses, each by the boosters that its data allow.

        A house without a picture in a model without attributes gets the
        median price of the training sales.

        Args:
            X: n houses, as for :meth:`fit`, or what :meth:`known` has read of them.

        Returns:
            Estimates ``(n,)``, currency.

        Raises:
            ModelError: A column is missing, a valuation date that the market
                index needs is missing, or the model is not fitted.
        """
        known = self.known(X)
        table, log_price, features = known.table, known.market.copy(), known.features
        pictured = table.pictured
        if self.with_picture_ is not None:
            both = np.column_stack([features, table.visual])[pictured]
            log_price[pictured] += self.with_picture_.predict(both, self.num_threads)
        log_price[~pictured] += self._plain_log_price(features[~pictured])
        return np.exp(log_price)

    def used_picture(self, X: Any) -> NDArray[np.bool_]:
        """Whether the visual features take part in the estimate of a house, ``(n,)``.

        Args:
            X: n houses, as for :meth:`predict`.

        Raises:
            ModelError: As for :meth:`predict`.
        """
        return self.known(X).table.pictured

    def predict_without_picture(self, X: Any) -> NDArray[np.float64]:
        """Estimate all houses from their attributes alone.

        Args:
            X: n houses, as for :meth:`predict`; of a table with named
                columns the visual ones may be absent.

        Returns:
            Estimates ``(n,)``, currency.

        Raises:
            ModelError: A column is missing, or the model is not fitted or
                has no attributes.
        """
        known = X if isinstance(X, KnownSales) else self._known(self._read(X, visual_needed=False))
        if not self.attributes_:
            raise ModelError("the model is not fitted on attributes", remedy="Give it an attribute.")
        return np.exp(known.market + self._plain_log_price(known.features))

    def contributions(self, X: Any) -> NDArray[np.float64]:
        """Exact TreeSHAP of the log estimates, see :func:`housevis.pricing.boosters.raw_contributions`.

        Args:
            X: n houses, as for :meth:`predict`.

        Returns:
            Log units ``(n, F + 1)``: one column per name of
            :attr:`features_`, then the base. A row sums to the log of the
            estimate. Visual columns are zero where the picture was not used;
            with a market index ``sale_month`` is the level at the valuation
            date, relative to the last day of the training sales.

        Raises:
            ModelError: As for :meth:`predict`.
        """
        known = self.known(X)
        table, market, features = known.table, known.market, known.features
        pictured = table.pictured
        count = features.shape[1]
        phi = np.zeros((len(table), count + len(self.visual_names) + 1))
        phi[:, -1] = self.typical_log_price_
        if self.with_picture_ is not None:
            both = np.column_stack([features, table.visual])[pictured]
            phi[pictured] = self.with_picture_.contributions(both, self.num_threads)
        if self.without_picture_ is not None:
            plain = self.without_picture_.contributions(features[~pictured], self.num_threads)
            phi[~pictured, :count], phi[~pictured, -1] = plain[:, :-1], plain[:, -1]
        if self.market_index_ is None:
            return phi
        return np.insert(phi, self.attributes_.index(MARKET), market, axis=1)

    def boosted_features(self, X: Any) -> tuple[Array, NDArray[np.bool_]]:
        """What the boosters see of n houses, and which of these have a picture.

        Args:
            X: n houses, as for :meth:`predict`.

        Returns:
            Features ``(n, F)`` and whether all visual ones are there ``(n,)``.
            The boosters without picture take the columns before the visual
            ones; with a market index there is no month of sale.

        Raises:
            ModelError: As for :meth:`predict`.
        """
        known = self.known(X)
        return np.column_stack([known.features, known.table.visual]), known.table.pictured

    def save(self, folder: str | Path) -> None:
        """Write ``model.json``, one LightGBM text file per booster, and the comparable sales.

        Args:
            folder: Folder to write to; made where it does not exist.

        Raises:
            ModelError: The model is not fitted, or the folder cannot be
                written to.
        """
        self._check_fitted()
        write_model(self, Path(folder))

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
        return read_model(cls, Path(folder), num_threads)

    @property
    def features_(self) -> tuple[str, ...]:
        """Names of the F features: attributes, comparable sales, visual features."""
        return (*self.attributes_, *self.comparable_names_, *self.visual_names)

    @property
    def comparable_names_(self) -> tuple[str, ...]:
        """Names of the features of comparable sales; none where there are no comparables."""
        return () if self.comparables_ is None else tuple(self.comparables_.get_feature_names_out())

    def attribute_ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each boosted attribute among the sales it was fitted on."""
        side = self.without_picture_ or self.with_picture_
        if side is None:
            return {}
        found = side.boosters[0].dump_model(num_iteration=1)["feature_infos"]
        names = [name for name in self.attributes_ if self.market_index_ is None or name != MARKET]
        ranges = {name: found.get(f"Column_{column}") for column, name in enumerate(names)}
        return {name: (each["min_value"], each["max_value"]) for name, each in ranges.items() if each}

    def parameters(self) -> dict[str, Any]:
        """The parameters that estimates depend on, as JSON values: all but the threads."""
        parameters = {name: value for name, value in self.get_params().items() if name != "num_threads"}
        for name in ("attributes", "visual_names"):
            if parameters[name] is not None:
                parameters[name] = [str(item) for item in parameters[name]]
        return parameters

    def check_parameters(self) -> PricingSection:
        """The parameters as a section [pricing].

        Raises:
            ModelError: One of them has no sense.
        """
        try:
            return PricingSection.model_validate({name: getattr(self, name) for name in _SETTINGS})
        except ValidationError as problem:
            details = problem.errors()[0]
            raise ModelError(
                f"{details['loc'][0]}: {details['msg']}", remedy=f"It is {details['input']!r} now."
            ) from None

    def _fit_market_index(
        self, table: SaleTable, price: Array, section: PricingSection
    ) -> MarketIndex | None:
        if section.market_index == "none" or MARKET not in self.attributes_:
            return None
        sales = table.sales().assign(price=price, house_id=table.distinct_house_ids())
        return fit_market_index(
            section.market_index,
            sales,
            self.attributes_,
            PricingSection(objective=section.objective, folds=section.folds),
            seed=self.seed,
            num_threads=self.num_threads,
        )

    def _boosted_attributes(self, table: SaleTable) -> Array:
        """The attributes that the boosters see: without the month of sale where an index takes its place."""
        if self.market_index_ is None:
            return table.attributes.to_numpy()
        return table.attributes.drop(columns=MARKET).to_numpy()

    def _known(self, table: SaleTable) -> KnownSales:
        features = self._boosted_attributes(table)
        if self.comparables_ is not None:
            features = np.hstack([features, self.comparables_.transform(table.sales())])
        if self.market_index_ is None:
            return KnownSales(table, np.zeros(len(table)), features)
        return KnownSales(table, self.market_index_.level(table.sale_dates), features)

    def _plain_log_price(self, features: Array) -> Array:
        """What the boosters without picture add ``(n,)``; the median sale where there are none."""
        if self.without_picture_ is None:
            return np.full(len(features), self.typical_log_price_)
        return self.without_picture_.predict(features, self.num_threads)

    def _read(self, X: Any, *, visual_needed: bool = True) -> SaleTable:
        self._check_fitted()
        return read_table(
            self, X, self.attributes, self.visual_names, fitting=False, visual_needed=visual_needed
        )

    def _check_fitted(self) -> None:
        if not hasattr(self, "data_fingerprint_"):
            raise UnfittedModelError("the model is not fitted", remedy="Call fit first.")

    def _enough(self, count: int, found: str) -> None:
        if count < self.minimum_sales:
            raise ModelError(
                f"{found} are too few to fit a model; it takes {self.minimum_sales}",
                remedy="Give more sales; see the rejects of `ingest` if some were left out.",
            )
