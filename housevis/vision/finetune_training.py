"""The training loop: AdamW, one cycle of the learning rate, a checkpoint after every epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from housevis.core.errors import ModelError
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file
from housevis.vision.finetune_network import ScoringNetwork, scores_and_features
from housevis.vision.finetune_objective import all_pairs_loss
from housevis.vision.finetune_processes import Processes
from housevis.vision.finetune_sources import TURNS, Source

_WARM_UP = 0.2
_FINAL_RATE = 1e-4
_SCORING_BATCH = 64


@dataclass(frozen=True)
class FinetuneSettings:
    """How the network is trained.

    Attributes:
        epochs: Times that every picture is seen.
        batch_size: Pictures per batch and process; all their pairs are ranked.
        learning_rate: Highest learning rate of the cycle.
        weight_decay: Of AdamW, on all but biases and normalisation.
        seed: Same seed, same start, order and turns.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 4e-4
    weight_decay: float = 0.05
    seed: int = 1


def cycle(step: int, steps: int) -> float:
    """Share of the highest learning rate at a step: up over the first fifth, then down along a cosine."""
    top = max(1.0, _WARM_UP * steps)
    if step < top:
        return (step + 1) / (top + 1)
    return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (step - top) / (steps - top)))


class Training:
    """One network that learns from some pictures; it goes on after its last checkpoint.

    Args:
        network: At its start.
        source: Makes batches.
        rows: The pictures to learn from, numbers of rows of the source `(n,)`.
        targets: Their targets `(n, T)`, NaN where unknown.
        settings: How.
        processes: Who trains together; each ranks batches of its own, and
            the gradients are averaged.
        checkpoint: File of the checkpoint; None keeps none.
        job: Names what is learned, so that the checkpoint of another job is
            not taken for it.

    Raises:
        ModelError: Fewer than two pictures per process, or lengths that differ.
    """

    def __init__(
        self,
        network: ScoringNetwork,
        source: Source,
        rows: NDArray[np.int64],
        targets: NDArray[np.floating],
        settings: FinetuneSettings,
        processes: Processes,
        *,
        checkpoint: Path | None = None,
        job: str = "",
    ) -> None:
        if targets.shape != (len(rows), len(network.targets)):
            raise ModelError(
                f"targets of shape {targets.shape} do not belong to {len(rows)} pictures "
                f"and {len(network.targets)} scores",
                remedy="Give one row per picture and one column per target.",
            )
        if len(rows) < 2 * processes.count:
            raise ModelError(
                f"{len(rows)} pictures are too few to rank",
                where="housevis finetune",
                remedy="Give more sales with a picture.",
            )
        self.network = network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._source = source
        self._rows = rows
        self._targets = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32))
        self._settings = settings
        self._processes = processes
        self._checkpoint = checkpoint
        self._job = job
        share = len(rows) // processes.count
        self._batch_size = min(settings.batch_size, share)
        self.steps_per_epoch = share // self._batch_size
        self._optimiser = self._new_optimiser()
        self.losses: list[float] = []
        """Mean loss of each finished epoch."""
        self.measured: list[float] = []
        """What was measured after each finished epoch."""

    def run(
        self, measure: Callable[[Training], float | None] | None = None, *, title: str = "finetune"
    ) -> None:
        """Train until the last epoch.

        Args:
            measure: Called by the first process after every epoch; what it
                gives is kept in `measured`.
            title: In front of the progress bar.
        """
        self._resume()
        settings, processes = self._settings, self._processes
        total = settings.epochs * self.steps_per_epoch
        module = processes.share(self.network)
        with progress_bar(title, total, done=len(self.losses) * self.steps_per_epoch) as bar:
            for epoch in range(len(self.losses), settings.epochs):
                self.network.train()
                order = np.random.default_rng([settings.seed, epoch]).permutation(len(self._rows))
                mine = order[processes.rank :: processes.count]
                chance = np.random.default_rng([settings.seed, epoch, 1 + processes.rank])
                losses = []
                for number in range(self.steps_per_epoch):
                    chosen = mine[number * self._batch_size : (number + 1) * self._batch_size]
                    batch = self._source.batch(
                        self._rows[chosen], chance.integers(0, TURNS, size=len(chosen))
                    )
                    self._set_rate(cycle(epoch * self.steps_per_epoch + number, total))
                    with processes.precision():
                        scores = module(batch.to(processes.device))
                    loss = all_pairs_loss(scores.float(), self._targets[chosen].to(processes.device))
                    self._optimiser.zero_grad()
                    loss.backward()
                    self._optimiser.step()
                    losses.append(float(loss.detach()))
                    bar.advance()
                self.losses.append(float(np.mean(losses)))
                if processes.is_first:
                    figure = None if measure is None else measure(self)
                    self.measured += [] if figure is None else [figure]
                    self._save()
                processes.wait()
        self.network.eval()

    def score(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores `(n, T)` and pooled features `(n, 2048)` of pictures, as they lie."""
        scores = np.empty((len(rows), len(self.network.targets)), dtype=np.float32)
        pooled = np.empty((len(rows), self.network.score.in_features), dtype=np.float32)
        was_training = self.network.training
        self.network.eval()
        for start in range(0, len(rows), _SCORING_BATCH):
            part = slice(start, start + _SCORING_BATCH)
            chosen = rows[part]
            batch = self._source.batch(chosen, np.zeros(len(chosen), dtype=np.int64))
            with self._processes.precision():
                scores[part], pooled[part] = scores_and_features(
                    self.network, batch.to(self._processes.device)
                )
        self.network.train(was_training)
        return scores, pooled

    def _new_optimiser(self) -> torch.optim.AdamW:
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            [
                {"params": [p for p in learning if p.ndim > 1], "weight_decay": self._settings.weight_decay},
                {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=self._settings.learning_rate,
        )

    def _set_rate(self, share: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = share * self._settings.learning_rate

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        tensors = {f"network.{name}": t.cpu() for name, t in self.network.learned_state().items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value.cpu() for name, value in state.items()}
        metadata = {"job": self._job, "losses": json.dumps([self.losses, self.measured])}
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_file(self._checkpoint, save(plain, metadata=metadata))

    def _resume(self) -> None:
        if self._checkpoint is None or not self._checkpoint.is_file():
            return
        try:
            with safe_open(self._checkpoint, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("job") != self._job:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            losses, measured = json.loads(metadata["losses"])
        except (SafetensorError, OSError, ValueError, KeyError) as problem:
            raise ModelError(
                f"the checkpoint cannot be read ({problem.__class__.__name__})",
                where=str(self._checkpoint),
                remedy="Delete it to begin this network anew.",
            ) from None
        network = {
            name.removeprefix("network."): tensor
            for name, tensor in tensors.items()
            if name.startswith("network.")
        }
        self.network.load_state_dict(network, strict=False)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, number, field = name.split(".", 2)
                state.setdefault(int(number), {})[field] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
        self.losses, self.measured = losses, measured
