"""The feature learners as networks: an embedding, and what it is read by (C section 4)."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from housevis.core.errors import ModelError
from housevis.core.storage import write_file
from housevis.vision.kernel import KernelEmbedding

_CHUNK: Final = 2048
_WAYS: Final = 256


class LinearEmbedding(nn.Linear):
    """A ``K x D`` embedding of pooled features."""

    precision: ClassVar[torch.dtype] = torch.float64
    """What it is reckoned in: large channels may cancel out."""

    def pull_back(self, pooled: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Gradient of ``directions . f`` with respect to the pooled features: `(N, D)` to `(N, K)`."""
        return (directions @ self.weight).expand(len(pooled), -1)

    def mean_pull_back(
        self,
        pooled: torch.Tensor,
        origin: torch.Tensor,  # noqa: ARG002
        directions: torch.Tensor,
        quadrature: Sequence[tuple[float, float]],  # noqa: ARG002
    ) -> torch.Tensor:
        """The same as :meth:`pull_back`: the gradient does not change on the way from `origin`."""
        return self.pull_back(pooled, directions)

    def take_raw(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Make an embedding of standardised features one of raw features.

        Args:
            mean: float64 `(K,)`.
            deviation: float64 `(K,)`, infinite for a channel that says nothing.
        """
        with torch.no_grad():
            weight = self.weight.double() / deviation
            self.bias.copy_(self.bias.double() - weight @ mean)
            self.weight.copy_(weight)


class FeatureLearner(nn.Module, ABC):
    """An embedding of pooled features in `D` dimensions, learned in one of several ways.

    The embedding acts on the raw pooled feature of the backbone, so that with
    global average pooling the grad-weights are its gradient over the number of
    cells: ``alpha = W^T (dL/df) / Z`` where it is linear.

    Args:
        channels: `K`, the channels of the backbone; with the pictures of the
            neighbourhood, its channels times one more than their numbers.
        dimension: `D`, 4 in the paper.
        fingerprint: The backbone's, kept with the weights.
    """

    kind: ClassVar[str] = "feature learner"
    kinds: ClassVar[dict[str, type[FeatureLearner]]] = {}
    """Every learner by its kind, as files name it."""

    def __init__(self, channels: int, dimension: int = 4, fingerprint: str = "") -> None:
        super().__init__()
        self.embedding: LinearEmbedding | KernelEmbedding = LinearEmbedding(channels, dimension)
        self.fingerprint = fingerprint

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        FeatureLearner.kinds[cls.kind] = cls

    @property
    def dimension(self) -> int:
        """`D`, the numbers per house."""
        return self.embedding.out_features

    @property
    def channels(self) -> int:
        """`K`, the pooled features of a house."""
        return self.embedding.in_features

    @property
    def linear_weight(self) -> NDArray[np.float32] | None:
        """`W` ``(D, K)`` of a linear embedding, whose gradient is the same for every house; else None."""
        linear = isinstance(self.embedding, LinearEmbedding)
        return self.embedding.weight.detach().numpy() if linear else None

    def silence(self) -> None:
        """Let the embedding be 0 for every house."""
        with torch.no_grad():
            for parameter in self.embedding.parameters():
                parameter.zero_()

    @property
    def is_silent(self) -> bool:
        """True if the embedding is 0 for every house."""
        return not any(bool(parameter.any()) for parameter in self.embedding.parameters())

    def sizes(self) -> dict[str, int]:
        """What the learner is made with, apart from its backbone's fingerprint."""
        return {"channels": self.channels, "dimension": self.dimension}

    @abstractmethod
    def direction(self) -> torch.Tensor:
        """Direction of the embedding ``(D,)`` along which the target grows."""

    @abstractmethod
    def ordering(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The learner read as a ranker: weight ``(2, D)`` and bias ``(2,)``.

        They act on the difference of two houses, and class 1 means "the
        first is dearer".
        """

    def f(self, pooled: torch.Tensor) -> torch.Tensor:
        """The embedding: pooled features `(N, K)` to `(N, D)`."""
        return self.embedding(pooled)

    def embed(self, pooled: np.ndarray) -> NDArray[np.float32]:
        """The visual features of many houses: `(n, K)` to float32 `(n, D)`.

        Raises:
            ModelError: The features have another number of channels.
        """
        pooled = np.asarray(pooled, dtype=np.float32)
        if pooled.ndim != 2 or pooled.shape[1] != self.channels:
            raise ModelError(
                f"the {self.kind} takes pooled features (n, {self.channels}), not {pooled.shape}",
                remedy="Use the backbone and the neighbourhood that it was trained on.",
            )
        embedding = self.embedding
        if embedding.weight.dtype != embedding.precision:
            embedding = copy.deepcopy(embedding).to(embedding.precision)
        found = np.empty((len(pooled), self.dimension), dtype=np.float32)
        with torch.no_grad():
            for start in range(0, len(pooled), _CHUNK):
                rows = slice(start, start + _CHUNK)
                found[rows] = embedding(torch.from_numpy(pooled[rows]).to(self.embedding.precision))
        return found

    def pull_back(self, pooled: np.ndarray, directions: np.ndarray) -> NDArray[np.float32]:
        """Gradient of ``directions . f`` with respect to the pooled features, in closed form.

        Args:
            pooled: `(n, K)`, as :meth:`embed` takes them.
            directions: `(n, D)`.

        Returns:
            float32 `(n, K)`.
        """
        found = np.empty((len(pooled), self.channels), dtype=np.float32)
        with torch.no_grad():
            for start in range(0, len(pooled), _CHUNK):
                rows = slice(start, start + _CHUNK)
                some = torch.from_numpy(np.asarray(pooled[rows], dtype=np.float32))
                along = torch.from_numpy(np.asarray(directions[rows], dtype=np.float32))
                found[rows] = self.embedding.pull_back(some, along)
        return found

    def mean_pull_back(
        self,
        pooled: np.ndarray,
        origin: np.ndarray,
        directions: np.ndarray,
        quadrature: Sequence[tuple[float, float]],
    ) -> NDArray[np.float32]:
        """:meth:`pull_back`, averaged along the straight way from `origin` to each house.

        Args:
            pooled: `(n, K)`, as :meth:`embed` takes them.
            origin: `(K,)`.
            directions: `(n, D)`.
            quadrature: Points of the way, from 0 to 1, and their weights, which add up to 1.

        Returns:
            float32 `(n, K)`.
        """
        found = np.empty((len(pooled), self.channels), dtype=np.float32)
        start = torch.from_numpy(np.asarray(origin, dtype=np.float32))
        with torch.no_grad():
            for first in range(0, len(pooled), _WAYS):
                rows = slice(first, first + _WAYS)
                some = torch.from_numpy(np.asarray(pooled[rows], dtype=np.float32))
                along = torch.from_numpy(np.asarray(directions[rows], dtype=np.float32))
                found[rows] = self.embedding.mean_pull_back(some, start, along, quadrature)
        return found

    def score(self, pooled: np.ndarray) -> NDArray[np.float32]:
        """The visual score, :meth:`direction` times `f`: `(n, K)` to float32 `(n,)`."""
        return self.embed(pooled) @ self.direction().detach().numpy()

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors, atomically."""
        metadata = {"housevis": json.dumps({"kind": self.kind} | self.sizes()), "backbone": self.fingerprint}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_file(Path(path), save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path, fingerprint: str | None = None) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.
            fingerprint: The backbone that the features come from; None does
                not check.

        Returns:
            The learner, of the kind that was written.

        Raises:
            ModelError: No such file, another kind of learner, or trained on
                another backbone.
        """
        file = Path(path)
        try:
            with safe_open(file, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
                metadata = stored.metadata() or {}
            sizes = json.loads(metadata["housevis"])
            model = cls.kinds[sizes.pop("kind")](**sizes, fingerprint=metadata["backbone"])
            model.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as problem:
            raise _unreadable(cls.kind, file, problem.__class__.__name__) from None
        if not isinstance(model, cls):
            raise _unreadable(cls.kind, file, f"it is a {model.kind}")
        if fingerprint is not None and model.fingerprint != fingerprint:
            raise ModelError(
                f"the {model.kind} was trained on another backbone ({model.fingerprint})",
                where=str(file),
                remedy="Train it again, or set the [vision] section as it was.",
            )
        return model.eval()


class RankSiamese(FeatureLearner):
    """``K x D`` embedding, difference of two houses, ``D x 2`` head (C section 4).

    Class 1 of the head means "house i is dearer than house j".
    """

    kind = "rank siamese"

    def __init__(self, channels: int, dimension: int = 4, fingerprint: str = "") -> None:
        super().__init__(channels, dimension, fingerprint)
        self.head = nn.Linear(dimension, 2)

    def logits(self, f_i: torch.Tensor, f_j: torch.Tensor) -> torch.Tensor:
        """Logits `(N, 2)` for "i is dearer than j" from ``v_ij = f_i - f_j``."""
        return self.head(f_i - f_j)

    def direction(self) -> torch.Tensor:
        """``V_1 - V_0`` `(D,)`: along it a house ranks dearer."""
        return self.head.weight[1] - self.head.weight[0]

    def ordering(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The head itself."""
        return self.head.weight, self.head.bias


class _ReadOut(FeatureLearner, ABC):
    """An embedding that one linear read-out turns into the target."""

    def __init__(self, channels: int, dimension: int = 4, fingerprint: str = "") -> None:
        super().__init__(channels, dimension, fingerprint)
        self.head = nn.Linear(dimension, 1)

    def direction(self) -> torch.Tensor:
        """The read-out's weights `(D,)`; a score is in the unit of the target, less a constant."""
        return self.head.weight[0]

    def ordering(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The difference of two scores as the difference of two logits."""
        half = self.direction() / 2
        return torch.stack([-half, half]), torch.zeros(2)


class PriceRegression(_ReadOut):
    """``K x D`` embedding and ``D x 1`` head that give the target itself (C section 4)."""

    kind = "price regression"


class KernelRegression(_ReadOut):
    """A kernel embedding and a ``D x 1`` head that give the target itself.

    Args:
        channels: `K`, the pooled features of a house.
        dimension: `D`.
        fingerprint: The backbone's, kept with the weights.
        houses: `L`, how many taught.
        components: `P`, the principal components that likeness is measured in.
    """

    kind = "kernel regression"

    def __init__(
        self,
        channels: int,
        dimension: int = 1,
        fingerprint: str = "",
        *,
        houses: int = 1,
        components: int = 1,
    ) -> None:
        super().__init__(channels, dimension, fingerprint)
        self.embedding: KernelEmbedding = KernelEmbedding(channels, dimension, houses, components)

    def sizes(self) -> dict[str, int]:
        """See :meth:`FeatureLearner.sizes`."""
        houses, components = self.embedding.landmarks.shape
        return super().sizes() | {"houses": houses, "components": components}

    def beside(self, other: KernelRegression) -> KernelRegression:
        """Both embeddings as one, which has no target of its own."""
        joined = KernelRegression(self.channels, self.dimension + other.dimension, self.fingerprint)
        joined.embedding = self.embedding.beside(other.embedding)
        return joined


class LogRatioTriplet(_ReadOut):
    """``K x D`` embedding whose distances follow those of the target (log-ratio loss, C section 4).

    The loss knows distances but no direction, so the read-out is the
    least-squares direction of the embedding on the target.
    """

    kind = "log-ratio triplet"


def embed_all(learners: Sequence[FeatureLearner], pooled: np.ndarray) -> NDArray[np.float32]:
    """The visual features of several learners side by side: `(n, K)` to float32 `(n, sum of D)`.

    Raises:
        ModelError: See :meth:`FeatureLearner.embed`.
    """
    return np.concatenate([learner.embed(pooled) for learner in merged_learners(learners)], axis=1)


def merged_learners(learners: Sequence[FeatureLearner]) -> list[FeatureLearner]:
    """Fewer learners with the same dimensions in the same order.

    Kernel regressions that follow one another and measure the same likeness become one, which measures
    it once.
    """
    merged: list[FeatureLearner] = []
    for learner in learners:
        last = merged[-1] if merged else None
        if (
            isinstance(last, KernelRegression)
            and isinstance(learner, KernelRegression)
            and last.embedding.measures_like(learner.embedding)
        ):
            merged[-1] = last.beside(learner)
        else:
            merged.append(learner)
    return merged


def _unreadable(kind: str, file: Path, why: str) -> ModelError:
    return ModelError(
        f"no {kind} can be read here ({why})",
        where=str(file),
        remedy="Train it again: housevis train CONFIG.",
    )


def rank_accuracy(
    scores: np.ndarray,
    prices: np.ndarray,
    *,
    pairs: int = 200_000,
    seed: int,
) -> float:
    """Share of pairs that the scores put in the order of their prices.

    Args:
        scores: `(n,)`.
        prices: `(n,)`.
        pairs: Pairs to draw uniformly at random; those of equal price are
            dropped. A tie of scores counts one half.
        seed: Same seed, same pairs.

    Raises:
        ModelError: No pair has different prices.
    """
    scores, prices = np.asarray(scores), np.asarray(prices)
    drawn = np.random.default_rng(seed).integers(0, len(prices), size=(pairs, 2))
    order = np.sign(prices[drawn[:, 0]] - prices[drawn[:, 1]])
    said = np.sign(scores[drawn[:, 0]] - scores[drawn[:, 1]])
    valid = order != 0
    if not valid.any():
        raise ModelError(
            "no pair of houses has different prices", remedy="Rank accuracy needs different prices."
        )
    return float(np.mean(0.5 + 0.5 * order[valid] * said[valid]))
