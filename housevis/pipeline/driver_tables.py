"""The tables of what drives the estimates: by area, over time, and the picture's effect by place."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.core.config import Config
from housevis.pipeline.judging import DRIVER_PREFIX
from housevis.pipeline.report_tables import ReportTable, keep_tables, read_table
from housevis.pipeline.sold import EARLIER, SoldHouses, stored_estimates
from housevis.pipeline.sold_contributions import sold_contributions
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing import driver_tables, location_and_picture
from housevis.pricing.attributes import LOCATION
from housevis.pricing.driver_tables import SaleDrivers, drivers_by_group
from housevis.pricing.drivers import PICTURE, driver_groups, log_effects
from housevis.pricing.sale_groups import AREA, QUARTER, groupings
from housevis.runs import Run
from housevis.views.driver_tables import DriverTables

BY_AREA: Final = "drivers_by_area"
OVER_TIME: Final = "drivers_over_time"
LOCATION_AND_PICTURE: Final = "location_and_picture"

_MOST_REPEATS: Final = 500
_FEWEST_WITH_PICTURE: Final = 100
"""With fewer later sales that have a picture, tenths of them say nothing."""


def keep_driver_tables(
    config: Config, run: Run, sold: SoldHouses, judged: pd.DataFrame | None = None
) -> None:
    """Write the tables of drivers into a run's folder, unless they are there for these settings.

    They are of the later sales, whose estimates come from a model that has
    not seen them: log units from its Shapley values, currency from the
    stored estimates.

    Args:
        config: The configuration.
        run: The run, whose sales are judged.
        sold: The sales.
        judged: Their out-of-sample estimates where they have just been made; None reads those of the run.

    Raises:
        ConfigError: ``ratio_studies.area`` is no attribute of the sales.
    """
    settings = {"area": config.ratio_studies.area}
    if judged is None:
        stored = read_table(run, BY_AREA)
        if stored is not None and stored.attrs.get("settings") == settings:
            return
        judged = stored_estimates(run, sold)
        if judged is None:
            return
    keep_tables(run, _tables(config, run, sold, judged, settings))


def read_driver_tables(run: Run) -> DriverTables | None:
    """The tables of drivers of a run; None of a run that was evaluated before there were any.

    Raises:
        RunError: A file is damaged.
    """
    by_area, over_time = read_table(run, BY_AREA), read_table(run, OVER_TIME)
    if by_area is None or over_time is None:
        return None
    return DriverTables(by_area, over_time, read_table(run, LOCATION_AND_PICTURE))


def _tables(
    config: Config, run: Run, sold: SoldHouses, judged: pd.DataFrame, settings: dict[str, Any]
) -> list[ReportTable]:
    later = ~sold.is_earlier
    model = ValuationModel.load(model_folder(run, EARLIER))
    prices = model.price_model
    contributions = sold_contributions(run, sold, EARLIER, model)
    names, logs = log_effects(
        contributions[:, :-1], prices.features_, driver_groups(prices.visual_names, prices.comparable_names_)
    )
    estimates = judged[later].reset_index(drop=True)
    amounts = estimates[[DRIVER_PREFIX + name for name in names]].to_numpy(np.float64)
    drivers = SaleDrivers(names, logs, amounts, estimates["estimate"].to_numpy(np.float64))
    sales = sold.sales[later].reset_index(drop=True)
    extra = [name for name in sales.columns if name not in estimates.columns]
    grouped = groupings(pd.concat([estimates, sales[extra]], axis=1), area=config.ratio_studies.area)
    tables = []
    for name, by, holds in (
        (BY_AREA, AREA, "What drives the estimates of later sales, over all and by area."),
        (OVER_TIME, QUARTER, "What drives the estimates of later sales, over all and by quarter of sale."),
    ):
        found = drivers_by_group(drivers, [each for each in grouped if each.by == by])
        found.attrs["settings"] = settings
        tables.append(ReportTable(name, holds, found, driver_tables.COLUMNS))
    seen = np.flatnonzero(estimates["used_picture"].to_numpy(bool))
    if len(seen) >= _FEWEST_WITH_PICTURE and PICTURE in names and set(LOCATION) <= set(prices.attributes_):
        shown = SaleDrivers(names, logs[seen], amounts[seen], drivers.estimate[seen])
        features = model.features(sales.iloc[seen].reset_index(drop=True), sold.pooled[later][seen])
        table = location_and_picture.location_and_picture(
            shown,
            location_and_picture.exchange(prices, features, seed=config.seed),
            repeats=min(config.pricing.bootstrap, _MOST_REPEATS),
            seed=config.seed,
        )
        holds = "The picture's effect on the estimates of later sales, by tenths of the location's effect."
        tables.append(ReportTable(LOCATION_AND_PICTURE, holds, table, location_and_picture.COLUMNS))
    return tables
