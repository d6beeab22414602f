"""One valuation model: a boosting on attributes, and the feature learners whose features it trusts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.core.errors import ModelError
from housevis.pipeline.learning_targets import fold_targets, places_of, whole_target
from housevis.pricing.attributes import model_table, visual_names
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds
from housevis.runs import read_parquet, write_parquet
from housevis.vision.cross_fitting import fit_and_cross_fit
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import FeatureLearner, embed_all, merged_learners

RANKER = "siamese.safetensors"
TRAINING = "training.parquet"


@dataclass(frozen=True)
class ValuationModel:
    """A fitted model and the sales it was fitted on.

    Attributes:
        model_id: ``"fold-0"`` and so on, ``"earlier"`` or ``"serving"``.
        learners: One feature learner per target; none in a model of
            attributes alone.
        price_model: The boosting, with and without visual features.
        training: Columns ``sale_id``, ``house_id``, one per visual feature,
            the values that the boosting was fitted on, and with pictures
            ``target``, what the first learner learned from (log units).
    """

    model_id: str
    learners: tuple[FeatureLearner, ...]
    price_model: HousePriceModel
    training: pd.DataFrame

    def visual_features(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Visual features ``(n, D)`` of pooled features ``(n, K)``; NaN rows stay NaN.

        The learners' features stand side by side. Without a learner there are
        none: ``(n, 0)``.
        """
        return embed_all(self._merged, pooled) if self.learners else no_pictures(len(pooled))

    @cached_property
    def _merged(self) -> Sequence[FeatureLearner]:
        return merged_learners(self.learners)

    def features(self, sales: pd.DataFrame, pooled: NDArray[np.float32]) -> pd.DataFrame:
        """What the boosting takes of n sales, see :func:`housevis.pricing.attributes.model_table`.

        Args:
            sales: Sale frame, n rows.
            pooled: Pooled features ``(n, K)``, NaN rows where there is no picture.
        """
        return model_table(sales, self.price_model.attributes_, self.visual_features(pooled))

    def training_visual(self) -> NDArray[np.float32]:
        """The visual features ``(n, D)`` that the boosting was fitted on."""
        return self.training[list(self.price_model.visual_names)].to_numpy(np.float32)

    def picture_ranker(self) -> FeatureLearner:
        """The learner of the first target, whose attention is shown.

        Raises:
            ModelError: It is a model of attributes alone.
        """
        if not self.learners:
            raise ModelError(
                "this model uses no pictures and has no feature learner",
                where=f"model {self.model_id}",
                remedy='Set visual_features = "in-sample" in [pricing] and run `housevis run CONFIG`.',
            )
        return self.learners[0]

    def save(self, folder: Path) -> None:
        """Write the model to its folder; `TRAINING` comes last and marks it complete."""
        for position, learner in enumerate(self.learners):
            learner.save(folder / learner_file(position))
        self.price_model.save(folder)
        write_parquet(self.training, folder / TRAINING)

    @classmethod
    def load(cls, folder: Path) -> ValuationModel:
        """Read a model.

        Raises:
            ModelError: The folder holds no complete model.
            RunError: The table of its training sales is damaged.
        """
        if not is_complete(folder):
            raise ModelError(
                "there is no complete model here",
                where=str(folder),
                remedy="Run `housevis run CONFIG` again.",
            )
        price_model = HousePriceModel.load(folder)
        return cls(
            model_id=folder.name,
            learners=_load_learners(folder, len(price_model.visual_names)),
            price_model=price_model,
            training=read_parquet(folder / TRAINING),
        )


def learner_file(position: int) -> str:
    """Name of the file of the learner of a target, counted from 0."""
    return RANKER if position == 0 else f"siamese-{position + 1}.safetensors"


def _load_learners(folder: Path, features: int) -> tuple[FeatureLearner, ...]:
    learners: list[FeatureLearner] = []
    while sum(learner.dimension for learner in learners) < features:
        learners.append(FeatureLearner.load(folder / learner_file(len(learners))))
    return tuple(learners)


def is_complete(folder: Path) -> bool:
    """True if a whole model was written to `folder`."""
    return (folder / TRAINING).is_file()


