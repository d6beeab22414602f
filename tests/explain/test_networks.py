from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain.networks import EmbeddingNetwork, LinearHead, evaluating


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6, 5),
    )


class Residual(nn.Module):
    """A network with a skip connection, that asks for the number of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.mixed = nn.Conv2d(4, 4, 1)
        self.embedding = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        count = images.size(0)
        maps = self.first(images)
        maps = self.mixed(maps + self.second(maps))
        return self.embedding(maps.mean(dim=(2, 3)).view(count, -1))


class Untraceable(nn.Module):
    """A network whose way depends on the picture, which no tracer can follow."""

    def __init__(self, *, bypass: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.bypass = bypass

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        if maps.sum() > 1e6:
            maps = maps * 2
        pooled = maps.tanh().mean(dim=(2, 3))
        return pooled + images.mean(dim=(1, 2, 3))[:, None] if self.bypass else pooled


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


@pytest.mark.parametrize("layer", ["0", "2", "3", "4"])
def test_the_parts_of_a_cut_network_give_what_it_gives(network: nn.Sequential, layer: str) -> None:
    network.requires_grad_(False).train()
    network[1].eval()
    images = torch.rand(5, 3, 6, 4)
    before = images.clone()
    cut = EmbeddingNetwork.cut(network, layer)
    embeddings = cut(images)
    maps = cut.maps(images)
    kept = maps.clone()
    assert torch.equal(cut.embed(maps), embeddings)
    assert torch.equal(maps, kept)  # an in-place layer after the cut leaves the maps as they are
    assert torch.equal(images, before)
    assert network[0].training
    assert not network[1].training
    assert hooks(network) == 0
    assert torch.allclose(network.eval()(images), embeddings)


def test_gradients_reach_the_maps_of_a_frozen_network(network: nn.Sequential) -> None:
    network.requires_grad_(False)
    cut = EmbeddingNetwork.cut(network, network[4])
    maps = cut.maps(torch.rand(2, 3, 6, 6)).requires_grad_(True)
    cut.embed(maps).sum().backward()
    expected = network[8].weight.sum(dim=0) / 36
    assert maps.grad is not None
    assert torch.allclose(maps.grad[1, :, 3, 3], expected, atol=1e-7)


def test_another_number_of_maps_than_of_pictures() -> None:
    network = Residual().eval()
    cut = EmbeddingNetwork.cut(network, "mixed")
    images = torch.rand(3, 3, 6, 6)
    with torch.no_grad():
        expected = network(images)
        assert torch.allclose(cut(images), expected, atol=1e-6)
        maps = cut.maps(images)
        assert torch.allclose(cut.embed(torch.cat([maps, maps])), torch.cat([expected, expected]), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "layer"), [(Residual(), "second"), (Untraceable(bypass=True), "first")], ids=["skip", "input"]
)
def test_a_way_round_the_layer_is_found(network: nn.Module, layer: str) -> None:
    cut = EmbeddingNetwork.cut(network, layer)
    with pytest.raises(ModelError, match="past it"):
        cut(torch.rand(2, 3, 6, 6))
    assert hooks(network) == 0


def test_a_network_that_cannot_be_traced() -> None:
    network = Untraceable().eval()
    images = torch.rand(3, 3, 6, 6)
    cut = EmbeddingNetwork.cut(network, "first")
    with pytest.raises(ModelError, match="one picture first"):
        cut.embed(torch.rand(3, 4, 6, 6))
    maps = cut.maps(images)
    assert torch.allclose(cut.embed(maps), network(images), atol=1e-6)
    leaf = maps.requires_grad_(True)
    cut.embed(leaf)[:, 0].sum().backward()
    assert leaf.grad is not None
    assert torch.allclose(leaf.grad[:, 0], (1 - maps[:, 0].tanh() ** 2) / 36, atol=1e-6)
    assert hooks(network) == 0


def test_a_network_that_gives_more_than_an_embedding() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            maps = self.first(images)
            return maps, maps.mean(dim=(2, 3))

    with pytest.raises(ModelError, match="one tensor, not a tuple"):
        EmbeddingNetwork.cut(Two(), "first")(torch.rand(1, 3, 4, 4))


def test_hooks_are_gone_after_an_error(network: nn.Sequential) -> None:
    cut = EmbeddingNetwork.cut(network, "3")
    with pytest.raises(RuntimeError):
        cut.maps(torch.rand(1, 7, 6, 6))
    assert hooks(network) == 0
    untraced = Untraceable()
    cut = EmbeddingNetwork.cut(untraced, "first")
    cut.maps(torch.rand(1, 3, 6, 6))
    with pytest.raises(IndexError):
        cut.head(torch.rand(4, 6, 6))
    assert hooks(untraced) == 0
    assert network.training


def test_what_cannot_be_cut_is_one_message(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match="no layer 'features'"):
        EmbeddingNetwork.cut(network, "features")
    with pytest.raises(ModelError, match="no part of the network"):
        EmbeddingNetwork.cut(network, nn.ReLU())
    shared = nn.Conv2d(3, 3, 1)
    with pytest.raises(ModelError, match="ran 2 times"):
        EmbeddingNetwork.cut(nn.Sequential(shared, shared), shared)
    with pytest.raises(ModelError, match=r"must be \(N, K, h, w\)"):
        EmbeddingNetwork.cut(network, "8").maps(torch.rand(1, 3, 6, 6))


def test_a_linear_head_is_pooling_and_a_linear_layer() -> None:
    layer = nn.Linear(6, 5)
    maps = torch.rand(3, 6, 4, 2)
    head = LinearHead.of(layer)
    assert torch.allclose(head(maps), layer(maps.mean(dim=(2, 3))))
    assert head(maps.double()).dtype == torch.float64
    assert torch.allclose(
        LinearHead(layer.weight)(maps), layer(maps.mean(dim=(2, 3))) - layer.bias, atol=1e-6
    )
    assert not list(head.parameters())
    with pytest.raises(ModelError, match="do not fit"):
        LinearHead(torch.rand(5, 6), torch.rand(6))


def test_a_network_of_two_functions() -> None:
    network = EmbeddingNetwork(lambda images: images * 2, lambda maps: maps.mean(dim=(2, 3)))
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(network(images), 2 * images.mean(dim=(2, 3)))


def test_the_mode_comes_back_after_an_error(network: nn.Sequential) -> None:
    def fail() -> None:
        with evaluating(network):
            assert not any(part.training for part in network.modules())
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert all(part.training for part in network.modules())
