"""Ours beside the methods of the same name in other libraries."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain import peers
from housevis.explain.gradcam import grad_cam
from housevis.explain.peers import PEERS, peer_heats
from housevis.vision.torchvision_import import import_torchvision

import_torchvision()

N, K = 3, 6


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(N, K, 5, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def head() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(K, 8, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


OWN = torch.tensor([[1.0], [2.0], [3.0]])
"""Each picture has a scalar of its own."""


def scalar(embeddings: Tensor) -> Tensor:
    return (OWN * embeddings**2).sum(dim=1)


def to_one(heats: Tensor) -> Tensor:
    return heats / heats.amax(dim=(1, 2), keepdim=True)


def test_grad_cam_equals_captums(maps: Tensor, head: nn.Module) -> None:
    pytest.importorskip("captum")
    theirs = peer_heats(maps, head, scalar, "captum LayerGradCam")
    assert theirs.max() > 0
    assert torch.allclose(grad_cam(maps, head, scalar), theirs, atol=1e-6)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_grad_cam_has_the_shape_of_grad_cams(maps: Tensor, head: nn.Module, method: str) -> None:
    pytest.importorskip("pytorch_grad_cam")
    name = "GradCAM" if method == "grad-cam" else "GradCAMPlusPlus"

    def large(embeddings: Tensor) -> Tensor:
        return 1e3 * scalar(embeddings)  # they add a small number to a denominator

    theirs = peer_heats(maps, head, large, f"grad-cam {name}")  # type: ignore[arg-type]
    ours = grad_cam(maps, head, large, method=method)  # type: ignore[arg-type]
    lowest = ours.amin(dim=(1, 2), keepdim=True)
    assert torch.allclose(to_one(ours - lowest), theirs, atol=1e-3)


def test_integrated_gradients_add_up_to_what_is_explained() -> None:
    pytest.importorskip("captum")
    alone = torch.rand(N, 1, 5, 4, generator=torch.Generator().manual_seed(3))

    class OneChannel(nn.Module):
        """Positive weights, so that no cell has less than no heat."""

        def forward(self, maps: Tensor) -> Tensor:
            return (maps.mean(dim=(2, 3)) ** 2).expand(-1, 4)

    theirs = peer_heats(alone, OneChannel(), lambda f: f.sum(dim=1), "captum IntegratedGradients")
    whole = 4 * alone.mean(dim=(1, 2, 3)) ** 2
    assert torch.allclose(theirs.sum(dim=(1, 2)), whole, rtol=1e-3)


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_gives_heat(maps: Tensor, head: nn.Module, peer: peers.Peer) -> None:
    pytest.importorskip(peers._PACKAGES[peer.split()[0]])
    heats = peer_heats(maps, head, scalar, peer)
    assert heats.shape == (N, 5, 4)
    assert heats.isfinite().all()
    assert heats.min() >= 0
    assert heats.max() > 0
    assert head.training
    assert not any(part._forward_hooks for part in head.modules())


def test_what_is_missing_is_one_message(
    maps: Tensor, head: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="no peer"):
        peer_heats(maps, head, scalar, "grad-cam NoCAM")  # type: ignore[arg-type]

    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ModelError, match="research"):
        peer_heats(maps, head, scalar, "captum LayerGradCam")
