from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_pipeline.sample_market.market import SampleMarket
from housevis.core.config_sections import VisionSection
from housevis.core.errors import ModelError
from housevis.explain.embeddingcam import embedding_cam
from housevis.explain.filters import FilterSettings
from housevis.explain.l2caf import l2_caf, ordinary_l2_caf, recurrent_l2_caf
from housevis.explain.networks import EmbeddingNetwork, LinearHead
from housevis.vision.backbones import load_backbone, packaged_efficientnet_file
from housevis.vision.weights import read_weights

N, K, D = 5, 8, 6


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(N, K, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def head() -> LinearHead:
    generator = torch.Generator().manual_seed(2)
    return LinearHead(10 * torch.randn(D, K, generator=generator), torch.randn(D, generator=generator))


@pytest.fixture
def deep_head() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(K, 6, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, D)
    )


def differs(head: LinearHead, maps: Tensor, filters: Tensor) -> Tensor:
    """L eq. 1."""
    return ((head(maps) - head(maps * filters[:, None])) ** 2).sum(dim=1)


@pytest.mark.parametrize("classes", [None, 2])
@pytest.mark.parametrize("constraint", ["l2", "softmax", "gaussian"])
def test_the_gram_matrix_finds_what_back_propagation_finds(
    maps: Tensor, head: LinearHead, constraint: str, classes: int | None
) -> None:
    settings = FilterSettings(constraint=constraint)  # type: ignore[arg-type]
    by_gram = l2_caf(maps, head, classes=classes, settings=settings)
    by_autograd = l2_caf(maps, lambda each: head(each), classes=classes, settings=settings)
    assert torch.allclose(by_gram.heats, by_autograd.heats, atol=1e-3)
    assert torch.allclose(by_gram.losses, by_autograd.losses, rtol=1e-3, atol=1e-3)
    assert by_gram.heats.abs().max() > 0


def test_the_losses_are_those_of_the_paper(maps: Tensor, head: LinearHead) -> None:
    found = l2_caf(maps, head)
    assert torch.allclose(found.losses, differs(head, maps, found.filters), rtol=1e-4)
    specific = l2_caf(maps, head, classes=torch.tensor([0, 1, 2, 3, 4]))
    logits = head(maps * specific.filters[:, None])
    chosen = logits[torch.arange(N), torch.arange(N)]
    assert torch.allclose(specific.losses, logits.sum(dim=1) - 2 * chosen, atol=1e-4)


@pytest.mark.parametrize("classes", [None, 2])
def test_no_filter_is_better_than_the_exact_one(maps: Tensor, head: LinearHead, classes: int | None) -> None:
    exact = l2_caf(maps, head, classes=classes, exact=True)
    assert torch.allclose(exact.filters.flatten(1).norm(dim=1), torch.ones(N), atol=1e-5)
    searched = l2_caf(maps, head, classes=classes)
    assert torch.allclose(searched.heats, exact.heats, atol=5e-3)
    if classes is None:
        others = torch.randn(500, N, 3, 4, generator=torch.Generator().manual_seed(4))
        others = others / others.flatten(2).norm(dim=2)[..., None, None]
        best = torch.stack([differs(head, maps, each) for each in others]).min(dim=0).values
        assert (exact.losses <= best).all()
        assert (exact.losses <= searched.losses + 1e-3).all()


def test_an_exact_filter_where_most_of_the_picture_is_dark(head: LinearHead) -> None:
    maps = torch.zeros(2, K, 3, 4)
    maps[0, :, 1, 1] = 1.0  # ones are longer than 1 in the range of G: the filter is that cell
    maps[1, :, 0, 0] = 1.0
    found = l2_caf(maps, head, exact=True)
    assert float(found.heats[0, 1, 1]) == pytest.approx(1, abs=1e-5)
    assert float(found.heats[1, 0, 0]) == pytest.approx(1, abs=1e-5)
    assert found.losses.abs().max() < 1e-6


