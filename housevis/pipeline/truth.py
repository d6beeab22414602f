"""The sample market's truth against what a run found: prices explained, and heat on the drivers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.sample_market import DRIVERS, SampleMarket
from housevis.core.config import Config, SampleMarketSection
from housevis.explain.metrics import HeatRatio, HeatShare
from housevis.pipeline.attention import load_parts
from housevis.pipeline.planted import recovered_parts
from housevis.pipeline.project import Project
from housevis.pipeline.sold import EARLIER, SoldHouses
from housevis.pricing import metrics
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.model import HousePriceModel
from housevis.runs import Run

_BATCH = 64


def open_town(section: SampleMarketSection) -> SampleMarket:
    """The town of a configuration."""
    return SampleMarket(**section.model_dump())


def town_figures(project: Project, run: Run, sold: SoldHouses, table: pd.DataFrame) -> dict[str, Any]:
    """What only a town with known truth can tell.

    Args:
        project: An open project of a sample market.
        run: The run.
        sold: The sales.
        table: Out-of-sample estimates, as `judge_sold_houses` gives them.

    Returns:
        ``ceiling``: share of later sales within ±10 % with the true drivers
        as columns; ``location_only``: the same with latitude and longitude
        alone; ``gain_of_ceiling``: gain over the attributes alone;
        ``recovered``: what the estimates of later sales give back of every
        planted part of the price, see :func:`recovered_parts`;
        ``attention``, with pictures: heat ratios on the true driver masks of
        the later sales' houses, pooled and per driver.
    """
    section = project.config.sample_market
    assert section is not None
    town = open_town(section)
    truth = town.houses()
    config = project.config
    effects = truth.set_index("id")[[f"{driver}_effect" for driver in DRIVERS]]
    ceiling = _later_hits(config, sold, config.pricing.attributes, effects)
    attributes = _later_hits(config, sold, config.pricing.attributes, None)
    location = _later_hits(config, sold, list(LOCATION), None)
    gain = metrics.paired_bootstrap_difference(attributes, ceiling, config.pricing.bootstrap, config.seed)
    figures: dict[str, Any] = {
        "ceiling": float(ceiling.mean()),
        "gain_of_ceiling": gain.to_dict(),
        "location_only": float(location.mean()),
    }
    later_sales = table[~sold.is_earlier]
    recovered = recovered_parts(
        truth.set_index("id").loc[later_sales["house_id"]],
        np.log(later_sales["estimate"]),
        repeats=config.pricing.bootstrap,
        seed=config.seed,
    )
    figures["recovered"] = [part.to_dict() for part in recovered]
    if config.uses_pictures:
        maps = load_parts(run.maps)
        later = maps.houses["model_id"].to_numpy() == EARLIER
        house_ids = maps.houses.loc[later, "house_id"].tolist()
        side = round(config.vision.image_size * config.imagery.window)
        scores = score_attention(town, house_ids, {"transferred": maps.heats[later]}, side)
        figures["attention"] = [score.__dict__ for score in scores]
    return figures


def _later_hits(
    config: Config, sold: SoldHouses, attributes: list[str], effects: pd.DataFrame | None
) -> NDArray[np.bool_]:
    """Which later sales ``(m,)`` a boosting on attributes, and on true effects, gets within ±10 %."""
    features = encode(sold.sales, attributes)
    if effects is not None:
        true = effects.reindex(sold.sales["house_id"]).set_index(features.index)
        features = pd.concat([features, true], axis=1)
    train = sold.training_rows(EARLIER)
    price = sold.sales["price"].to_numpy()
    model = HousePriceModel.from_section(config.pricing, list(features.columns), seed=config.seed)
    features = features.assign(house_id=sold.sales["house_id"], sale_date=sold.sales["sale_date"])
    model.fit(features[train], price[train])
    later = ~sold.is_earlier
    return metrics.hit(model.predict(features[later]), price[later])


def score_attention(
    town: SampleMarket, house_ids: list[str], heats: dict[str, NDArray[np.float32]], side: int = 224
) -> list[HeatShare]:
    """Heat ratios of attention maps on the true driver masks of centred pictures.

    Args:
        town: The town.
        house_ids: The n houses.
        heats: Method -> maps ``(n, h, w)``, in the order of the houses.
        side: Side of the pictures' ground, in pixels of zoom 18.
    """
    ratio = HeatRatio(DRIVERS)
    for start in range(0, len(house_ids), _BATCH):
        rows = slice(start, start + _BATCH)
        masks = town.driver_masks(house_ids[rows], side)
        ratio.add({method: heat[rows] for method, heat in heats.items()}, masks)
    return ratio.results()
