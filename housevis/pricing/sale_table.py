"""What a price model reads of the table it is given: numbers, dates, house ids and prices, all checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from housevis.core.errors import ModelError
from housevis.pricing.attributes import NOT_ATTRIBUTES, encode

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SaleTable:
    """n sales or houses as a price model takes them.

    Attributes:
        attributes: Encoded attributes ``(n, A)``, float64, NaN where missing.
        visual: Visual features ``(n, D)``, NaN where there is no picture.
        sale_dates: Day of sale or of valuation; the middle of the month where
            only ``sale_month`` is known, NaT where neither is.
        house_ids: House of each row, or None where they are not known.
    """

    attributes: pd.DataFrame
    visual: Array
    sale_dates: pd.DatetimeIndex
    house_ids: NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def pictured(self) -> NDArray[np.bool_]:
        """Rows ``(n,)`` that have all visual features; none where there are none."""
        if not self.visual.shape[1]:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(~np.isnan(self.visual).any(axis=1))

    def sales(self) -> pd.DataFrame:
        """The rows as a sale frame: attributes, ``sale_date`` and, where known, ``house_id``."""
        houses = {} if self.house_ids is None else {"house_id": self.house_ids}
        return self.attributes.assign(sale_date=self.sale_dates, **houses)

    def distinct_house_ids(self) -> NDArray[np.object_]:
        """House of each row ``(n,)``; a house of its own where it is not known."""
        own = np.array([f"unknown {row}" for row in range(len(self))], dtype=object)
        return own if self.house_ids is None else np.where(pd.isna(self.house_ids), own, self.house_ids)

    def digest(self, price: Array, parameters: dict[str, Any]) -> str:
        """Hex SHA-256 over this table, its prices and the parameters of a model."""
        names = [*map(str, self.attributes.columns), str(self.visual.shape[1])]
        text = json.dumps([names, parameters], sort_keys=True)
        content = hashlib.sha256(text.encode())
        for numbers in (self.attributes.to_numpy(), self.visual, price):
            canonical = np.where(np.isnan(numbers), np.nan, numbers) + 0.0
            content.update(np.ascontiguousarray(canonical, dtype="<f8").tobytes())
        content.update(self.sale_dates.to_numpy().astype("datetime64[s]").astype("<i8").tobytes())
        if self.house_ids is not None:
            content.update("\n".join(map(str, self.house_ids)).encode())
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class KnownSales:
    """n sales or houses as a fitted model has read them, so that many questions read them once.

    Attributes:
        table: What was read.
        market: The market's level ``(n,)`` at the valuation dates, log units; zero without an index.
        features: What the boosters see beside the picture ``(n, F)``.
    """

    table: SaleTable
    market: Array
    features: Array

    def __len__(self) -> int:
        return len(self.table)


def read_table(
    model: BaseEstimator,
    X: Any,
    attributes: Sequence[str] | None,
    visual_names: Sequence[str],
    *,
    fitting: bool,
    visual_needed: bool = True,
) -> SaleTable:
    """Read what an estimator was given, by scikit-learn's rules.

    Args:
        model: The estimator, whose ``n_features_in_`` and
            ``feature_names_in_`` are set or compared.
        X: A data frame, from which the columns are taken by name, or numbers
            ``(n, A + D)``: attributes, then visual features.
        attributes: Names of the attributes; None takes every column that is
            no visual feature and does not merely identify the sale. Then the
            columns must be the same ones in the same order each time.
        visual_names: Names of the visual features.
        fitting: Whether the estimator is being fitted.
        visual_needed: False allows a frame without visual features.

    Raises:
        ModelError: A column is missing, or the numbers are too few or too many.
        ConfigError: An attribute holds text.
        ValueError: The table is empty or holds infinite or complex numbers.
    """
    if not isinstance(X, pd.DataFrame) or not all(isinstance(name, str) for name in X.columns):
        return _read_array(model, X, attributes, visual_names, fitting)
    if attributes is not None:
        wanted = [*attributes, *visual_names]
        chosen = _named(X, wanted, visual_names if not visual_needed else ())
    else:
        wanted = [*(name for name in map(str, X.columns) if name not in {*NOT_ATTRIBUTES, *visual_names})]
        chosen, wanted = X, [*wanted, *visual_names]
    validate_data(model, chosen, reset=fitting, skip_check_array=True)
    numbers = _numbers(model, chosen[wanted], fitting) if wanted else np.empty((len(X), 0))
    return _table(numbers, wanted[: len(wanted) - len(visual_names)], X)


def read_prices(price: Any, rows: int, name: str) -> Array:
    """Prices ``(n,)`` of the sales that a model is fitted on.

    Args:
        price: The prices, currency.
        rows: Number of sales.
        name: The estimator's name, for the message.

    Raises:
        ModelError: There are none, too few or too many, or one is missing or
            not above zero.
    """
    if price is None:
        raise ModelError(
            f"{name} requires y to be passed, but the target y is None", remedy="Give the sale prices as y."
        )
    prices = np.asarray(column_or_1d(price, warn=True), dtype="float64")
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
    return prices


def _read_array(
    model: BaseEstimator, X: Any, attributes: Sequence[str] | None, visual_names: Sequence[str], fitting: bool
) -> SaleTable:
    numbers = validate_data(
        model,
        X,
        reset=fitting,
        dtype="float64",
        ensure_all_finite="allow-nan",
        ensure_min_samples=2 * fitting,
    )
    count = numbers.shape[1] - len(visual_names)
    names = [f"x{number}" for number in range(count)] if attributes is None else list(attributes)
    if len(names) != count:
        raise ModelError(
            f"{numbers.shape[1]} columns do not fit {len(names)} attributes "
            f"and {len(visual_names)} visual features",
            remedy="Give the attributes first, then the visual features, or a table with named columns.",
        )
    return _table(numbers, names, pd.DataFrame(index=range(len(numbers))))


def _named(X: pd.DataFrame, names: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """The columns of these names; ``sale_month`` from the date of sale, NaN for an optional one."""
    absent = [name for name in names if name not in X.columns]
    dated = "sale_date" in X.columns
    missing = [name for name in absent if name not in optional and not (name == "sale_month" and dated)]
    if missing:
        raise ModelError(
            f"the model needs the feature {missing[0]!r}, which is not given",
            remedy=f"It takes: {', '.join(names)}.",
        )
    given = [name for name in names if name not in absent or name == "sale_month"]
    columns = [name for name in given if name in X.columns]
    if "sale_month" in absent:
        columns.append("sale_date")
    return encode(X[columns], given).reindex(columns=list(names))


def _numbers(model: BaseEstimator, table: pd.DataFrame, fitting: bool) -> Array:
    for name in table.columns:
        if (
            pd.api.types.is_float_dtype(table[name])
            and np.isinf(table[name].to_numpy("float64", na_value=0)).any()
        ):
            raise ModelError(
                f"the feature {name!r} is infinite in some sales",
                remedy="Leave the value empty where it is not known.",
            )
    return np.asarray(
        check_array(
            table,
            dtype="float64",
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 * fitting,
            estimator=model,
            input_name="X",
        )
    )


def _table(numbers: Array, names: Sequence[str], X: pd.DataFrame) -> SaleTable:
    attributes = pd.DataFrame(numbers[:, : len(names)], columns=list(names))
    if "sale_date" in X.columns:
        dates = pd.DatetimeIndex(pd.to_datetime(X["sale_date"]))
    elif "sale_month" in attributes.columns:
        dates = _middle_of_month(attributes["sale_month"].to_numpy())
    else:
        dates = pd.DatetimeIndex(np.full(len(X), np.datetime64("NaT", "ns")))
    houses = X["house_id"].to_numpy(dtype=object) if "house_id" in X.columns else None
    return SaleTable(attributes, numbers[:, len(names) :], dates, houses)


def _middle_of_month(months: Array) -> pd.DatetimeIndex:
    """The 15th of each month, counted from January 2000."""
    known = np.isfinite(months)
    whole = np.where(known, np.floor(np.where(known, months, 0)), 0).astype("int64")
    first = np.datetime64("2000-01", "M") + whole
    middle = first.astype("datetime64[D]") + 14
    return pd.DatetimeIndex(np.where(known, middle, np.datetime64("NaT")))
