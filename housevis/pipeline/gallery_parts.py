"""The houses of a gallery by model: their pictures, every method's maps of them, and the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.frames import HouseImage
from housevis.core.config import Config
from housevis.core.errors import RunError
from housevis.pipeline.embedding import HousePlace, PictureLoader, places_in_order
from housevis.pipeline.gallery_scores import HouseScores
from housevis.pipeline.method_maps import ExplainedHouses, HouseBatch, MapMethod, open_method
from housevis.pipeline.sold import SoldHouses
from housevis.pipeline.training import model_folder
from housevis.pipeline.truth import open_town
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run
from housevis.views.gallery import GalleryPicture
from housevis.vision.embed import fit_picture
from housevis.vision.engines import FeatureEngine

OWN_MAP: Final = "grad-cam"
"""The method that the others are compared with."""


@dataclass(frozen=True, eq=False)
class GalleryPart:
    """The houses of one model, with what the methods made of them so far.

    Attributes:
        model_id: The model.
        batch: The houses.
        images: Their pictures.
        model: The model itself.
        scores: What their maps are scored by.
        found: Method -> its maps.
        scored: Method -> its scores, one row per house.
        opened: Method -> what made its maps.
        cover: Share of each picture that true drivers cover; None where they are not known.
    """

    model_id: str
    batch: HouseBatch
    images: list[HouseImage]
    model: ValuationModel
    scores: HouseScores
    found: dict[str, ExplainedHouses]
    scored: dict[str, pd.DataFrame]
    opened: dict[str, MapMethod]
    cover: NDArray[np.float64] | None

    def add(self, name: str, desk: GalleryDesk) -> None:
        """Make and score the maps of a method; one that is refused has no scores."""
        method = desk.method(name, self.model_id)
        maps = method.explain(self.batch)
        self.opened[name], self.found[name] = method, maps
        refused = np.array([status != "ok" for status in maps.statuses])
        scored = self.scores.of(maps.heats)
        scored.loc[refused] = np.nan
        self.scored[name] = scored


class GalleryDesk:
    """What maps are made with.

    Args:
        run: The run, whose `explain` step is finished.
        config: Its configuration.
        sold: The sales.
        engine: The backbone, ready to run.
        loader: Makes the pictures.
    """

    def __init__(
        self, run: Run, config: Config, sold: SoldHouses, engine: FeatureEngine, loader: PictureLoader
    ) -> None:
        self._run, self._config, self._sold = run, config, sold
        self._engine, self._loader = engine, loader

    def method(self, name: str, model_id: str) -> MapMethod:
        """A method with one model."""
        return open_method(name, self._run, self._config, model_id)

    def picture_part(self, model_id: str, houses: pd.DataFrame) -> GalleryPart:
        """The pictures and feature maps of one model's houses."""
        images = [self._image(place) for place in places_in_order(houses)]
        side = self._engine.backbone.input_size
        pictures = np.stack([fit_picture(image.pixels, side) for image in images])
        maps = self._engine.feature_maps(pictures)
        batch = HouseBatch(houses, maps, self._sold.pooled[houses["row"].to_numpy()], pictures)
        model = ValuationModel.load(model_folder(self._run, model_id))
        masks = self._driver_masks(houses)
        own = self.method(OWN_MAP, model_id).explain(batch).heats
        scores = HouseScores(model, batch, self._engine.pooled, own, masks)
        cover = None if masks is None else masks.mean(axis=(1, 2))
        return GalleryPart(model_id, batch, images, model, scores, {}, {}, {}, cover)

    def lenders(self, parts: Sequence[GalleryPart]) -> dict[str, GalleryPicture]:
        """Pictures of the houses that lent weights, where their name means something."""
        ids = {
            lender
            for part in parts
            for name, found in part.found.items()
            if not part.opened[name].same_weights
            for lender in found.lenders
            if lender is not None
        }
        houses = self._sold.sales.drop_duplicates("house_id", keep="last")
        houses = houses[houses["house_id"].astype(str).isin(ids)]
        return {place.house_id: shown_picture(self._image(place)) for place in places_in_order(houses)}

    def _image(self, place: HousePlace) -> HouseImage:
        image = self._loader.picture(place)
        if image is None:
            raise RunError(
                f"the picture of house {place.house_id!r} is gone from the archive",
                where=self._config.name,
                remedy="Run `housevis tiles CONFIG`, then `housevis embed CONFIG`.",
            )
        return image

    def _driver_masks(self, houses: pd.DataFrame) -> NDArray[np.bool_] | None:
        section, imagery = self._config.sample_market, self._config.imagery
        if section is None or imagery.framing != "centred":
            return None
        side = round(self._config.vision.image_size * imagery.window)
        masks = open_town(section).driver_masks(houses["house_id"].astype(str).tolist(), side)
        return np.asarray(masks.any(axis=1))


def shown_picture(image: HouseImage) -> GalleryPicture:
    """A picture of a house as the page shows it, the house marked."""
    height, width = image.pixels.shape[:2]
    x, y = image.house_pixel
    return GalleryPicture(
        image.pixels,
        image.attribution,
        mark=(x / width, y / height),
        metres=width * image.metres_per_pixel,
    )
