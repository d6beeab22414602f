from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision import regression
from housevis.vision.lessons import Lesson
from housevis.vision.objectives import OBJECTIVES, fit_learner, fit_learners
from housevis.vision.siamese import FeatureLearner, PriceRegression, RankSiamese, rank_accuracy
from housevis.vision.stepwise import LogRatioTraining, RankTraining, Training

CHANNELS = 40
SECTION = SiameseSection(epochs=4, pairs_per_house=80)


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(8)
    features = generator.normal(size=(700, CHANNELS)).astype(np.float32)
    log_price = 13 + 0.4 * features[:, 3] - 0.3 * features[:, 17] + 0.1 * generator.normal(size=700)
    return features * np.geomspace(0.05, 2, CHANNELS).astype(np.float32) + 0.5, log_price


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_learner_ranks_houses_it_never_saw(market: Any, objective: Any, tmp_path: Path) -> None:
    features, target = market
    taught = slice(0, 500)
    learner = fit_learner(
        objective, features[taught], target[taught], SECTION, 1, penalty=10.0, fingerprint="net"
    )
    scores = learner.score(features[500:])
    assert rank_accuracy(scores, target[500:], seed=2) > 0.85
    assert learner.embed(features).shape == (700, 4)

    learner.save(tmp_path / "learner.safetensors")
    loaded = FeatureLearner.load(tmp_path / "learner.safetensors", "net")
    assert type(loaded) is type(learner)
    np.testing.assert_array_equal(loaded.score(features), learner.score(features))
    again = fit_learner(objective, features[taught], target[taught], SECTION, 1, penalty=10.0)
    np.testing.assert_array_equal(again.score(features), learner.score(features))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_read_as_a_ranker_the_dearer_house_has_the_higher_logit(market: Any, objective: Any) -> None:
    features, target = market
    learner = fit_learner(objective, features, target, SECTION, 1, penalty=10.0)
    weight, bias = (part.detach().numpy() for part in learner.ordering())
    assert (weight.shape, bias.shape) == ((2, 4), (2,))
    difference = learner.embed(features[:300]) - learner.embed(features[300:600])
    logits = difference @ weight.T + bias
    scores = learner.score(features)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], scores[:300] - scores[300:600], atol=1e-3)


@pytest.mark.parametrize("houses", [700, 30])
def test_direct_regression_is_ridge_regression_on_standardised_channels(market: Any, houses: int) -> None:
    """With more houses than channels, and with fewer."""
    features, target = market[0][:houses], market[1][:houses]
    learner = fit_learner("price", features, target, SECTION, 1, penalty=50.0)
    standard = StandardScaler().fit_transform(features.astype(np.float64))
    expected = Ridge(alpha=50.0).fit(standard, target).predict(standard)
    np.testing.assert_allclose(learner.score(features), expected, atol=1e-4)
    np.testing.assert_allclose(learner.embed(features), expected[:, None].repeat(4, axis=1), atol=1e-4)


