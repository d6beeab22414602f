"""One worker process: takes shards from a pipe, sends results back.

Started by :mod:`housevis.core.processes`. It ends as soon as the pipe does,
and so never outlives the process that started it.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
import traceback
from multiprocessing.connection import Connection


def work(descriptor: int) -> None:
    """Answer every message on a pipe until it is closed at the other end.

    Args:
        descriptor: File descriptor of this end. A message is a pickled pair
            of a function and its shard; the answer is a pickled pair: True
            and the result, or False and the exception.
    """
    connection = Connection(descriptor)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, messages), daemon=True).start()
    while True:
        connection.send_bytes(_answer(messages.get()))


def _listen(connection: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    while True:
        try:
            messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _answer(message: bytes) -> bytes:
    try:
        function, shard = pickle.loads(message)  # noqa: S301
        return pickle.dumps((True, function(shard)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as problem:  # noqa: BLE001
        return pickle.dumps((False, portable(problem)), protocol=pickle.HIGHEST_PROTOCOL)


def portable(problem: Exception) -> Exception:
    """The exception if it survives the way to another process, else one that says the same."""
    problem.add_note("In a worker process:\n" + "".join(traceback.format_exception(problem)))
    try:
        pickle.loads(pickle.dumps(problem))  # noqa: S301
    except Exception:  # noqa: BLE001
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem
