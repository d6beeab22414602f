"""What the operating system says about files and disks, as one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from housevis.core.errors import StorageError


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