def picture_groups(sales: pd.DataFrame, image_keys: NDArray[np.str_]) -> NDArray[np.str_]:
    """The group of each sale: sales of one group are never split between folds.

    Houses that share a picture are one group, and so are the sales of one
    house.

    Args:
        sales: Sale frame, n rows.
        image_keys: Image key of each sale ``(n,)``, empty where none.
    """
    house_ids = sales["house_id"].to_numpy(dtype=str)
    return np.where(image_keys == "", np.char.add("house ", house_ids), image_keys)


def fit_valuation_model(
    model_id: str,
    sales: pd.DataFrame,
    pooled: NDArray[np.float32],
    groups: NDArray[np.str_],
    config: Config,
    *,
    penalties: Mapping[str, float] | None,
) -> ValuationModel:
    """Fit the feature learners, then the boosting on attributes + visual features.

    Without learners the boosting takes the attributes alone.

    Args:
        model_id: The model's name within its run.
        sales: Sale frame, n rows.
        pooled: Pooled features ``(n, K)``, NaN rows where there is no picture.
        groups: Group of each sale ``(n,)``, for the inner folds of
            cross-fitted features.
        config: The configuration.
        penalties: L2 penalty of the learner of each target; None fits no learner.

    Raises:
        ModelError: Too few sales, or too few of them with a picture.
    """
    prices = sales["price"].to_numpy(np.float64)
    learners: tuple[FeatureLearner, ...] = ()
    visual, target = no_pictures(len(sales)), None
    if penalties is not None:
        learners, visual, target = _fit_learners(sales, pooled, groups, config, penalties)
    price_model = HousePriceModel.from_section(
        config.pricing, config.pricing.attributes, visual_names(visual.shape[1]), seed=config.seed
    )
    price_model.fit(model_table(sales, config.pricing.attributes, visual), prices)
    return ValuationModel(model_id, learners, price_model, _training_frame(sales, visual, target))


def no_pictures(count: int) -> NDArray[np.float32]:
    """The features ``(count, 0)`` of sales that are estimated without pictures."""
    return np.empty((count, 0), dtype=np.float32)


def _fit_learners(
    sales: pd.DataFrame,
    pooled: NDArray[np.float32],
    groups: NDArray[np.str_],
    config: Config,
    penalties: Mapping[str, float],
) -> tuple[tuple[FeatureLearner, ...], NDArray[np.float32], NDArray[np.float64]]:
    """The learners, the visual features ``(n, D)`` to fit the boosting on, and the first target ``(n,)``."""
    section, seed = config.siamese, config.seed
    has_picture = np.isfinite(pooled[:, 0])
    seen, places = pooled[has_picture], places_of(sales[has_picture], config)
    folds = grouped_folds(groups, config.pricing.folds, seed)
    if config.pricing.visual_features == "in-sample":
        wholes = [whole_target(name, sales, folds, config) for name in section.targets]
        learners = [
            fit_learner(
                section.objective,
                seen,
                whole[has_picture],
                section,
                seed,
                penalty=penalties[name],
                places=places,
            )
            for name, whole in zip(section.targets, wholes, strict=True)
        ]
        found = embed_all(learners, seen)
    else:
        targets = [fold_targets(name, sales, folds, config, penalties[name]) for name in section.targets]
        wholes = [target.whole for target in targets]
        learners, found = fit_and_cross_fit(
            section.objective,
            seen,
            [target.only(has_picture, folds) for target in targets],
            folds[has_picture],
            section,
            seed,
            places=places,
        )
    visual = np.full((len(sales), found.shape[1]), np.nan, dtype=np.float32)
    visual[has_picture] = found
    return tuple(learners), visual, wholes[0]


def _training_frame(
    sales: pd.DataFrame, visual: NDArray[np.float32], target: NDArray[np.float64] | None
) -> pd.DataFrame:
    columns: dict[str, NDArray] = dict(zip(visual_names(visual.shape[1]), visual.T, strict=True))
    if target is not None:
        columns["target"] = target
    return sales[["sale_id", "house_id"]].reset_index(drop=True).assign(**columns)
