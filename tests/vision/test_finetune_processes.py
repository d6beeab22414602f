"""Training in two processes, joined by gloo on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from housevis.vision.finetune_processes import open_processes, started_rank

ONE_OF_TWO = """
import hashlib, json, sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn

torch.set_num_threads(1)
from housevis.vision.finetune_network import ScoringNetwork
from housevis.vision.finetune_processes import open_processes
from housevis.vision.finetune_sources import MapSource
from housevis.vision.finetune_training import FinetuneSettings, Training
from housevis.vision.networks import PictureNetwork

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)


class Stage(nn.Sequential):
    pass


last = Stage()
last.add_module("conv3", nn.Conv2d(6, 10, 1))
trunk = nn.Sequential()
trunk.add_module("layer3", nn.Conv2d(3, 6, 1))
trunk.add_module("layer4", nn.Sequential(last))
torch.manual_seed(4)
for parameter in trunk.parameters():
    nn.init.normal_(parameter, std=0.3)
network = ScoringNetwork(PictureNetwork(trunk, (0.0,) * 3, (1.0,) * 3), "3x3", ["price"], "layer4")
nn.init.normal_(network.score.weight, std=0.3)
nn.init.zeros_(network.score.bias)
maps = np.random.default_rng(1).normal(size=(32, 6, 2, 2)).astype(np.float16)
targets = np.arange(32.0)[:, None]
with open_processes() as processes:
    training = Training(
        network,
        MapSource(maps),
        np.arange(32),
        targets,
        FinetuneSettings(epochs=3, batch_size=4, learning_rate=1e-2),
        processes,
        checkpoint=folder / "checkpoint.safetensors",
    )
    training.run(lambda training: 0.25)
    state = network.learned_state()
distributed.destroy_process_group()
digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
(folder / f"{rank}.json").write_text(
    json.dumps({
        "digest": digest,
        "losses": training.losses,
        "measured": training.measured,
        "steps": training.steps_per_epoch,
        "description": processes.description,
    })
)
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two processes said that trained one network."""
    folder = tmp_path_factory.mktemp("two")
    started = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(rank),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "HOUSEVIS_PROGRESS": "off",
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", ONE_OF_TWO, str(folder), str(rank)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        for process in started:
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
    said = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    assert (folder / "checkpoint.safetensors").is_file()
    return said


def test_two_processes_end_with_the_same_network(two: list[dict]) -> None:
    assert two[0]["digest"] == two[1]["digest"]


def test_each_process_ranks_pictures_of_its_own(two: list[dict]) -> None:
    assert two[0]["steps"] == two[1]["steps"] == 4
    assert np.all(np.array(two[0]["losses"]) != np.array(two[1]["losses"]))


def test_only_the_first_process_measures(two: list[dict]) -> None:
    assert two[0]["measured"] == [0.25, 0.25, 0.25]
    assert two[1]["measured"] == []
    assert two[0]["description"].startswith("2 processes, each ")


def test_a_process_alone_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with open_processes() as processes:
        assert processes.is_first
        assert processes.count == 1
        assert processes.share(module := torch.nn.Linear(2, 1)) is module
        processes.wait()
    assert started_rank() == 0
