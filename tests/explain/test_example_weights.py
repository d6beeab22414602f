from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain import GradWeightDatabase, LinearHead, Transfer
from housevis.explain import scalars as functions
from housevis.explain.example_weights import averaged_grad_weights, embedding_grad_weights
from housevis.explain.examples import NPairs, OwnFeature, OwnPrice, RankPairs, Triplets
from housevis.explain.gradcam import layer_grad_weights

PICTURES, CHANNELS, DIMENSION = 70, 14, 5
LABELS = np.repeat(np.arange(7), 10)


def rank_head() -> nn.Linear:
    torch.manual_seed(4)
    return nn.Linear(DIMENSION, 2)


QUESTIONS: dict[str, Any] = {
    "triplet-loss": Triplets(LABELS),
    "triplet-loss for": Triplets(LABELS, chosen_sense="for"),
    "triplet-loss raw": Triplets(LABELS, normalise=False, margin=0.05),
    "distance-difference": Triplets(LABELS, "distance-difference"),
    "positive-distance": Triplets(LABELS, "positive-distance"),
    "negative-distance": Triplets(LABELS, "negative-distance"),
    "n-pair-loss": NPairs(LABELS, negatives=4),
    "rank-cross-entropy": RankPairs(1000.0 * (np.arange(PICTURES) % 9), rank_head()),
    "ordering-logit": RankPairs(1000.0 * (np.arange(PICTURES) % 9), rank_head(), "ordering-logit", "against"),
    "single-feature": OwnFeature(2),
    "price": OwnPrice(torch.linspace(-1, 1, DIMENSION)),
    "price of each house": OwnPrice(torch.linspace(-1, 1, PICTURES * DIMENSION).reshape(PICTURES, -1)),
}


