"""L2-CAF: the filter over the feature map that changes the output least (L eq. 1 to 3).

Class-oblivious: minimise ``||NT(x) - FT(x, f)||^2`` with ``||f||_2 = 1``, where
`NT` is the network's output and `FT` its output when the filter multiplies
every channel of the feature map. Class-specific: minimise
``-FT_c + sum_{i != c} FT_i``. *Ordinary* runs the whole network at every step,
*fast* runs the trunk once (L eq. 3); both find the same filter.

With a :class:`~housevis.explain.networks.LinearHead` the class-oblivious
objective is a quadratic form of the filter, ``(f - 1)^T G (f - 1)``, with the
Gram matrix ``G = P^T P`` of what each cell adds to the embedding,
``P = W A / Z``; the class-specific one is linear. A step then costs ``Z^2``
operations instead of ``K Z``. On the sphere both have their minimum in closed
form: see :func:`l2_caf`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from housevis.core.errors import ModelError
from housevis.explain.filters import FilterSearch, FilterSettings, Objective, random_start, search_filters
from housevis.explain.networks import EmbeddingNetwork, Head, LinearHead, check_maps, evaluating

_HALVINGS = 100


def l2_caf(
    maps: Tensor,
    head: Head,
    *,
    classes: Tensor | int | None = None,
    settings: FilterSettings | None = None,
    generator: torch.Generator | None = None,
    exact: bool = False,
) -> FilterSearch:
    """Fast L2-CAF of a batch, all filters searched together (L eq. 1 to 3).

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings or class logits ``(N, D)``.
            A :class:`~housevis.explain.networks.LinearHead` is much faster.
        classes: None for the class-oblivious filter; a class, or one per
            picture ``(N,)``, for the class-specific one, with logits from before the softmax.
        settings: Constraint, stop rule and step size; None takes those of L.
        generator: Source of the start, which all pictures share, so that a
            filter does not depend on what else is in the batch. None draws the same start each time.
        exact: Solve instead of searching: for a `LinearHead` and the L2 norm.
            Class-oblivious: ``f = (G + lambda)^-1 G 1`` with the `lambda` that
            makes its length 1; class-specific: minus the slope of the objective, at length 1.

    Returns:
        The filters; their `heats` are the maps.

    Raises:
        ModelError: The shapes do not fit, there is no such class, or `exact`
            is asked of another head or constraint.
    """
    check_maps(maps)
    settings = settings or FilterSettings()
    maps = maps.detach()
    numbers = _classes(classes, maps)
    if isinstance(head, LinearHead):
        quadratic, linear = _of_linear_head(maps, head, numbers)
        if exact:
            _check_exact(settings)
            return _solved(quadratic, linear, maps)
        objective: Objective = _Polynomial(quadratic, linear)
    elif exact:
        raise ModelError(
            "only pooling with a linear head has an exact filter", remedy="Search the filter: exact=False."
        )
    else:
        objective = _FilteredMaps(maps, head, numbers)
    return _search(objective, maps, settings, generator)


def ordinary_l2_caf(
    network: EmbeddingNetwork,
    inputs: Tensor,
    *,
    classes: Tensor | int | None = None,
    settings: FilterSettings | None = None,
    generator: torch.Generator | None = None,
) -> FilterSearch:
    """Ordinary L2-CAF: the whole network runs at every step (L eq. 1 and 2).

    It finds what :func:`l2_caf` finds from the same start, and is here to compare with.

    Args:
        network: Trunk and head.
        inputs: A batch as the network takes it.
        classes: As in :func:`l2_caf`.
        settings: As in :func:`l2_caf`.
        generator: As in :func:`l2_caf`.

    Returns:
        The filters.

    Raises:
        ModelError: The shapes do not fit, or there is no such class.
    """
    maps = network.maps(inputs)
    objective = _FilteredNetwork(inputs, network, _classes(classes, maps))
    return _search(objective, maps, settings or FilterSettings(), generator)


def recurrent_l2_caf(
    frames: Tensor,
    head: Callable[[Tensor], Tensor],
    *,
    classes: Tensor | int | None = None,
    settings: FilterSettings | None = None,
    generator: torch.Generator | None = None,
) -> FilterSearch:
    """One filter per frame, between a network per frame and what fuses them, as an LSTM does (L section 3).

    The frames of a house are its dates or its zooms. They are treated one at
    a time: while the filter of one is searched, the others pass unfiltered.

    Args:
        frames: Feature maps of the frames ``(N, T, K, h, w)``.
        head: From all frames to one output ``(N, D)``.
        classes: As in :func:`l2_caf`.
        settings: As in :func:`l2_caf`.
        generator: As in :func:`l2_caf`; all frames share the start.

    Returns:
        The filters ``(N, T, h, w)``.

    Raises:
        ModelError: The shapes do not fit, or there is no such class.
    """
    if frames.ndim != 5 or frames.shape[1] == 0:
        raise ModelError(f"the frames must be (N, T, K, h, w), but these are {tuple(frames.shape)}")
    frames = frames.detach()
    start = _drawn(frames[:, 0], settings or FilterSettings(), generator)
    found = []
    # On a GPU the fused LSTM refuses to go backward in evaluation mode.
    with torch.backends.cudnn.flags(enabled=False):
        for frame in range(frames.shape[1]):
            objective = _FilteredFrame(frames, frame, head, _classes(classes, frames))
            height, width = frames.shape[3:]
            found.append(search_filters(objective, start, height, width, settings or FilterSettings()))
    return FilterSearch(
        torch.stack([each.filters for each in found], dim=1),
        torch.stack([each.losses for each in found], dim=1),
        torch.stack([each.steps for each in found], dim=1),
        torch.stack([each.stopped for each in found], dim=1),
    )


def _search(
    objective: Objective, maps: Tensor, settings: FilterSettings, generator: torch.Generator | None
) -> FilterSearch:
    start = _drawn(maps, settings, generator)
    return search_filters(objective, start, maps.shape[2], maps.shape[3], settings)


def _drawn(maps: Tensor, settings: FilterSettings, generator: torch.Generator | None) -> Tensor:
    """The start of every picture ``(N, P)``."""
    source = generator or torch.Generator().manual_seed(0)
    start = random_start(settings.constraint, maps.shape[-2], maps.shape[-1], source)
    return start.to(maps).expand(len(maps), -1).clone()


def _classes(classes: Tensor | int | None, maps: Tensor) -> Tensor | None:
    if classes is None:
        return None
    numbers = torch.as_tensor(classes, device=maps.device)
    if numbers.dtype.is_floating_point or numbers.shape not in ((), maps.shape[:1]):
        raise ModelError(
            f"the classes {tuple(numbers.shape)} must be one integer, or one for each of {len(maps)} pictures"
        )
    return numbers.to(torch.int64).expand(len(maps))


def _class_losses(outputs: Tensor, classes: Tensor) -> Tensor:
    """L eq. 2: ``-FT_c + sum_{i != c} FT_i``."""
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < outputs.shape[1]:
        raise ModelError(f"the network has the classes 0 to {outputs.shape[1] - 1}")
    return outputs.sum(dim=1) - 2 * outputs.gather(1, classes[:, None])[:, 0]


class _BackPropagated(ABC):
    """An objective of any head, differentiated by autograd."""

    def __init__(self, classes: Tensor | None, reference: Tensor | None) -> None:
        self._classes = classes
        self._reference = reference

    @abstractmethod
    def outputs(self, filters: Tensor) -> Tensor:
        """What the network gives ``(n, D)`` with filters ``(n, Z)``."""

    @abstractmethod
    def select(self, rows: Tensor) -> Objective:
        """The objective of some of the pictures."""

    def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = filters.detach().requires_grad_(True)
            outputs = self.outputs(leaf)
            if self._reference is None:
                with torch.no_grad():
                    self._reference = self.outputs(torch.ones_like(filters))
            if self._classes is None:
                losses = ((outputs - self._reference) ** 2).sum(dim=1)
            else:
                losses = _class_losses(outputs, self._classes)
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient

    def _some(self, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return (
            None if self._classes is None else self._classes[rows],
            None if self._reference is None else self._reference[rows],
        )


class _FilteredMaps(_BackPropagated):
    """Fast: the head alone."""

    def __init__(
        self, maps: Tensor, head: Head, classes: Tensor | None, reference: Tensor | None = None
    ) -> None:
        super().__init__(classes, reference)
        self._maps = maps
        self._head = head

    def outputs(self, filters: Tensor) -> Tensor:
        with evaluating(self._head):
            return self._head(_filtered(self._maps, filters))

    def select(self, rows: Tensor) -> Objective:
        return _FilteredMaps(self._maps[rows], self._head, *self._some(rows))


class _FilteredNetwork(_BackPropagated):
    """Ordinary: the whole network."""

    def __init__(
        self,
        inputs: Tensor,
        network: EmbeddingNetwork,
        classes: Tensor | None,
        reference: Tensor | None = None,
    ) -> None:
        super().__init__(classes, reference)
        self._inputs = inputs
        self._network = network

    def outputs(self, filters: Tensor) -> Tensor:
        return self._network.embed(_filtered(self._network.maps(self._inputs), filters))

    def select(self, rows: Tensor) -> Objective:
        return _FilteredNetwork(self._inputs[rows], self._network, *self._some(rows))


class _FilteredFrame(_BackPropagated):
    """One frame filtered, the others as they are."""

    def __init__(
        self,
        frames: Tensor,
        frame: int,
        head: Callable[[Tensor], Tensor],
        classes: Tensor | None,
        reference: Tensor | None = None,
    ) -> None:
        super().__init__(classes, reference)
        self._frames = frames
        self._frame = frame
        self._head = head

    def outputs(self, filters: Tensor) -> Tensor:
        before, after = self._frames[:, : self._frame], self._frames[:, self._frame + 1 :]
        filtered = _filtered(self._frames[:, self._frame], filters)[:, None]
        with evaluating(self._head):
            return self._head(torch.cat([before, filtered, after], dim=1))

    def select(self, rows: Tensor) -> Objective:
        return _FilteredFrame(self._frames[rows], self._frame, self._head, *self._some(rows))


def _filtered(maps: Tensor, filters: Tensor) -> Tensor:
    """`FT`'s feature map: every channel of ``(n, K, h, w)`` times the filter ``(n, Z)``."""
    return maps * filters.reshape(len(maps), 1, *maps.shape[2:])


