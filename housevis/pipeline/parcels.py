"""The parcels that the map shows, of a file or of the fictional town."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_pipeline.parcels import Parcels, parcels_near, read_parcels, surroundings_of
from data_pipeline.sample_market.lots import lot_areas
from housevis.core.config import Config
from housevis.views.data import AtlasParcels, AtlasPictures


def map_parcels(
    config: Config, records: pd.DataFrame, pictures: AtlasPictures | None
) -> tuple[AtlasParcels | None, list[str]]:
    """The parcels in the surroundings of the houses that are shown, and what is to be said of them.

    The surroundings of a house are its picture; fifty metres to each side where there is none.

    Args:
        config: The run's configuration.
        records: The houses, with ``latitude`` and ``longitude``.
        pictures: Their pictures, in the same order.

    Raises:
        ConfigError: The file is missing.
        DataError: It holds no parcel near the houses, or cannot be read.
    """
    source = config.atlas.parcels
    if source is None:
        return None, []
    places = records[["latitude", "longitude"]].to_numpy(np.float64)
    surroundings = surroundings_of(places[:, 0], places[:, 1])
    if pictures is not None:
        pictured = np.ptp(pictures.heat_bounds, axis=1) > 0
        surroundings[pictured] = pictures.heat_bounds[pictured]
    town = config.sample_market
    found: Parcels
    if source == "sample-market" and town is not None:
        found = parcels_near(lot_areas(town.houses, town.seed), surroundings)
        return AtlasParcels(found.areas), []
    found = read_parcels(source, surroundings)
    return AtlasParcels(found.areas, config.atlas.parcels_attribution), [found.words()]
