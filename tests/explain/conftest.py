"""A small rank siamese in numpy, and a database made with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from housevis.explain import GradWeightDatabase, rank_grad_weights


@dataclass(frozen=True, eq=False)
class Line:
    """A linear embedding: weight ``(D, K)`` and bias ``(D,)``."""

    weight: np.ndarray
    bias: np.ndarray

    @property
    def channels(self) -> int:
        return self.weight.shape[1]

    @property
    def dimension(self) -> int:
        return self.weight.shape[0]

    def embed(self, pooled: np.ndarray) -> np.ndarray:
        return (pooled.astype(np.float64) @ self.weight.T + self.bias).astype(np.float32)

    def pull_back(self, pooled: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return (directions.astype(np.float32) @ self.weight).astype(np.float32)


@pytest.fixture
def siamese() -> dict[str, Any]:
    """A rank siamese with K = 12 channels and D = 3."""
    generator = np.random.default_rng(3)
    return {
        "embedding": Line(
            generator.normal(size=(3, 12)).astype(np.float32), generator.normal(size=3).astype(np.float32)
        ),
        "head_weight": generator.normal(size=(2, 3)).astype(np.float32),
        "head_bias": generator.normal(size=2).astype(np.float32),
    }


@pytest.fixture
def make_database(siamese: dict[str, Any]) -> Callable[..., GradWeightDatabase]:
    """Build a database of `houses` houses; any argument can be replaced."""

    def make(houses: int = 20, **changes: Any) -> GradWeightDatabase:
        generator = np.random.default_rng(5)
        settings: dict[str, Any] = {
            **siamese,
            "features": generator.random((houses, 12), dtype=np.float32),
            "prices": 1000.0 * np.arange(1, houses + 1),
            "house_ids": [f"house-{number}" for number in range(houses)],
            "cells": 4,
            "backbone_fingerprint": "small-net",
            "model_id": "model-1",
            "pairs": 8,
            "top_channels": 5,
        }
        return rank_grad_weights(**{**settings, **changes})

    return make
