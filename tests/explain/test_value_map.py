"""The value map: complete, bounded, exact, signed, in currency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from housevis.core.errors import ModelError
from housevis.explain.picture_words import PictureWords, WordValues, looks_of, middle_of_picture
from housevis.explain.value_map import (
    NEGLIGIBLE,
    ValueMapModel,
    complete,
    decompose,
    effect_slopes,
    guided,
    log_mean,
    path_gradients,
)
from housevis.vision.siamese import FeatureLearner, KernelRegression, PriceRegression

HOUSES, CHANNELS, SIDE = 6, 5, 4
parts_of_houses = arrays(np.float64, (3, 7), elements=st.floats(-1, 1, allow_subnormal=False))
totals_of_houses = arrays(np.float64, 3, elements=st.floats(-1, 1, allow_subnormal=False))


@given(parts_of_houses, totals_of_houses)
@settings(max_examples=200, deadline=None)
def test_completed_parts_sum_to_their_totals_within_a_bound(parts: np.ndarray, totals: np.ndarray) -> None:
    found = complete(parts, totals)
    raises, lowers = np.maximum(parts, 0).sum(axis=1), np.maximum(-parts, 0).sum(axis=1)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), totals, atol=1e-9)
    bound = np.sqrt(totals**2 + 4 * raises * lowers)
    assert (np.abs(found).sum(axis=1) <= bound + 1e-6).all()


def test_completion_keeps_signs_also_where_the_total_is_nothing() -> None:
    parts = np.array([[0.2, -0.3, 0.1]] * 3)
    found = complete(parts, [0.0, 0.5, -0.5])
    assert (np.sign(found) == np.sign(parts)).all()
    np.testing.assert_allclose(np.abs(found[0]).sum(), 2 * np.sqrt(0.3 * 0.3))


def test_parts_of_the_wrong_sign_spread_the_total_evenly() -> None:
    np.testing.assert_allclose(
        complete(np.array([[-0.1, -0.2], [0.0, 0.0]]), [0.4, -0.2]), [[0.2] * 2, [-0.1] * 2]
    )


@given(arrays(np.float64, 4, elements=st.floats(1e3, 1e7)), arrays(np.float64, 4, elements=st.floats(-1, 1)))
@settings(max_examples=100, deadline=None)
def test_log_mean_adds_contributions_up_to_the_price(base: np.ndarray, rise: np.ndarray) -> None:
    price = base * np.exp(rise)
    np.testing.assert_allclose(base + rise * log_mean(price, base), price, rtol=1e-9)
    np.testing.assert_allclose(log_mean(base, base), base)


def test_log_mean_refuses_a_price_of_nothing() -> None:
    with pytest.raises(ModelError, match="above 0"):
        log_mean([1.0], [0.0])


def test_slopes_follow_shap_and_are_0_for_a_constant_feature() -> None:
    generator = np.random.default_rng(0)
    features = np.column_stack([generator.normal(size=200), np.ones(200)])
    contributions = np.column_stack([0.5 * features[:, 0] + 0.1, np.full(200, 0.3)])
    features[3] = np.nan
    np.testing.assert_allclose(effect_slopes(contributions, features), [0.5, 0.0], atol=0.02)
    with pytest.raises(ModelError, match="no house"):
        effect_slopes(contributions, np.full_like(features, np.nan))


def linear_learner(channels: int, generator: np.random.Generator) -> PriceRegression:
    import torch

    learner = PriceRegression(channels, 2)
    with torch.no_grad():
        learner.embedding.weight.copy_(torch.from_numpy(generator.normal(size=(2, channels))))
    return learner


def kernel_learner(channels: int, generator: np.random.Generator) -> KernelRegression:
    import torch

    learner = KernelRegression(channels, 2, houses=9, components=3)
    embedding = learner.embedding
    with torch.no_grad():
        embedding.projection.copy_(torch.from_numpy(generator.normal(size=(3, channels)) / channels))
        embedding.landmarks.copy_(torch.from_numpy(generator.normal(size=(9, 3))))
        embedding.weight.copy_(torch.from_numpy(generator.normal(size=(2, 9))))
        embedding.width.fill_(4.0)
    return learner


@pytest.mark.parametrize("make", [linear_learner, kernel_learner])
@pytest.mark.parametrize("blocks", [0, 2])
def test_the_decomposition_is_complete_for_any_embedding(make, blocks: int) -> None:
    generator = np.random.default_rng(1)
    maps = generator.random((HOUSES, CHANNELS, SIDE, SIDE)).astype(np.float32)
    around = generator.random((HOUSES, CHANNELS * blocks)).astype(np.float32)
    pooled = np.concatenate([maps.mean(axis=(2, 3)), around], axis=1)
    origin = pooled.mean(axis=0)
    learner: FeatureLearner = make(pooled.shape[1], generator)
    slopes = np.array([0.7, -0.2])
    gradients = path_gradients(learner, pooled, origin, slopes)
    positions, surroundings = decompose(maps, pooled, gradients, origin)
    wanted = (learner.embed(pooled) - learner.embed(origin[None])) @ slopes
    np.testing.assert_allclose(positions.sum(axis=(1, 2)) + surroundings, wanted, atol=2e-5)
    assert surroundings.any() == bool(blocks)


def value_maps(effects: np.ndarray, *, guide: bool, blocks: int = 0):
    generator = np.random.default_rng(2)
    maps = generator.random((HOUSES, CHANNELS, SIDE, SIDE)).astype(np.float32)
    around = generator.random((HOUSES, CHANNELS * blocks)).astype(np.float32)
    pooled = np.concatenate([maps.mean(axis=(2, 3)), around], axis=1)
    pictures = generator.integers(0, 256, (HOUSES, 112, 112, 3), dtype=np.uint8)
    words = PictureWords.fit(pictures, words=8)
    learner = linear_learner(pooled.shape[1], generator)
    slopes = np.array([0.5, 0.1], dtype=np.float32)
    values = WordValues.fit(words.read(pictures), learner.embed(pooled) @ slopes, len(words))
    model = ValueMapModel(pooled.mean(axis=0), slopes, words, values)
    currency = np.full(HOUSES, 300_000.0)
    return model.explain([learner], maps, pooled, effects, currency, pictures if guide else None)


@pytest.mark.parametrize("guide", [False, True])
@pytest.mark.parametrize("blocks", [0, 2])
def test_positions_and_surroundings_sum_to_the_reported_effect(guide: bool, blocks: int) -> None:
    effects = np.array([0.1, -0.2, 0.05, NEGLIGIBLE / 2, 0.0, 0.3])
    found = value_maps(effects, guide=guide, blocks=blocks)
    total = found.values.sum(axis=(1, 2)) + found.surroundings
    np.testing.assert_allclose(total, effects * 300_000, rtol=1e-3, atol=1.0)
    np.testing.assert_allclose(found.effects, effects * 300_000, rtol=1e-6)
    assert found.statuses == ("ok", "ok", "ok", "negligible", "negligible", "ok")
    assert found.values.shape == ((HOUSES, 8, 8) if guide else (HOUSES, 4, 4))
    assert found.surroundings.any() == bool(blocks)


def test_an_effect_that_is_no_number_is_flat_and_finite() -> None:
    found = value_maps(np.array([0.1, np.nan, 0.1, 0.1, 0.1, 0.1]), guide=False)
    assert found.statuses[1] == "flat"
    assert np.isfinite(found.values).all()
    assert not found.values[1].any()


def test_guidance_moves_heat_to_where_both_agree_and_keeps_its_amount() -> None:
    parts = np.full((1, 2, 2), 1.0)
    guide = np.full((1, 4, 4), -1.0)
    guide[0, 0, 0] = 1.0
    found = guided(parts, guide, typical=1.0)
    np.testing.assert_allclose(np.abs(found).sum(), 4.0)
    assert found[0, 0, 0] == found.max() > 10 * found[0, 3, 3] > 0


def test_the_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    pictures = generator.integers(0, 256, (5, 64, 60, 3), dtype=np.uint8)
    words = PictureWords.fit(pictures, words=4)
    values = WordValues.fit(words.read(pictures), generator.normal(size=5), len(words))
    model = ValueMapModel(np.ones(3, np.float32), np.ones(1, np.float32), words, values)
    model.save(tmp_path / "value-map.safetensors")
    again = ValueMapModel.load(tmp_path / "value-map.safetensors")
    assert again.values is not None
    np.testing.assert_array_equal(again.values.typical, values.typical)
    assert (again.values.scale, again.values.correlation) == (values.scale, values.correlation)
    ValueMapModel(model.origin, model.slopes).save(tmp_path / "plain.safetensors")
    assert ValueMapModel.load(tmp_path / "plain.safetensors").words is None
    (tmp_path / "broken").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no value maps"):
        ValueMapModel.load(tmp_path / "broken")


def test_words_find_the_colour_that_carries_the_feature() -> None:
    generator = np.random.default_rng(4)
    pictures = np.full((30, 112, 112, 3), (90, 140, 80), dtype=np.uint8)
    sides = generator.integers(0, 40, 30)
    for picture, side in zip(pictures, sides, strict=True):
        picture[10 : 10 + side, 20 : 20 + side] = (40, 90, 200)
    words = PictureWords.fit(pictures, words=4)
    values = WordValues.fit(words.read(pictures), sides.astype(float) ** 2, len(words), penalty=0.1)
    assert values.correlation > 0.9
    largest = int(sides.argmax())
    parts = values.parts(words.read(pictures[largest][None]))[0]
    assert parts[6:20, 11:25].mean() > 0 > parts[30:, 30:].mean()
    assert looks_of(pictures[:1]).shape == (1, 56, 56, 5)
    np.testing.assert_allclose(middle_of_picture().mean(), 1.0, rtol=1e-6)
