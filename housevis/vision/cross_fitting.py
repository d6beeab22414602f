"""Cross-fitted visual features: every house described by a ranker that never saw it."""

from __future__ import annotations

import numpy as np
import torch

from housevis.core.config import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.siamese import RankSiamese, check_training_houses, fit_rank_siamese


def cross_fitted_features(
    features: np.ndarray,
    prices: np.ndarray,
    folds: np.ndarray,
    section: SiameseSection,
    seed: int,
    *,
    penalty: float,
    full: RankSiamese,
) -> np.ndarray:
    """Visual features of every house by a ranker trained on the other folds.

    The feature space of each fold's ranker is its own up to a linear map, so
    it is aligned to the space of the ranker of all houses: least squares on
    that fold ranker's own training rows.

    Args:
        features: Pooled features `(n, K)`.
        prices: Prices `(n,)`.
        folds: Fold number of every house `(n,)`.
        section: As in :func:`fit_rank_siamese`.
        seed: Same seed, same result.
        penalty: As in :func:`fit_rank_siamese`.
        full: The ranker of all houses.

    Returns:
        Out-of-fold features `(n, D)` float32.

    Raises:
        ModelError: As in :func:`fit_rank_siamese`, or fewer than two folds.
    """
    features, prices = check_training_houses(features, prices)
    numbers = np.unique(folds)
    if len(numbers) < 2 or len(folds) != len(prices):
        raise ModelError(
            "cross-fitting needs at least two folds, and a fold number for every house",
            remedy="Set pricing.folds to 2 or more.",
        )
    reference = full.embed(features)
    out_of_fold = np.empty_like(reference)
    for position, number in enumerate(numbers):
        held_out = folds == number
        model = fit_rank_siamese(
            features[~held_out], prices[~held_out], section, seed + 1 + position, penalty=penalty
        )
        _align(model, features[~held_out], reference[~held_out])
        out_of_fold[held_out] = model.embed(features[held_out])
    return out_of_fold


def _align(model: RankSiamese, features: np.ndarray, reference: np.ndarray) -> None:
    own = model.embed(features).astype(np.float64)
    centre, target = own.mean(axis=0), reference.mean(axis=0, dtype=np.float64)
    turn = np.linalg.lstsq(own - centre, reference - target, rcond=1e-3)[0]
    weight = turn.T @ model.embedding.weight.detach().double().numpy()
    bias = (model.embedding.bias.detach().double().numpy() - centre) @ turn + target
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(weight))
        model.embedding.bias.copy_(torch.from_numpy(bias))
