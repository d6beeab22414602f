"""The parcels that the map shows, of a file or of the fictional town."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.parcels import parcels_near, read_parcels, surroundings_of
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
    source, town = config.atlas.parcels, config.sample_market
    if isinstance(source, Path):
        found = read_parcels(source, _surroundings(records, pictures))
        return AtlasParcels(found.areas, config.atlas.parcels_attribution), [found.words()]
    if source is None or town is None:
        return None, []
    lots = parcels_near(lot_areas(town.houses, town.seed), _surroundings(records, pictures))
    return AtlasParcels(lots.areas), []


def _surroundings(records: pd.DataFrame, pictures: AtlasPictures | None) -> NDArray[np.float64]:
    places = records[["latitude", "longitude"]].to_numpy(np.float64)
    surroundings = surroundings_of(places[:, 0], places[:, 1])
    if pictures is not None:
        pictured = np.ptp(pictures.heat_bounds, axis=1) > 0
        surroundings[pictured] = pictures.heat_bounds[pictured]
    return surroundings
