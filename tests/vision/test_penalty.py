from __future__ import annotations

import numpy as np

from housevis.core.config_sections import SiameseSection
from housevis.vision.penalty import PENALTIES, choose_penalty

QUICK = SiameseSection(epochs=2, pairs_per_house=40)


def _market(houses: int, channels: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    features = generator.normal(size=(houses, channels)).astype(np.float32)
    signal = features[:, :10] @ generator.normal(size=10) / np.sqrt(10)
    return features, np.exp(signal + noise * generator.normal(size=houses))


def test_a_small_noisy_market_is_held_back_more_than_a_large_clear_one() -> None:
    small = choose_penalty("rank", *_market(200, 300, 1.0), np.arange(200) % 4, SiameseSection(), seed=1)
    large = choose_penalty("rank", *_market(2000, 40, 0.1), np.arange(2000) % 4, SiameseSection(), seed=1)
    assert small.penalty > large.penalty


def test_the_strongest_penalty_within_one_standard_error_is_taken() -> None:
    choice = choose_penalty("rank", *_market(400, 60, 0.5), np.arange(400) % 4, QUICK, seed=1)
    best = max(choice.rank_accuracy.values())
    near = [p for p, accuracy in choice.rank_accuracy.items() if accuracy >= best - choice.standard_error]
    assert choice.penalty == max(near)
    assert tuple(choice.rank_accuracy) == PENALTIES
