"""Files that are whole or absent, and what the operating system says of disks, as one message."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from housevis.core.errors import StorageError

_UNFINISHED = ".writing-"
_LOCK = ".lock"


@contextmanager
def explained_disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system in the block into a message with a remedy.

    A reader of the output that went away (``housevis run … | head``) is no
    error of the disk and passes through.

    Args:
        folder: Where the block reads and writes; named if the system does
            not say which file it was.

    Raises:
        StorageError: A file cannot be read or written, or the disk is full.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise StorageError(
            f"the file cannot be read or written ({problem.strerror or problem})",
            where=str(problem.filename or folder),
            remedy="Check the path, the rights of its folder and the space on the disk; "
            "what was stored before stays.",
        ) from None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Be the only process that writes to a folder while the block runs.

    The operating system lets go of the folder when the process ends, however
    it ends. What an earlier process left half written is removed first.

    Args:
        folder: The folder; it is made where it does not exist.

    Raises:
        StorageError: Another process is writing to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StorageError(
            "another housevis command is working in this folder",
            where=str(folder),
            remedy="Wait until it has ended, or stop it, then run the command again.",
        ) from None
    try:
        for unfinished in folder.rglob(f"{_UNFINISHED}*"):
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes the file `path` when the block ends well.

    An error, or the death of the process, leaves what was there before; what
    a killed process had begun is removed by :func:`sole_writer`.

    Args:
        path: The file; its folder is made where it does not exist.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_file(path: Path, content: str | bytes) -> int:
    """Write a file that is whole or absent, see :func:`new_file`.

    Returns:
        Its size in bytes.
    """
    data = content.encode() if isinstance(content, str) else content
    with new_file(path) as stream:
        stream.write(data)
    return len(data)
