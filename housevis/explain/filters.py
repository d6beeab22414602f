"""The search for filters: many at once, each under its constraint and with its own stop (L section 3).

A filter ``(h, w)`` multiplies every channel of a feature map. It is made from
free parameters by a constraint, and the parameters follow the gradient of an
objective. Adam acts on each parameter by itself, so filters that are searched
together find what each would find alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from housevis.core.errors import ModelError

Constraint = Literal["l2", "softmax", "gaussian"]
"""What keeps a filter from being all ones.

``l2``: its L2 norm is 1. ``softmax``: it is a softmax over the cells.
``gaussian``: it is a Gaussian with a free mean and, in cells, the identity as
its covariance.
"""

_FIRST_MOMENT, _SECOND_MOMENT, _SMALL = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class FilterSettings:
    """How filters are searched.

    Attributes:
        constraint: See :data:`Constraint`.
        tolerance: A filter is found when its loss differs by less than this
            from what it was `look_back` steps before (L: 1e-5).
        look_back: `d` (L: 50).
        most_steps: When to stop at the latest.
        learning_rate: Of Adam.
    """

    constraint: Constraint = "l2"
    tolerance: float = 1e-5
    look_back: int = 50
    most_steps: int = 2000
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.constraint not in ("l2", "softmax", "gaussian"):
            raise ModelError(
                f"there is no constraint {self.constraint!r}", remedy="Choose one of l2, softmax, gaussian."
            )
        if self.look_back < 1 or self.most_steps < 1:
            raise ModelError("a search takes at least one step, and looks back at least one")


@dataclass(frozen=True, eq=False)
class FilterSearch:
    """What a search found.

    Attributes:
        filters: As the constraint makes them, ``(N, h, w)``, or ``(N, T, h, w)``
            for frames; 0 where the objective does not depend on the filter,
            NaN where it is no finite number.
        losses: Objective of each, ``(N,)`` or ``(N, T)``.
        steps: Steps taken, integers; 0 where none were needed.
        stopped: bool, whether the stop rule ended the search, not the limit of steps.
    """

    filters: Tensor
    losses: Tensor
    steps: Tensor
    stopped: Tensor

    @property
    def heats(self) -> Tensor:
        """The maps ``|f| / ||f||`` (L section 3), of the filters' shape."""
        lengths = self.filters.flatten(-2).norm(dim=-1)[..., None, None]
        return torch.where(lengths == 0, 0.0, self.filters.abs() / torch.where(lengths == 0, 1.0, lengths))


class Objective(Protocol):
    """What the filters of a batch of pictures minimise, each for itself."""

    def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """Losses ``(n,)`` and gradients ``(n, Z)`` at filters ``(n, Z)``."""

    def select(self, rows: Tensor) -> Objective:
        """The objective of some of the pictures."""


