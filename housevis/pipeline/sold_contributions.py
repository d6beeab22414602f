"""Why every sold house is estimated as it is, reckoned once per model and kept with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.pipeline.sold import SoldHouses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run, read_parquet, write_parquet

CONTRIBUTIONS = "contributions.parquet"
_KNOWN = ["sale_id", "house_id"]


def sold_contributions(
    run: Run, sold: SoldHouses, model_id: str, model: ValuationModel
) -> NDArray[np.float64]:
    """Shapley values of the sales that a model judges out of sample.

    Exact drivers are what a run reckons longest on: the `explain` step needs
    them for the value maps and `evaluate` for the estimates, so the first of
    them keeps them in the model's folder.

    Args:
        run: The run.
        sold: The sales.
        model_id: The model.
        model: The model itself.

    Returns:
        ``(m, F + 1)`` in log units, the base last, for the m sales of this
        `model_id` in their order.
    """
    rows = np.flatnonzero(sold.model_ids == model_id)
    sales = sold.sales.iloc[rows].reset_index(drop=True)
    names = [*model.price_model.features_, "base"]
    file = model_folder(run, model_id) / CONTRIBUTIONS
    if file.is_file():
        kept = read_parquet(file)
        if list(kept.columns) == [*_KNOWN, *names] and kept["sale_id"].tolist() == sales["sale_id"].tolist():
            return kept[names].to_numpy(np.float64)
    found = model.price_model.contributions(model.features(sales, sold.pooled[rows]))
    known = sales[_KNOWN].reset_index(drop=True)
    write_parquet(pd.concat([known, pd.DataFrame(found, columns=names)], axis=1), file)
    return found