@pytest.mark.parametrize("houses", [600, 36])
def test_regressions_fitted_together_are_those_fitted_one_by_one(
    market: Any, houses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the products are summed in several blocks of channels and chunks of houses."""
    monkeypatch.setattr(regression, "_BLOCK", 16)
    monkeypatch.setattr(regression, "_CHUNK", 100)
    features, target = market[0][:houses], market[1][:houses]
    rows = [np.arange(houses) % 3 != fold for fold in range(3)]
    lessons = [Lesson(target, own, 1, penalty) for own in rows for penalty in (20.0, 200.0)]
    learners = fit_learners("price", features, lessons, SECTION, 1)
    standard = StandardScaler().fit_transform(features.astype(np.float64))
    for learner, lesson in zip(learners, lessons, strict=True):
        ridge = Ridge(alpha=lesson.penalty).fit(standard[lesson.rows], target[lesson.rows])
        np.testing.assert_allclose(learner.score(features), ridge.predict(standard), atol=1e-4)


def test_the_distances_of_the_triplet_learner_follow_those_of_the_target(market: Any) -> None:
    features, target = market
    learner = fit_learner("log-ratio-triplet", features, target, SECTION, 1, penalty=10.0)
    embedded = learner.embed(features)
    pairs = np.random.default_rng(1).integers(0, 700, size=(4000, 2))
    apart = np.linalg.norm(embedded[pairs[:, 0]] - embedded[pairs[:, 1]], axis=1)
    wanted = np.abs(target[pairs[:, 0]] - target[pairs[:, 1]])
    assert np.corrcoef(apart, wanted)[0, 1] > 0.8
    slope = np.polyfit(learner.score(features), target, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.05)


def _loss_of_pairs(training: Training, embedded: torch.Tensor, batch: Any) -> torch.Tensor:
    learner = training.learner
    assert isinstance(learner, RankSiamese)
    first, second = (member.long() for member in batch)
    dearer = (training.target[first] > training.target[second]).long()
    loss = torch.nn.functional.cross_entropy(learner.logits(embedded[first], embedded[second]), dearer)
    squares = (learner.embedding.weight**2).sum() + (learner.head.weight**2).sum()
    return loss + training.penalty_per_house / 2 * squares


def _loss_of_triplets(training: Training, embedded: torch.Tensor, batch: Any) -> torch.Tensor:
    anchor, near, far = (member.long() for member in batch)
    y = training.target

    def ratio(own: torch.Tensor) -> torch.Tensor:
        i, j = ((own[anchor] - own[other]).reshape(len(anchor), -1) for other in (near, far))
        return torch.log((i**2).sum(dim=1) / (j**2).sum(dim=1))

    loss = ((ratio(embedded) - ratio(y).float()) ** 2).mean()
    squares = (training.learner.embedding.weight**2).sum()
    return loss + training.penalty_per_house / 2 * squares / embedded.var(dim=0, correction=0).sum()


@pytest.mark.parametrize(
    ("kind", "loss"), [(RankTraining, _loss_of_pairs), (LogRatioTraining, _loss_of_triplets)]
)
def test_the_gradients_of_a_step_are_those_of_the_network(market: Any, kind: Any, loss: Any) -> None:
    """What a step computes from projections and pull-backs is what back-propagation gives."""
    standard = torch.from_numpy(StandardScaler().fit_transform(market[0]).astype(np.float32))
    learner = kind.start(CHANNELS, 4, torch.Generator().manual_seed(3))
    with torch.no_grad():
        learner.embedding.weight += 0.1 * torch.randn(4, CHANNELS, generator=torch.Generator().manual_seed(4))
    training = kind(learner, Lesson(market[1], np.ones(700, dtype=bool), 1, 500.0), SECTION)
    generator = np.random.default_rng(5)
    batch = tuple(torch.from_numpy(generator.permutation(700)[:200].astype(np.int32)) for _ in range(3))
    batch = batch[: kind.members]

    whole = loss(training, learner.f(standard), batch)
    expected = torch.autograd.grad(whole, training.trained())
    with torch.no_grad():
        slopes = training.slopes(training.projection() @ standard.T, batch)
        training.pull(slopes @ standard)
    for parameter, gradient in zip(training.trained(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_targets_are_read_in_the_rows_of_a_lesson_alone(market: Any, objective: Any) -> None:
    features, target = market
    rows = np.arange(700) % 2 == 0
    hidden, changed = np.where(rows, target, np.nan), np.where(rows, target, 99.0)
    seen, other = fit_learners(
        objective, features, [Lesson(t, rows, 7, 10.0) for t in (hidden, changed)], SECTION, 1
    )
    np.testing.assert_allclose(seen.score(features), other.score(features), rtol=1e-5, atol=1e-5)


def test_a_stronger_penalty_makes_smaller_scores(market: Any) -> None:
    features, target = market
    for objective in ("rank", "price"):
        weak, strong = (
            fit_learner(objective, features, target, SECTION, 1, penalty=penalty).score(features).std()
            for penalty in (1.0, 10_000.0)
        )
        assert strong < 0.7 * weak


def test_near_pairs_need_places(market: Any) -> None:
    near = SECTION.model_copy(update={"pair_sampling": "near"})
    with pytest.raises(ModelError, match="place, time and size"):
        fit_learner("rank", *market, near, 1, penalty=10.0)
    places = np.random.default_rng(1).normal(size=(700, 4))
    learner = fit_learner("rank", *market, near, 1, penalty=10.0, places=places)
    assert rank_accuracy(learner.score(market[0]), market[1], seed=1) > 0.85


def test_a_learner_of_another_kind_is_refused(market: Any, tmp_path: Path) -> None:
    fit_learner("price", *market, SECTION, 1, penalty=10.0).save(tmp_path / "price.safetensors")
    assert isinstance(FeatureLearner.load(tmp_path / "price.safetensors"), PriceRegression)
    with pytest.raises(ModelError, match="it is a price regression"):
        RankSiamese.load(tmp_path / "price.safetensors")


def test_channels_that_repeat_each_other_can_be_regressed_on_without_a_penalty() -> None:
    generator = np.random.default_rng(2)
    once = generator.normal(size=(60, 50)).astype(np.float32)
    features = np.concatenate([once, once, np.ones((60, 3), dtype=np.float32)], axis=1)
    learner = fit_learner("price", features, once[:, 0].astype(float), SECTION, 1, penalty=0.0)
    assert np.isfinite(learner.score(features)).all()
