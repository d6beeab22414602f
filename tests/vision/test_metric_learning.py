"""The embedding of classes: trained with the real library on features made to order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from housevis.core.errors import ModelError
from housevis.vision import metric_learning
from housevis.vision.metric_learning import EmbeddingTraining, LinearEmbedding, fit_linear_embedding

SHORT = EmbeddingTraining(dimension=8, steps=150, classes_per_batch=6, learning_rate=3e-3)


def classes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six classes that differ in 4 of 40 features, whose noise elsewhere is much larger."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(1, 7), 20)
    centres = np.random.default_rng(9).normal(size=(7, 4))
    features = 3 * generator.normal(size=(120, 40))
    features[:, :4] = centres[labels] + 0.2 * generator.normal(size=(120, 4))
    return features.astype(np.float32), labels


def recall(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose nearest other row is of their class."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -2)
    return float((labels[likeness.argmax(axis=1)] == labels).mean())


def test_classes_come_together_in_the_embedding():
    pytest.importorskip("pytorch_metric_learning")
    features, labels = classes()
    embedding = fit_linear_embedding(features, labels, SHORT, seed=1)
    assert embedding.weight.shape == (8, 40)
    new, new_labels = classes(seed=5)
    assert recall(embedding.embed(new), new_labels) > recall(new, new_labels) + 0.2


def test_same_seed_same_embedding_and_views_are_drawn_from():
    pytest.importorskip("pytorch_metric_learning")
    features, labels = classes()
    few = EmbeddingTraining(dimension=4, steps=5)
    views = np.stack([features, features + 1], axis=1)
    first, second = (fit_linear_embedding(views, labels, few, seed=3) for _ in range(2))
    assert np.array_equal(first.weight, second.weight)
    assert not np.array_equal(first.weight, fit_linear_embedding(views, labels, few, seed=4).weight)


def test_one_class_is_too_few():
    pytest.importorskip("pytorch_metric_learning")
    with pytest.raises(ModelError, match="two classes"):
        fit_linear_embedding(np.ones((4, 3)), np.ones(4, dtype=int), SHORT, seed=0)


def test_without_the_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metric_learning.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModelError) as problem:
        fit_linear_embedding(*classes(), SHORT, seed=0)
    assert "housevis[research]" in str(problem.value.remedy)


def test_kept_on_disk_and_only_taken_for_what_it_is(tmp_path: Path):
    embedding = LinearEmbedding(np.eye(2, 3, dtype=np.float32), np.ones(2, dtype=np.float32))
    file = tmp_path / "embedding.safetensors"
    assert LinearEmbedding.load(file, about="birds") is None
    embedding.save(file, about="birds")
    found = LinearEmbedding.load(file, about="birds")
    assert found is not None
    assert np.array_equal(found.weight, embedding.weight)
    assert np.array_equal(found.bias, embedding.bias)
    assert LinearEmbedding.load(file, about="cars") is None
    file.write_bytes(b"broken")
    assert LinearEmbedding.load(file, about="birds") is None