class _Polynomial:
    """``(f - 1)^T G (f - 1)``, or ``v . f + c`` for a class."""

    def __init__(self, quadratic: Tensor | None, linear: tuple[Tensor, Tensor] | None) -> None:
        self._quadratic = quadratic
        self._linear = linear

    def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        if self._linear is not None:
            slopes, constants = self._linear
            return (filters * slopes).sum(dim=1) + constants, slopes
        assert self._quadratic is not None
        apart = filters - 1
        half = torch.bmm(apart[:, None], self._quadratic)[:, 0]  # symmetric, and rows first is fastest
        return (apart * half).sum(dim=1), 2 * half

    def select(self, rows: Tensor) -> Objective:
        if self._linear is not None:
            slopes, constants = self._linear
            return _Polynomial(None, (slopes[rows], constants[rows]))
        assert self._quadratic is not None
        return _Polynomial(self._quadratic[rows], None)


def _of_linear_head(
    maps: Tensor, head: LinearHead, classes: Tensor | None
) -> tuple[Tensor | None, tuple[Tensor, Tensor] | None]:
    """`G` ``(N, Z, Z)``; or, for a class, the slopes ``(N, Z)`` and constants ``(N,)``."""
    cells = maps.shape[2] * maps.shape[3]
    weight = head.weight.to(maps) / cells
    flat = maps.flatten(2)
    if classes is None:
        parts = weight @ flat
        return parts.transpose(1, 2) @ parts, None
    # The objective adds the logits with the signs (1, .., 1, -1, 1, .., 1).
    bias = head.bias.to(maps).expand(len(maps), -1)
    constants = _class_losses(bias, classes)
    combined = weight.sum(dim=0) - 2 * weight[classes]
    return None, (torch.bmm(combined[:, None], flat)[:, 0], constants)


