"""One small town, run once from listings to report by the real command, and copies of it to damage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from housevis.core.config import Config, load_config
from housevis.pipeline.project import Project, open_project
from housevis.runs import Run, find_run

COMMAND = [sys.executable, "-c", "from housevis.cli import main; main()"]
CONFIG = """
name = "small-town"
seed = 1

[sample_market]
houses = 300
seed = 1

[vision]
backbone = "efficientnet-lite0"

[siamese]
penalty = 60.0

[pricing]
rounds = 60
bootstrap = 200
"""


@dataclass(frozen=True)
class Town:
    """A configuration with its runs, and what the command printed."""

    folder: Path
    out: str = ""
    err: str = ""

    @property
    def config_file(self) -> Path:
        return self.folder / "town.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def workspace(self) -> Path:
        return self.runs / "small-town"

    @property
    def archive(self) -> Path:
        return self.workspace / "tiles.mbtiles"

    @property
    def config(self) -> Config:
        return load_config(self.config_file)

    @property
    def run(self) -> Run:
        return find_run(self.runs, "small-town")

    def write_listings(self, name: str, rows: int = 4, extra: str = "") -> Path:
        """The town's first houses as listings without date and price."""
        lines = (self.workspace / "sample-market" / "listings.csv").read_text().splitlines()[: rows + 1]
        kept = [",".join([line.split(",")[0], *line.split(",")[3:]]) for line in lines]
        path = self.folder / name
        path.write_text("\n".join([*kept, extra]).strip() + "\n")
        return path


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """The finished run. Read it only; take `town_copy` to change something."""
    folder = tmp_path_factory.mktemp("town")
    town = Town(folder)
    town.config_file.write_text(CONFIG)
    environment = {**os.environ, "HOUSEVIS_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*COMMAND, "run", "town.toml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Town(folder, done.stdout, done.stderr)


@pytest.fixture
def town_copy(town: Town, tmp_path: Path) -> Town:
    """A copy of the finished run."""
    folder = tmp_path / "copy"
    shutil.copytree(town.folder, folder)
    return Town(folder, town.out, town.err)


@pytest.fixture
def project(town_copy: Town) -> Iterator[Project]:
    """The copy, open."""
    with open_project(town_copy.config, town_copy.runs) as opened:
        yield opened


@dataclass(frozen=True)
class Ended:
    """How a process ended that was sent a signal."""

    code: int
    err: str


@pytest.fixture
def send_signal_when() -> Iterator[Callable[..., Ended]]:
    """Starts a command in a process of its own and sends it a signal as soon as a condition holds."""
    started: list[subprocess.Popen[str]] = []

    def start(
        folder: Path,
        arguments: list[str],
        condition: Callable[[], bool],
        number: signal.Signals = signal.SIGKILL,
    ) -> Ended:
        environment = {**os.environ, "HOUSEVIS_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
        listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{listening}\nfrom housevis.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        limit = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, f"it ended before: {process.communicate()[1]}"
            assert time.monotonic() < limit
            time.sleep(0.005)
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
        return Ended(process.returncode, err)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