def random_start(constraint: Constraint, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Where a search starts: uniform in [0, 1] (L section 3); a Gaussian's mean anywhere in the picture.

    Args:
        constraint: See :data:`Constraint`.
        height: Rows of the feature map.
        width: Columns of the feature map.
        generator: Source of the draw.

    Returns:
        float32 ``(h w,)``; for a Gaussian its mean ``(2,)``, row and column in cells.
    """
    drawn = 2 if constraint == "gaussian" else height * width
    start = torch.rand(drawn, generator=generator, device=generator.device)
    if constraint == "gaussian":
        return start * torch.tensor([height - 1.0, width - 1.0], device=start.device)
    return start


def search_filters(
    objective: Objective, start: Tensor, height: int, width: int, settings: FilterSettings
) -> FilterSearch:
    """Follow the gradient until each filter's stop rule holds.

    Args:
        objective: What is minimised.
        start: Free parameters ``(N, P)``, on the device of the objective.
        height: Rows of the feature map.
        width: Columns of the feature map.
        settings: Constraint, stop rule and step size.

    Returns:
        The filters.
    """
    constrain = _CONSTRAINTS[settings.constraint](height, width)
    count, back = len(start), settings.look_back
    found = start.new_zeros(count, height * width)
    losses, steps = start.new_zeros(count), torch.zeros(count, dtype=torch.int64, device=start.device)
    stopped = torch.zeros(count, dtype=torch.bool, device=start.device)
    rows = torch.arange(count, device=start.device)
    open_rows = torch.ones(count, dtype=torch.bool, device=start.device)
    parameters, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    history = start.new_full((back, count), torch.inf)
    for step in range(1, settings.most_steps + 1):
        if len(rows) == 0:
            break
        filters = constrain.filters(parameters)
        loss, gradient = objective(filters)
        past, history[step % back] = history[step % back].clone(), loss
        done = ~((loss - past).abs() >= settings.tolerance)  # also where the loss is no number
        if step == 1:
            idle = (gradient == 0).all(dim=1)
            done |= idle
            filters = torch.where(idle[:, None], 0.0, filters)
        done &= open_rows
        last = step == settings.most_steps
        if last or bool(done.any()):
            leaving = open_rows if last else done
            out = rows[leaving]
            finite = loss[leaving].isfinite()
            found[out] = torch.where(finite[:, None], filters[leaving], torch.nan)
            losses[out], steps[out], stopped[out] = loss[leaving], step, done[leaving]
            open_rows = open_rows & ~leaving
            if 2 * int(open_rows.sum()) <= len(rows):
                kept = open_rows.nonzero()[:, 0]
                rows, parameters, mean, square = rows[kept], parameters[kept], mean[kept], square[kept]
                filters, gradient, history = filters[kept], gradient[kept], history[:, kept]
                objective, open_rows = objective.select(kept), open_rows[kept]
        slope = constrain.pull_back(parameters, filters, gradient)
        mean.lerp_(slope, 1 - _FIRST_MOMENT)
        square.mul_(_SECOND_MOMENT).addcmul_(slope, slope, value=1 - _SECOND_MOMENT)
        deviation = (square / (1 - _SECOND_MOMENT**step)).sqrt_().add_(_SMALL)
        parameters.addcdiv_(mean, deviation, value=-settings.learning_rate / (1 - _FIRST_MOMENT**step))
    return FilterSearch(found.reshape(count, height, width), losses, steps, stopped)


class _UnitLength:
    """L2 norm 1: parameters ``(n, Z)`` divided by their length."""

    def __init__(self, height: int, width: int) -> None:
        del height, width

    def filters(self, parameters: Tensor) -> Tensor:
        return parameters / parameters.norm(dim=1, keepdim=True)

    def pull_back(self, parameters: Tensor, filters: Tensor, gradient: Tensor) -> Tensor:
        along = (filters * gradient).sum(dim=1, keepdim=True)
        return (gradient - filters * along) / parameters.norm(dim=1, keepdim=True)


class _Softmax:
    """A softmax of parameters ``(n, Z)``."""

    def __init__(self, height: int, width: int) -> None:
        del height, width

    def filters(self, parameters: Tensor) -> Tensor:
        return parameters.softmax(dim=1)

    def pull_back(self, parameters: Tensor, filters: Tensor, gradient: Tensor) -> Tensor:
        del parameters
        return filters * (gradient - (filters * gradient).sum(dim=1, keepdim=True))


class _Gaussian:
    """The density of a Gaussian around a free mean ``(n, 2)``, with the identity as covariance, in cells."""

    def __init__(self, height: int, width: int) -> None:
        rows = torch.arange(height, dtype=torch.float32).repeat_interleave(width)
        columns = torch.arange(width, dtype=torch.float32).repeat(height)
        self._places = torch.stack([rows, columns], dim=1)

    def _offsets(self, parameters: Tensor) -> Tensor:
        self._places = self._places.to(parameters)
        return self._places[None] - parameters[:, None]

    def filters(self, parameters: Tensor) -> Tensor:
        return torch.exp(-0.5 * (self._offsets(parameters) ** 2).sum(dim=2)) / (2 * torch.pi)

    def pull_back(self, parameters: Tensor, filters: Tensor, gradient: Tensor) -> Tensor:
        return torch.einsum("nz,nzc->nc", filters * gradient, self._offsets(parameters))


_CONSTRAINTS: dict[Constraint, type[_UnitLength] | type[_Softmax] | type[_Gaussian]] = {
    "l2": _UnitLength,
    "softmax": _Softmax,
    "gaussian": _Gaussian,
}
