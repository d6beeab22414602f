from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from housevis.core.errors import ModelError
from housevis.explain import SCALARS
from housevis.explain.gradcam import (
    captured,
    grad_weights,
    layer_grad_weights,
    map_grad_weights,
    rank_scalar,
    weighted_map,
)


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
        nn.Linear(6, 5),
        nn.Tanh(),
        nn.Linear(5, 2),
    )


def test_grad_cam_equals_finite_differences(network: nn.Sequential) -> None:
    images = torch.rand(3, 3, 5, 4)
    maps, weights = layer_grad_weights(network.double(), network[3], images.double(), lambda out: out[:, 0])
    assert maps.shape == (3, 6, 5, 4)
    rest = network[4:].eval()
    step = 1e-6
    with torch.no_grad():
        for channel in range(6):
            raised = maps.clone()
            raised[:, channel] += step
            # Raising all Z cells by a step changes the scalar by the sum of the gradient.
            change = (rest(raised)[:, 0] - rest(maps.clone())[:, 0]) / step / 20
            assert weights[:, channel].numpy() == pytest.approx(change.numpy(), abs=1e-5)


def test_a_frozen_network_in_training_mode_is_left_as_it_was(network: nn.Sequential) -> None:
    network.requires_grad_(False).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _, weights = layer_grad_weights(network, network[3], torch.rand(2, 3, 6, 6), lambda out: out[:, 1])
    assert weights.abs().max() > 0
    assert network[0].training
    assert not network[1].training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_hooks_are_removed_also_after_an_error(network: nn.Sequential) -> None:
    def fail() -> None:
        with captured(network, network[3]):
            network(torch.rand(1, 3, 6, 6))
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert network.training
    assert not any(part._forward_hooks for part in network.modules())
    with pytest.raises(RuntimeError):
        layer_grad_weights(network, network[3], torch.rand(1, 7, 6, 6), lambda out: out[:, 0])
    assert not any(part._forward_hooks for part in network.modules())


def test_images_do_not_disturb_each_other(network: nn.Sequential) -> None:
    images = torch.rand(4, 3, 6, 6)
    _, together = layer_grad_weights(network, network[3], images, lambda out: out[:, 0])
    _, alone = layer_grad_weights(network, network[3], images[2:3], lambda out: out[:, 0])
    assert torch.allclose(together[2:3], alone, atol=1e-6)


def test_grad_cam_plus_plus_against_its_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    slopes = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    slopes[0, 0] = 0
    weights = map_grad_weights(maps, lambda a: (a * slopes).sum(dim=(1, 2, 3)), method="grad-cam++")
    for image in range(2):
        for channel in range(3):
            total = maps[image, channel].sum()
            expected = 0.0
            for g in slopes[image, channel].flatten():
                if g != 0:
                    expected += float(g**2 / (2 * g**2 + total * g**3) * max(g, 0))
            assert float(weights[image, channel]) == pytest.approx(expected, abs=1e-9)


def test_plain_grad_cam_is_the_mean_gradient() -> None:
    maps, slopes = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    weights = map_grad_weights(maps, lambda a: (a * slopes).sum(dim=(1, 2, 3)))
    assert torch.allclose(weights, slopes.mean(dim=(2, 3)))
    assert not weights.requires_grad


def test_weighted_map_is_never_negative() -> None:
    maps = torch.randn(2, 3, 4, 4)
    weights = torch.tensor([1.0, -2.0, 0.5])
    expected = (maps * weights[None, :, None, None]).sum(dim=1).clamp(min=0)
    assert torch.allclose(weighted_map(maps, weights), expected)
    assert torch.allclose(weighted_map(maps, weights.expand(2, 3)), expected)


def test_the_loss_is_the_cross_entropy() -> None:
    logits = torch.randn(3, 4, 2)
    dearer = torch.rand(3, 4) > 0.5
    entropy = nn.functional.cross_entropy(logits.reshape(-1, 2), dearer.flatten().long(), reduction="none")
    expected = entropy.reshape(3, 4).mean(dim=1)
    assert torch.allclose(rank_scalar(logits, dearer, "loss-against"), expected, atol=1e-6)
    assert torch.allclose(rank_scalar(logits, dearer, "loss-for"), -expected, atol=1e-6)
    for scalar in SCALARS:
        assert rank_scalar(logits, dearer, scalar).shape == (3,)
    with pytest.raises(ModelError, match="no scalar"):
        rank_scalar(logits, dearer, "upwards")  # type: ignore[arg-type]


def test_what_does_not_fit_is_one_message(network: nn.Sequential) -> None:
    images = torch.rand(2, 3, 6, 6)
    with pytest.raises(ModelError, match="ran 0 times"):
        layer_grad_weights(network, nn.ReLU(), images, lambda out: out[:, 0])
    shared = nn.Conv2d(3, 3, 1)
    with pytest.raises(ModelError, match="ran 2 times"):
        layer_grad_weights(nn.Sequential(shared, shared), shared, images, lambda out: out.mean(dim=(1, 2, 3)))
    with pytest.raises(ModelError, match="does not depend"):
        layer_grad_weights(network, network[3], images, lambda out: torch.zeros(2))
    with pytest.raises(ModelError, match="does not depend"):
        layer_grad_weights(network, network[3], images, lambda out: torch.zeros(2, requires_grad=True) * 2)
    with pytest.raises(ModelError, match="do not fit"):
        grad_weights(torch.zeros(3), torch.zeros(2, 3, 4, 4))
    with pytest.raises(ModelError, match="do not fit"):
        layer_grad_weights(network, network[7], images, lambda out: out[:, 0])


def test_the_numpy_path_loads_no_torch() -> None:
    code = "import sys, housevis.explain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
