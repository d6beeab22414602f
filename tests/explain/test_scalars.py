from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain import scalars
from housevis.explain.gradcam import example_grad_weights, grad_cam, keep_top, map_grad_weights, weighted_map
from housevis.explain.networks import LinearHead

N, K, D, P, Q = 3, 6, 4, 5, 2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def maps() -> Tensor:
    return drawn(N, K, 3, 2, seed=1).clamp(min=0)


@pytest.fixture
def head() -> LinearHead:
    return LinearHead(drawn(D, K, seed=2), drawn(D, seed=3))


POSITIVES, NEGATIVES = drawn(N, P, D, seed=4), drawn(N, P, D, seed=5)
MANY = drawn(N, P, Q, D, seed=6)
DEARER = drawn(N, P, seed=7) > 0
RANK_HEAD = nn.Linear(D, 2).double().requires_grad_(False)

EVERY: dict[str, Callable[..., Tensor]] = {
    "triplet loss": lambda f, **s: scalars.triplet_loss(f, POSITIVES, NEGATIVES, margin=0.3, **s),
    "distance difference": lambda f, **s: scalars.distance_difference(f, POSITIVES, NEGATIVES, **s),
    "distance to positive": lambda f, **s: scalars.pairwise_distance(f, POSITIVES, polarity="positive", **s),
    "distance to negative": lambda f, **s: scalars.pairwise_distance(f, NEGATIVES, polarity="negative", **s),
    "n-pair loss": lambda f, **s: scalars.n_pair_loss(f, POSITIVES, MANY, **s),
    "single feature": lambda f, **s: scalars.single_feature(f, 2, **s),
    "price": lambda f, **s: scalars.price(f, drawn(N, D, seed=8), 0.5, **s),
    "rank cross-entropy": lambda f, **s: scalars.rank_cross_entropy(f, POSITIVES, DEARER, RANK_HEAD, **s),
    "ordering logit": lambda f, **s: scalars.ordering_logit(f, POSITIVES, RANK_HEAD, **s),
}


def test_triplet_loss_by_hand() -> None:
    anchor = torch.tensor([[2.0, 0.0]])
    positives = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    negatives = torch.tensor([[0.0, 5.0], [4.0, 0.0]])
    # Normalised, the squared distances are 0 and 2, then 2 and 0.
    loss = scalars.triplet_loss(anchor, positives, negatives, margin=0.2)
    assert loss.tolist() == [[0.0, pytest.approx(2.2)]]
    assert scalars.valid_triplets(anchor, positives, negatives, margin=0.2).tolist() == [[False, True]]
    raw = scalars.triplet_loss(anchor, positives, negatives, margin=0.2, normalise=False)
    assert raw.tolist() == [[0.0, pytest.approx(5 - 4 + 0.2)]]
    difference = scalars.distance_difference(anchor, positives, negatives)
    assert difference.tolist() == [[pytest.approx(-2.0), pytest.approx(2.0)]]


def test_n_pair_loss_is_a_cross_entropy() -> None:
    anchors = drawn(N, D)
    logits = torch.cat(
        [
            torch.einsum("nd,npd->np", anchors, POSITIVES)[..., None],
            torch.einsum("nd,npqd->npq", anchors, MANY),
        ],
        dim=-1,
    )
    expected = -logits.log_softmax(dim=-1)[..., 0]
    assert torch.allclose(scalars.n_pair_loss(anchors, POSITIVES, MANY), expected)
    shared = scalars.n_pair_loss(anchors, POSITIVES, MANY[0, 0])
    one = scalars.n_pair_loss(anchors, POSITIVES, MANY[0, 0].expand(N, P, Q, D))
    assert torch.allclose(shared, one)


def test_price_and_feature_by_hand() -> None:
    anchors = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    weights = torch.tensor([0.5, -0.25])
    assert torch.allclose(scalars.price(anchors, weights, 1.0), torch.tensor([1.0, 1.25]).exp())
    assert scalars.single_feature(anchors, 1).tolist() == [2.0, -1.0]


def test_rank_cross_entropy_is_the_cross_entropy() -> None:
    anchors = drawn(N, D)
    logits = RANK_HEAD(anchors[:, None] - POSITIVES)
    expected = nn.functional.cross_entropy(
        logits.reshape(-1, 2), DEARER.flatten().long(), reduction="none"
    ).reshape(N, P)
    found = scalars.rank_cross_entropy(anchors, POSITIVES, DEARER, RANK_HEAD)
    assert torch.allclose(found, expected)
    margin = scalars.ordering_logit(anchors, POSITIVES, RANK_HEAD)
    assert torch.allclose(margin, logits[..., 1] - logits[..., 0])


@pytest.mark.parametrize("name", EVERY)
def test_the_senses_are_opposites_and_the_default_is_published(name: str) -> None:
    anchors = drawn(N, D)
    toward, against = EVERY[name](anchors, sense="for"), EVERY[name](anchors, sense="against")
    assert torch.equal(toward, -against)
    published = (
        "for" if name in ("distance to negative", "single feature", "price", "ordering logit") else None
    )
    assert torch.equal(EVERY[name](anchors), toward if published else against)
    with pytest.raises(ModelError, match="no sense"):
        EVERY[name](anchors, sense="sideways")


