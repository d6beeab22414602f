from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision import kernel_fitting
from housevis.vision.lessons import Lesson
from housevis.vision.objectives import fit_learner, fit_learners
from housevis.vision.siamese import FeatureLearner, KernelRegression, embed_all, merged_learners

SECTION = SiameseSection(objective="kernel", feature_dimension=2)
PENALTY = 0.3


def market(houses: int = 500, channels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features with very different scales, and a price in which two channels work together."""
    generator = np.random.default_rng(5)
    standard = generator.normal(size=(houses, channels))
    log_price = 13 + 0.5 * standard[:, 1] * standard[:, 2] + 0.1 * generator.normal(size=houses)
    scales = np.geomspace(0.01, 50, channels)
    return (standard * scales + 3).astype(np.float32), log_price


def fitted(features: np.ndarray, log_price: np.ndarray) -> FeatureLearner:
    return fit_learner("kernel", features, log_price, SECTION, 1, penalty=PENALTY, fingerprint="a trunk")


def test_it_is_the_kernel_ridge_regression_of_scikit_learn() -> None:
    features, log_price = market()
    learner = fitted(features, log_price)
    assert isinstance(learner, KernelRegression)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    width = float(learner.embedding.width)
    peer = KernelRidge(alpha=PENALTY, kernel="rbf", gamma=1 / width)
    peer.fit(standard, log_price - log_price.mean())
    expected = peer.predict(standard) + log_price.mean()
    np.testing.assert_allclose(learner.embed(features), np.stack([expected] * 2, axis=1), atol=2e-4)
    distances = ((standard[:, None] - standard[None]) ** 2).sum(axis=2)
    assert width == pytest.approx(np.median(distances[~np.eye(500, dtype=bool)]), rel=1e-4)


def test_it_learns_what_no_linear_learner_can() -> None:
    features, log_price = market(1500, 4)
    known, new = np.arange(1500) < 1000, np.arange(1500) >= 1000
    by_kernel = fitted(features[known], log_price[known]).score(features[new])
    by_line = fit_learner("price", features[known], log_price[known], SECTION, 1, penalty=10.0)
    assert np.corrcoef(by_kernel, log_price[new])[0, 1] > 0.9
    assert abs(np.corrcoef(by_line.score(features[new]), log_price[new])[0, 1]) < 0.3


def test_the_gradient_is_that_of_back_propagation() -> None:
    features, log_price = market()
    learner = fitted(features, log_price)
    directions = np.random.default_rng(2).normal(size=(500, 2)).astype(np.float32)
    pooled = torch.from_numpy(features).requires_grad_()
    (learner.f(pooled) * torch.from_numpy(directions)).sum().backward()
    assert pooled.grad is not None
    scale = float(pooled.grad.abs().max())
    np.testing.assert_allclose(
        learner.pull_back(features, directions), pooled.grad.numpy(), rtol=0, atol=1e-5 * scale
    )


def test_houses_beyond_one_group_are_taught_in_groups_of_the_same_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, log_price = market(1500, 4)
    known, new = np.arange(1500) < 1000, np.arange(1500) >= 1000
    whole = fitted(features[known], log_price[known]).score(features[new])
    monkeypatch.setattr(kernel_fitting, "GROUP", 400)
    groups = fitted(features[known], log_price[known])
    assert groups.embedding.landmarks.shape[0] == 1000
    assert np.corrcoef(groups.score(features[new]), whole)[0, 1] > 0.97


def test_the_mean_gradient_of_a_way_is_that_of_its_points() -> None:
    features, log_price = market()
    learner = fitted(features, log_price)
    houses, origin = features[:40], features.mean(axis=0)
    directions = np.random.default_rng(5).normal(size=(40, learner.dimension)).astype(np.float32)
    quadrature = [(0.1, 0.2), (0.5, 0.5), (0.9, 0.3)]
    found = learner.mean_pull_back(houses, origin, directions, quadrature)
    wanted = sum(
        weight * learner.pull_back(origin + np.float32(point) * (houses - origin), directions)
        for point, weight in quadrature
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_learners_of_one_likeness_are_embedded_together() -> None:
    features, log_price = market()
    every = np.ones(len(features), dtype=bool)
    lessons = [Lesson(log_price, every, 1, 0.3), Lesson(log_price**2, every, 2, 0.3)]
    section = SiameseSection(objective="kernel", feature_dimension=1)
    same = fit_learners("kernel", features, lessons, section, seed=1)
    other = fitted(features[:300], log_price[:300])
    learners = [*same, other]
    assert [learner.dimension for learner in merged_learners(learners)] == [2, other.dimension]
    apart = np.concatenate([learner.embed(features) for learner in learners], axis=1)
    np.testing.assert_allclose(embed_all(learners, features), apart, rtol=1e-4)


def test_lessons_read_their_own_rows_alone() -> None:
    features, log_price = market()
    rows = np.arange(500) % 2 == 0
    spoiled = np.where(rows, log_price, np.nan)
    learner = fit_learners("kernel", features, [Lesson(spoiled, rows, 1, PENALTY)], SECTION, 1)[0]
    assert np.isfinite(learner.embed(features)).all()
    assert isinstance(learner, KernelRegression)
    assert len(learner.embedding.landmarks) == 250


@pytest.mark.parametrize("houses", [30, 500])
def test_constant_channels_and_few_houses(houses: int) -> None:
    features, log_price = market(houses, 60)
    features[:, 3] = 7.0
    learner = fitted(features, log_price)
    assert np.isfinite(learner.embed(features)).all()
    assert not learner.pull_back(features, np.ones((houses, 2)))[:, 3].any()


def test_houses_that_look_all_the_same_teach_the_mean() -> None:
    features = np.ones((40, 5), dtype=np.float32)
    log_price = np.linspace(12, 14, 40)
    np.testing.assert_allclose(fitted(features, log_price).embed(features), 13, atol=1e-3)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    features, log_price = market()
    learner = fitted(features, log_price)
    learner.save(tmp_path / "learner.safetensors")
    loaded = FeatureLearner.load(tmp_path / "learner.safetensors", fingerprint="a trunk")
    assert isinstance(loaded, KernelRegression)
    np.testing.assert_array_equal(loaded.embed(features), learner.embed(features))
    with pytest.raises(ModelError, match="another backbone"):
        FeatureLearner.load(tmp_path / "learner.safetensors", fingerprint="another")
