"""A small rank siamese in numpy, and a database made with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from housevis.explain import GradWeightDatabase, rank_grad_weights


@pytest.fixture
def siamese() -> dict[str, np.ndarray]:
    """Weights of a rank siamese with K = 12 channels and D = 3."""
    generator = np.random.default_rng(3)
    return {
        "embedding_weight": generator.normal(size=(3, 12)).astype(np.float32),
        "embedding_bias": generator.normal(size=3).astype(np.float32),
        "head_weight": generator.normal(size=(2, 3)).astype(np.float32),
        "head_bias": generator.normal(size=2).astype(np.float32),
    }


@pytest.fixture
def make_database(siamese: dict[str, np.ndarray]) -> Callable[..., GradWeightDatabase]:
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
