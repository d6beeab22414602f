"""The sample market's truth against what a run found: prices explained, and heat on the drivers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.sample_market import DRIVERS, SampleMarket
from data_pipeline.sample_market.prices import FULL_EFFECTS, LEAST_SHARE
from housevis.core.config import Config
from housevis.core.config_sections import SampleMarketSection
from housevis.explain.heatmap import interpolation_matrix
from housevis.explain.metrics import HeatRatio, HeatShare
from housevis.pipeline.attention import load_parts
from housevis.pipeline.planted import recovered_parts
from housevis.pipeline.project import Project
from housevis.pipeline.sold import EARLIER, SoldHouses
from housevis.pricing import metrics
from housevis.pricing.attributes import LOCATION, encode
from housevis.pricing.model import HousePriceModel
from housevis.runs import Run

TRANSFERRED = "transferred"
VALUE_MAP = "value map"

SIGNED_DRIVERS = ("pool", "water", "arterial")
"""Drivers that stand in one place and whose value has one sign."""

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
        the later sales' houses, pooled and per driver, of the attention maps
        and of the absolute values of the value maps; ``value_map``: how often
        their sign is right, see :func:`score_values`.
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
        placed = maps.houses.loc[later, "value_status"].to_numpy() == "ok"
        values = np.where(placed[:, None, None], maps.values[later], np.float32(0))
        scores = score_attention(town, house_ids, {TRANSFERRED: maps.heats[later]}, side)
        of_values = score_attention(town, house_ids, {VALUE_MAP: np.abs(values)}, side)
        kept = [score for score in of_values if score.method == VALUE_MAP]
        figures["attention"] = [score.__dict__ for score in scores + kept]
        figures["value_map"] = score_values(town, maps.houses[later], values, side)
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


def score_values(
    town: SampleMarket, houses: pd.DataFrame, values: NDArray[np.float32], side: int = 224
) -> dict[str, Any]:
    """How often value maps have the right sign on a true driver, and whether they add up.

    Args:
        town: The town.
        houses: ``house_id``, ``value_status``, ``visual_effect`` and ``surroundings`` of n houses.
        values: Their value maps ``(n, h, w)``, 0 where refused.
        side: Side of the pictures' ground, in pixels of zoom 18.

    Returns:
        ``drivers``: per driver that covers at least 1 % of a picture
        ``count``, ``refused`` and ``right``, of which the map's sum over the
        mask has the true sign; ``count``, ``refused`` and ``right`` of all
        :data:`SIGNED_DRIVERS` together, as shares; ``largest_error``: of the
        sum of positions and surroundings, as a share of the visual effect.
    """
    house_ids = houses["house_id"].tolist()
    refused = houses["value_status"].to_numpy() != "ok"
    rows, columns = (interpolation_matrix(cells, side) for cells in values.shape[1:])
    found: dict[str, list[tuple[bool, bool]]] = {driver: [] for driver in DRIVERS}
    for start in range(0, len(house_ids), _BATCH):
        masks = town.driver_masks(house_ids[start : start + _BATCH], side)
        for place, driver in enumerate(DRIVERS):
            sign = np.sign(FULL_EFFECTS[driver])
            for house in np.flatnonzero(masks[:, place].mean(axis=(1, 2)) >= LEAST_SHARE):
                row = start + int(house)
                enlarged = rows @ values[row] @ columns.T
                amount = float(enlarged[masks[house, place]].sum())
                found[driver].append((bool(refused[row]), bool(np.sign(amount) == sign) and not refused[row]))
    effects = houses["visual_effect"].to_numpy(np.float64)
    sums = values.sum(axis=(1, 2), dtype=np.float64) + houses["surroundings"].to_numpy(np.float64)
    errors = np.abs(sums - effects)[~refused] / np.abs(effects[~refused])
    together = np.array([each for driver in SIGNED_DRIVERS for each in found[driver]]).reshape(-1, 2)
    return {
        "drivers": {
            driver: {
                "count": len(each),
                "refused": sum(was_refused for was_refused, _ in each),
                "right": sum(is_right for _, is_right in each),
            }
            for driver, each in found.items()
        },
        "count": len(together),
        "refused": float(together[:, 0].mean()) if len(together) else 0.0,
        "right": float(together[:, 1].mean()) if len(together) else 0.0,
        "largest_error": float(errors.max(initial=0.0)),
    }
