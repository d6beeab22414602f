"""One valuation model: a boosting on attributes, and the rank siamese whose features it trusts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.core.errors import ModelError
from housevis.pricing.attributes import model_table, visual_names
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds
from housevis.runs import read_parquet, write_parquet
from housevis.vision.cross_fitting import cross_fitted_features
from housevis.vision.siamese import RankSiamese, fit_rank_siamese

RANKER = "siamese.safetensors"
TRAINING = "training.parquet"


@dataclass(frozen=True)
class ValuationModel:
    """A fitted model and the sales it was fitted on.

    Attributes:
        model_id: ``"fold-0"`` and so on, ``"earlier"`` or ``"serving"``.
        ranker: The rank siamese; None in a model of attributes alone.
        price_model: The boosting, with and without visual features.
        training: Columns ``sale_id``, ``house_id`` and one per visual
            feature, the values that the boosting was fitted on.
    """

    model_id: str
    ranker: RankSiamese | None
    price_model: HousePriceModel
    training: pd.DataFrame

    def visual_features(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Visual features ``(n, D)`` of pooled features ``(n, K)``; NaN rows stay NaN.

        Without a ranker there are none: ``(n, 0)``.
        """
        return no_pictures(len(pooled)) if self.ranker is None else self.ranker.embed(pooled)

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

    def picture_ranker(self) -> RankSiamese:
        """The rank siamese of a model that uses pictures.

        Raises:
            ModelError: It is a model of attributes alone.
        """
        if self.ranker is None:
            raise ModelError(
                "this model uses no pictures and has no rank siamese",
                where=f"model {self.model_id}",
                remedy='Set visual_features = "in-sample" in [pricing] and run `housevis run CONFIG`.',
            )
        return self.ranker

    def save(self, folder: Path) -> None:
        """Write the model to its folder; `TRAINING` comes last and marks it complete."""
        if self.ranker is not None:
            self.ranker.save(folder / RANKER)
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
            ranker=RankSiamese.load(folder / RANKER) if price_model.visual_names else None,
            price_model=price_model,
            training=read_parquet(folder / TRAINING),
        )


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
    penalty: float | None,
) -> ValuationModel:
    """Fit the ranker, then the boosting on attributes + visual features.

    Without a ranker the boosting takes the attributes alone.

    Args:
        model_id: The model's name within its run.
        sales: Sale frame, n rows.
        pooled: Pooled features ``(n, K)``, NaN rows where there is no picture.
        groups: Group of each sale ``(n,)``, for the inner folds of
            cross-fitted features.
        config: The configuration.
        penalty: L2 penalty of the ranker; None fits no ranker.

    Raises:
        ModelError: Too few sales, or too few of them with a picture.
    """
    prices = sales["price"].to_numpy(np.float64)
    ranker, visual = None, no_pictures(len(sales))
    if penalty is not None:
        ranker, visual = _fit_ranker(pooled, prices, groups, config, penalty)
    price_model = HousePriceModel.from_section(
        config.pricing, config.pricing.attributes, visual_names(visual.shape[1]), seed=config.seed
    )
    price_model.fit(model_table(sales, config.pricing.attributes, visual), prices)
    return ValuationModel(model_id, ranker, price_model, _training_frame(sales, visual))


def no_pictures(count: int) -> NDArray[np.float32]:
    """The features ``(count, 0)`` of sales that are estimated without pictures."""
    return np.empty((count, 0), dtype=np.float32)


def _fit_ranker(
    pooled: NDArray[np.float32],
    prices: NDArray[np.float64],
    groups: NDArray[np.str_],
    config: Config,
    penalty: float,
) -> tuple[RankSiamese, NDArray[np.float32]]:
    """The ranker, and the visual features ``(n, D)`` that the boosting is fitted on."""
    has_picture = np.isfinite(pooled[:, 0])
    seen, seen_prices = pooled[has_picture], prices[has_picture]
    visual = np.full((len(prices), config.siamese.feature_dimension), np.nan, dtype=np.float32)
    ranker = fit_rank_siamese(seen, seen_prices, config.siamese, config.seed, penalty=penalty)
    if config.pricing.visual_features == "in-sample":
        visual[has_picture] = ranker.embed(seen)
    else:
        folds = grouped_folds(groups[has_picture], config.pricing.folds, config.seed)
        visual[has_picture] = cross_fitted_features(
            seen, seen_prices, folds, config.siamese, config.seed, penalty=penalty, full=ranker
        )
    return ranker, visual


def _training_frame(sales: pd.DataFrame, visual: NDArray[np.float32]) -> pd.DataFrame:
    columns: Mapping[str, NDArray] = dict(zip(visual_names(visual.shape[1]), visual.T, strict=True))
    return sales[["sale_id", "house_id"]].reset_index(drop=True).assign(**columns)
