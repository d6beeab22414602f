"""The rank siamese: a low-dimensional visual feature from pairs of sold houses (C section 4)."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from housevis.core.config import SiameseSection
from housevis.core.errors import ModelError
from housevis.core.progress import ProgressBar
from housevis.vision.whitening import WhitenedComponents, whitened_components

_LEAST_STEPS = 50


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
        with torch.no_grad():
            return self.f(torch.from_numpy(pooled)).numpy()

    def score(self, pooled: np.ndarray) -> np.ndarray:
        """The ranking score ``(V_1 - V_0) . f``: `(n, K)` to float32 `(n,)`."""
        return self.embed(pooled) @ self.direction().detach().numpy()

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors, atomically."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"kind": "rank siamese", "channels": self.channels, "dimension": self.dimension}
        metadata = {"housevis": json.dumps(about), "backbone": self.fingerprint}
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".writing-")
        os.close(handle)
        try:
            tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
            save_file(tensors, temporary, metadata=metadata)
            Path(temporary).replace(file)
        finally:
            Path(temporary).unlink(missing_ok=True)

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
    progress: ProgressBar | None = None,
    *,
    fingerprint: str = "",
) -> RankSiamese:
    """Train the two linear layers on random pairs of houses with different prices.

    Each step embeds all houses with one matrix product and takes the
    cross-entropy over a batch of pairs in `D` dimensions. The layers are
    trained on whitened principal components of the standardised features;
    all of that is linear and is folded into the embedding afterwards.

    A town has fewer houses than a backbone has channels, so that the ranker
    would learn them by heart. The loss therefore carries
    ``weight_decay / (2 n) |u|^2``, where `u` are the weights of the score
    ``(V_1 - V_0) . f`` in standardised channels: the penalty fades as houses
    are added, and no early stopping is needed.

    The gradient of the loss with respect to `f` always lies along
    ``V_1 - V_0``, so the 4 x K layer learns one direction only; the others
    keep their start (and noise, where they start at random). Here the first
    row of `W` and the whole head are trained. The other rows are the first
    principal components of the pictures, and stay so: visual features that
    know no price, and so cannot over-fit to it.

    Args:
        features: Pooled features of the training houses `(n, K)`.
        prices: Their prices `(n,)`.
        section: Dimension, pairs, epochs, learning rate, regularisation.
        seed: Same seed, same result.
        progress: Advanced by one per epoch.
        fingerprint: The backbone's, kept with the weights.

    Returns:
        The trained siamese, in evaluation mode.

    Raises:
        ModelError: Fewer than two houses with different prices, lengths that
            differ, or values that are not finite.
    """
    features, prices = _checked(features, prices)
    basis = whitened_components(features, section.components)
    return _fit(features, prices, basis, section, seed, progress, fingerprint)


def _fit(
    features: np.ndarray,
    prices: np.ndarray,
    basis: WhitenedComponents,
    section: SiameseSection,
    seed: int,
    progress: ProgressBar | None,
    fingerprint: str,
) -> RankSiamese:
    model = RankSiamese(basis.count, section.feature_dimension)
    _start(model)
    pairs = _random_pairs(prices, section.pairs_per_house * len(prices), seed)
    penalty = torch.from_numpy(section.weight_decay / len(prices) / basis.variance).float()
    _train(model, basis.transform(features), pairs, prices, penalty, section, seed, progress)
    return _on_raw_features(model, basis, fingerprint)


def _checked(features: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = np.asarray(features, dtype=np.float32)
    prices = np.asarray(prices, dtype=np.float64)
    if features.ndim != 2 or prices.shape != (len(features),):
        raise ModelError(
            f"features of shape {features.shape} do not belong to prices of shape {prices.shape}",
            remedy="Hand over one row of features and one price per house.",
        )
    if not (np.isfinite(features).all() and np.isfinite(prices).all()):
        raise ModelError("a feature or a price is not finite", remedy="Leave such houses out.")
    _check_prices(prices)
    return features, prices


def _check_prices(prices: np.ndarray) -> None:
    if len(np.unique(prices)) < 2:
        raise ModelError(
            "a ranker needs houses with different prices",
            remedy="There are fewer than two different prices among the training houses.",
        )


def _start(model: RankSiamese) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.head.weight[0, 0], model.head.weight[1, 0] = -0.5, 0.5
        for row in range(1, model.dimension):
            model.embedding.weight[row, min(row, model.channels) - 1] = 1.0


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
    components: torch.Tensor,
    pairs: np.ndarray,
    prices: np.ndarray,
    penalty: torch.Tensor,
    section: SiameseSection,
    seed: int,
    progress: ProgressBar | None,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    learns = torch.zeros(model.dimension, 1)
    learns[0] = 1.0
    held = model.embedding.weight.register_hook(lambda gradient: gradient * learns)
    first, second = torch.from_numpy(pairs[:, 0].copy()), torch.from_numpy(pairs[:, 1].copy())
    dearer = torch.from_numpy((prices[pairs[:, 0]] > prices[pairs[:, 1]]).astype(np.int64))
    size = max(1, min(section.batch_size, len(pairs) // _LEAST_STEPS))
    trained = [model.embedding.weight, model.head.weight, model.head.bias]
    optimiser = torch.optim.AdamW(trained, lr=section.learning_rate, weight_decay=0.0)
    steps = section.epochs * -(-len(pairs) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    for _ in range(section.epochs):
        for batch in torch.randperm(len(pairs), generator=generator).split(size):
            embedded = model.f(components)
            logits = model.logits(embedded[first[batch]], embedded[second[batch]])
            score_weights = model.direction() @ model.embedding.weight
            loss = functional.cross_entropy(logits, dearer[batch]) + 0.5 * (penalty @ score_weights**2)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if progress is not None:
            progress.advance()
    held.remove()


def _on_raw_features(model: RankSiamese, basis: WhitenedComponents, fingerprint: str) -> RankSiamese:
    folded = RankSiamese(len(basis.mean), model.dimension, fingerprint)
    weight = model.embedding.weight.detach().double().numpy() @ basis.projection.T
    bias = model.embedding.bias.detach().double().numpy() - weight @ basis.mean
    with torch.no_grad():
        folded.embedding.weight.copy_(torch.from_numpy(weight))
        folded.embedding.bias.copy_(torch.from_numpy(bias))
        folded.head.load_state_dict(model.head.state_dict())
    return folded.eval()


def cross_fitted_features(
    features: np.ndarray,
    prices: np.ndarray,
    folds: np.ndarray,
    section: SiameseSection,
    seed: int,
    *,
    full: RankSiamese | None = None,
    progress: ProgressBar | None = None,
) -> tuple[np.ndarray, list[RankSiamese]]:
    """Visual features of every house by a ranker that never saw it.

    One siamese per fold is trained on the other folds. Its feature space is
    its own up to a linear map, so it is aligned to the space of the model of
    all houses: least squares on that fold model's own training rows. The
    principal components are those of all pictures: they know no price.

    Args:
        features: Pooled features `(n, K)`.
        prices: Prices `(n,)`.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_rank_siamese`.
        seed: Same seed, same result.
        full: The siamese fitted on all houses; None fits it here.
        progress: Advanced by one per epoch of every fold.

    Returns:
        Out-of-fold features `(n, D)` float32, and the aligned fold models in
        the order of the sorted fold numbers, each with the head of `full`.

    Raises:
        ModelError: As in :func:`fit_rank_siamese`, or fewer than two folds.
    """
    features, prices = _checked(features, prices)
    numbers = np.unique(folds)
    if len(numbers) < 2 or len(folds) != len(prices):
        raise ModelError(
            "cross-fitting needs at least two folds, and a fold number for every house",
            remedy="Set pricing.folds to 2 or more.",
        )
    if full is None:
        full = fit_rank_siamese(features, prices, section, seed)
    reference = full.embed(features)
    basis = whitened_components(features, section.components)
    out_of_fold = np.empty_like(reference)
    models: list[RankSiamese] = []
    for position, number in enumerate(numbers):
        held_out = folds == number
        _check_prices(prices[~held_out])
        model = _fit(
            features[~held_out],
            prices[~held_out],
            basis,
            section,
            seed + 1 + position,
            progress,
            full.fingerprint,
        )
        _align(model, full, features[~held_out], reference[~held_out])
        out_of_fold[held_out] = model.embed(features[held_out])
        models.append(model)
    return out_of_fold, models


def _align(model: RankSiamese, full: RankSiamese, features: np.ndarray, reference: np.ndarray) -> None:
    own = model.embed(features).astype(np.float64)
    centre, target = own.mean(axis=0), reference.mean(axis=0, dtype=np.float64)
    turn = np.linalg.lstsq(own - centre, reference - target, rcond=1e-3)[0]
    weight = turn.T @ model.embedding.weight.detach().double().numpy()
    bias = (model.embedding.bias.detach().double().numpy() - centre) @ turn + target
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(weight))
        model.embedding.bias.copy_(torch.from_numpy(bias))
        model.head.load_state_dict(full.head.state_dict())


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
