"""EmbeddingCAM: agreement of an embedding with a proxy, and where it comes from (E eq. 9 to 12, 17).

The score is ``y . p`` with `y` the un-normalised embedding of the picture and
`p` a proxy of length 1: the picture's own embedding (one picture, no
database), or the mean of a class. Houses have no classes; a price band is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from housevis.core.errors import ModelError
from housevis.explain.gradcam import Method, example_grad_weights, keep_top, weighted_map
from housevis.explain.networks import Head, evaluating
from housevis.explain.scalars import Sense, normalised


def single_point_proxies(embeddings: Tensor) -> Tensor:
    """The pictures' own embeddings, normalised (E section 3.2).

    Args:
        embeddings: Raw, ``(N, D)``.

    Returns:
        ``(N, D)``, detached.
    """
    return normalised(embeddings.detach())


def mean_proxies(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised mean of each class's normalised embeddings (E eq. 11 and 12).

    Args:
        embeddings: Raw, ``(N, D)``.
        labels: Class of each, integers ``(N,)``.

    Returns:
        The classes ``(C,)`` in rising order, and their proxies ``(C, D)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ModelError(
            f"embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)} do not fit; "
            "they must be (N, D) and (N,)"
        )
    classes, rows = labels.to(embeddings.device).unique(return_inverse=True)
    # The sum has the direction of the mean.
    sums = embeddings.new_zeros(len(classes), embeddings.shape[1])
    sums.index_add_(0, rows, normalised(embeddings.detach()))
    return classes, normalised(sums)


def proxy_grad_weights(
    maps: Tensor, head: Head, proxies: Tensor, *, method: Method = "grad-cam", sense: Sense = "for"
) -> Tensor:
    """Grad-weights of the agreement with a proxy (E eq. 9 and 10).

    With a :class:`~housevis.explain.networks.LinearHead` they are
    ``W^T p / Z`` (E eq. 17) and nothing is back-propagated.

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        proxies: ``(N, D)``, or ``(D,)`` for one proxy of all.
        method: Grad-CAM, as E has it, or Grad-CAM++.
        sense: ``"for"`` as in E, or the opposite.

    Returns:
        ``(N, K)``, detached.

    Raises:
        ModelError: The shapes do not fit.
    """
    sign = 1.0 if sense == "for" else -1.0

    def agreement(embeddings: Tensor) -> Tensor:
        if proxies.shape not in (embeddings.shape, embeddings.shape[1:]):
            raise ModelError(
                f"embeddings {tuple(embeddings.shape)} and proxies {tuple(proxies.shape)} do not fit; "
                "proxies must be (N, D) or (D,)"
            )
        return sign * (embeddings * proxies.detach()).sum(dim=1)

    return example_grad_weights(maps, head, agreement, method=method)


def embedding_cam(
    maps: Tensor,
    head: Head,
    proxies: Tensor | None = None,
    *,
    top: int | None = None,
    method: Method = "grad-cam",
    sense: Sense = "for",
) -> Tensor:
    """The heat of the agreement with a proxy (E eq. 9 to 12 with C eq. 4).

    Args:
        maps: Feature maps ``(N, K, h, w)``.
        head: From feature maps to raw embeddings ``(N, D)``.
        proxies: ``(N, D)`` or ``(D,)``; None takes the single-point proxies,
            each picture's own embedding.
        top: How many channels to keep; None keeps all.
        method: Grad-CAM, as E has it, or Grad-CAM++.
        sense: ``"for"`` as in E, or the opposite.

    Returns:
        ``(N, h, w)``, at least 0.

    Raises:
        ModelError: The shapes do not fit.
    """
    if proxies is None:
        with torch.no_grad(), evaluating(head):
            proxies = single_point_proxies(head(maps))
    weights = proxy_grad_weights(maps, head, proxies, method=method, sense=sense)
    return weighted_map(maps, weights if top is None else keep_top(weights, top))


@dataclass(frozen=True, eq=False)
class PriceBands:
    """Proxies of price bands: classes for houses, which have none of their own.

    Attributes:
        edges: Prices between the bands, rising, ``(B - 1,)``; a house at an
            edge belongs to the dearer band.
        proxies: ``(B, D)``, the normalised mean of each band's normalised embeddings.
        houses: How many houses each band was made of, ``(B,)``.
    """

    edges: Tensor
    proxies: Tensor
    houses: Tensor

    @classmethod
    def fit(cls, embeddings: Tensor, prices: Tensor, bands: int = 5) -> PriceBands:
        """Cut the prices at their quantiles and take the mean of each band (E eq. 11 and 12).

        Args:
            embeddings: Raw, ``(N, D)``.
            prices: ``(N,)``.
            bands: How many bands of about the same number of houses; fewer
                where many houses have the same price.

        Raises:
            ModelError: The shapes do not fit, a number is not finite, or the
                prices do not make two bands.
        """
        prices = prices.to(embeddings.device, torch.float64)
        if embeddings.ndim != 2 or prices.shape != embeddings.shape[:1]:
            raise ModelError(
                f"embeddings {tuple(embeddings.shape)} and prices {tuple(prices.shape)} do not fit; "
                "they must be (N, D) and (N,)"
            )
        if not (prices.isfinite().all() and embeddings.isfinite().all()):
            raise ModelError("a price or an embedding is no finite number")
        if bands < 2 or len(prices) == 0 or prices.min() == prices.max():
            raise ModelError(
                f"{len(prices)} houses make no two price bands", remedy="Give houses of different prices."
            )
        ordered = prices.sort().values
        places = (torch.arange(1, bands) * len(prices)) // bands
        edges = ordered[places.to(ordered.device)].unique()
        edges = edges[edges > ordered[0]]
        if len(edges) == 0:
            edges = ordered[ordered > ordered[0]][:1]
        rows = torch.bucketize(prices, edges, right=True)
        _, proxies = mean_proxies(embeddings, rows)
        return cls(edges, proxies, rows.bincount(minlength=len(edges) + 1))

    def band_of(self, prices: Tensor) -> Tensor:
        """Band of each price: ``(n,)`` integers from 0, the cheapest."""
        return torch.bucketize(prices.to(self.edges), self.edges, right=True)

    def proxies_of(self, prices: Tensor) -> Tensor:
        """The proxy of each price's band: ``(n,)`` to ``(n, D)``."""
        return self.proxies[self.band_of(prices)]
