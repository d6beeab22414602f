"""The network that learns from sold houses: ResNet-50 and one linear score per target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from housevis.core.errors import WeightsError
from housevis.core.storage import write_file
from housevis.vision.backbones import FINETUNED, network_of, stride_form
from housevis.vision.networks import PictureNetwork, StrideForm, resnet50_network
from housevis.vision.torchvision_import import import_torchvision
from housevis.vision.weights import Weights

LAYER4 = "layer4."
SCORE_START = 0.01
"""Standard deviation of the scores' weights at the start."""

Trained = Literal["layer4", "trunk"]
"""What learns: layer4 alone, from maps of layer3, or the whole network, from pictures."""


class ScoringNetwork(nn.Module):
    """ResNet-50, global average pooling, and ``2048 x T`` scores.

    Args:
        network: ResNet-50 through layer4.
        stride: Which convolution of a downsampling bottleneck carries the stride.
        targets: Names of the `T` targets that the scores rank by.
        trained: ``"layer4"`` takes maps of layer3 and leaves what comes
            before as it is; ``"trunk"`` takes pictures.
    """

    def __init__(
        self, network: PictureNetwork, stride: StrideForm, targets: Sequence[str], trained: Trained
    ) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.targets = tuple(targets)
        self.trained: Trained = trained
        channels = network.trunk.layer4[-1].conv3.out_channels  # type: ignore[index, union-attr]
        self.score = nn.Linear(int(channels), len(self.targets))
        network.requires_grad_(trained == "trunk")
        network.trunk.layer4.requires_grad_(True)  # type: ignore[union-attr]

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        """Pooled features `(N, 2048)` of pictures, or of maps of layer3, as `trained` says."""
        if self.trained == "trunk":
            return self.network(batch)[1]
        return self.network.trunk.layer4(batch).float().mean(dim=(2, 3))  # type: ignore[operator, union-attr]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Scores `(N, T)`: the higher, the dearer.

        Args:
            batch: Maps of layer3 `(N, 1024, h, w)` where `trained` is
                ``"layer4"``, else uint8 pictures `(N, H, W, 3)`.
        """
        return self.score(self.pooled(batch))

    def train(self, mode: bool = True) -> ScoringNetwork:
        """Training mode for what learns; the rest keeps its statistics."""
        super().train(mode)
        if self.trained == "layer4":
            for name, part in self.network.trunk.named_children():
                part.train(mode and name == "layer4")
        return self

    def learned_state(self) -> dict[str, torch.Tensor]:
        """What training changes: parameters and statistics, by name."""
        kept = "" if self.trained == "trunk" else f"network.trunk.{LAYER4}"
        return {
            name: tensor.detach().contiguous()
            for name, tensor in self.state_dict().items()
            if name.startswith((kept, "score."))
        }

    def save(self, path: Path, *, finetuned: str, about: str) -> None:
        """Write the whole ResNet-50 under torchvision's names, for ``vision.weights``.

        Args:
            path: The file, ``.safetensors``.
            finetuned: On what it was trained, as a phrase.
            about: Provenance, as JSON.
        """
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.network.trunk.state_dict().items()}
        tensors |= {f"score.{name}": t.detach().cpu() for name, t in self.score.state_dict().items()}
        metadata = {
            FINETUNED: finetuned,
            "stride": self.stride,
            "targets": ",".join(self.targets),
            "housevis": about,
        }
        write_file(path, save(tensors, metadata=metadata))


def scoring_network(
    weights: Weights, targets: Sequence[str], trained: Trained, *, seed: int
) -> ScoringNetwork:
    """Build the network from a weights file.

    Layer4 starts at random where the file holds none; the scores always do.

    Args:
        weights: ResNet-50, or its trunk conv1 to layer3.
        targets: Names of the targets.
        trained: What learns.
        seed: Seed of the random start.

    Raises:
        WeightsError: The weights belong to another network.
    """
    name = resnet_of(weights)
    form = stride_form(weights, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = dict(weights.tensors)
        if name == "resnet50-trunk":
            tensors |= _random_layer4()
        network = resnet50_network(
            Weights(tensors, weights.sha256, weights.metadata), through_layer4=True, stride=form
        )
        made = ScoringNetwork(network, form, targets, trained)
        nn.init.normal_(made.score.weight, std=SCORE_START)
        nn.init.zeros_(made.score.bias)
    return made


def resnet_of(weights: Weights) -> str:
    """``"resnet50"`` or ``"resnet50-trunk"``.

    Raises:
        WeightsError: The weights belong to another network.
    """
    name = network_of(weights)
    if not name.startswith("resnet50"):
        raise WeightsError(
            "only ResNet-50 can be trained further, and these are weights of EfficientNet-Lite0",
            where="vision.weights",
            remedy='Set vision.backbone = "resnet50" or "resnet50-trunk", with its weights file.',
        )
    return name


def _random_layer4() -> dict[str, torch.Tensor]:
    import_torchvision()
    from torchvision.models import resnet50

    network = resnet50(weights=None, zero_init_residual=True)
    return {name: tensor for name, tensor in network.state_dict().items() if name.startswith(LAYER4)}


def scores_and_features(network: ScoringNetwork, batch: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(N, T)` and pooled features `(N, 2048)` of one batch, float32, nothing learned."""
    with torch.inference_mode():
        pooled = network.pooled(batch)
        return network.score(pooled).float().cpu().numpy(), pooled.float().cpu().numpy()
