"""What every result file says of how it was measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from housevis.core.machine import machine_facts
from housevis.runs import package_versions

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "docs" / "results"


def use_threads() -> int:
    """Let torch use as many threads as OMP_NUM_THREADS says; returns how many there are."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    return torch.get_num_threads()


def result_facts() -> dict[str, Any]:
    """The command with its options, the machine, torch's threads and the versions."""
    return {
        "command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": machine_facts(),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }
