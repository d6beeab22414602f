"""One process or several: what `torchrun` started, the device, and its number format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from housevis.core.errors import UsageError

_PATIENCE: Final = timedelta(hours=12)
"""How long the others wait while the first one computes maps or scores."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Attributes:
        rank: The number of this one, from 0.
        count: How many there are.
        device: Where this one computes.
        bf16: True where convolutions run in bfloat16.
    """

    rank: int
    count: int
    device: torch.device
    bf16: bool

    @property
    def is_first(self) -> bool:
        """True for the one that writes files."""
        return self.rank == 0

    @property
    def description(self) -> str:
        """Processes, device and number format, as a phrase."""
        many = f"{self.count} processes, each " if self.count > 1 else ""
        return f"{many}{'bf16' if self.bf16 else 'f32'} on {self.device.type}"

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def share(self, module: nn.Module) -> nn.Module:
        """The module as it is, or with gradients averaged over the processes."""
        if self.count == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def precision(self) -> AbstractContextManager[object]:
        """Where bfloat16 is fast: autocast to it."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def started_rank() -> int:
    """The rank that `torchrun` gave this process; 0 where it was started alone."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def open_processes() -> Iterator[Processes]:
    """Join the processes that `torchrun` started; alone where it did not.

    A CUDA GPU is taken where there is one, each process its own; NCCL joins
    GPUs, gloo joins processors. Processes that the caller joined stay joined.

    Raises:
        UsageError: The processes cannot be joined.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = started_rank()
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        bf16 = torch.cuda.is_bf16_supported()
    else:
        device = torch.device("cpu")
        bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    joins = count > 1 and not distributed.is_initialized()
    if joins:
        try:
            backend = "nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as problem:
            raise UsageError(
                f"the processes cannot be joined ({str(problem).splitlines()[0][:120]})",
                where="torchrun",
                remedy="Start them with torchrun, or one process without it.",
            ) from None
    try:
        yield Processes(rank, count, device, bf16)
    finally:
        if joins:
            distributed.destroy_process_group()
