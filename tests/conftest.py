"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "housevis", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("housevis")

PROJECT = Path(__file__).resolve().parents[1]


def _shared_folder() -> Path:
    return Path(os.environ.get("HOUSEVIS_SHARED", PROJECT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sales, tiles and weights that lies beside the project."""
    folder = _shared_folder()
    if not (folder / "data" / "king-county" / "sales.csv").is_file():
        pytest.skip(f"the shared data folder is not at {folder}; set HOUSEVIS_SHARED to run this test")
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def housevis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the `housevis` command in this process: the same entry point, without the start of Python."""
    from housevis.cli import main

    monkeypatch.setenv("HOUSEVIS_PROGRESS", "off")

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["housevis", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return command