@pytest.mark.parametrize("name", ["triplet loss", "distance difference", "n-pair loss", "rank cross-entropy"])
def test_a_step_in_the_sense_for_brings_agreement(name: str) -> None:
    anchors = drawn(N, D).requires_grad_(True)
    values = EVERY[name](anchors, sense="for").sum()
    (gradient,) = torch.autograd.grad(values, anchors)
    later = EVERY[name](anchors + 1e-3 * gradient, sense="against").sum()
    assert later < EVERY[name](anchors, sense="against").sum()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_the_closed_form_equals_back_propagation(
    name: str, method: str, maps: Tensor, head: LinearHead
) -> None:
    scalar = EVERY[name]
    valid = drawn(N, P, seed=9) > -0.5 if scalar(drawn(N, D)).ndim == 2 else None
    closed = example_grad_weights(maps, head, scalar, method=method, valid=valid)  # type: ignore[arg-type]
    by_autograd = example_grad_weights(
        maps,
        lambda each: head(each),
        scalar,
        method=method,
        valid=valid,  # type: ignore[arg-type]
    )
    assert closed.abs().max() > 0
    assert not closed.requires_grad
    assert torch.allclose(closed, by_autograd, atol=1e-10)
    single = example_grad_weights(
        maps.float(), head, lambda f: scalar(f.double()), method=method, valid=valid
    )
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), closed, atol=1e-5)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_many_examples_are_the_mean_of_valid_single_ones(method: str, maps: Tensor, head: LinearHead) -> None:
    valid = torch.ones(N, P, dtype=torch.bool)
    valid[0, 1:3] = False
    valid[2] = False
    found = example_grad_weights(maps, head, EVERY["n-pair loss"], method=method, valid=valid)  # type: ignore[arg-type]
    singles = torch.stack(
        [
            map_grad_weights(
                maps, lambda a, p=example: scalars.n_pair_loss(head(a), POSITIVES, MANY)[:, p], method=method
            )
            for example in range(P)
        ],
        dim=1,
    )
    assert torch.allclose(found[0], singles[0, [0, 3, 4]].mean(dim=0))
    assert torch.allclose(found[1], singles[1].mean(dim=0))
    assert found[2].abs().max() == 0


def test_triplets_without_loss_count_for_nothing(maps: Tensor, head: LinearHead) -> None:
    margin = -0.5
    valid = scalars.valid_triplets(head(maps), POSITIVES, NEGATIVES, margin=margin)
    assert 0 < valid.sum() < N * P

    def loss(f: Tensor) -> Tensor:
        return scalars.triplet_loss(f, POSITIVES, NEGATIVES, margin=margin)

    weights = example_grad_weights(maps, head, loss, valid=valid)
    diluted = example_grad_weights(maps, head, loss)
    share = valid.sum(dim=1, keepdim=True) / P
    assert torch.allclose(weights * share, diluted)


def test_a_head_of_several_layers_against_finite_differences(maps: Tensor) -> None:
    torch.manual_seed(1)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(K, 8), nn.Tanh(), nn.Linear(8, D)
    ).double()
    weights = example_grad_weights(maps, head, EVERY["distance difference"])
    step = 1e-6
    with torch.no_grad():
        for channel in range(K):
            raised = maps.clone()
            raised[:, channel] += step
            change = EVERY["distance difference"](head(raised)) - EVERY["distance difference"](head(maps))
            assert torch.allclose(weights[:, channel], change.mean(dim=1) / step / 6, atol=1e-6)
    assert head.training


def test_keep_top() -> None:
    weights = torch.tensor([[0.1, -5.0, 0.3, 0.2], [-1.0, -2.0, -3.0, -4.0]])
    assert keep_top(weights, 2).tolist() == [[0, 0, pytest.approx(0.3), pytest.approx(0.2)], [-1, -2, 0, 0]]
    assert keep_top(weights, 4) is weights
    assert torch.equal(keep_top(weights, 9), weights)
    with pytest.raises(ModelError, match="0 channels"):
        keep_top(weights, 0)


def test_one_call_gives_the_heat(maps: Tensor, head: LinearHead) -> None:
    weights = example_grad_weights(maps, head, EVERY["distance difference"])
    assert torch.equal(grad_cam(maps, head, EVERY["distance difference"]), weighted_map(maps, weights))
    top = grad_cam(maps, head, EVERY["distance difference"], top=2)
    assert torch.equal(top, weighted_map(maps, keep_top(weights, 2)))
    assert grad_cam(maps[:0], head, lambda f: f.sum(dim=1)).shape == (0, 3, 2)


def test_what_does_not_fit_is_one_message(maps: Tensor, head: LinearHead) -> None:
    anchors = drawn(N, D)
    for examples in (drawn(P, D + 1), drawn(N + 1, P, D), drawn(D)):
        with pytest.raises(ModelError, match="do not fit"):
            scalars.distance_difference(anchors, examples, examples)
    with pytest.raises(ModelError, match="do not fit"):
        scalars.n_pair_loss(anchors, POSITIVES, NEGATIVES)
    with pytest.raises(ModelError, match="do not fit"):
        scalars.price(anchors, drawn(3))
    with pytest.raises(ModelError, match="no feature 4"):
        scalars.single_feature(anchors, D)
    with pytest.raises(ModelError, match="logits"):
        scalars.ordering_logit(anchors, POSITIVES, lambda difference: difference)
    with pytest.raises(ModelError, match="do not fit"):
        example_grad_weights(maps, head, lambda f: f.sum())
    with pytest.raises(ModelError, match="do not fit"):
        example_grad_weights(maps, head, lambda f: f, valid=torch.ones(N, 1, dtype=torch.bool))
    with pytest.raises(ModelError, match="does not depend"):
        example_grad_weights(maps, head, lambda f: torch.zeros(N))
    with pytest.raises(ModelError, match=r"must be \(N, K, h, w\)"):
        example_grad_weights(maps[0], head, lambda f: f)
