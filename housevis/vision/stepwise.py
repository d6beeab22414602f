"""Feature learners that are trained in steps over pairs or triplets, many at once."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from housevis.core.config_sections import SiameseSection
from housevis.vision.lessons import Lesson
from housevis.vision.pairs import PartnerSampler, Places
from housevis.vision.siamese import FeatureLearner, LogRatioTriplet, RankSiamese

STEPS_PER_EPOCH: Final = 25
_WEIGHT_START: Final = 1e-3
_TRIPLET_START: Final = 1e-2
_HEAD_START: Final = 0.5
_SMALLEST: Final = 1e-8
"""Squared distance below which two houses count as that far apart."""


Batch = tuple[torch.Tensor, ...]
"""Houses that are compared: the first of each pair or triplet `(b,)`, then the others."""


class Comparisons:
    """The pairs or triplets of a lesson, in shuffled batches; lessons that differ in the penalty share them.

    Args:
        members: Houses that are compared with each other `(count, 2 or 3)`.
        generator: Source of the shuffling.
    """

    def __init__(self, members: NDArray[np.integer], generator: torch.Generator) -> None:
        self._members = [torch.from_numpy(column.astype(np.int32)) for column in members.T]
        self._generator = generator
        self._size = -(-len(members) // STEPS_PER_EPOCH)

    def shuffle(self) -> None:
        """Begin another pass."""
        order = torch.randperm(len(self._members[0]), generator=self._generator)
        shuffled = [member.index_select(0, order).split(self._size) for member in self._members]
        self._batches = list(zip(*shuffled, strict=True))

    def batch(self, step: int) -> Batch | None:
        """The batch of a step of this pass; the last steps of a short pass have none."""
        return self._batches[step] if step < len(self._batches) else None


class Training(ABC):
    """One learner on its way.

    A step needs the features twice: to project them on `projection`, and to
    pull the loss's slopes by the projected features back on the channels.
    :func:`fit_in_steps` does both for all learners together.

    Args:
        learner: The network, at its start.
        lesson: What it learns.
        section: Epochs and learning rate.
    """

    members: ClassVar[int]
    """Houses that are compared with each other: 2 or 3."""

    def __init__(self, learner: FeatureLearner, lesson: Lesson, section: SiameseSection) -> None:
        self.learner = learner
        self.target = torch.from_numpy(np.where(lesson.rows, lesson.target, 0.0))
        self.penalty_per_house = lesson.penalty / int(lesson.rows.sum())
        self._optimiser = torch.optim.Adam(self.trained(), lr=section.learning_rate)
        steps = section.epochs * STEPS_PER_EPOCH
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, T_max=steps)

    @classmethod
    @abstractmethod
    def start(cls, channels: int, dimension: int, generator: torch.Generator) -> FeatureLearner:
        """A network at its random start."""

    @abstractmethod
    def trained(self) -> list[torch.Tensor]:
        """What is trained."""

    @abstractmethod
    def projection(self) -> torch.Tensor:
        """Directions of the channels `(c, K)` that the loss looks at."""

    @abstractmethod
    def slopes(self, projected: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Slope of the batch's loss by every projected feature.

        Args:
            projected: Features on the projection `(c, n)`.
            batch: Houses that are compared.

        Returns:
            `(c, n)`.
        """

    @abstractmethod
    def pull(self, pulled: torch.Tensor) -> None:
        """Set the gradients.

        Args:
            pulled: Slopes by the projection `(c, K)`.
        """

    def step(self, pulled: torch.Tensor) -> None:
        """Take a step down."""
        self.pull(pulled)
        self._optimiser.step()
        self._schedule.step()

    @abstractmethod
    def finish(self, embedded: torch.Tensor, rows: torch.Tensor) -> None:
        """Complete the learner when its embedding is trained.

        Args:
            embedded: Embeddings of the houses `(D, n)`.
            rows: Which of them it was trained on, bool `(n,)`.
        """


