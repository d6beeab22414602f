"""Comparable sales as features: what other houses nearby sold for.

An appraiser looks at what the neighbours' houses fetched, most at those that
are near and alike. These features say the same to a regressor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

import housevis
from housevis.core.errors import ModelError
from housevis.core.storage import new_file, write_file
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.nearest_sales import NearestSales, Neighbours, positions, same_house_groups, twin_keys
from housevis.pricing.weighted import weighted_mean, weighted_median

Array = NDArray[np.float64]

AREA: Final = "area_m2"
"""The attribute that a price per area is reckoned with, square metres."""

NEAREST: Final = (5, 10, 30)
"""Numbers of nearest sales whose medians are features."""

_NOT_LIKENESS: Final = frozenset({*LOCATION, "sale_month"})
_KIND: Final = "comparable-sales"
_BANDWIDTH_RANK: Final = 10
_SMALLEST_BANDWIDTH: Final = 1.0
_SKEWED: Final = 1.0
_FURTHEST_LIKENESS: Final = 1e-9
_LIKENESS_SHARPNESS: Final = 1.5
"""Found by cross-validation within the earlier 60 % of King County's sales."""


class ComparableSales(TransformerMixin, BaseEstimator):
    """Features of a house from the sale prices of other houses.

    Every feature of a sale comes from the other sales alone: never from the
    sale itself, and never from another sale of the same house. **Two sales
    are of one house if they share the house id, or if they lie at the very
    same coordinates and agree in every one of `attributes`** (a house listed
    twice under two ids; also twin flats of one building, which are left out
    to be safe).

    ``fit_transform`` leaves one house out of *all* fitted sales, also those
    after the training sale. That is what a later sale meets in ``transform``:
    the whole stock of fitted sales, as dense around it as around a training
    sale. Were a training sale compared with earlier sales only, the first
    sales would have nearly none and the last ones many, and the regressor
    would learn a density that no later sale has. It leaks nothing, because
    the prices are at one date (below) and the regressor is judged on sales
    that are not among the fitted.

    The prices of the fitted sales must be at one date: where the market
    moves, take its index off first.

    Distances are along great circles, metres. A sale weighs
    ``exp(-d / b)``, `d` its distance and `b` that of the 10th nearest, at
    least 1 m; by likeness also ``exp(-1.5 D)``, `D` the mean squared
    difference of the standardised attributes (those skewed to the right are
    put on a log scale first). A missing attribute counts as an average one.

    The features are log prices, log prices per square metre (where
    ``area_m2`` is among the attributes), the sum of the weights by likeness
    as the number of alike sales, and the log of the distance in metres to
    the 10th nearest, plus 1. Houses far from all others have features as all
    others, with a large distance. With fewer sales than wanted, all there
    are count. NaN means one thing: no other house with a sale (or, per area,
    with a known area) is among those looked at.

    Args:
        neighbours: How many nearest sales of other houses are looked at.
        attributes: Numeric columns that make sales alike. Coordinates and
            ``sale_month`` may be named, so that a model's own attributes
            will do, and are passed over: place has its own weight, and the
            prices are at one date.

    Attributes:
        attributes_: The attributes that make sales alike.
        sales_: The fitted sales: ``sale_id`` and ``sale_date`` where they
            were given, ``house_id``, coordinates, attributes, ``log_price``.
    """

    def __init__(
        self, neighbours: int = 60, attributes: Sequence[str] = ("bedrooms", "bathrooms", AREA)
    ) -> None:
        self.neighbours = neighbours
        self.attributes = attributes

    def fit(self, X: pd.DataFrame, y: ArrayLike) -> ComparableSales:
        """Keep the sales that others are compared with.

        Args:
            X: Sale frame, n rows: ``latitude, longitude`` (degrees,
                EPSG:4326), the attributes, and ``house_id`` where known.
            y: Log prices ``(n,)``, at one date.

        Returns:
            The transformer itself.

        Raises:
            ModelError: `neighbours` is below 1, a column or coordinate is
                missing, there is no sale, or a log price is not finite.
            ConfigError: An attribute is unknown or not numeric.
        """
        if self.neighbours < 1:
            raise ModelError(
                f"{self.neighbours} comparable sales are none",
                where="pricing.comparables",
                remedy="Give at least 1.",
            )
        log_price = np.asarray(y, dtype="float64")
        if log_price.shape != (len(X),) or not len(X) or not np.isfinite(log_price).all():
            raise ModelError(
                f"{log_price.size} log prices for {len(X)} sales, "
                f"{int(np.isfinite(log_price).sum())} of them finite, give no comparable sales",
                remedy="Give one finite log price per sale, and at least one sale.",
            )
        self.attributes_ = tuple(name for name in self.attributes if name not in _NOT_LIKENESS)
        place = positions(X)
        columns = {name: X[name].to_numpy() for name in ("sale_id", "sale_date") if name in X}
        house_ids = _house_ids(X)
        columns |= {"house_id": house_ids}
        columns |= {name: X[name].to_numpy(dtype="float64") for name in LOCATION}
        attributes = encode(X, self.attributes_)
        columns |= {name: attributes[name].to_numpy() for name in self.attributes_}
        self.sales_ = pd.DataFrame(columns | {"log_price": log_price})
        self._standardise()
        self._likeness = self._standardised(attributes)
        self._area = _log_area(attributes)
        twins = twin_keys(X, attributes)
        self._houses = same_house_groups(house_ids, twins)
        known = np.array([name is not None for name in house_ids])
        self._house_of_id = _first_of_each(self._houses[known], house_ids[known])
        self._house_of_twin = _first_of_each(self._houses, twins)
        self._nearest = NearestSales(place, self._houses)
        return self

    def fit_transform(self, X: pd.DataFrame, y: ArrayLike) -> pd.DataFrame:
        """Fit, and give the fitted sales' own features, each from the other houses alone.

        Args:
            X: As for :meth:`fit`.
            y: As for :meth:`fit`.

        Returns:
            Frame of float64 ``(n, C)`` with the index of `X`.

        Raises:
            ModelError: As for :meth:`fit`.
            ConfigError: As for :meth:`fit`.
        """
        self.fit(X, y)
        return self._features(X.index, self._nearest.places, self._houses[:, None], self._likeness)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Features of houses from all fitted sales but their own.

        Args:
            X: Frame of n houses: coordinates, the attributes, and
                ``house_id`` where known. Fitted sales of the same house are
                left out, by the rule above.

        Returns:
            Frame of float64 ``(n, C)`` with the index of `X`.

        Raises:
            ModelError: The transformer is not fitted, or a column or
                coordinate is missing.
            ConfigError: An attribute is unknown or not numeric.
        """
        self._check_fitted()
        attributes = encode(X, self.attributes_)
        own = self._own_houses(X, attributes)
        return self._features(X.index, positions(X), own, self._standardised(attributes))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Names of the C features, all beginning with ``comparable_``."""
        self._check_fitted()
        names = [f"comparable_price_{count}" for count in NEAREST] + ["comparable_price_near"]
        if self.attributes_:
            names += ["comparable_price_alike", "comparable_price_alike_median"]
        if AREA in self.attributes_:
            names += [f"comparable_price_per_area_{count}" for count in NEAREST]
            names += [f"comparable_price_per_area_{kind}" for kind in ("near", "alike", "alike_median")]
        if self.attributes_:
            names.append("comparable_alike_sales")
        return np.asarray([*names, "comparable_distance"], dtype=object)

    def comparables(self, house: pd.DataFrame) -> pd.DataFrame:
        """The comparable sales of one house, for people to look at.

        Args:
            house: Frame of one row, as for :meth:`transform`.

        Returns:
            One row per comparable sale, the weightiest first: ``sale_id,
            house_id, sale_date`` where they are known, ``metres`` away,
            ``weight`` (the weights sum to 1), ``price`` (currency, at the
            date of the fitted log prices) and the attributes.

        Raises:
            ModelError: It is not one house, or as for :meth:`transform`.
            ConfigError: As for :meth:`transform`.
        """
        self._check_fitted()
        if len(house) != 1:
            raise ModelError(f"{len(house)} houses were given", remedy="Ask about one house at a time.")
        attributes = encode(house, self.attributes_)
        own = self._own_houses(house, attributes)
        found = next(self._nearest.search(positions(house), own, self.neighbours))
        weight = self._weights(found, self._standardised(attributes))[1][0]
        there = found.sales[0] >= 0
        rows, weight = found.sales[0][there], weight[there]
        result = self.sales_.iloc[rows].drop(columns="log_price").reset_index(drop=True)
        result.insert(0, "metres", found.metres[0][there])
        result.insert(1, "weight", weight / weight.sum() if len(weight) else weight)
        result.insert(2, "price", np.exp(self.sales_["log_price"].to_numpy()[rows]))
        order = np.lexsort([result["metres"], -result["weight"]])
        return result.iloc[order].reset_index(drop=True)

    def known_house_ids(self, X: pd.DataFrame) -> NDArray[np.object_]:
        """House ids ``(n,)`` under which houses are among the fitted sales, by the rule above, or their own.

        A house that keeps this id is told from its own sales even if its attributes change.
        """
        self._check_fitted()
        ids = _house_ids(X)
        own = self._own_houses(X, encode(X, self.attributes_))
        fitted_ids = self.sales_["house_id"].to_numpy(dtype=object)
        for row in np.flatnonzero((own[:, 0] < 0) & (own[:, 1] >= 0)):
            known = [name for name in fitted_ids[self._houses == own[row, 1]] if not pd.isna(name)]
            ids[row] = known[0] if known else ids[row]
        return ids

    def save(self, folder: str | Path) -> None:
        """Write ``comparables.parquet``, the fitted sales, and ``comparables.json``.

        Args:
            folder: Folder to write to; made where it does not exist.

        Raises:
            ModelError: The transformer is not fitted, or the folder cannot
                be written to.
        """
        self._check_fitted()
        table = Path(folder) / "comparables.parquet"
        try:
            with new_file(table) as stream:
                self.sales_.to_parquet(stream, index=False)
            facts = {
                "kind": _KIND,
                "versions": {"housevis": housevis.__version__},
                "sales": hashlib.sha256(table.read_bytes()).hexdigest(),
                "neighbours": self.neighbours,
                "attributes": list(self.attributes_),
            }
            write_file(Path(folder) / "comparables.json", json.dumps(facts, indent=2) + "\n")
        except OSError as problem:
            raise ModelError(
                f"the comparable sales cannot be written ({problem.strerror})",
                where=str(folder),
                remedy="Check that the folder may be written to and that the disk is not full.",
            ) from None

    @classmethod
    def load(cls, folder: str | Path) -> ComparableSales:
        """Read what :meth:`save` wrote.

        Args:
            folder: The folder.

        Returns:
            A transformer whose features equal those of the saved one.

        Raises:
            ModelError: A file is missing, damaged or no comparable sales.
        """
        description, table = Path(folder) / "comparables.json", Path(folder) / "comparables.parquet"
        try:
            facts = json.loads(description.read_bytes())
            if facts["kind"] != _KIND or hashlib.sha256(table.read_bytes()).hexdigest() != facts["sales"]:
                raise _damaged(description)
            sales = pd.read_parquet(table)
            transformer = cls(neighbours=facts["neighbours"], attributes=tuple(facts["attributes"]))
            return transformer.fit(sales, sales["log_price"])
        except FileNotFoundError as problem:
            raise ModelError(
                "there are no comparable sales here",
                where=str(problem.filename),
                remedy="Check the path, or run `train` again.",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):
            raise _damaged(description) from None

    def _features(
        self, index: pd.Index, places: Array, own: NDArray[np.int64], likeness: Array
    ) -> pd.DataFrame:
        names = self.get_feature_names_out()
        table = np.full((len(places), len(names)), np.nan)
        for found in self._nearest.search(places, own, self.neighbours):
            table[found.rows] = np.column_stack(list(self._columns(found, likeness[found.rows])))
        return pd.DataFrame(table, index=index, columns=names)

    def _columns(self, found: Neighbours, likeness: Array) -> Iterator[Array]:
        """Features of one chunk of houses, in the order of their names."""
        there = found.sales >= 0
        equal = there.astype("float64")
        price = np.where(there, self.sales_["log_price"].to_numpy()[found.sales], np.nan)
        near, alike = self._weights(found, likeness)
        values = [price] if AREA not in self.attributes_ else [price, price - self._area[found.sales]]
        for value in values:
            for count in NEAREST:
                yield weighted_median(value[:, :count], equal[:, :count])
            yield weighted_mean(value, near)
            if self.attributes_:
                yield weighted_mean(value, alike)
                yield weighted_median(value, alike)
        if self.attributes_:
            yield alike.sum(axis=1)
        yield np.log1p(_bandwidth(found))

    def _weights(self, found: Neighbours, likeness: Array) -> tuple[Array, Array]:
        """Weights ``(n, k)`` by distance, and by distance and likeness; 0 where there is no sale."""
        there = found.sales >= 0
        bandwidth = np.maximum(_bandwidth(found), _SMALLEST_BANDWIDTH)
        near = np.where(there, np.exp(-np.where(there, found.metres, 0) / bandwidth[:, None]), 0)
        if not self.attributes_:
            return near, near
        difference = ((self._likeness[found.sales] - likeness[:, None, :]) ** 2).mean(axis=2)
        alike = near * np.exp(-_LIKENESS_SHARPNESS * difference) + _FURTHEST_LIKENESS
        return near, np.where(there, alike, 0)

    def _standardise(self) -> None:
        """Learn the scale of each attribute from the fitted sales."""
        self._scales: list[tuple[bool, float, float]] = []
        for name in self.attributes_:
            values = self.sales_[name].to_numpy()
            values = values[np.isfinite(values)]
            logarithmic = bool(len(values) and values.min() >= 0 and _skewness(values) > _SKEWED)
            values = np.log1p(values) if logarithmic else values
            mean, deviation = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
            self._scales.append((logarithmic, mean, deviation if deviation > 0 else 1.0))

    def _standardised(self, attributes: pd.DataFrame) -> Array:
        result = np.zeros((len(attributes), len(self.attributes_)))
        for column, (name, scale) in enumerate(zip(self.attributes_, self._scales, strict=True)):
            logarithmic, mean, deviation = scale
            values = attributes[name].to_numpy()
            values = np.log1p(np.maximum(values, 0)) if logarithmic else values
            result[:, column] = np.where(np.isfinite(values), (values - mean) / deviation, 0)
        return result

    def _own_houses(self, X: pd.DataFrame, attributes: pd.DataFrame) -> NDArray[np.int64]:
        """Fitted house numbers ``(n, 2)`` that each house must not be compared with; -1 for none."""
        by_id = self._house_of_id.reindex(_house_ids(X)).fillna(-1)
        by_twin = self._house_of_twin.reindex(twin_keys(X, attributes)).fillna(-1)
        return np.column_stack([by_id.to_numpy(dtype="int64"), by_twin.to_numpy(dtype="int64")])

    def _check_fitted(self) -> None:
        if not hasattr(self, "sales_"):
            raise ModelError("the comparable sales are not fitted", remedy="Call fit first.")


