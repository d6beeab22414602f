"""What a training picture is compared with: examples drawn for it, the valid ones only (C section 3.2).

A *question* is a scalar of :mod:`housevis.explain.scalars` with what it takes:
labels for triplets and N-pairs, prices for rank pairs, nothing for the scalars
of a picture alone. It draws examples among the training pictures themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from housevis.core.errors import ModelError
from housevis.explain import scalars
from housevis.explain.gradweights import Partners
from housevis.explain.scalars import Sense

TripletScalar = Literal["triplet-loss", "distance-difference", "positive-distance", "negative-distance"]
RankScalar = Literal["rank-cross-entropy", "ordering-logit"]


@dataclass(frozen=True, eq=False)
class Asked:
    """A question put to some pictures.

    Attributes:
        values: From their raw embeddings ``(n, D)`` to ``(n, P)``, one value per example.
        valid: bool ``(n, P)``, which examples count.
    """

    values: Callable[[Tensor], Tensor]
    valid: Tensor


class Question(Protocol):
    """What is explained about every training picture."""

    @property
    def scalar(self) -> str:
        """Its name."""

    @property
    def sense(self) -> Sense:
        """Which sign is differentiated."""

    @property
    def normalise(self) -> bool:
        """Whether embeddings are compared by their direction alone."""

    def settings(self) -> Mapping[str, Any]:
        """What else it was asked with, by name, for the record."""

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """Draw examples for some pictures.

        Args:
            embeddings: Raw embeddings of all pictures, ``(N, D)``.
            rows: The pictures.
            examples: How many per picture, at most.
            generator: Source of the draw.

        Raises:
            ModelError: What the question was made with does not fit the pictures.
        """


@dataclass(frozen=True, eq=False)
class Triplets:
    """Triplets of an anchor, a picture of its class and one of another, those whose loss is not zero.

    Every valid triplet of an anchor is as likely to be drawn as the other, and
    none is drawn twice; where there are no more than are asked for, all count.

    Attributes:
        labels: Class of every picture, ``(N,)``.
        scalar: What is explained of the valid triplets. The two distances
            look at one side of the triplet only (C section 4).
        margin: `delta` of the loss that says which triplets are valid.
        normalise: Whether embeddings are L2-normalised first, as C has it.
        chosen_sense: None takes C's.
    """

    labels: ArrayLike
    scalar: TripletScalar = "triplet-loss"
    margin: float = 0.2
    normalise: bool = True
    chosen_sense: Sense | None = None

    @property
    def sense(self) -> Sense:
        """See :class:`Question`."""
        return self.chosen_sense or ("for" if self.scalar == "negative-distance" else "against")

    def settings(self) -> Mapping[str, Any]:
        """See :class:`Question`."""
        return {"margin": self.margin}

    @cached_property
    def _members(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The class of every picture, and the pictures of every class, -1 where there are no more."""
        _, codes = np.unique(np.asarray(self.labels), return_inverse=True)
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes)
        firsts = np.cumsum(sizes) - sizes
        members = np.full((len(sizes), sizes.max(initial=0)), -1, dtype=np.intp)
        members[codes[order], np.arange(len(order)) - firsts[codes[order]]] = order
        return codes, members

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """See :class:`Question`."""
        _check_length("labels", self.labels, embeddings)
        positives, negatives, drawn = self.draw(embeddings, rows, examples, generator)
        near, far = embeddings[positives].detach(), embeddings[negatives].detach()
        normalise, margin, sense = self.normalise, self.margin, self.sense
        valid = drawn & scalars.valid_triplets(
            embeddings[rows], near, far, margin=margin, normalise=normalise
        )

        def values(anchors: Tensor) -> Tensor:
            match self.scalar:
                case "triplet-loss":
                    return scalars.triplet_loss(
                        anchors, near, far, margin=margin, normalise=normalise, sense=sense
                    )
                case "distance-difference":
                    return scalars.distance_difference(anchors, near, far, normalise=normalise, sense=sense)
                case "positive-distance":
                    return scalars.pairwise_distance(
                        anchors, near, polarity="positive", normalise=normalise, sense=sense
                    )
                case "negative-distance":
                    return scalars.pairwise_distance(
                        anchors, far, polarity="negative", normalise=normalise, sense=sense
                    )
            raise _no_scalar(self.scalar)

        return Asked(values, valid)

    def draw(
        self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw valid triplets of some pictures, from all that there are.

        The negatives of an anchor are put in the order of their distance, so
        that for each positive the valid ones are the first so many.

        Args:
            embeddings: Raw embeddings of all pictures, ``(N, D)``.
            rows: The anchors.
            examples: How many per anchor, at most.
            generator: Source of the draw.

        Returns:
            Rows of the positives and of the negatives ``(n, P)``, and bool
            ``(n, P)``, which of them are there.
        """
        device = embeddings.device
        codes, members = (torch.from_numpy(part).to(device) for part in self._members)
        points = scalars.normalised(embeddings) if self.normalise else embeddings
        anchors, own = points[rows], codes[rows]
        distances = ((anchors**2).sum(dim=1)[:, None] + (points**2).sum(dim=1)) - 2 * anchors @ points.T
        alike = members[own]
        itself = torch.arange(len(points), device=device)[rows]
        is_positive = (alike >= 0) & (alike != itself[:, None])
        limits = distances.gather(1, alike.clamp(min=0)) + self.margin
        distances[own[:, None] == codes] = torch.inf
        far, order = distances.sort(dim=1)
        counts = torch.where(is_positive, torch.searchsorted(far, limits), 0)
        upto = counts.cumsum(dim=1)
        total = upto[:, -1:]
        share = torch.from_numpy(generator.random((len(anchors), examples))).to(device)
        step = torch.arange(examples, device=device)
        place = torch.where(total > examples, ((step + share) * (total / examples)).long(), step)
        there = place < total
        place = torch.minimum(place, (total - 1).clamp(min=0))
        chosen = torch.searchsorted(upto, place, right=True).clamp(max=upto.shape[1] - 1)
        behind = place - (upto - counts).gather(1, chosen)
        return alike.gather(1, chosen).clamp(min=0), order.gather(1, behind.clamp(min=0)), there


@dataclass(frozen=True, eq=False)
class NPairs:
    """N-pair examples: another picture of the anchor's class against several of other classes (L section 4).

    Attributes:
        labels: Class of every picture, ``(N,)``.
        negatives: How many in one example, `Q`.
        sense: Which sign is differentiated.
    """

    labels: ArrayLike
    negatives: int = 15
    sense: Sense = "against"
    scalar = "n-pair-loss"
    normalise = False

    def settings(self) -> Mapping[str, Any]:
        """See :class:`Question`."""
        return {"negatives": self.negatives}

    @cached_property
    def _others(self) -> Partners:
        _, codes = np.unique(np.asarray(self.labels), return_inverse=True)
        return Partners(codes)

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """See :class:`Question`."""
        _check_length("labels", self.labels, embeddings)
        positives, alike = self._others.draw_equal(rows, examples, generator)
        drawn = self._others.draw(rows, examples * self.negatives, generator)
        negatives = drawn.reshape(*positives.shape, self.negatives)
        near, far = embeddings[positives].detach(), embeddings[negatives].detach()
        able = alike & (self._others.different[rows] > 0)
        return Asked(
            lambda anchors: scalars.n_pair_loss(anchors, near, far, sense=self.sense),
            torch.from_numpy(able)[:, None].expand(-1, examples).to(embeddings.device),
        )


@dataclass(frozen=True, eq=False)
class RankPairs:
    """Pairs of houses with different prices, for any rank head (C section 4.3).

    Attributes:
        prices: ``(N,)``.
        rank_head: From differences ``(N, P, D)`` to logits ``(N, P, 2)``, class 1 = dearer.
        scalar: The cross-entropy of the true order, or the logit of "dearer".
        chosen_sense: None takes that of C for the cross-entropy and "for" for the logit.
    """

    prices: ArrayLike
    rank_head: Callable[[Tensor], Tensor]
    scalar: RankScalar = "rank-cross-entropy"
    chosen_sense: Sense | None = None
    normalise = False

    @property
    def sense(self) -> Sense:
        """See :class:`Question`."""
        return self.chosen_sense or ("against" if self.scalar == "rank-cross-entropy" else "for")

    def settings(self) -> Mapping[str, Any]:
        """See :class:`Question`."""
        return {}

    @cached_property
    def _partners(self) -> Partners:
        return Partners(np.asarray(self.prices, dtype=np.float64))

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """See :class:`Question`."""
        _check_length("prices", self.prices, embeddings)
        prices = np.asarray(self.prices, dtype=np.float64)
        drawn = self._partners.draw(rows, examples, generator)
        partners = embeddings[drawn].detach()
        dearer = torch.from_numpy(prices[rows, None] > prices[drawn])
        able = torch.from_numpy(self._partners.different[rows] > 0)

        def values(anchors: Tensor) -> Tensor:
            match self.scalar:
                case "rank-cross-entropy":
                    return scalars.rank_cross_entropy(
                        anchors, partners, dearer, self.rank_head, sense=self.sense
                    )
                case "ordering-logit":
                    return scalars.ordering_logit(anchors, partners, self.rank_head, sense=self.sense)
            raise _no_scalar(self.scalar)

        return Asked(values, able[:, None].expand(-1, examples).to(embeddings.device))


@dataclass(frozen=True, eq=False)
class OwnFeature:
    """One number of the embedding, without an example.

    Attributes:
        feature: Which of the `D`, counted from 0.
        sense: Which sign is differentiated.
    """

    feature: int
    sense: Sense = "for"
    scalar = "single-feature"
    normalise = False

    def settings(self) -> Mapping[str, Any]:
        """See :class:`Question`."""
        return {"feature": self.feature}

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """See :class:`Question`; nothing is drawn."""
        del examples, generator
        return Asked(
            lambda anchors: scalars.single_feature(anchors, self.feature, sense=self.sense)[:, None],
            _one_each(embeddings[rows]),
        )


@dataclass(frozen=True, eq=False)
class OwnPrice:
    """The price itself, without an example.

    Attributes:
        weights: Log price per unit of each feature: ``(D,)``, or ``(N, D)``
            where each house has its own, as SHAP gives them.
        base: Log price without the features, a number or ``(N,)``.
        sense: Which sign is differentiated.
    """

    weights: Tensor
    base: Tensor | float = 0.0
    sense: Sense = "for"
    scalar = "price"
    normalise = False

    def settings(self) -> Mapping[str, Any]:
        """See :class:`Question`."""
        return {}

    def ask(self, embeddings: Tensor, rows: slice, examples: int, generator: np.random.Generator) -> Asked:
        """See :class:`Question`; nothing is drawn."""
        del examples, generator
        weights = self.weights[rows] if self.weights.ndim == 2 else self.weights
        base = self.base[rows] if isinstance(self.base, Tensor) and self.base.ndim else self.base
        return Asked(
            lambda anchors: scalars.price(anchors, weights, base, sense=self.sense)[:, None],
            _one_each(embeddings[rows]),
        )


def _one_each(anchors: Tensor) -> Tensor:
    return torch.ones(len(anchors), 1, dtype=torch.bool, device=anchors.device)


def _check_length(what: str, values: ArrayLike, embeddings: Tensor) -> None:
    found = np.shape(values)
    if found != embeddings.shape[:1]:
        raise ModelError(f"the {what} have the shape {found} for {len(embeddings)} pictures")


def _no_scalar(scalar: str) -> ModelError:
    return ModelError(
        f"there is no scalar {scalar!r} to explain",
        remedy="See the questions of housevis.explain.examples for their scalars.",
    )
