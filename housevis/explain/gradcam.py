"""Grad-CAM and Grad-CAM++ by back-propagation: any layer, any head, any scalar (C eq. 3 to 6).

For the linear rank head :mod:`housevis.explain.gradweights` has the same
weights in closed form; the tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain.database import SCALARS, Scalar
from housevis.explain.networks import Head, LinearHead, check_maps, evaluating

Method = Literal["grad-cam", "grad-cam++"]
"""How the gradient of a channel becomes its weight."""


@dataclass
class Capture:
    """The feature map that a layer put out while it was being watched.

    Attributes:
        maps: One tensor ``(N, K, h, w)`` per forward pass, each a leaf that gradients can be taken for.
    """

    maps: list[Tensor] = field(default_factory=list)

    @property
    def only(self) -> Tensor:
        """The feature map of the only forward pass.

        Raises:
            ModelError: The layer ran never, or more than once.
        """
        if len(self.maps) != 1:
            raise ModelError(
                f"the layer ran {len(self.maps)} times in one forward pass, so it has no one feature map",
                remedy="Name a layer that runs exactly once.",
            )
        return self.maps[0]


@contextmanager
def captured(module: nn.Module, layer: nn.Module) -> Iterator[Capture]:
    """Watch the output of a layer while the block runs, with the module in evaluation mode.

    The output is cut from what produced it, so gradients stop there: the
    trunk needs none, and its parameters may be frozen. The hook is removed
    and the mode restored however the block ends.

    Args:
        module: The whole network.
        layer: The part of it whose output is the feature map.

    Yields:
        Where the feature maps are found.
    """
    capture = Capture()

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_(True)
        capture.maps.append(leaf)
        return leaf.clone()

    hook = layer.register_forward_hook(keep)
    try:
        with evaluating(module):
            yield capture
    finally:
        hook.remove()


def layer_grad_weights(
    module: nn.Module,
    layer: nn.Module,
    inputs: Tensor,
    scalar: Callable[[Tensor], Tensor],
    *,
    method: Method = "grad-cam",
) -> tuple[Tensor, Tensor]:
    """Feature maps and grad-weights at any layer of any network.

    Args:
        module: The network, called as ``module(inputs)``.
        layer: The layer whose output is the feature map.
        inputs: A batch ``(N, ...)`` as the network takes it.
        scalar: Turns the network's output into the scalar to explain, one per
            image ``(N,)``; that of one image must not depend on another's output.
        method: Grad-CAM or Grad-CAM++.

    Returns:
        Feature maps ``(N, K, h, w)`` and grad-weights ``(N, K)``, both detached.

    Raises:
        ModelError: The layer does not run exactly once, its output is no
            feature map, or the scalar does not depend on it.
    """
    with captured(module, layer) as capture, torch.enable_grad():
        values = scalar(module(inputs))
        maps = capture.only
        return maps.detach(), grad_weights(values, maps, method=method)


def map_grad_weights(
    maps: Tensor, scalar: Callable[[Tensor], Tensor], *, method: Method = "grad-cam"
) -> Tensor:
    """Grad-weights for feature maps that are there already.

    Args:
        maps: ``(N, K, h, w)``.
        scalar: Turns feature maps into the scalar to explain, one per image ``(N,)``.
        method: Grad-CAM or Grad-CAM++.

    Returns:
        ``(N, K)``, detached.

    Raises:
        ModelError: The scalar does not depend on the feature maps.
    """
    with torch.enable_grad():
        leaf = maps.detach().requires_grad_(True)
        return grad_weights(scalar(leaf), leaf, method=method)


def grad_weights(values: Tensor, maps: Tensor, *, method: Method = "grad-cam") -> Tensor:
    """The weight of every channel from the gradient of a scalar.

    Grad-CAM (C eq. 3 and 6) averages the gradient over the cells. Grad-CAM++
    (C eq. 5) sums its positive part with cell weights
    ``g^2 / (2 g^2 + g^3 sum A)``, taking the scalar's exponential as the score.

    Args:
        values: The scalars ``(N,)``, with their graph.
        maps: The feature maps ``(N, K, h, w)`` they were computed from.
        method: Grad-CAM or Grad-CAM++.

    Returns:
        ``(N, K)``, detached.

    Raises:
        ModelError: The shapes do not fit, or the scalars do not depend on the maps.
    """
    if maps.ndim != 4 or values.shape != maps.shape[:1]:
        raise ModelError(
            f"feature maps {tuple(maps.shape)} and scalars {tuple(values.shape)} do not fit; "
            "they must be (N, K, h, w) and (N,)"
        )
    gradient = _gradient(values.sum(), maps)
    if method == "grad-cam":
        return gradient.mean(dim=(2, 3))
    return _plus_plus(gradient, maps.detach().sum(dim=(2, 3), keepdim=True)).sum(dim=(2, 3))


def example_grad_weights(
    maps: Tensor,
    head: Head,
    scalar: Callable[[Tensor], Tensor],
    *,
    method: Method = "grad-cam",
    valid: Tensor | None = None,
) -> Tensor:
    """Grad-weights of a scalar of the embedding, averaged over its valid examples (C eq. 3, 5 and 6).

    With a :class:`~housevis.explain.networks.LinearHead` they are in closed
    form and nothing is back-propagated through the feature map; the result is
    the same.

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        scalar: From embeddings ``(N, D)`` to what is explained: ``(N, P)``,
            one value per example, or ``(N,)`` where there is no example but
            the picture itself. See :mod:`housevis.explain.scalars`.
        method: Grad-CAM averages the gradients before anything else, so one
            pass serves all examples. Grad-CAM++ is not linear in the
            gradient: it takes one pass per example.
        valid: bool ``(N, P)``, which examples count, for example
            :func:`~housevis.explain.scalars.valid_triplets`; None counts all.

    Returns:
        ``(N, K)``, detached; 0 for a picture without a valid example.

    Raises:
        ModelError: The shapes do not fit, or the scalar does not depend on the feature map.
    """
    check_maps(maps)
    linear = head if isinstance(head, LinearHead) else None
    cells = maps.shape[2] * maps.shape[3]
    with torch.enable_grad(), evaluating(head):
        leaf = (head(maps) if linear else maps).detach().requires_grad_(True)
        values = _per_example(scalar(leaf if linear else head(leaf)), len(maps), valid)
        shares = torch.ones_like(values) if valid is None else valid.to(values)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
        if method == "grad-cam":
            gradient = _gradient((values * shares).sum(), leaf)
            return linear.grad_weights(gradient, cells) if linear else gradient.mean(dim=(2, 3))
        totals = maps.detach().sum(dim=(2, 3), keepdim=True)
        weights = maps.new_zeros(maps.shape[:2])
        for example in range(values.shape[1]):
            gradient = _gradient(values[:, example].sum(), leaf, keep=example < values.shape[1] - 1)
            if linear:  # the same gradient in every cell
                per_cell = linear.grad_weights(gradient, cells)[:, :, None, None]
                one = cells * _plus_plus(per_cell, totals)[:, :, 0, 0]
            else:
                one = _plus_plus(gradient, totals).sum(dim=(2, 3))
            weights += torch.where(shares[:, example, None] > 0, shares[:, example, None] * one, 0.0)
        return weights.detach()


def _per_example(values: Tensor, pictures: int, valid: Tensor | None) -> Tensor:
    """Scalars as ``(N, P)``, with as many flags of validity where there are any."""
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != pictures or (valid is not None and valid.shape != values.shape):
        flags = "" if valid is None else f" with {tuple(valid.shape)} flags of validity"
        raise ModelError(
            f"scalars {tuple(values.shape)}{flags} do not fit {pictures} feature maps; "
            "they must be (N,) or (N, P)"
        )
    return values


def grad_cam(
    maps: Tensor,
    head: Head,
    scalar: Callable[[Tensor], Tensor],
    *,
    method: Method = "grad-cam",
    top: int | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """The heat of any scalar of the embedding in one call (C eq. 3 to 6).

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        scalar: See :func:`example_grad_weights`.
        method: Grad-CAM or Grad-CAM++.
        top: How many channels to keep, `M` (50 in C); None keeps all.
        valid: Which examples count, see :func:`example_grad_weights`.

    Returns:
        Heat ``(N, h, w)``, at least 0.

    Raises:
        ModelError: As :func:`example_grad_weights` and :func:`keep_top`.
    """
    weights = example_grad_weights(maps, head, scalar, method=method, valid=valid)
    return weighted_map(maps, weights if top is None else keep_top(weights, top))


def keep_top(weights: Tensor, top: int) -> Tensor:
    """Keep the channels with the highest weight, zero elsewhere (C section 3.3).

    Args:
        weights: ``(N, K)``.
        top: `M`; where there are no more channels than that, all are kept.

    Returns:
        ``(N, K)``.

    Raises:
        ModelError: `top` is below 1.
    """
    if top < 1:
        raise ModelError(f"{top} channels cannot be kept", remedy="Keep at least one.")
    if top >= weights.shape[1]:
        return weights
    values, channels = weights.topk(top, dim=1)
    return torch.zeros_like(weights).scatter(1, channels, values)


def _gradient(value: Tensor, leaf: Tensor, *, keep: bool = False) -> Tensor:
    gradient = (
        torch.autograd.grad(value, leaf, allow_unused=True, retain_graph=keep)[0]
        if value.requires_grad
        else None
    )
    if gradient is None:
        raise ModelError(
            "the scalar to explain does not depend on the feature map",
            remedy="Name a layer that lies between the input and the scalar.",
        )
    return gradient


def _plus_plus(gradient: Tensor, totals: Tensor) -> Tensor:
    """C eq. 5: the positive part of the gradient with its cell weights; `totals` are the sums of `A`."""
    squared = gradient**2
    denominator = 2 * squared + squared * gradient * totals
    share = torch.where(denominator == 0, 0.0, squared / torch.where(denominator == 0, 1.0, denominator))
    return share * gradient.clamp(min=0)


def weighted_map(maps: Tensor, weights: Tensor) -> Tensor:
    """The heat map ``ReLU(sum_k alpha_k A_k)`` (C eq. 4).

    Args:
        maps: ``(N, K, h, w)``.
        weights: ``(N, K)``, or ``(K,)`` for the same weights everywhere.

    Returns:
        ``(N, h, w)``, at least 0.
    """
    return weighted_sum(maps, weights).clamp(min=0)


def weighted_sum(maps: Tensor, weights: Tensor) -> Tensor:
    """``sum_k alpha_k A_k``, with its sign.

    Args:
        maps: ``(N, K, h, w)``.
        weights: ``(N, K)``, or ``(K,)`` for the same weights everywhere.

    Returns:
        ``(N, h, w)``.
    """
    count, channels, height, width = maps.shape
    rows = weights.expand(count, channels)[:, None]
    return torch.bmm(rows, maps.flatten(2)).reshape(count, height, width)


def rank_scalar(logits: Tensor, dearer: Tensor, scalar: Scalar) -> Tensor:
    """What is explained about a house and its pairs, for any rank head.

    Args:
        logits: ``(N, P, 2)``; class 1 is "the house is dearer than its partner".
        dearer: bool ``(N, P)``: the truth.
        scalar: Which of the scalars, see :mod:`housevis.explain.database`.

    Returns:
        ``(N,)``, the mean over the pairs.

    Raises:
        ModelError: There is no such scalar.
    """
    margin = logits[..., 1] - logits[..., 0]
    sign = torch.where(dearer, 1.0, -1.0).to(margin.dtype)
    match scalar:
        case "loss-against":
            return nn.functional.softplus(-sign * margin).mean(dim=1)
        case "loss-for":
            return -nn.functional.softplus(-sign * margin).mean(dim=1)
        case "ordering":
            return (sign * margin).mean(dim=1)
        case "dearer":
            return margin.mean(dim=1)
        case "cheaper":
            return -margin.mean(dim=1)
    raise ModelError(
        f"there is no scalar {scalar!r} to explain", remedy=f"Choose one of {', '.join(SCALARS)}."
    )
