"""Every method of maps by name: what `housevis explain --method` and `housevis gallery` offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from housevis.core.config import Config
from housevis.core.errors import UsageError
from housevis.explain.embeddingcam import PriceBands, embedding_cam, single_point_proxies
from housevis.explain.gradcam import grad_cam
from housevis.explain.heatmap import Status, heatmaps_of
from housevis.explain.l2caf import l2_caf
from housevis.explain.networks import Head, LinearHead
from housevis.pipeline.explaining import Explainer, has_same_weights
from housevis.pipeline.sold import SERVING
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pipeline.valuing import Valuer, visual_effects
from housevis.runs import Run
from housevis.vision.kernel import KernelEmbedding
from housevis.vision.siamese import FeatureLearner

ATTENTION: Final = "attention"
_NOWHERE: Final = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class HouseBatch:
    """Some houses to explain.

    Attributes:
        houses: Sale frame, n rows.
        maps: Feature maps ``(n, K, h, w)``.
        features: What the learners embed, ``(n, K (1 + blocks))``.
        pictures: uint8 ``(n, H, W, 3)``, as the backbone takes them.
    """

    houses: pd.DataFrame
    maps: NDArray[np.float32]
    features: NDArray[np.float32]
    pictures: NDArray[np.uint8]


class ExplainedHouses(NamedTuple):
    """What a method makes of n houses.

    Attributes:
        heats: Maps ``(n, h, w)``.
        statuses: What each is worth.
        lenders: The house that lent its weights to each; None where none did.
    """

    heats: NDArray[np.float32]
    statuses: list[Status]
    lenders: list[str | None]


class MapMethod(ABC):
    """A method of maps.

    Args:
        run: The run whose model is asked.
        config: Its configuration.
        model_id: The model.

    Attributes:
        title: Its name in words, as files keep it.
        signed: Whether negative values mean something.
        unit: ``"attention"``, or a currency.
        same_weights: Whether every house that could lend its weights would
            lend the same, up to their sign.
    """

    title: ClassVar[str]
    signed: ClassVar[bool] = False
    unit: str = ATTENTION
    same_weights: bool = False

    def __init__(self, run: Run, config: Config, model_id: str = SERVING) -> None:
        self._run = run
        self._folder = model_folder(run, model_id)
        self._currency = config.listings.currency

    @abstractmethod
    def explain(self, batch: HouseBatch) -> ExplainedHouses:
        """The maps of some houses."""


class TransferMaps(MapMethod):
    """Grad-weights of the nearest training house."""

    title = "grad-weight transfer"

    def __init__(self, run: Run, config: Config, model_id: str = SERVING) -> None:
        super().__init__(run, config, model_id)
        self._explainer = Explainer.load(self._folder, run.record["backbone"]["fingerprint"])
        self.same_weights = has_same_weights(run)

    def explain(self, batch: HouseBatch) -> ExplainedHouses:
        """See :class:`MapMethod`."""
        ids = batch.houses["house_id"].astype(str).tolist()
        frame, heats = self._explainer.explain(batch.maps, batch.features, ids)
        return ExplainedHouses(heats, frame["status"].tolist(), frame["neighbour_house_id"].tolist())


class ValueMapsOfHouses(MapMethod):
    """The visual part of the estimate, spread over the picture."""

    title = "value map"
    signed = True

    def __init__(self, run: Run, config: Config, model_id: str = SERVING) -> None:
        super().__init__(run, config, model_id)
        self._valuer = Valuer.load(self._folder)
        self.unit = self._currency

    def explain(self, batch: HouseBatch) -> ExplainedHouses:
        """See :class:`MapMethod`."""
        effects, currency = visual_effects(self._valuer.model, batch.houses, batch.features)
        found = self._valuer.explain(batch.maps, batch.features, effects, currency, batch.pictures)
        return ExplainedHouses(found.values, list(found.statuses), [None] * len(found.values))


class MeanFeatureMap(MapMethod):
    """No explanation: where the feature map is strong."""

    title = "mean feature map"

    def explain(self, batch: HouseBatch) -> ExplainedHouses:
        """See :class:`MapMethod`."""
        return _with_statuses(torch.from_numpy(batch.maps.mean(axis=1)))


class _LearnerMethod(MapMethod):
    """A method that asks the first feature learner."""

    def __init__(self, run: Run, config: Config, model_id: str = SERVING) -> None:
        super().__init__(run, config, model_id)
        self._model = ValuationModel.load(self._folder)
        self._learner = self._model.picture_ranker()

    def explain(self, batch: HouseBatch) -> ExplainedHouses:
        """See :class:`MapMethod`."""
        embeddings = torch.from_numpy(self._learner.embed(batch.features))
        heats = [
            self.heat(torch.from_numpy(batch.maps[rows]), head, embeddings[rows])
            for rows, head in self._heads(batch)
        ]
        return _with_statuses(torch.cat(heats))

    def _heads(self, batch: HouseBatch) -> list[tuple[slice, Head]]:
        """The learner as heads of feature maps; one of each picture where the neighbourhood matters to it."""
        learner, own = self._learner, batch.maps.shape[1]
        if not isinstance(learner.embedding, KernelEmbedding):
            weight = learner.embedding.weight.detach()[:, :own]
            return [(slice(None), LinearHead(weight, learner.embedding.bias.detach()))]
        around = torch.from_numpy(batch.features[:, own:])
        rows = [slice(row, row + 1) for row in range(len(batch.maps))]
        return [(each, _pooled_head(learner, around[each])) for each in rows]

    @abstractmethod
    def heat(self, maps: Tensor, head: Head, embeddings: Tensor) -> Tensor:
        """Heat ``(m, h, w)`` of some houses with one head."""


class GradCamMaps(_LearnerMethod):
    """Grad-CAM of "this house is dearer", back-propagated for each house itself."""

    title = "Grad-CAM"

    def heat(self, maps: Tensor, head: Head, embeddings: Tensor) -> Tensor:  # noqa: ARG002
        """See :class:`MapMethod`."""
        direction = self._learner.direction().detach()
        return grad_cam(maps, head, lambda found: found @ direction)


class EmbeddingCamMaps(_LearnerMethod):
    """Agreement with the house's own embedding."""

    title = "EmbeddingCAM"

    def heat(self, maps: Tensor, head: Head, embeddings: Tensor) -> Tensor:
        """See :class:`MapMethod`."""
        return embedding_cam(maps, head, single_point_proxies(embeddings))


