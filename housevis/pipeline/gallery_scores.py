"""What stands beneath the maps of a gallery: scores of every method on every house."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.explain.localisation import heat_in_region, sparsity
from housevis.explain.metrics import rank_agreement
from housevis.explain.removal import Order, blurred, removal_curve
from housevis.pipeline.method_maps import HouseBatch
from housevis.pipeline.valuation import ValuationModel
from housevis.views.gallery import GalleryScore

AGREEMENT: Final = "agreement"
DELETION: Final = "deletion"
INSERTION: Final = "insertion"
CONCENTRATION: Final = "concentration"
DRIVERS: Final = "drivers"

_ORDERS: Final[dict[str, Order]] = {DELETION: "hottest first", INSERTION: "coldest first"}

SCORES: Final = (
    GalleryScore(
        AGREEMENT,
        "Agreement",
        "Rank correlation of the map's cells with the house's own back-propagated map, that of the method "
        "Grad-CAM: 1 is the same order, 0 none, −1 the reverse. A transferred map may ask for “cheaper”, "
        "which is near the reverse.",
        "higher",
    ),
    GalleryScore(
        DELETION,
        "Deletion",
        "How far the estimate moves when the hottest 10, 30, 50, 70 and 90 % of the picture are blurred, "
        "on average. A map that found what the estimate rests on moves it far.",
        "higher",
        "percent",
    ),
    GalleryScore(
        INSERTION,
        "Insertion",
        "The same with the coldest part blurred, so that the hottest is left in. A map that found what the "
        "estimate rests on leaves it where it was.",
        "lower",
        "percent",
    ),
    GalleryScore(
        CONCENTRATION,
        "Concentration",
        "The Gini coefficient of the heat: 0 where it is the same everywhere, near 1 where one cell holds "
        "all. It says how a map is drawn, not whether it is right.",
        "neither",
    ),
)
"""The scores of every house."""


def on_true_drivers(cover: NDArray[np.float64]) -> GalleryScore:
    """The score of a town whose price drivers are known.

    Args:
        cover: Share of each picture that true drivers cover.
    """
    return GalleryScore(
        DRIVERS,
        "True drivers",
        "Share of the heat that lies on the pools, waters, trees and arterial roads whose effect on the "
        "price was planted in this town. A map that is the same everywhere has the share of the picture "
        "that they cover; a picture without any has no such score.",
        "higher",
        "percent",
        f"True drivers cover {100 * cover.mean():.1f} % of the pictures",
    )


class HouseScores:
    """Scores of maps of some houses by one model.

    Args:
        model: The model whose estimate is explained.
        batch: The houses.
        pooled: The backbone: pictures uint8 ``(n, H, W, 3)`` to pooled features ``(n, K)``.
        own: The houses' own back-propagated maps ``(n, h, w)``.
        drivers: Where the true drivers are, bool ``(n, H, W)``; None where they are not known.
    """

    def __init__(
        self,
        model: ValuationModel,
        batch: HouseBatch,
        pooled: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        own: NDArray[np.float32],
        drivers: NDArray[np.bool_] | None,
    ) -> None:
        self._model = model
        self._batch = batch
        self._pooled = pooled
        self._own = own
        self._drivers = drivers
        self._soft = blurred(batch.pictures, np.ones(batch.pictures.shape[:3], dtype=bool))
        self._whole = np.log(self._estimates(batch.features))

    def of(self, heats: NDArray[np.float32]) -> pd.DataFrame:
        """The scores of one method's maps.

        Args:
            heats: ``(n, h, w)``; where they have a sign, amounts count by
                their size in all scores but the agreement.

        Returns:
            n rows, one column per score; NaN where there is none.
        """
        strength = np.abs(heats)
        found = {AGREEMENT: rank_agreement(heats, self._own)}
        for score, order in _ORDERS.items():
            curve = removal_curve(self._batch.pictures, strength, self._moved, order=order, fill=self._fill)
            found[score] = curve.mean(axis=0)
        found[CONCENTRATION] = sparsity(strength)
        if self._drivers is not None:
            shown = self._drivers.any(axis=(1, 2))
            found[DRIVERS] = np.where(shown, heat_in_region(strength, self._drivers), np.nan)
        return pd.DataFrame(found)

    def _moved(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """How far changed pictures move the estimates, as a share of them ``(n,)``."""
        own = self._pooled(pictures)
        features = np.concatenate([own, self._batch.features[:, own.shape[1] :]], axis=1)
        return np.abs(np.expm1(np.log(self._estimates(features)) - self._whole))

    def _estimates(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return self._model.price_model.predict(self._model.features(self._batch.houses, features))

    def _fill(self, pictures: NDArray[np.uint8], removed: NDArray[np.bool_]) -> NDArray[np.uint8]:
        return np.where(removed[..., None], self._soft, pictures)
