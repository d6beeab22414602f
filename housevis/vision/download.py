"""Fetch a weights file, giving up within seconds where there is no network.

A name server that never answers, a connection that hangs and a transfer that
stalls look the same from here: no progress. The transfer runs in a daemon
thread, so that none of them can hold the program longer than the patience.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from housevis.core.errors import WeightsError

_CHUNK = 1 << 16
_LEAST_PROGRESS = 1 << 16


class _Transfer(threading.Thread):
    def __init__(self, url: str, file: Path, patience: float) -> None:
        super().__init__(name="weights-download", daemon=True)
        self.url = url
        self.file = file
        self.patience = patience
        self.received = 0
        self.digest = hashlib.sha256()
        self.problem: str | None = None
        self.finished = False
        self.abandoned = False

    def run(self) -> None:
        try:
            with (
                urllib.request.urlopen(self.url, timeout=self.patience) as response,  # noqa: S310
                self.file.open("wb") as target,
            ):
                while not self.abandoned and (block := response.read(_CHUNK)):
                    target.write(block)
                    self.digest.update(block)
                    self.received += len(block)
            self.finished = not self.abandoned
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as problem:
            self.problem = str(getattr(problem, "reason", problem)) or problem.__class__.__name__
        if self.abandoned:
            self.file.unlink(missing_ok=True)


def download(url: str, target: Path, sha256_prefix: str, *, patience: float = 4.0) -> None:
    """Download one file, check its SHA-256, and put it in place atomically.

    Args:
        url: The address.
        target: Where the file shall be.
        sha256_prefix: How its hex SHA-256 must begin.
        patience: Seconds without progress (64 KiB) after which it gives up.

    Raises:
        WeightsError: No connection, no progress, or another file than
            expected. `target` is untouched then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
    os.close(handle)
    transfer = _Transfer(url, Path(name), patience)
    transfer.start()
    problem = _wait(transfer, patience)
    if problem is None and not transfer.digest.hexdigest().startswith(sha256_prefix):
        problem = f"its SHA-256 is {transfer.digest.hexdigest()}, expected {sha256_prefix}…"
    if problem is not None:
        transfer.abandoned = True
        Path(name).unlink(missing_ok=True)
        raise WeightsError(
            f"the weights cannot be downloaded ({problem})",
            where=url,
            remedy="Connect to the internet, or name a local file as vision.weights.",
        )
    Path(name).replace(target)


def _wait(transfer: _Transfer, patience: float) -> str | None:
    seen, since = 0, time.monotonic()
    while transfer.is_alive():
        transfer.join(0.05)
        if transfer.received - seen >= _LEAST_PROGRESS:
            seen, since = transfer.received, time.monotonic()
        elif transfer.is_alive() and time.monotonic() - since > patience:
            return f"no progress within {patience:g} seconds"
    return None if transfer.finished else transfer.problem or "the transfer broke off"