class PriceBandMaps(_LearnerMethod):
    """Agreement with the houses of the same price band."""

    title = "EmbeddingCAM of the price band"

    def __init__(self, run: Run, config: Config, model_id: str = SERVING) -> None:
        super().__init__(run, config, model_id)
        first = self._model.training_visual()[:, : self._learner.dimension]
        known = np.isfinite(first).all(axis=1)
        embeddings = torch.from_numpy(first[known])
        self._direction = self._learner.direction().detach()
        self._bands = PriceBands.fit(embeddings, embeddings @ self._direction)

    def heat(self, maps: Tensor, head: Head, embeddings: Tensor) -> Tensor:
        """See :class:`MapMethod`."""
        return embedding_cam(maps, head, self._bands.proxies_of(embeddings @ self._direction))


class L2CafMaps(_LearnerMethod):
    """The filter that changes the embedding least."""

    title = "L2-CAF"

    def heat(self, maps: Tensor, head: Head, embeddings: Tensor) -> Tensor:  # noqa: ARG002
        """See :class:`MapMethod`."""
        return l2_caf(maps, head, exact=isinstance(head, LinearHead)).heats


METHODS: Final[dict[str, type[MapMethod]]] = {
    "transfer": TransferMaps,
    "value": ValueMapsOfHouses,
    "grad-cam": GradCamMaps,
    "embedding-cam": EmbeddingCamMaps,
    "price-band": PriceBandMaps,
    "l2-caf": L2CafMaps,
    "mean-feature-map": MeanFeatureMap,
}


def open_method(name: str, run: Run, config: Config, model_id: str = SERVING) -> MapMethod:
    """A method by its name, with a model of a run.

    Raises:
        UsageError: There is no such method.
        ModelError: The run does not have what it needs.
    """
    if name not in METHODS:
        raise UsageError(
            f"there is no method {name!r}", where="--method", remedy=f"Choose one of {', '.join(METHODS)}."
        )
    return METHODS[name](run, config, model_id)


def _pooled_head(learner: FeatureLearner, around: Tensor) -> Head:
    def head(maps: Tensor) -> Tensor:
        pooled = maps.mean(dim=(2, 3))
        return learner.embedding(torch.cat([pooled, around.expand(len(pooled), -1)], dim=1))

    return head


def _with_statuses(heats: Tensor) -> ExplainedHouses:
    found = heatmaps_of(heats, _NOWHERE, unit=ATTENTION, method="")
    statuses = [each.status for each in found]
    return ExplainedHouses(np.stack([each.values for each in found]), statuses, [None] * len(found))
