"""Value maps of the houses of a run: what they are made with, and the effect that they spread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from housevis.core.config import Config
from housevis.explain.picture_words import PictureWords, WordValues
from housevis.explain.value_map import ValueMapModel, ValueMaps, effect_slopes, log_mean
from housevis.pipeline.embedding import PictureLoader, house_places
from housevis.pipeline.project import Project
from housevis.pipeline.sold import SoldHouses
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.attributes import model_table
from housevis.vision.embed import fit_picture
from housevis.vision.siamese import merged_learners

VALUE_MAP = "value-map.safetensors"
METHOD = "value map"

GUIDE_PICTURES = 600
"""Pictures of sold houses that the words are found in, for all models of a run."""

FEWEST_GUIDES = 50
"""A model that learned from fewer of these pictures goes without guidance."""

_SALES_FOR_SLOPES = 2000


@dataclass(frozen=True, eq=False)
class ReadPictures:
    """Pictures of some sold houses, read as words.

    Attributes:
        rows: Their sales, rows of the sold houses ``(n,)``.
        words: The dictionary.
        read: ``(n, 56, 56)``.
    """

    rows: NDArray[np.int64]
    words: PictureWords
    read: NDArray[np.int64]


def read_pictures(project: Project, sold: SoldHouses, side: int) -> ReadPictures | None:
    """Read pictures drawn from all sold houses; None where there are too few.

    Args:
        project: An open project whose pictures are embedded.
        sold: Its sales.
        side: Side of a picture in pixels, as the backbone takes it.
    """
    config = project.config
    seen = np.flatnonzero(sold.image_keys != "")
    _, first = np.unique(sold.image_keys[seen], return_index=True)
    drawn = np.random.default_rng(config.seed).permutation(seen[np.sort(first)])[:GUIDE_PICTURES]
    rows, pictures = [], []
    places = house_places(sold.sales.iloc[drawn], config.imagery.zoom)
    row_of = dict(zip(sold.sales["house_id"].astype(str).iloc[drawn], drawn.tolist(), strict=True))
    with TileArchive(project.workspace.archive) as archive:
        loader = PictureLoader(archive, config.imagery, config.vision)
        for place in places:
            pixels = loader.pixels(place)
            if pixels is not None:
                rows.append(row_of[place.house_id])
                pictures.append(fit_picture(pixels, side))
    if len(rows) < FEWEST_GUIDES:
        return None
    words = PictureWords.fit(np.stack(pictures), seed=config.seed)
    return ReadPictures(np.array(rows), words, words.read(np.stack(pictures)))


def build_value_map_model(
    folder: Path, config: Config, sold: SoldHouses, rows: NDArray[np.bool_], pictures: ReadPictures | None
) -> ValueMapModel:
    """What one model's value maps are made with, from its training sales alone.

    Args:
        folder: The model's folder; it is kept there, and read where it is there.
        config: The configuration.
        sold: The sales.
        rows: Those that the model was fitted on ``(n,)``.
        pictures: Pictures for the guidance; of those only the model's training sales count.
    """
    file = folder / VALUE_MAP
    if file.is_file():
        return ValueMapModel.load(file)
    model = ValuationModel.load(folder)
    sales = sold.sales[rows].reset_index(drop=True)
    visual = model.training_visual()
    drawn = np.random.default_rng(config.seed).permutation(len(sales))[:_SALES_FOR_SLOPES]
    table = model_table(
        sales.iloc[drawn].reset_index(drop=True), model.price_model.attributes_, visual[drawn]
    )
    contributions = model.price_model.contributions(table)[:, _visual_columns(model)]
    slopes = effect_slopes(contributions, visual[drawn])
    seen = rows & (sold.image_keys != "")
    origin = sold.pooled[seen].mean(axis=0, dtype=np.float64).astype(np.float32)
    words = values = None
    if pictures is not None:
        known = np.flatnonzero(seen[pictures.rows])
        if len(known) >= FEWEST_GUIDES:
            feature = model.visual_features(sold.pooled[pictures.rows[known]]) @ slopes
            words = pictures.words
            values = WordValues.fit(pictures.read[known], feature, len(words))
    built = ValueMapModel(origin, slopes.astype(np.float32), words, values)
    built.save(file)
    return built


def visual_effects(
    model: ValuationModel, sales: pd.DataFrame, pooled: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the picture adds to the estimates, as the estimates report it.

    Args:
        model: The model.
        sales: Sale frame, n rows; no price is needed.
        pooled: What the learners embed, ``(n, K (1 + blocks))``, NaN rows where there is no picture.

    Returns:
        The visual effect ``(n,)`` in log units, and currency per log unit ``(n,)``.
    """
    return effects_of(model, model.price_model.contributions(model.features(sales, pooled)))


def effects_of(
    model: ValuationModel, contributions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same as :func:`visual_effects`, of Shapley values ``(n, F + 1)`` with the base last."""
    base = contributions[:, -1]
    visual = contributions[:, _visual_columns(model)].sum(axis=1)
    return visual, log_mean(np.exp(contributions.sum(axis=1)), np.exp(base))


def _visual_columns(model: ValuationModel) -> list[int]:
    """Where the visual features stand among the model's features."""
    names = list(model.price_model.features_)
    return [names.index(name) for name in model.price_model.visual_names]


class Valuer:
    """One model's value maps for any picture.

    Args:
        model: The valuation model.
        maps: What its value maps are made with.
    """

    def __init__(self, model: ValuationModel, maps: ValueMapModel) -> None:
        self.model = model
        self._learners = merged_learners(model.learners)
        self._maps = maps

    @classmethod
    def load(cls, folder: Path) -> Valuer:
        """Read a model's folder.

        Raises:
            ModelError: It holds no model, or none with value maps.
        """
        return cls(ValuationModel.load(folder), ValueMapModel.load(folder / VALUE_MAP))

    def explain(
        self,
        maps: NDArray[np.float32],
        pooled: NDArray[np.float32],
        effects: NDArray[np.float64],
        currency: NDArray[np.float64],
        pictures: NDArray[np.uint8],
    ) -> ValueMaps:
        """The value maps of n houses, see :meth:`housevis.explain.value_map.ValueMapModel.explain`."""
        return self._maps.explain(self._learners, maps, pooled, effects, currency, pictures)