def _house_ids(houses: pd.DataFrame) -> NDArray[np.object_]:
    if "house_id" not in houses.columns:
        return np.full(len(houses), None, dtype=object)
    ids = houses["house_id"].astype(str).to_numpy(dtype=object)
    ids[houses["house_id"].isna().to_numpy()] = None
    return ids


def _first_of_each(houses: NDArray[np.int64], keys: NDArray[Any]) -> pd.Series[Any]:
    """House numbers by key."""
    numbered = pd.Series(houses, index=keys)
    return numbered[~numbered.index.duplicated()]


def _log_area(attributes: pd.DataFrame) -> Array:
    if AREA not in attributes.columns:
        return np.full(len(attributes), np.nan)
    area = attributes[AREA].to_numpy()
    return np.log(np.where(area > 0, area, np.nan))


def _bandwidth(found: Neighbours) -> Array:
    """Distance ``(n,)`` to the 10th nearest sale, or the last where there are fewer, metres; NaN for none."""
    metres = np.where(np.isfinite(found.metres), found.metres, -1)[:, :_BANDWIDTH_RANK].max(axis=1)
    return np.where(metres < 0, np.nan, metres)


def _skewness(values: Array) -> float:
    deviation = values.std()
    return float((((values - values.mean()) / deviation) ** 3).mean()) if deviation > 0 else 0.0


def _damaged(file: Path) -> ModelError:
    return ModelError(
        "these are no comparable sales, or they are damaged", where=str(file), remedy="Run `train` again."
    )
