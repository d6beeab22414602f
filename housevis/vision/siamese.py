"""The rank siamese: a low-dimensional visual feature from pairs of sold houses (C section 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from housevis.core.config import SiameseSection
from housevis.core.errors import ModelError
from housevis.core.storage import write_file

STEPS_PER_EPOCH = 25
_WEIGHT_START = 1e-3
_HEAD_START = 0.5


class RankSiamese(nn.Module):
    """``K x D`` embedding, difference of two houses, ``D x 2`` head (C section 4).

    Class 1 of the head means "house i is dearer than house j". The embedding
    acts on the raw pooled feature of the backbone, so that with global
    average pooling the grad-weights are ``alpha = W^T (dL/df) / Z``.

    Args:
        channels: `K` of the backbone.
        dimension: `D`, 4 in the paper.
        fingerprint: The backbone's, kept with the weights.
    """

    def __init__(self, channels: int, dimension: int = 4, fingerprint: str = "") -> None:
        super().__init__()
        self.embedding = nn.Linear(channels, dimension)
        self.head = nn.Linear(dimension, 2)
        self.fingerprint = fingerprint

    @property
    def dimension(self) -> int:
        """`D`, the numbers per house."""
        return self.embedding.out_features

    @property
    def channels(self) -> int:
        """`K`, the channels of the backbone."""
        return self.embedding.in_features

    def f(self, pooled: torch.Tensor) -> torch.Tensor:
        """The embedding: pooled features `(N, K)` to `(N, D)`."""
        return self.embedding(pooled)

    def logits(self, f_i: torch.Tensor, f_j: torch.Tensor) -> torch.Tensor:
        """Logits `(N, 2)` for "i is dearer than j" from ``v_ij = f_i - f_j``."""
        return self.head(f_i - f_j)

    def direction(self) -> torch.Tensor:
        """``V_1 - V_0`` `(D,)`: along it a house ranks dearer."""
        return self.head.weight[1] - self.head.weight[0]

    def embed(self, pooled: np.ndarray) -> np.ndarray:
        """The visual features of many houses: `(n, K)` to float32 `(n, D)`.

        Raises:
            ModelError: The features have another number of channels.
        """
        pooled = np.asarray(pooled, dtype=np.float32)
        if pooled.ndim != 2 or pooled.shape[1] != self.channels:
            raise ModelError(
                f"the ranker takes pooled features (n, {self.channels}), not {pooled.shape}",
                remedy="Use the backbone that it was trained on.",
            )
        weight = self.embedding.weight.detach().double().numpy()
        return (pooled @ weight.T + self.embedding.bias.detach().double().numpy()).astype(np.float32)

    def score(self, pooled: np.ndarray) -> np.ndarray:
        """The ranking score ``(V_1 - V_0) . f``: `(n, K)` to float32 `(n,)`."""
        return self.embed(pooled) @ self.direction().detach().numpy()

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors, atomically."""
        about = {"kind": "rank siamese", "channels": self.channels, "dimension": self.dimension}
        metadata = {"housevis": json.dumps(about), "backbone": self.fingerprint}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_file(Path(path), save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path, fingerprint: str | None = None) -> RankSiamese:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.
            fingerprint: The backbone that the features come from; None does
                not check.

        Raises:
            ModelError: No such file, not a rank siamese, or trained on
                another backbone.
        """
        file = Path(path)
        try:
            with safe_open(file, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
                metadata = stored.metadata() or {}
            about = json.loads(metadata["housevis"])
            model = cls(about["channels"], about["dimension"], metadata["backbone"])
            model.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as problem:
            raise ModelError(
                f"no rank siamese can be read here ({problem.__class__.__name__})",
                where=str(file),
                remedy="Train it again: housevis train CONFIG.",
            ) from None
        if fingerprint is not None and model.fingerprint != fingerprint:
            raise ModelError(
                f"the ranker was trained on another backbone ({model.fingerprint})",
                where=str(file),
                remedy="Train it again, or set the [vision] section as it was.",
            )
        return model.eval()


def fit_rank_siamese(
    features: np.ndarray,
    prices: np.ndarray,
    section: SiameseSection,
    seed: int,
    *,
    penalty: float,
    fingerprint: str = "",
) -> RankSiamese:
    """Train the two linear layers on random pairs of houses with different prices (C section 4).

    Each step embeds all houses with one matrix product and takes the
    cross-entropy over its pairs in `D` dimensions. Features are standardised
    for training; mean and deviation are folded into the embedding afterwards.

    A town has fewer houses than a backbone has channels, so that the ranker
    would learn them by heart. The loss therefore carries
    ``penalty / (2 n) (|W|^2 + |V|^2)`` in standardised channels: the penalty
    fades as houses are added. :func:`housevis.vision.penalty.choose_penalty`
    finds one.

    The gradient of the loss with respect to `f` always lies along
    ``V_1 - V_0``, so all rows of `W` learn one and the same direction of the
    channels, and the `D` visual features of a house are one number at `D`
    scales. What else they hold is their random start, which is small to keep
    that noise away from the boosting.

    Args:
        features: Pooled features of the training houses `(n, K)`.
        prices: Their prices `(n,)`.
        section: Dimension, pairs, epochs, learning rate.
        seed: Same seed, same result.
        penalty: L2 penalty, at least 0.
        fingerprint: The backbone's, kept with the weights.

    Returns:
        The trained siamese, in evaluation mode.

    Raises:
        ModelError: Fewer than two houses with different prices, lengths that
            differ, or values that are not finite.
    """
    features, prices = check_training_houses(features, prices)
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * max(1.0, float(deviation.max())), deviation, np.inf)
    standard = torch.from_numpy(((features - mean) / deviation).astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    model = RankSiamese(features.shape[1], section.feature_dimension, fingerprint)
    with torch.no_grad():
        model.embedding.weight.normal_(0.0, _WEIGHT_START, generator=generator)
        model.embedding.bias.zero_()
        model.head.weight.normal_(0.0, _HEAD_START, generator=generator)
        model.head.bias.zero_()
    with _one_thread():
        _train(model, standard, prices, section, penalty / len(prices), seed, generator)
    _fold_standardisation(model, mean, deviation)
    return model.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order: several threads round differently from run to run, and boosting magnifies that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_training_houses(features: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features as float32 `(n, K)` and prices as float64 `(n,)`, fit to train on.

    Raises:
        ModelError: Lengths that differ, values that are not finite, or fewer
            than two different prices.
    """
    features = np.asarray(features, dtype=np.float32)
    prices = np.asarray(prices, dtype=np.float64)
    if features.ndim != 2 or prices.shape != (len(features),):
        raise ModelError(
            f"features of shape {features.shape} do not belong to prices of shape {prices.shape}",
            remedy="Hand over one row of features and one price per house.",
        )
    if not (np.isfinite(features).all() and np.isfinite(prices).all()):
        raise ModelError("a feature or a price is not finite", remedy="Leave such houses out.")
    if len(np.unique(prices)) < 2:
        raise ModelError(
            "a ranker needs houses with different prices",
            remedy="There are fewer than two different prices among the training houses.",
        )
    return features, prices


