from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from housevis.core.config_sections import SiameseSection
from housevis.core.errors import ModelError
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import RankSiamese, rank_accuracy

CHANNELS = 40
fit_rank_siamese = partial(fit_learner, "rank")


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    """Features of which two channels move the price; others are noise of very different scales."""
    generator = np.random.default_rng(8)
    features = generator.normal(size=(600, CHANNELS)).astype(np.float32)
    log_price = 13 + 0.4 * features[:, 3] - 0.3 * features[:, 17] + 0.2 * generator.normal(size=600)
    scales = np.geomspace(0.01, 3, CHANNELS).astype(np.float32)
    return features * scales + 0.5, np.exp(log_price).round(-3)


@pytest.fixture(scope="module")
def fitted(market: tuple[np.ndarray, np.ndarray]) -> RankSiamese:
    return fit_rank_siamese(*market, SiameseSection(), seed=1, penalty=100, fingerprint="test net")


def test_it_ranks_houses_it_never_saw(market: tuple[np.ndarray, np.ndarray]) -> None:
    features, prices = market
    model = fit_rank_siamese(features[:400], prices[:400], SiameseSection(), seed=1, penalty=100)
    assert rank_accuracy(model.score(features[400:]), prices[400:], seed=2) > 0.82
    assert rank_accuracy(-model.score(features[400:]), prices[400:], seed=2) < 0.18


def test_logits_are_the_head_on_the_difference(fitted: RankSiamese, market) -> None:
    pooled = torch.from_numpy(market[0])
    with torch.no_grad():
        f = fitted.f(pooled)
        logits = fitted.logits(f[:50], f[50:100])
        margin = logits[:, 1] - logits[:, 0] - (fitted.head.bias[1] - fitted.head.bias[0])
    score = fitted.score(market[0])
    np.testing.assert_allclose(margin.numpy(), score[:50] - score[50:100], rtol=1e-3, atol=1e-4)
    assert f.shape == (600, 4)
    assert fitted.direction().shape == (4,)


def test_the_embedding_acts_on_raw_pooled_features(fitted: RankSiamese, market) -> None:
    """With global average pooling, dL/dA = W^T (dL/df) / Z in every cell (METHODS, fact 1)."""
    maps = torch.rand(2, CHANNELS, 3, 3, requires_grad=True)
    f = fitted.f(maps.mean(dim=(2, 3)))
    loss = torch.nn.functional.cross_entropy(fitted.logits(f[:1], f[1:]), torch.tensor([1]))
    grad_f, grad_maps = torch.autograd.grad(loss, [f, maps])
    closed_form = grad_f @ fitted.embedding.weight / 9
    torch.testing.assert_close(grad_maps.mean(dim=(2, 3)), closed_form)
    direction = fitted.direction()
    cosine = torch.nn.functional.cosine_similarity(grad_f, direction[None])
    torch.testing.assert_close(cosine.abs(), torch.ones(2))


def test_same_seed_same_result(market, fitted: RankSiamese) -> None:
    again = fit_rank_siamese(*market, SiameseSection(), seed=1, penalty=100, fingerprint="test net")
    other = fit_rank_siamese(*market, SiameseSection(), seed=2, penalty=100)
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(fitted.embedding.weight, other.embedding.weight)


def test_save_and_load(fitted: RankSiamese, market, tmp_path: Path) -> None:
    file = tmp_path / "heads" / "siamese.safetensors"
    fitted.save(file)
    assert list(file.parent.iterdir()) == [file]
    loaded = RankSiamese.load(file, "test net")
    np.testing.assert_array_equal(loaded.embed(market[0]), fitted.embed(market[0]))
    assert (loaded.dimension, loaded.channels, loaded.fingerprint) == (4, CHANNELS, "test net")
    with pytest.raises(ModelError, match="another backbone"):
        RankSiamese.load(file, "other net")
    file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="no rank siamese") as caught:
        RankSiamese.load(file)
    assert caught.value.where == str(file)
    with pytest.raises(ModelError, match="no rank siamese"):
        RankSiamese.load(tmp_path / "absent.safetensors")


def test_constant_channels_and_one_price_apart(market) -> None:
    features = np.ones((6, 5), dtype=np.float32)
    features[:, 0] = [0, 0, 0, 1, 1, 1]
    prices = np.array([1e5, 1e5, 1e5, 2e5, 2e5, 2e5])
    model = fit_rank_siamese(features, prices, SiameseSection(), seed=1, penalty=100)
    assert np.isfinite(model.embed(features)).all()
    assert torch.equal(model.embedding.weight[:, 1:], torch.zeros(4, 4))


@pytest.mark.parametrize(
    ("features", "prices", "message"),
    [
        (np.zeros((3, 2)), np.full(3, 1e5), "different prices"),
        (np.zeros((3, 2)), np.ones(2), "do not belong"),
        (np.full((3, 2), np.nan), np.arange(3.0), "not finite"),
        (np.zeros((3, 2)), np.array([1e5, np.nan, 2e5]), "not finite"),
        (np.zeros((0, 2)), np.zeros(0), "different prices"),
    ],
)
def test_what_cannot_be_ranked(features: np.ndarray, prices: np.ndarray, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fit_rank_siamese(features, prices, SiameseSection(), seed=1, penalty=100)


def test_wrong_channels_are_refused(fitted: RankSiamese) -> None:
    with pytest.raises(ModelError, match=r"\(n, 40\)"):
        fitted.embed(np.zeros((2, 7)))


def test_a_small_market_is_not_learnt_by_heart() -> None:
    """More channels than houses, and pictures that say nothing about the price."""
    generator = np.random.default_rng(4)
    features = generator.normal(size=(300, 500)).astype(np.float32)
    features += 3 * generator.normal(size=(300, 8)) @ generator.normal(size=(8, 500))
    prices = np.exp(generator.normal(size=300))
    free = fit_rank_siamese(features, prices, SiameseSection(), seed=1, penalty=0)
    held = fit_rank_siamese(features, prices, SiameseSection(), seed=1, penalty=30_000)
    by_heart = rank_accuracy(free.score(features), prices, seed=1)
    with_penalty = rank_accuracy(held.score(features), prices, seed=1)
    assert by_heart > 0.75
    assert with_penalty < by_heart - 0.1


def test_all_rows_of_the_embedding_learn_one_direction(market) -> None:
    """Fact 2 of the design: dL/df lies along V_1 - V_0."""
    model = fit_rank_siamese(*market, SiameseSection(), seed=1, penalty=1000)
    f = model.embed(market[0])
    spread = np.linalg.svd(f - f.mean(axis=0), compute_uv=False)
    assert spread[1] < 0.05 * spread[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=2, max_size=30).filter(lambda p: len(set(p)) > 1))
def test_rank_accuracy_of_the_prices_themselves_is_one(prices: list[int]) -> None:
    known = np.array(prices, dtype=float)
    assert rank_accuracy(known, known, pairs=2000, seed=1) == 1.0
    assert rank_accuracy(-known, known, pairs=2000, seed=1) == 0.0
    assert rank_accuracy(np.zeros_like(known), known, pairs=2000, seed=1) == 0.5


def test_rank_accuracy_needs_different_prices() -> None:
    with pytest.raises(ModelError, match="different prices"):
        rank_accuracy(np.arange(4.0), np.ones(4), seed=1)