def test_an_exact_filter_that_is_too_short_at_first() -> None:
    # Both cells add opposite things: G has the null space (1, 1), in which the ones lie wholly.
    head = LinearHead(torch.tensor([[1.0, 0.0]]))
    maps = torch.zeros(1, 2, 1, 2)
    maps[0, 0] = torch.tensor([[1.0, -1.0]])
    found = l2_caf(maps, head, exact=True)
    assert torch.allclose(found.filters[0], torch.full((1, 2), 0.5**0.5), atol=1e-5)
    assert float(found.losses[0]) == pytest.approx(0, abs=1e-6)


def test_fast_finds_what_ordinary_finds(deep_head: nn.Module) -> None:
    torch.manual_seed(4)
    network = EmbeddingNetwork(nn.Sequential(nn.Conv2d(3, K, 3, stride=2), nn.ReLU()), deep_head)
    images = torch.rand(3, 3, 11, 9)
    settings = FilterSettings(tolerance=1e-9, most_steps=200)
    for classes in (None, torch.tensor([5, 0, 1])):
        fast = l2_caf(network.maps(images), deep_head, classes=classes, settings=settings)
        ordinary = ordinary_l2_caf(network, images, classes=classes, settings=settings)
        assert torch.allclose(fast.heats, ordinary.heats, atol=1e-3)


def test_together_and_alone_are_the_same(maps: Tensor, head: LinearHead, deep_head: nn.Module) -> None:
    for each in (head, deep_head):
        together = l2_caf(maps, each)
        for row in range(N):
            alone = l2_caf(maps[row : row + 1], each)
            assert torch.allclose(alone.heats[0], together.heats[row], atol=1e-3)


def test_another_start_leads_to_the_same_filter(maps: Tensor, head: LinearHead) -> None:
    found = [l2_caf(maps, head, generator=torch.Generator().manual_seed(seed)).heats for seed in (1, 2)]
    assert torch.allclose(found[0], found[1], atol=1e-2)
    assert torch.equal(found[0], l2_caf(maps, head, generator=torch.Generator().manual_seed(1)).heats)


def test_random_logits_change_the_map(maps: Tensor, head: LinearHead) -> None:
    other = LinearHead(torch.randn(D, K, generator=torch.Generator().manual_seed(9)))
    assert not torch.allclose(l2_caf(maps, head).heats, l2_caf(maps, other).heats, atol=0.05)


def test_empty_and_broken_feature_maps(maps: Tensor, head: LinearHead) -> None:
    maps = maps.clone()
    maps[1] = 0
    maps[3, 2, 1, 1] = float("nan")
    for exact in (True, False):
        for classes in (None, 1):
            heats = l2_caf(maps, head, exact=exact, classes=classes).heats
            assert heats[1].abs().max() == 0
            assert heats[3].isnan().any()
            assert heats[[0, 2, 4]].isfinite().all()


def test_what_does_not_fit_is_one_message(maps: Tensor, head: LinearHead, deep_head: nn.Module) -> None:
    with pytest.raises(ModelError, match="exact filter"):
        l2_caf(maps, deep_head, exact=True)
    with pytest.raises(ModelError, match="softmax has no exact"):
        l2_caf(maps, head, exact=True, settings=FilterSettings(constraint="softmax"))
    with pytest.raises(ModelError, match="classes 0 to 5"):
        l2_caf(maps, head, classes=6)
    with pytest.raises(ModelError, match="classes 0 to 5"):
        l2_caf(maps, deep_head, classes=-1)
    with pytest.raises(ModelError, match="one integer"):
        l2_caf(maps, head, classes=torch.tensor([1, 2]))
    with pytest.raises(ModelError, match=r"\(N, T, K, h, w\)"):
        recurrent_l2_caf(maps, head)