def _random_pairs(prices: np.ndarray, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    have = 0
    while have < count:
        drawn = generator.integers(0, len(prices), size=(count, 2))
        drawn = drawn[prices[drawn[:, 0]] != prices[drawn[:, 1]]]
        found.append(drawn)
        have += len(drawn)
    return np.concatenate(found)[:count]


def _train(
    model: RankSiamese,
    standard: torch.Tensor,
    prices: np.ndarray,
    section: SiameseSection,
    weight_decay: float,
    seed: int,
    generator: torch.Generator,
) -> None:
    pairs = _random_pairs(prices, section.pairs_per_house * len(prices), seed)
    first, second = torch.from_numpy(pairs[:, 0].copy()), torch.from_numpy(pairs[:, 1].copy())
    dearer = torch.from_numpy((prices[pairs[:, 0]] > prices[pairs[:, 1]]).astype(np.int64))
    optimiser = torch.optim.Adam(
        [model.embedding.weight, model.head.weight], lr=section.learning_rate, weight_decay=weight_decay
    )
    size = -(-len(pairs) // STEPS_PER_EPOCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=section.epochs * STEPS_PER_EPOCH)
    for _ in range(section.epochs):
        for batch in torch.randperm(len(pairs), generator=generator).split(size):
            embedded = model.f(standard)
            logits = model.logits(embedded[first[batch]], embedded[second[batch]])
            loss = functional.cross_entropy(logits, dearer[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _fold_standardisation(model: RankSiamese, mean: np.ndarray, deviation: np.ndarray) -> None:
    weight = model.embedding.weight.detach().double().numpy() / deviation
    bias = model.embedding.bias.detach().double().numpy() - weight @ mean
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(weight))
        model.embedding.bias.copy_(torch.from_numpy(bias))


def rank_accuracy(scores: np.ndarray, prices: np.ndarray, *, pairs: int = 200_000, seed: int) -> float:
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
