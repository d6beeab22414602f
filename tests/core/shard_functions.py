"""Functions that the tests of the engine send to workers, which import them from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from housevis.core.errors import ListingsError

PATIENCE = 60.0


class UnsendableError(Exception):
    """An exception that cannot be made again from its text."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"{reason} {number}")


def square(number: int) -> int:
    return number * number


def process(number: int) -> int:
    return os.getpid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


def fail(number: int) -> int:
    if number == 3:
        raise ListingsError("row 3 is wrong", where="file.csv", remedy="Mend it.")
    return number


def fail_unsendably(number: int) -> int:
    raise UnsendableError(number, "no")


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(work: tuple[int, Path]) -> int:
    """The worker dies over number 3, at the first time."""
    number, marker = work
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    limit = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < limit, f"{path} never came"
        time.sleep(0.01)


def begin_and_wait(work: tuple[int, Path]) -> int:
    """Say who began (but for number 0) and wait until the file `go` is there."""
    number, folder = work
    if number:
        (folder / f"new-{number}").write_text(str(os.getpid()))
        (folder / f"new-{number}").rename(folder / f"began-{number}")
        wait_for(folder / "go")
    return number


def big(number: int) -> bytes:
    return bytes([number]) * 3_000_000


class Counted:
    """Shards that count how many were taken."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            self.taken += 1
            yield number
