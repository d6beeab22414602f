"""The CAM family of two other libraries on the same network and scalar, to compare with.

`grad-cam` and Captum are not needed for anything else: they come with
``pip install housevis[research]``. Feature maps are handed over as they are,
so only methods apply that look at a feature map and what follows it.
`grad-cam` scales every map to [0, 1] by itself, so its maps compare by their
shape and not by their amount.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain.networks import Head, check_maps, evaluating
from housevis.vision.torchvision_import import import_torchvision

Peer = Literal[
    "grad-cam GradCAM",
    "grad-cam GradCAMPlusPlus",
    "grad-cam XGradCAM",
    "grad-cam HiResCAM",
    "grad-cam LayerCAM",
    "grad-cam EigenCAM",
    "grad-cam EigenGradCAM",
    "captum LayerGradCam",
    "captum LayerGradientXActivation",
    "captum IntegratedGradients",
]
"""Library and class."""

PEERS: tuple[Peer, ...] = get_args(Peer)

_STEPS = 32
"""Steps of the straight line from an empty feature map, along which integrated gradients are averaged."""

_PACKAGES = {"grad-cam": "pytorch_grad_cam", "captum": "captum.attr"}


def peer_heats(maps: Tensor, head: Head, scalar: Callable[[Tensor], Tensor], peer: Peer) -> Tensor:
    """The heat of a method of another library.

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        scalar: From embeddings ``(N, D)`` to what is explained, ``(N,)``.
        peer: Library and class.

    Returns:
        Heat ``(N, h, w)``, at least 0, on the device of the maps.

    Raises:
        ModelError: There is no such method, or its library is not installed.
    """
    check_maps(maps)
    if peer not in PEERS:
        raise ModelError(f"there is no peer {peer!r}", remedy=f"Choose one of {', '.join(PEERS)}.")
    library, _, name = peer.partition(" ")
    method = getattr(_library(library), name)
    rest = _Rest(head, scalar).to(maps.device)
    leaf = maps.detach().clone().requires_grad_(True)
    with torch.enable_grad(), evaluating(rest), evaluating(head):
        if library == "grad-cam":
            with method(model=rest, target_layers=[rest.maps]) as cam:
                heats = cam(input_tensor=leaf, targets=[_first] * len(maps))
            return torch.from_numpy(heats).to(maps)
        if name == "IntegratedGradients":
            found = method(rest).attribute(leaf, target=0, n_steps=_STEPS, internal_batch_size=len(maps))
        else:
            found = method(rest, rest.maps).attribute(leaf, target=0)
    return found.detach().sum(dim=1).clamp(min=0)


class _Rest(nn.Module):
    """What follows the feature map, with the map as a layer and the scalar as the only class."""

    def __init__(self, head: Head, scalar: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.unused = nn.Parameter(torch.zeros(1))  # grad-cam reads the device from a parameter
        self._after = lambda maps: scalar(head(maps))

    def forward(self, maps: Tensor) -> Tensor:
        return self._after(self.maps(maps))[:, None]


def _first(output: Tensor) -> Tensor:
    return output[0]


def _library(name: str) -> ModuleType:
    import_torchvision()
    try:
        return importlib.import_module(_PACKAGES[name])
    except ImportError:
        raise ModelError(
            f"the package {name} is not installed", remedy="Install housevis[research]."
        ) from None
