"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "housevis", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("housevis")

PROJECT = Path(__file__).resolve().parents[1]
CHROMIUM = Path("/usr/bin/chromium")


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


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[int]]:
    """Serves an application on a free port of loopback: ``with serving(app, protocol) as port``."""
    import uvicorn

    from housevis.views.server import server_config

    @contextmanager
    def serve(app: Any, protocol: Any = None) -> Iterator[int]:
        config = server_config(app, "127.0.0.1", 0)
        if protocol is not None:
            config.http = protocol
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        thread.join()

    return serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the tests of a file."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--no-first-run", *quiet]
        )
        yield browser
        browser.close()
