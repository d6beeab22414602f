"""The network that tells what covers the ground of an aerial picture.

It is small, because it is asked beside every heat map: a picture is cut into
cells of 4 x 4 pixels, described with ever wider surroundings (to a quarter of
that resolution), and each cell gets a class. It learned on pictures of the
fictional town alone, recoloured, blurred and shaded in many ways, see
``benchmarks/land_cover.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from data_pipeline.land_cover import LAND_COVERS

CELL = 4
"""Pixels per side of a cell."""

MULTIPLE = 16
"""Sides of a picture are whole multiples of this many pixels."""

_WIDTHS = (32, 64, 96)


class LandCoverNetwork(nn.Module):
    """Pictures to class scores of their cells.

    A U of three resolutions (cells of 4, 8 and 16 pixels) of depthwise and
    pointwise convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.cells = _step(3, fine, CELL)
        self.fine = nn.Sequential(_Block(fine, 3), _Block(fine, 3))
        self.down = _step(fine, middle, 2)
        self.middle = nn.Sequential(_Block(middle, 5), _Block(middle, 5))
        self.down_again = _step(middle, coarse, 2)
        self.coarse = nn.Sequential(_Block(coarse, 5), _Block(coarse, 5), _Block(coarse, 5))
        self.up = nn.Conv2d(coarse, middle, 1)
        self.joined = _Block(middle, 3)
        self.up_again = nn.Conv2d(middle, fine, 1)
        self.last = _Block(fine, 3)
        self.classes = nn.Conv2d(fine, len(LAND_COVERS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores ``(N, 7, H / 4, W / 4)`` of pictures uint8 or float ``(N, H, W, 3)``, 0 to 255."""
        colours = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        fine = self.fine(self.cells(colours))
        middle = self.middle(self.down(fine))
        coarse = self.coarse(self.down_again(middle))
        middle = self.joined(middle + _twice(self.up(coarse)))
        fine = self.last(fine + _twice(self.up_again(middle)))
        return self.classes(fine)


class _Block(nn.Module):
    """A depthwise and a pointwise convolution beside the input itself."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(values + self.layers(values))


def _step(channels: int, out: int, stride: int) -> nn.Module:
    """A convolution over squares of `stride` x `stride` that do not overlap."""
    return nn.Sequential(
        nn.Conv2d(channels, out, stride, stride=stride, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


def _twice(values: Tensor) -> Tensor:
    return nn.functional.interpolate(values, scale_factor=2.0, mode="nearest")
