"""The networks behind the backbones: uint8 pictures in, feature map and pooled feature out.

Preprocessing is part of the network, so that every engine computes the same
thing from the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from housevis.core.errors import WeightsError
from housevis.vision.torchvision_import import import_torchvision
from housevis.vision.weights import Weights

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)

Pooling = Literal["average", "average-and-centre"]
"""Whether the middle of the picture, where the house stands, is pooled once more by itself."""

StrideForm = Literal["first 1x1", "3x3"]
"""Which convolution of a downsampling bottleneck carries the stride."""


CENTRE_SHARE = 3 / 7
"""Part of the picture's width and height that its middle takes: 29 m of 67 m at zoom 18, about a lot."""


class PictureNetwork(nn.Module):
    """Preprocessing, a convolutional trunk, and global average pooling.

    With the pooling ``"average-and-centre"`` every channel is there twice:
    as it is, and seen through a window on the middle of the picture, where
    the house stands. The window has the mean 1, so that the global average
    of such a channel is its average over the middle. What follows takes both
    for channels like any other, and the closed form of the grad-weights
    holds for both. The first pictures say how many cells the window has.

    Args:
        trunk: Maps float `(N, 3, H, W)` to the feature map `(N, C, h, w)`.
        mean: Per RGB channel, subtracted from the 0..255 value.
        deviation: Per RGB channel, divided by.
        pooling: What the channels of the result are: those `C` of the trunk,
            or those and `C` more of the middle.
    """

    def __init__(
        self,
        trunk: nn.Module,
        mean: tuple[float, float, float],
        deviation: tuple[float, float, float],
        pooling: Pooling = "average",
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)
        self.window: torch.Tensor | None
        self.register_buffer("window", None, persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the feature map and its global average.

        Args:
            images: uint8 `(N, H, W, 3)`, RGB.

        Returns:
            Feature map `(N, K, h, w)` and pooled feature `(N, K)`, float32.
        """
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        maps = self.trunk((pixels - self.mean) / self.deviation).to(torch.float32)
        if self.pooling == "average-and-centre":
            if self.window is None:
                self.window = centre_window(maps.shape[2], maps.shape[3]).to(maps)
            maps = torch.cat([maps, maps * self.window], dim=1)
        return maps, maps.mean(dim=(2, 3))


def centre_window(height: int, width: int) -> torch.Tensor:
    """How much of each cell `(h, w)` lies in the middle of the picture, scaled to the mean 1."""
    rows, columns = _middle_of(height), _middle_of(width)
    window = rows[:, None] * columns[None, :]
    return window / window.mean()


def _middle_of(cells: int) -> torch.Tensor:
    """Part `(cells,)` of each cell of a line that lies in its middle."""
    edges = torch.linspace(0.0, 1.0, cells + 1, dtype=torch.float64)
    first, last = (1 - CENTRE_SHARE) / 2, (1 + CENTRE_SHARE) / 2
    inside = edges.clamp(first, last).diff() * cells
    return torch.where(inside > 1e-9, inside, 0.0)


class _EfficientNetTrunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(pixels)  # type: ignore[operator]


def resnet50_network(
    weights: Weights, *, through_layer4: bool, stride: StrideForm, pooling: Pooling = "average"
) -> PictureNetwork:
    """ResNet-50 without its classifier.

    Args:
        weights: Tensors under torchvision's parameter names.
        through_layer4: True for the whole network (`K = 2048`, 7 x 7 at 224
            pixels), False to stop after layer3 (`K = 1024`, 14 x 14).
        stride: ``"first 1x1"`` is the original form of 2015, together with a
            max-pool without padding that rounds up; ``"3x3"`` is torchvision's.
        pooling: As in :class:`PictureNetwork`.

    Raises:
        WeightsError: A parameter is missing or of another shape.
    """
    import_torchvision()
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    stages = ["layer1", "layer2", "layer3"] + (["layer4"] if through_layer4 else [])
    if stride == "first 1x1":
        network.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=0, ceil_mode=True)
        for stage in stages[1:]:
            first = getattr(network, stage)[0]
            first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    parts = ["conv1", "bn1", "relu", "maxpool", *stages]
    trunk = nn.Sequential()
    for part in parts:
        trunk.add_module(part, getattr(network, part))
    _load(trunk, weights.tensors, "ResNet-50")
    return PictureNetwork(trunk, IMAGENET_MEAN, IMAGENET_DEVIATION, pooling)


def efficientnet_lite0_network(
    weights: Weights, image_size: int, pooling: Pooling = "average"
) -> PictureNetwork:
    """EfficientNet-Lite0 without its classifier: `K = 1280`, 7 x 7 at 224 pixels.

    Raises:
        WeightsError: A parameter is missing or of another shape.
    """
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=image_size)
    _load(network, weights.tensors, "EfficientNet-Lite0")
    network._dropout = nn.Identity()
    network._fc = nn.Identity()
    trunk = _EfficientNetTrunk(network)
    return PictureNetwork(trunk, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), pooling)


def _load(network: nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    wanted = network.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in tensors and key not in counters]
    if missing:
        raise WeightsError(
            f"these are no {name} weights: {missing[0]} is missing ({len(missing)} parameters in all)",
            remedy="Name another file as vision.weights, or the backbone that it belongs to.",
        )
    wrong = [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]
    if wrong:
        raise WeightsError(
            f"these are no {name} weights: {wrong[0]} has shape {tuple(tensors[wrong[0]].shape)}, "
            f"not {tuple(wanted[wrong[0]].shape)}",
            remedy="Name another file as vision.weights, or the backbone that it belongs to.",
        )
    network.load_state_dict({key: tensors.get(key, value) for key, value in wanted.items()})