@pytest.fixture(scope="module")
def network() -> tuple[Tensor, LinearHead]:
    """Feature maps of seven classes, and a linear head."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.rand(7, CHANNELS, 1, 1, generator=generator)
    maps = centres[LABELS] + torch.rand(PICTURES, CHANNELS, 3, 4, generator=generator)
    weight = torch.randn(DIMENSION, CHANNELS, generator=generator)
    return maps, LinearHead(weight, torch.randn(DIMENSION, generator=generator))


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_closed_form_equals_back_propagation_to_1e_5(name: str, method: Any, network: Any) -> None:
    maps, head = network
    question = QUESTIONS[name]
    closed, valid = averaged_grad_weights(
        head, maps.mean(dim=(2, 3)), question, cells=12, examples=6, method=method
    )
    by_autograd, again = averaged_grad_weights(
        lambda each: head(each), maps, question, examples=6, method=method
    )
    assert valid.tolist() == again.tolist()
    largest = float(by_autograd.abs().max())
    assert largest > 0
    np.testing.assert_allclose(closed.numpy(), by_autograd.numpy(), rtol=0, atol=1e-5 * largest)


def test_weights_are_those_of_hooks_on_a_whole_network() -> None:
    torch.manual_seed(5)
    trunk = nn.Sequential(nn.Conv2d(3, 9, 3, stride=2), nn.ReLU())
    layer = nn.Linear(9, 4)
    module = nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    pictures = torch.rand(30, 3, 13, 13)
    question = Triplets(np.arange(30) % 3)
    with torch.no_grad():
        maps, embeddings = trunk(pictures), module(pictures)
    found, counts = averaged_grad_weights(
        LinearHead.of(layer), maps.mean(dim=(2, 3)), question, cells=36, examples=5, seed=3
    )
    positives, negatives, there = question.draw(embeddings, slice(0, 30), 5, np.random.default_rng(3))
    shares = there / there.sum(dim=1, keepdim=True).clamp(min=1)
    _, expected = layer_grad_weights(
        module,
        trunk,
        pictures,
        lambda own: (functions.triplet_loss(own, embeddings[positives], embeddings[negatives]) * shares).sum(
            dim=1
        ),
    )
    assert counts.tolist() == there.sum(dim=1).tolist()
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5 * float(expected.abs().max()))


def test_the_drawn_triplets_are_valid_different_and_all_that_there_are() -> None:
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(24, 3, generator=generator)
    labels = np.array([0] * 9 + [1] * 9 + [2] * 5 + [3])
    question = Triplets(labels, margin=0.1)
    for count in (4, 400):
        positives, negatives, there = question.draw(embeddings, slice(0, 24), count, np.random.default_rng(0))
        for row in range(24):
            alike = [other for other in range(24) if labels[other] == labels[row] and other != row]
            unlike = [other for other in range(24) if labels[other] != labels[row]]
            pairs = torch.cartesian_prod(torch.tensor(alike, dtype=torch.long), torch.tensor(unlike))
            possible = set()
            if alike:
                fits = functions.valid_triplets(
                    embeddings[row : row + 1], embeddings[pairs[:, 0]], embeddings[pairs[:, 1]], margin=0.1
                )
                possible = {tuple(pair) for pair in pairs[fits[0]].tolist()}
            drawn = [
                (int(positives[row, place]), int(negatives[row, place]))
                for place in range(count)
                if there[row, place]
            ]
            assert len(set(drawn)) == len(drawn) == min(count, len(possible))
            assert set(drawn) <= possible


def test_every_valid_triplet_is_drawn_equally_often() -> None:
    embeddings = torch.randn(12, 2, generator=torch.Generator().manual_seed(6))
    labels = np.array([0] * 6 + [1] * 6)
    question = Triplets(labels, margin=0.5)
    generator = np.random.default_rng(0)
    every = question.draw(embeddings, slice(0, 1), 1000, generator)
    possible = int(every[2].sum())
    assert possible > 10
    counts: dict[tuple[int, int], int] = {}
    for _ in range(3000):
        positives, negatives, there = question.draw(embeddings, slice(0, 1), 5, generator)
        assert there.all()
        for pair in zip(positives[0].tolist(), negatives[0].tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == possible
    shares = np.array(list(counts.values())) / 3000
    assert shares == pytest.approx(np.full(possible, 5 / possible), abs=0.06)


def test_a_picture_without_a_valid_triplet_is_stored_as_such(tmp_path: Path) -> None:
    """Two classes far apart, one picture between them, and one alone in its class."""
    pooled = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4 + [[0.6, 0.5], [0.7, 0.7]])
    labels = ["a"] * 4 + ["b"] * 4 + ["b", "c"]
    question = Triplets(labels, margin=0.05)
    database = embedding_grad_weights(
        LinearHead(torch.eye(2)), pooled, question, ids=[str(row) for row in range(10)], cells=9
    )
    assert database.pairs.tolist()[:4] == [0] * 4
    assert database.pairs[8] > 0
    assert database.pairs[9] == 0
    assert not database.weights_of([0, 9]).any()
    found = Transfer(database).nearest(np.array([[1.0, 0.01]]))
    assert database.pairs[found[0]] > 0
    database.save(tmp_path / "weights.safetensors")
    again = GradWeightDatabase.load(tmp_path / "weights.safetensors")
    assert again.pairs.tolist() == database.pairs.tolist()
    assert again.about == database.about
    assert again.about.settings == {"margin": 0.05}


def test_the_database_holds_the_highest_channels(network: Any) -> None:
    maps, head = network
    ids = [f"picture {row}" for row in range(PICTURES)]
    for question in (QUESTIONS["triplet-loss"], QUESTIONS["negative-distance"], QUESTIONS["price"]):
        weights, counts = averaged_grad_weights(head, maps, question)
        database = embedding_grad_weights(head, maps, question, ids=ids, top_channels=4, model_id="net")
        order = (-weights.numpy()).argsort(axis=1)[:, :4]
        expected = np.take_along_axis(weights.numpy(), order, axis=1)
        assert database.weights_of(range(PICTURES)) == pytest.approx(
            expected, abs=float(np.abs(expected).max()) / 1000
        )
        assert database.pairs.tolist() == counts.tolist()
        assert database.about.scalar == question.scalar
        assert database.about.sense == question.sense
        assert database.about.cells == 12
        lengths = np.linalg.norm(database.embeddings, axis=1)
        assert np.allclose(lengths, 1) is database.about.normalised


def test_opposite_senses_have_opposite_weights(network: Any) -> None:
    maps, head = network
    one, _ = averaged_grad_weights(head, maps, QUESTIONS["triplet-loss"])
    other, _ = averaged_grad_weights(head, maps, QUESTIONS["triplet-loss for"])
    assert torch.equal(one, -other)


def test_arrays_and_tensors_are_the_same(network: Any, tmp_path: Path) -> None:
    maps, head = network
    np.save(tmp_path / "maps.npy", maps.numpy())
    stored = np.load(tmp_path / "maps.npy", mmap_mode="r")
    one, _ = averaged_grad_weights(head, maps, QUESTIONS["n-pair-loss"], seed=4)
    other, _ = averaged_grad_weights(head, stored, QUESTIONS["n-pair-loss"], seed=4)
    assert torch.equal(one, other)


def test_looking_up_brings_raw_embeddings_to_the_length_1(network: Any) -> None:
    maps, head = network
    ids = [str(row) for row in range(PICTURES)]
    database = embedding_grad_weights(head, maps, QUESTIONS["triplet-loss"], ids=ids)
    raw = head(maps).numpy()
    found = Transfer(database).nearest(7 * raw)
    lenders = np.flatnonzero(database.pairs > 0)
    assert found[lenders].tolist() == lenders.tolist()


def test_a_channel_that_hardly_fires_is_passed_over_by_effect(network: Any) -> None:
    maps, head = network
    ids = [str(row) for row in range(PICTURES)]
    quiet = maps.mean(dim=(2, 3)).clone()
    question = OwnFeature(0)
    highest = int(head.weight[0].argmax())
    quiet[:, highest] = 1e-6 * quiet[:, highest]
    for order, is_kept in (("weight", True), ("effect", False)):
        database = embedding_grad_weights(
            head, quiet, question, ids=ids, cells=12, top_channels=2, channel_order=order
        )
        assert (highest in database.channels[0]) is is_kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": torch.rand(PICTURES, CHANNELS)}, "how many cells"),
        ({"ids": ["a"]}, "1 ids for 70 pictures"),
        ({"question": Triplets(LABELS[:5])}, "labels have the shape"),
        ({"question": RankPairs([1.0], rank_head())}, "prices have the shape"),
        ({"question": Triplets(LABELS, "nothing")}, "no scalar 'nothing'"),
        ({"question": OwnFeature(9)}, "no feature 9"),
        ({"features": torch.full((PICTURES, CHANNELS, 2, 2), torch.nan)}, "70 pictures have an embedding"),
        ({"features": torch.rand(PICTURES, CHANNELS, 2), "cells": 2}, "maps"),
    ],
)
def test_what_does_not_fit_is_one_message(changes: dict[str, Any], words: str, network: Any) -> None:
    maps, head = network
    given = {"features": maps, "question": QUESTIONS["triplet-loss"], "ids": list(map(str, range(PICTURES)))}
    with pytest.raises(ModelError, match=words):
        embedding_grad_weights(head, **{**given, **changes})
