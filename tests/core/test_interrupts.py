from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from housevis.core.interrupts import listen_for_interrupts, stop_if_interrupted
from housevis.core.progress import progress_bar


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    listen_for_interrupts()
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))


class Finalised:
    """Interrupts the process while it goes away."""

    def __del__(self) -> None:
        interrupt()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_finaliser_swallowed_stops_the_next_unit_of_work() -> None:
    listen_for_interrupts()
    finished = 0

    def work() -> None:
        nonlocal finished
        with progress_bar("work", 3) as bar:
            for _ in range(3):
                Finalised()
                finished += 1
                bar.advance()

    with pytest.raises(KeyboardInterrupt):
        work()
    assert finished == 1


def test_an_ordinary_interrupt_is_raised_at_once_and_counts_once() -> None:
    listen_for_interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        stop_if_interrupted()
    stop_if_interrupted()


def test_only_the_main_thread_is_stopped() -> None:
    listen_for_interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            stop_if_interrupted()
        except KeyboardInterrupt as problem:
            raised.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not raised


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from housevis.core.interrupts import listen_for_interrupts, stop_if_interrupted;"
        "listen_for_interrupts(); os.kill(os.getpid(), signal.SIGINT); stop_if_interrupted(); print('on')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout == "on\n", ended.stderr
