"""What one call of a command costs, and the servers and the browser that benchmarks start."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Playwright

HOUSEVIS = [sys.executable, "-c", "from housevis.cli import main; main()"]
"""The command, without its arguments."""

_BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def timed(arguments: Sequence[str]) -> dict[str, float]:
    """Seconds, processor seconds and peak memory of one call of housevis, and the load before it."""
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([*HOUSEVIS, *arguments], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "peak_mib": round(after.ru_maxrss / 1024),
        "load_before": round(load, 1),
    }


def chromium(playwright: Playwright) -> Browser:
    """The browser of this machine."""
    program = next((path for path in _BROWSERS if Path(path).is_file()), None)
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@dataclass(frozen=True)
class Started:
    """A server in a process of its own.

    Attributes:
        process: The process.
        port: Where it listens.
        seconds: From its start until it listened.
    """

    process: psutil.Process
    port: int
    seconds: float


@contextmanager
def started(command: Callable[[int], list[str]], errors: int | None = None) -> Iterator[Started]:
    """Start a server and end it.

    Args:
        command: Port -> what starts a server there.
        errors: Where its standard error goes, as :class:`subprocess.Popen` takes it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    with subprocess.Popen(command(port), stderr=errors) as process:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if process.poll() is not None:
                    sys.exit("the server has ended before it listened; is the run there?")
                time.sleep(0.2)
            yield Started(psutil.Process(process.pid), port, time.perf_counter() - start)
        finally:
            process.terminate()
