"""What all house pages of a run have in common: labels, sliders, credits, where other sales lie."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from housevis.core.config import Config
from housevis.pipeline.house_details import HouseDetails, shown_attributes
from housevis.pipeline.land_cover import land_cover_notes
from housevis.pipeline.page_facts import headline, notice
from housevis.pipeline.what_if import MEANING
from housevis.pricing.attributes import LOCATION
from housevis.pricing.price_dates import adjustment_words
from housevis.runs import Run
from housevis.views.house_chunks import around_place
from housevis.views.house_page import HousePages, Slider
from housevis.views.words import ATTRIBUTE_LABELS, label

_AROUND: Final = 1_200
"""Sales that the little maps of all houses draw faintly, at most."""

_TAILS: Final = (0.5, 99.5)
_STEPS: Final = 100


def house_pages(
    config: Config,
    run: Run,
    sales: pd.DataFrame,
    details: HouseDetails,
    archive: TileArchive | None,
    training: tuple[Mapping[str, Collection[str]], Mapping[str, Collection[str]]],
) -> HousePages:
    """Everything that the house pages of a run show.

    Args:
        config: The run's configuration.
        run: The run.
        sales: All sales, a sale frame.
        details: Their houses.
        archive: The imagery; None in a run without pictures.
        training: Sales and houses that each model was fitted on, see
            :func:`housevis.pipeline.page_facts.training_members`.
    """
    credit, rights = "", None
    notes: tuple[str, ...] = ()
    if archive is not None:
        credit = archive.attribution.removeprefix("Source: ")
        rights = config.imagery.rights_reference or archive.metadata.get("housevis_rights_reference") or None
        notes = land_cover_notes(config, details.under)
    return HousePages(
        title=config.atlas.title or config.name,
        run_id=run.run_id,
        currency=config.listings.currency,
        area_unit=config.listings.area_unit,
        interval=config.pricing.interval,
        labels={
            name: label(name, ATTRIBUTE_LABELS) for name in (*shown_attributes(config), *details.driver_names)
        },
        records=details.records,
        training_sales=training[0],
        training_houses=training[1],
        houses=details,
        headline=headline(run.metrics()),
        notice=notice(config),
        uses_pictures=config.uses_pictures,
        credit=credit,
        rights=rights,
        under_notes=notes,
        adjustment=adjustment_words(config.pricing.market_index, config.pricing.attributes),
        sliders=sliders(config, sales),
        meaning=MEANING,
        around=_around(sales),
    )


def sliders(config: Config, sales: pd.DataFrame) -> list[Slider]:
    """What can be changed of a house, over nearly all that the sales hold; no place and no date."""
    found = []
    for name in config.pricing.attributes:
        if name in (*LOCATION, "sale_month") or name not in sales.columns:
            continue
        values = pd.to_numeric(sales[name]).to_numpy(np.float64, na_value=np.nan)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, high = (float(edge) for edge in np.percentile(values, _TAILS))
        low, high = math.floor(low), math.ceil(high)
        if high > low:
            found.append(Slider(name, low, high, _step(values, high - low)))
    return found


def _step(values: Any, span: float) -> float:
    """An even step; never finer than the values themselves."""
    finest = next((step for step in (1.0, 0.5, 0.25) if not np.mod(values, step).any()), 0.0)
    wanted = span / _STEPS
    power = 10.0 ** math.floor(math.log10(wanted))
    even = min(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= 0.999 * wanted)
    return max(finest, even)


def _around(sales: pd.DataFrame) -> list[list[float]]:
    houses = sales.drop_duplicates("house_id", keep="last")
    chosen = np.unique(np.linspace(0, len(houses) - 1, min(_AROUND, len(houses))).astype(int))
    places = houses[["latitude", "longitude"]].to_numpy(np.float64)[chosen]
    return [around_place(latitude, longitude) for latitude, longitude in places.tolist()]