class Fused(nn.Module):
    """An LSTM over pooled frames."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(K, 5, batch_first=True)
        self.embedding = nn.Linear(5, D)

    def forward(self, frames: Tensor) -> Tensor:
        outputs, _ = self.lstm(frames.mean(dim=(3, 4)))
        return 20 * self.embedding(outputs[:, -1])


def test_one_filter_per_frame_of_an_lstm() -> None:
    torch.manual_seed(5)
    head = Fused()
    frames = torch.rand(4, 3, K, 3, 4)
    frames[:, 1, :, 0] = 0  # nothing in the north of the second frame
    found = recurrent_l2_caf(frames, head)
    assert found.filters.shape == (4, 3, 3, 4)
    assert found.losses.shape == found.steps.shape == found.stopped.shape == (4, 3)
    assert torch.allclose(found.heats.flatten(2).norm(dim=2), torch.ones(4, 3), atol=1e-5)
    assert head.training

    def others_as_they_are(one: Tensor, frame: int, row: int) -> Tensor:
        sequence = frames[row : row + 1].expand(len(one), -1, -1, -1, -1).clone()
        sequence[:, frame] = one
        return head(sequence)

    for frame in range(3):
        alone = l2_caf(frames[2:3, frame], lambda one, f=frame: others_as_they_are(one, f, 2))
        assert torch.allclose(found.heats[2, frame], alone.heats[0], atol=1e-3)


def test_a_linear_fusion_of_frames_has_the_exact_filters(head: LinearHead) -> None:
    frames = torch.rand(3, 2, K, 3, 4, generator=torch.Generator().manual_seed(6))
    shares = torch.tensor([0.8, 0.2])
    found = recurrent_l2_caf(frames, lambda each: head(torch.einsum("ntkhw,t->nkhw", each, shares)))
    for frame, share in enumerate(shares):
        exact = l2_caf(frames[:, frame] * share, head, exact=True)
        assert torch.allclose(found.heats[:, frame], exact.heats, atol=5e-3)


@pytest.fixture(scope="module")
def classifier() -> tuple[Tensor, LinearHead]:
    """Feature maps of pictures of the sample market, and the ImageNet classes of EfficientNet-Lite0."""
    town = SampleMarket(300, seed=1)
    pictures = np.stack([town.render(left, 0, 224, 224) for left in (0, 300, 600)])
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    tensors = read_weights(packaged_efficientnet_file()).tensors
    return backbone.feature_map(torch.from_numpy(pictures)), LinearHead(
        tensors["_fc.weight"], tensors["_fc.bias"]
    )


def test_real_class_logits(classifier: tuple[Tensor, LinearHead]) -> None:
    maps, head = classifier
    best = head(maps).topk(2, dim=1).indices
    ones = torch.full((3, 7, 7), 1 / 7)
    found = []
    for choice in range(2):
        classes = best[:, choice]
        logits = head(maps * ones[:, None])
        even = logits.sum(dim=1) - 2 * logits.gather(1, classes[:, None])[:, 0]
        searched = l2_caf(maps, head, classes=classes)
        assert (searched.losses < even).all()
        assert torch.allclose(
            searched.heats, l2_caf(maps, head, classes=classes, exact=True).heats, atol=1e-3
        )
        found.append(searched.heats)
    assert (found[0] - found[1]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_centred_logits_tell_classes_apart(classifier: tuple[Tensor, LinearHead]) -> None:
    maps, head = classifier
    centred = head.centred()
    assert torch.allclose(head(maps).softmax(dim=1), centred(maps).softmax(dim=1), atol=1e-5)
    assert centred(maps).mean(dim=1).abs().max() < 1e-4
    best = head(maps).topk(2, dim=1).indices

    def apart(each: LinearHead) -> Tensor:
        first, second = (l2_caf(maps, each, classes=best[:, c], exact=True).heats for c in range(2))
        return (first - second).abs().mean(dim=(1, 2))

    assert (apart(centred) > apart(head)).all()


def test_the_class_oblivious_filter_of_real_logits(classifier: tuple[Tensor, LinearHead]) -> None:
    maps, head = classifier
    searched, exact = l2_caf(maps, head), l2_caf(maps, head, exact=True)
    assert searched.stopped.all()
    assert torch.allclose(searched.heats, exact.heats, atol=1e-3)
    # Nearly the agreement of each cell with the whole: the single-point EmbeddingCAM.
    agreement = embedding_cam(maps, LinearHead(head.weight)).flatten(1)
    for one, other in zip(exact.heats.flatten(1), agreement, strict=True):
        assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.95
