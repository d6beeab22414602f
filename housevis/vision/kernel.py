"""An embedding by likeness: a weighted sum of likenesses to the houses that taught.

A linear embedding gives a channel the same worth in every picture. Here the
worth of a channel depends on the picture: trees mean another thing among
villas than among towers. With ``z`` the first principal components of the
standardised pooled feature the embedding is

    f(x) = sum_i W_i exp(-|z(x) - z_i|^2 / width) + b

over the houses `i` that taught. Its gradient, which explanations need, has a
closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn


class KernelEmbedding(nn.Module):
    """Likeness to houses that taught, summed up in `D` numbers.

    Args:
        channels: `K`, the pooled features of a house.
        dimension: `D`.
        houses: `L`, how many taught.
        components: `P`, the principal components.
    """

    precision: ClassVar[torch.dtype] = torch.float32
    """What it is reckoned in."""

    projection: torch.Tensor
    origin: torch.Tensor
    landmarks: torch.Tensor
    width: torch.Tensor

    def __init__(self, channels: int, dimension: int, houses: int, components: int) -> None:
        super().__init__()
        self.in_features, self.out_features = channels, dimension
        self.register_buffer("projection", torch.zeros(components, channels))
        self.register_buffer("origin", torch.zeros(components))
        self.register_buffer("landmarks", torch.zeros(houses, components))
        self.register_buffer("width", torch.ones(()))
        self.weight = nn.Parameter(torch.zeros(dimension, houses))
        self.bias = nn.Parameter(torch.zeros(dimension))
        self._measured: tuple[tuple[int, int], torch.Tensor] | None = None

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features `(N, K)` to `(N, D)`."""
        return self.likeness(self.place(pooled)) @ self.weight.T + self.bias

    def place(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features `(N, K)` to principal components `(N, P)`."""
        return pooled @ self.projection.T - self.origin

    def likeness(self, places: torch.Tensor) -> torch.Tensor:
        """Likeness of houses at `places` `(N, P)` to those that taught: `(N, L)`, from 0 to 1."""
        return torch.exp(-self._squared_distances(places) / self.width)

    def pull_back(self, pooled: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Gradient of ``directions . f`` with respect to the pooled features: `(N, K)`.

        Args:
            pooled: `(N, K)`.
            directions: `(N, D)`.
        """
        places = self.place(pooled)
        shares = (directions @ self.weight) * self.likeness(places)
        slope = shares @ self.landmarks - shares.sum(dim=1, keepdim=True) * places
        return (2 / self.width) * slope @ self.projection

    def mean_pull_back(
        self,
        pooled: torch.Tensor,
        origin: torch.Tensor,
        directions: torch.Tensor,
        quadrature: Sequence[tuple[float, float]],
    ) -> torch.Tensor:
        """:meth:`pull_back`, averaged along the straight way from one place to each house.

        The distances to the houses that taught are quadratic in how far one
        has come, so that the whole way costs about as much as one point of it.

        Args:
            pooled: `(N, K)`.
            origin: Where every way begins `(K,)`.
            directions: `(N, D)`.
            quadrature: Points from 0 to 1, and their weights.

        Returns:
            `(N, K)`.
        """
        start = self.place(origin[None])
        way = self.place(pooled) - start
        distances = self._squared_distances(start)
        along = (way @ start.T) - way @ self.landmarks.T
        lengths = (way**2).sum(dim=1, keepdim=True)
        towards = directions @ self.weight
        shares = torch.zeros_like(along)
        moved = torch.zeros_like(lengths)
        for point, weight in quadrature:
            squared = distances + 2 * point * along + point**2 * lengths
            shared = squared.clamp_(min=0).div_(-self.width).exp_().mul_(towards).mul_(weight)
            shares += shared
            moved += point * shared.sum(dim=1, keepdim=True)
        slope = shares @ self.landmarks - shares.sum(dim=1, keepdim=True) * start - moved * way
        return (2 / self.width) * slope @ self.projection

    def _squared_distances(self, places: torch.Tensor) -> torch.Tensor:
        """Squared distances `(N, L)` to the landmarks, whose lengths are measured once."""
        state = self.landmarks.data_ptr(), self.landmarks._version
        if self._measured is None or self._measured[0] != state:
            self._measured = state, (self.landmarks**2).sum(dim=1)
        return squared_distances(places, self.landmarks, self._measured[1])

    def measures_like(self, other: KernelEmbedding) -> bool:
        """Whether `other` measures the same likeness to the same houses."""
        return all(torch.equal(mine, its) for mine, its in zip(self.buffers(), other.buffers(), strict=True))

    def beside(self, other: KernelEmbedding) -> KernelEmbedding:
        """Both embeddings side by side, for one look at a likeness that they share: `D` is the sum."""
        houses, components = self.landmarks.shape
        joined = KernelEmbedding(self.in_features, self.out_features + other.out_features, houses, components)
        joined.load_state_dict(dict(self.named_buffers()), strict=False)
        with torch.no_grad():
            joined.weight.copy_(torch.cat([self.weight, other.weight]))
            joined.bias.copy_(torch.cat([self.bias, other.bias]))
        return joined

    def take_raw(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Make an embedding of standardised features one of raw features.

        Args:
            mean: float64 `(K,)`.
            deviation: float64 `(K,)`, infinite for a channel that says nothing.
        """
        projection = self.projection.double() / deviation
        self.origin.copy_(self.origin.double() + projection @ mean)
        self.projection.copy_(projection)


def squared_distances(
    places: torch.Tensor, others: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared distances `(N, L)` of `(N, P)` and `(L, P)`; `lengths` are the squared ones of `others`."""
    lengths = (others**2).sum(dim=1) if lengths is None else lengths
    lengths = (places**2).sum(dim=1, keepdim=True) + lengths
    return torch.addmm(lengths, places, others.T, alpha=-2).clamp_(min=0)