def _check_exact(settings: FilterSettings) -> None:
    if settings.constraint != "l2":
        raise ModelError(
            f"the constraint {settings.constraint} has no exact filter",
            remedy="Search the filter: exact=False, or take the constraint l2.",
        )


def _solved(quadratic: Tensor | None, linear: tuple[Tensor, Tensor] | None, maps: Tensor) -> FilterSearch:
    """The filter of length 1 at the minimum."""
    count, _, height, width = maps.shape
    if linear is not None:
        slopes, constants = linear
        lengths = slopes.norm(dim=1, keepdim=True)
        found = torch.where(lengths == 0, 0.0, -slopes / torch.where(lengths == 0, 1.0, lengths))
        losses = (found * slopes).sum(dim=1) + constants
    else:
        assert quadratic is not None
        found = _nearest_to_ones(quadratic)
        losses, _ = _Polynomial(quadratic, None)(found)
    return FilterSearch(
        found.reshape(count, height, width),
        losses,
        torch.zeros(count, dtype=torch.int64, device=maps.device),
        torch.ones(count, dtype=torch.bool, device=maps.device),
    )


def _nearest_to_ones(gram: Tensor) -> Tensor:
    """Minimise ``(f - 1)^T G (f - 1)`` over filters of length 1: ``(N, Z, Z)`` to ``(N, Z)``.

    At the minimum ``(G + lambda) f = G 1``. In the eigenvectors of `G` the
    length falls as `lambda` grows from 0, so it is found by halving. Where
    even ``lambda = 0`` is too short (`G` has a null space, and ones lie mostly
    in it), the rest of the length is free and goes to the ones' own part there.
    """
    finite = gram.isfinite().all(dim=2).all(dim=1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], gram, 0.0).double())
    highest = values.amax(dim=1, keepdim=True).clamp(min=0)
    in_range = values > highest * 1e-7  # what float32 can tell from 0
    ones = vectors.sum(dim=1)
    values = torch.where(in_range, values, 0.0)
    pull = values * ones
    low, high = torch.zeros_like(highest), pull.norm(dim=1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_long = (_divided(pull, values + middle) ** 2).sum(dim=1, keepdim=True) > 1
        low, high = torch.where(too_long, middle, low), torch.where(too_long, high, middle)
    parts = _divided(pull, values + high)
    rest = torch.where(in_range, 0.0, ones)
    missing = (1 - (parts**2).sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
    missing = torch.where(missing > 1e-6, missing, 0.0)
    parts = parts + missing * _divided(rest, rest.norm(dim=1, keepdim=True).expand_as(rest))
    found = torch.einsum("nij,nj->ni", vectors, parts)
    found = torch.where(highest == 0, 0.0, found)
    return torch.where(finite[:, None], found, torch.nan).to(gram)


def _divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient that is 0 where the denominator is."""
    return torch.where(denominator == 0, 0.0, numerator / torch.where(denominator == 0, 1.0, denominator))
