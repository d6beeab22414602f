"""Out-of-sample estimates of every sold house, each by the model that has not seen it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.pipeline.sold import EARLIER, SERVING, SoldHouses
from housevis.pipeline.sold_contributions import sold_contributions
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.attributes import encode
from housevis.pricing.confidence import ConfidenceRules
from housevis.pricing.drivers import driver_groups, to_currency
from housevis.pricing.intervals import Calibration, calibrate
from housevis.pricing.sale_table import KnownSales
from housevis.runs import Run

DRIVER_PREFIX = "driver "
"""Columns of drivers in a table of estimates start with it."""


def estimate_table(
    model: ValuationModel,
    sales: pd.DataFrame,
    pooled: NDArray[np.float32],
    contributions: NDArray[np.float64] | None = None,
    features: pd.DataFrame | KnownSales | None = None,
) -> pd.DataFrame:
    """Estimate houses with one model.

    Args:
        model: The model.
        sales: Sale frame, n rows; no price is needed.
        pooled: Pooled features ``(n, K)``, NaN rows where there is no picture;
            of any width for a model without a ranker.
        contributions: Their Shapley values ``(n, F + 1)`` where they are known.
        features: What the model takes or has read of them, where that is known.

    Returns:
        Columns ``estimate``, ``without_picture`` (the estimate from the
        attributes alone), ``used_picture``, ``model_id``, ``base`` and one
        ``driver <name>`` per driver, in currency; base and drivers add up to
        the estimate.
    """
    features = model.price_model.known(model.features(sales, pooled) if features is None else features)
    if contributions is None:
        contributions = model.price_model.contributions(features)
    drivers = to_currency(
        contributions[:, :-1],
        contributions[:, -1],
        model.price_model.features_,
        driver_groups(model.price_model.visual_names, model.price_model.comparable_names_),
    )
    table = pd.DataFrame(
        {
            "estimate": model.price_model.predict(features),
            "without_picture": model.price_model.predict_without_picture(features),
            "used_picture": model.price_model.used_picture(features),
            "model_id": model.model_id,
            "base": drivers.base,
        }
    )
    amounts = pd.DataFrame(drivers.amounts, columns=[DRIVER_PREFIX + name for name in drivers.names])
    return pd.concat([table, amounts], axis=1)


def driver_columns(table: pd.DataFrame) -> list[str]:
    """The columns of drivers in a table of estimates."""
    return [name for name in map(str, table.columns) if name.startswith(DRIVER_PREFIX)]


def judge_sold_houses(config: Config, run: Run, sold: SoldHouses) -> pd.DataFrame:
    """Estimate every sale out of sample, with its interval.

    Intervals of later sales are calibrated on the cross-fitted residuals of
    the earlier ones, those of a fold on the residuals of the other folds.

    Returns:
        One row per sale, in the order of `sold`: ``sale_id``, ``house_id``,
        ``sale_date``, ``price``, ``sample`` (``"later sale"`` or
        ``"cross-fitted"``), ``low``, ``high``, ``confidence`` with
        ``confidence_reasons``, and the columns of :func:`estimate_table`.
    """
    parts: list[pd.DataFrame] = []
    model_ids = sold.model_ids
    attributes: dict[str, pd.DataFrame] = {}
    for model_id in sold.evaluation_models():
        rows = np.flatnonzero(model_ids == model_id)
        model = ValuationModel.load(model_folder(run, model_id))
        sales = sold.sales.iloc[rows].reset_index(drop=True)
        contributions = sold_contributions(run, sold, model_id, model)
        parts.append(estimate_table(model, sales, sold.pooled[rows], contributions).set_index(rows))
        attributes[model_id] = interval_features(model, sales)
    table = pd.concat(parts).sort_index()
    table["sample"] = np.where(sold.is_earlier, "cross-fitted", "later sale")
    known = sold.sales[["sale_id", "house_id", "sale_date", "price"]]
    table = pd.concat([known, table], axis=1)
    for model_id in sold.evaluation_models():
        rows = np.flatnonzero(model_ids == model_id)
        calibration, rules = calibrate_model(config, run, sold, table, model_id)
        low, high = calibration.interval(table["estimate"].to_numpy()[rows], attributes[model_id])
        table.loc[rows, "low"], table.loc[rows, "high"] = low, high
        grades = rules.grade(
            sold.sales.iloc[rows],
            attributes[model_id],
            table.iloc[rows],
            config.pricing.interval,
            picture_taken=config.imagery.taken,
        )
        for name in grades.columns:
            table.loc[rows, name] = grades[name]
    return table


def interval_features(model: ValuationModel, sales: pd.DataFrame) -> pd.DataFrame:
    """What the width of an interval may depend on: the attributes, no visual features."""
    return encode(sales, model.price_model.attributes_)


def calibrate_model(
    config: Config, run: Run, sold: SoldHouses, table: pd.DataFrame, model_id: str
) -> tuple[Calibration, ConfidenceRules]:
    """Learn how far a model errs and what is usual among its sales, and store both with it.

    Args:
        config: The configuration.
        run: The run.
        sold: The sales.
        table: ``estimate``, ``without_picture`` and ``price`` of every sale, out of sample.
        model_id: The model. The serving model takes all estimates; `earlier` all
            earlier ones; a fold those of the other folds.
    """
    folder = model_folder(run, model_id)
    model = ValuationModel.load(folder)
    rows = _rows_to_calibrate_on(sold, model_id)
    judged = table[rows]
    estimate = judged["estimate"].to_numpy()
    calibration = calibrate(
        interval_features(model, sold.sales[rows].reset_index(drop=True)),
        estimate,
        judged["price"].to_numpy(),
        config.pricing.interval,
        seed=config.seed,
    )
    calibration.save(folder)
    taught = sold.sales[sold.training_rows(model_id)].reset_index(drop=True)
    rules = ConfidenceRules.fit(
        taught,
        interval_features(model, taught),
        np.log(estimate / judged["without_picture"].to_numpy()),
        uses_pictures=bool(model.learners),
    )
    rules.save(folder)
    return calibration, rules


def _rows_to_calibrate_on(sold: SoldHouses, model_id: str) -> NDArray[np.bool_]:
    """Sales ``(n,)`` whose errors say how far a model errs, see :func:`calibrate_model`."""
    if model_id == SERVING:
        return np.ones(len(sold.sales), dtype=bool)
    return sold.is_earlier & (sold.model_ids != model_id) if model_id != EARLIER else sold.is_earlier.copy()
