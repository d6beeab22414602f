"""What the map, the report and the pages of a run say alike."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from housevis.core.config import Config
from housevis.pipeline.land_cover import file_mark, land_cover_mark
from housevis.pipeline.leaks import houses_to_hide
from housevis.pipeline.project import fingerprint
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run
from housevis.views.data import Headline

_PLANTED = "are generated, and the effect of pools, water, trees and arterial roads on the price was planted."
FICTIONAL = f"This town is fictional: streets, houses, prices and pictures {_PLANTED}"
FICTIONAL_WITHOUT_PICTURES = f"This town is fictional: streets, houses and prices {_PLANTED}"


def shown_settings(config: Config) -> str:
    """A fingerprint of the settings that change the pages and nothing else."""
    return fingerprint(
        atlas=config.atlas.model_dump(mode="json"),
        area_unit=config.listings.area_unit,
        attribution=config.imagery.attribution,
        rights_reference=config.imagery.rights_reference,
        parcels=file_mark(config.atlas.parcels) if isinstance(config.atlas.parcels, Path) else [],
        land_cover=land_cover_mark(config.land_cover) if config.uses_pictures else "",
        land_cover_attribution=config.land_cover.attribution,
    )


def training_members(run: Run, model_ids: Collection[str]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The sales and the houses that each model was fitted on, as its own folder records them."""
    sales, houses = {}, {}
    for model_id in model_ids:
        training = ValuationModel.load(model_folder(run, model_id)).training
        sales[model_id] = set(training["sale_id"])
        houses[model_id] = houses_to_hide(run, model_id, training)
    return sales, houses


def notice(config: Config) -> str | None:
    """The sentence at the head of pages of a fictional town; None of a real market."""
    if config.sample_market is None:
        return None
    return FICTIONAL if config.uses_pictures else FICTIONAL_WITHOUT_PICTURES


def headline(figures: dict[str, Any]) -> Headline:
    """The figures at the head of every page, of a run's ``metrics.json``."""
    return Headline(**figures["headline"])
