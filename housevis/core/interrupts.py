"""Ctrl-C that is never lost.

Python swallows an interrupt that arrives while a finaliser runs: it prints a
line and goes on. So a command remembers that it was asked to stop, and the
next unit of work that is finished stops it.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def listen_for_interrupts() -> None:
    """Remember interrupts of this process from now on.

    Where they are ignored, as for a command that a shell put into the
    background, they stay ignored.
    """
    _asked.clear()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) not in (
        signal.SIG_IGN,
        None,
    ):
        signal.signal(signal.SIGINT, _stop)


def stop_if_interrupted() -> None:
    """Stop the main thread's work if the command was asked to.

    Raises:
        KeyboardInterrupt: It was.
    """
    if _asked.is_set() and threading.current_thread() is threading.main_thread():
        _asked.clear()
        raise KeyboardInterrupt


def _stop(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
