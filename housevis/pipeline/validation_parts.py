"""The parts of the tests of a model: who teaches, who is judged, and what every method says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.pipeline.project import fingerprint, frame_digest
from housevis.pipeline.sold import EARLIER, SoldHouses
from housevis.pipeline.valuation import ValuationModel, fit_valuation_model
from housevis.pricing.attributes import LOCATION
from housevis.pricing.baselines import cheap_baselines, pictures_only
from housevis.pricing.splits import grouped_folds, rolling_origins, spatial_blocks
from housevis.pricing.validation import (
    ATTRIBUTES,
    BOTH,
    BY_BLOCK,
    BY_DATE,
    BY_HOUSE,
    EVERYTHING,
    KNOWN,
    PICTURES,
    ROLLING_ORIGIN,
)
from housevis.runs import Run, read_parquet, write_parquet

PARTS = "validation"
"""Folder in a run's folder with the estimates of every finished part."""
KILOMETRES = 1.0
"""Side of a spatial block."""

_SHARED = "report"


@dataclass(frozen=True, eq=False)
class Part:
    """Sales that are judged by a model of others.

    Attributes:
        test: Name of the test.
        name: Name of the part, for the table.
        teach: Sales ``(n,)`` that the model learns from.
        judge: Sales ``(n,)`` that are judged.
        model_id: The run's model that has learned from just these; None where
            one has to be fitted.
        file: Name of the file that keeps the part.
    """

    test: str
    name: str
    teach: NDArray[np.bool_]
    judge: NDArray[np.bool_]
    model_id: str | None
    file: str

    def settings(self, sold: SoldHouses) -> str:
        """The same for the same sales on both sides."""
        sides = pd.DataFrame({"sale": sold.sales["sale_id"], "teach": self.teach, "judge": self.judge})
        return fingerprint(test=self.test, sides=frame_digest(sides))


def parts_of(test: str, sold: SoldHouses, config: Config, origins: int) -> list[Part]:
    """The parts of a test, in their order.

    Args:
        test: One of :data:`housevis.pricing.validation.TESTS`.
        sold: The sales.
        config: The configuration.
        origins: Number of origins of the rolling origin.

    Raises:
        ModelError: There are fewer days or blocks than parts.
    """
    if test == BY_DATE:
        return [Part(test, EVERYTHING, sold.training_rows(EARLIER), ~sold.is_earlier, EARLIER, "by-date")]
    if test == BY_HOUSE:
        return [
            Part(
                test,
                f"fold {number + 1}",
                sold.training_rows(model_id),
                sold.model_ids == model_id,
                model_id,
                f"by-house-{number + 1}",
            )
            for number, model_id in enumerate(sold.evaluation_models())
            if model_id != EARLIER
        ]
    return _origins(sold, config, origins) if test == ROLLING_ORIGIN else _blocks(sold, config)


def _origins(sold: SoldHouses, config: Config, origins: int) -> list[Part]:
    dates = sold.sales["sale_date"]
    starts = rolling_origins(dates, config.pricing.train_share, origins)
    ends = [*starts[1:], dates.max() + pd.Timedelta(days=1)]
    parts = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        judge = ((dates >= start) & (dates < end)).to_numpy()
        teach = _without_shared((dates < start).to_numpy(), judge, sold)
        last = dates[judge].max()
        name = f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
        parts.append(Part(ROLLING_ORIGIN, name, teach, judge, None, f"rolling-origin-{number}-of-{origins}"))
    return parts


def _without_shared(
    teach: NDArray[np.bool_], judge: NDArray[np.bool_], sold: SoldHouses
) -> NDArray[np.bool_]:
    """Those that may teach: no sale of a house that is judged, unless the policy is ``report``."""
    if sold.shared_houses == _SHARED:
        return teach
    houses = sold.sales["house_id"]
    return teach & ~houses.isin(houses[judge]).to_numpy()


def _blocks(sold: SoldHouses, config: Config) -> list[Part]:
    earlier, taught = sold.is_earlier, sold.training_rows(EARLIER)
    latitude, longitude = (sold.sales.loc[earlier, name].to_numpy(np.float64) for name in LOCATION)
    blocks = spatial_blocks(latitude, longitude, sold.groups[earlier], kilometres=KILOMETRES)
    folds = np.full(len(earlier), -1, dtype=np.int64)
    folds[earlier] = grouped_folds(blocks, config.pricing.folds, config.seed)
    return [
        Part(
            BY_BLOCK,
            f"fold {number + 1}",
            taught & (folds != number),
            folds == number,
            None,
            f"by-spatial-block-{number + 1}",
        )
        for number in range(config.pricing.folds)
    ]


def part_file(run: Run, part: Part) -> Path:
    """Where the estimates of a part are kept."""
    return run.folder / PARTS / f"{part.file}.parquet"


def finished_part(run: Run, sold: SoldHouses, part: Part) -> pd.DataFrame | None:
    """The estimates of a part that was finished before; None where it was not, or of other sales."""
    path = part_file(run, part)
    if not path.is_file():
        return None
    table = read_parquet(path)
    return table if table.attrs.get("settings") == part.settings(sold) else None


def judge_part(
    run: Run,
    sold: SoldHouses,
    part: Part,
    config: Config,
    penalties: Mapping[str, float] | None,
    judged: pd.DataFrame,
) -> pd.DataFrame:
    """Estimates of a part by the run's model and by every baseline; they are kept.

    Args:
        run: The run.
        sold: The sales.
        part: The part.
        config: The configuration.
        penalties: Penalty of the learner of each target; None fits no learner.
        judged: The run's own out-of-sample estimates, in the order of the sales.

    Returns:
        ``sale_id``, ``house_id``, ``price`` and one column per method, the
        run's model first.

    Raises:
        ModelError: Too few sales.
    """
    teach, judge = part.teach, part.judge
    sales = sold.sales[judge].reset_index(drop=True)
    taught = sold.sales[teach].reset_index(drop=True)
    model = _model(run, sold, part, config, penalties)
    table = sales[list(KNOWN)].copy()
    visual = model.visual_features(sold.pooled[judge])
    if part.model_id is None:
        features = model.features(sales, sold.pooled[judge])
        estimate = model.price_model.predict(features)
        without = model.price_model.predict_without_picture(features)
    else:
        estimate = judged.loc[judge, "estimate"].to_numpy(np.float64)
        without = judged.loc[judge, "without_picture"].to_numpy(np.float64)
    if model.learners:
        table[BOTH] = estimate
    table[ATTRIBUTES] = without if model.learners else estimate
    if model.learners:
        price = taught["price"].to_numpy(np.float64)
        table[PICTURES] = pictures_only(
            price, model.training_visual(), visual, config.pricing, seed=config.seed
        )
    attributes = model.price_model.attributes_
    for name, values in cheap_baselines(taught, sales, attributes, model.price_model.market_index_).items():
        table[name] = values
    table.attrs["settings"] = part.settings(sold)
    write_parquet(table, part_file(run, part))
    return table


def _model(
    run: Run, sold: SoldHouses, part: Part, config: Config, penalties: Mapping[str, float] | None
) -> ValuationModel:
    """The model of a part: the run's own where it has one, else it is fitted on the sales that teach."""
    if part.model_id is not None:
        return ValuationModel.load(run.evaluation / part.model_id)
    rows = part.teach
    return fit_valuation_model(
        part.file,
        sold.sales[rows].reset_index(drop=True),
        sold.pooled[rows],
        sold.groups[rows],
        config,
        penalties=penalties,
    )
