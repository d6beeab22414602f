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
        planted part of the price, see :func:`recovered_parts`, and
        ``recovered_by_ceiling``, the same of a model with the true drivers
        as columns;
        ``attention``, with pictures: heat ratios on the true driver masks of
        the later sales' houses, pooled and per driver.
    """
    section = project.config.sample_market
    assert section is not None
    town = open_town(section)
    truth = town.houses()
    config = project.config
    effects = truth.set_index("id")[[f"{driver}_effect" for driver in DRIVERS]]
    later_sales = table[~sold.is_earlier]
    price = later_sales["price"].to_numpy()
    by_ceiling = later_estimates(config, sold, config.pricing.attributes, effects)
    ceiling = metrics.hit(by_ceiling, price)
    attributes = metrics.hit(later_estimates(config, sold, config.pricing.attributes, None), price)
    location = metrics.hit(later_estimates(config, sold, list(LOCATION), None), price)
    gain = metrics.paired_bootstrap_difference(attributes, ceiling, config.pricing.bootstrap, config.seed)
    figures: dict[str, Any] = {
        "ceiling": float(ceiling.mean()),
        "gain_of_ceiling": gain.to_dict(),
        "location_only": float(location.mean()),
    }
    known = truth.set_index("id").loc[later_sales["house_id"]]
    for name, estimates in (
        ("recovered", later_sales["estimate"].to_numpy()),
        ("recovered_by_ceiling", by_ceiling),
    ):
        parts = recovered_parts(known, np.log(estimates), repeats=config.pricing.bootstrap, seed=config.seed)
        figures[name] = [part.to_dict() for part in parts]
    if config.uses_pictures:
        maps = load_parts(run.maps)
        later = maps.houses["model_id"].to_numpy() == EARLIER
        house_ids = maps.houses.loc[later, "house_id"].tolist()
        side = round(config.vision.image_size * config.imagery.window)
        scores = score_attention(town, house_ids, {"transferred": maps.heats[later]}, side)
        figures["attention"] = [score.__dict__ for score in scores]
    return figures


def later_estimates(
    config: Config, sold: SoldHouses, attributes: list[str], effects: pd.DataFrame | None
) -> NDArray[np.float64]:
    """Estimates of the later sales ``(m,)`` by a boosting on attributes, and on true effects.

    Args:
        config: The configuration of the boosting.
        sold: The sales.
        attributes: Names of the attributes.
        effects: True effects of the drivers, by house; None takes the attributes alone.
    """
    features = encode(sold.sales, attributes)
    if effects is not None:
        true = effects.reindex(sold.sales["house_id"]).set_index(features.index)
        features = pd.concat([features, true], axis=1)
    train = sold.training_rows(EARLIER)
    price = sold.sales["price"].to_numpy()
    model = HousePriceModel.from_section(config.pricing, list(features.columns), seed=config.seed)
    features = features.assign(house_id=sold.sales["house_id"], sale_date=sold.sales["sale_date"])
    model.fit(features[train], price[train])
    return model.predict(features[~sold.is_earlier])


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