class RankTraining(Training):
    """The rank siamese: cross-entropy of "i is dearer than j".

    With two classes the cross-entropy is the logistic loss of the difference
    of the logits, ``(V_1 - V_0) W (x_i - x_j)``, so a step looks at one
    direction of the channels, whatever `D` is.
    """

    members = 2

    @classmethod
    def start(cls, channels: int, dimension: int, generator: torch.Generator) -> RankSiamese:
        """Small random weights, and a head that reads every dimension alike, with random signs.

        All dimensions then learn the score. One that the head hardly read
        would keep its random start, and boosting would trust that noise.
        """
        learner = RankSiamese(channels, dimension)
        with torch.no_grad():
            learner.embedding.weight.normal_(0.0, _WEIGHT_START, generator=generator)
            learner.embedding.bias.zero_()
            signs = torch.randn(dimension, generator=generator).sign()
            learner.head.weight.copy_(_HEAD_START * torch.stack([-signs, signs]))
            learner.head.bias.zero_()
        return learner

    def trained(self) -> list[torch.Tensor]:
        """What is trained."""
        assert isinstance(self.learner, RankSiamese)
        return [self.learner.embedding.weight, self.learner.head.weight]

    def projection(self) -> torch.Tensor:
        """Directions of the channels that the loss looks at."""
        return (self.learner.direction() @ self.learner.embedding.weight)[None]

    def slopes(self, projected: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Slopes of the loss by the projected features."""
        score = projected[0]
        first, second = batch
        dearer = self.target[first] > self.target[second]
        margin = score[first] - score[second]
        residual = (torch.sigmoid(margin).double() - dearer.double()) / len(first)
        count = len(score)
        slopes = torch.bincount(first, residual, count) - torch.bincount(second, residual, count)
        return slopes.float()[None]

    def pull(self, pulled: torch.Tensor) -> None:
        """Gradients of the weights, the penalty included."""
        embedding, head = self.trained()
        by_direction = embedding @ pulled[0]
        embedding.grad = torch.outer(self.learner.direction(), pulled[0])
        embedding.grad += self.penalty_per_house * embedding
        head.grad = torch.stack([-by_direction, by_direction]) + self.penalty_per_house * head

    def finish(self, embedded: torch.Tensor, rows: torch.Tensor) -> None:  # noqa: ARG002
        """Give every dimension the deviation 1 over all houses; the head keeps the logits as they are.

        The logits' scale depends on how many houses were learned from and how
        well, so that learners of folds and that of all houses would say the
        same in different units.
        """
        deviation = embedded.double().std(dim=1, correction=0).float()
        deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        embedding, head = self.trained()
        embedding /= deviation[:, None]
        head *= deviation


class LogRatioTraining(Training):
    """The log-ratio loss over triplets (Kim et al. 2019, eq. 3).

    ``(log D(f_a, f_i) / D(f_a, f_j) - log D(y_a, y_i) / D(y_a, y_j))^2`` with
    `D` the squared Euclidean distance. It does not change with the scale of
    the embedding, and so does the penalty: the squared weights are divided by
    the embedding's variance.
    """

    members = 3

    @classmethod
    def start(cls, channels: int, dimension: int, generator: torch.Generator) -> LogRatioTriplet:
        """Small random weights; a longer start would take longer to turn, as the loss has no scale."""
        learner = LogRatioTriplet(channels, dimension)
        with torch.no_grad():
            learner.embedding.weight.normal_(0.0, _TRIPLET_START, generator=generator)
            learner.embedding.bias.zero_()
        return learner

    def trained(self) -> list[torch.Tensor]:
        """What is trained."""
        return [self.learner.embedding.weight]

    def projection(self) -> torch.Tensor:
        """Directions of the channels that the loss looks at."""
        return self.learner.embedding.weight

    def slopes(self, projected: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Slopes of the loss by the projected features."""
        anchors, *others = batch
        wanted = [torch.log((self.target[anchors] - self.target[other]) ** 2) for other in others]
        with torch.enable_grad():
            embedded = projected.detach().requires_grad_()
            anchor = embedded.index_select(1, anchors)
            distances = [((anchor - embedded.index_select(1, other)) ** 2).sum(dim=0) for other in others]
            found = [torch.log(distance + _SMALLEST) for distance in distances]
            loss = ((found[0] - found[1] - (wanted[0] - wanted[1]).float()) ** 2).mean()
            variance = embedded.var(dim=1, correction=0).sum()
            squares = (self.learner.embedding.weight.detach() ** 2).sum()
            (loss + self.penalty_per_house / 2 * squares / variance).backward()
        self._variance = variance.detach()
        assert embedded.grad is not None
        return embedded.grad

    def pull(self, pulled: torch.Tensor) -> None:
        """Gradients of the weights, the penalty included."""
        embedding = self.learner.embedding.weight
        embedding.grad = pulled + self.penalty_per_house / self._variance * embedding

    def finish(self, embedded: torch.Tensor, rows: torch.Tensor) -> None:
        """Read the embedding out by least squares, scale it, and turn it.

        Its distances get the unit of the target. A turn changes no distance:
        the target's direction is laid alike over all dimensions, so that
        they mean the same in every learner.
        """
        known, target = embedded[:, rows].double(), self.target[rows]
        centre, middle = known.mean(dim=1, keepdim=True), target.mean()
        centred = known - centre
        products = centred @ centred.T
        direction = torch.linalg.pinv(products, rtol=1e-6, hermitian=True) @ (centred @ (target - middle))
        length = float(direction.norm())
        assert isinstance(self.learner, LogRatioTriplet)
        if length > 0:
            alike = torch.full_like(direction, len(direction) ** -0.5)
            turn = length * _reflection(direction / length, alike).float()
            self.learner.embedding.weight.copy_(turn @ self.learner.embedding.weight)
            direction, centre = alike, turn.double() @ centre
        self.learner.head.weight.copy_(direction[None])
        self.learner.head.bias.fill_(float(middle - direction @ centre[:, 0]))


def _reflection(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """The reflection `(D, D)` that turns one unit vector into another."""
    normal = start - end
    square = normal @ normal
    identity = torch.eye(len(start), dtype=start.dtype)
    return identity if square < _SMALLEST else identity - 2 * torch.outer(normal, normal) / square


def fit_in_steps(
    training: type[Training],
    standard: torch.Tensor,
    lessons: Sequence[Lesson],
    section: SiameseSection,
    seed: int,
    places: Places | None,
) -> list[FeatureLearner]:
    """Train a learner for each lesson, all from the same start.

    Args:
        training: What they are trained for.
        standard: Standardised features float32 `(n, K)`.
        lessons: Targets, rows and penalties.
        section: Dimension, pairs, epochs, learning rate.
        seed: Seed of the start and of the shuffling.
        places: Where the sales lie `(n, 4)`, for near pairs; None draws from all alike.

    Raises:
        ModelError: No two houses of a lesson can be compared.
    """
    generator = torch.Generator().manual_seed(seed)
    start = training.start(standard.shape[1], section.feature_dimension, generator)
    comparisons: dict[tuple[int, int, int], Comparisons] = {}
    drawn_of: list[Comparisons] = []
    for lesson in lessons:
        key = (id(lesson.target), id(lesson.rows), lesson.seed)
        if key not in comparisons:
            members = _draw(lesson, training.members, section.pairs_per_house, places)
            comparisons[key] = Comparisons(members, generator.clone_state())
        drawn_of.append(comparisons[key])
    with torch.no_grad():
        trainings = [training(copy.deepcopy(start), lesson, section) for lesson in lessons]
        for _ in range(section.epochs):
            for drawn in comparisons.values():
                drawn.shuffle()
            for step in range(STEPS_PER_EPOCH):
                _step(trainings, [drawn.batch(step) for drawn in drawn_of], standard)
        for each, lesson in zip(trainings, lessons, strict=True):
            embedded = each.learner.embedding.weight @ standard.T
            each.finish(embedded, torch.from_numpy(lesson.rows))
    return [each.learner for each in trainings]


def _step(trainings: Sequence[Training], batches: Sequence[Batch | None], standard: torch.Tensor) -> None:
    projections = [each.projection() for each in trainings]
    widths = [len(projection) for projection in projections]
    projected = (torch.cat(projections) @ standard.T).split(widths)
    slopes = [
        torch.zeros_like(own) if batch is None else each.slopes(own, batch)
        for each, own, batch in zip(trainings, projected, batches, strict=True)
    ]
    pulled = (torch.cat(slopes) @ standard).split(widths)
    for each, own, batch in zip(trainings, pulled, batches, strict=True):
        if batch is not None:
            each.step(own)


def _draw(lesson: Lesson, members: int, per_house: int, places: Places | None) -> NDArray[np.integer]:
    rows = np.flatnonzero(lesson.rows)
    sampler = PartnerSampler(lesson.target[rows], None if places is None else places[rows])
    count = per_house * len(rows)
    drawn = sampler.pairs(count, lesson.seed) if members == 2 else sampler.triplets(count, lesson.seed)
    return rows[drawn]
