"""Clients that ask a server over loopback and note how long each answer took."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil


@dataclass
class Times:
    """What the clients saw.

    Attributes:
        seconds: From question to whole answer, of every answer.
        statuses: Status -> how many.
        bytes: Of all bodies.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    bytes: int = 0

    def note(self, seconds: float, status: int, size: int) -> None:
        """Note one answer."""
        self.seconds.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.bytes += size

    def figures(self) -> dict[str, Any]:
        """Percentiles in milliseconds, and counts."""
        found = np.array(self.seconds) * 1000
        percentiles = {f"p{share}_ms": round(float(np.percentile(found, share)), 1) for share in (50, 95, 99)}
        return {
            "answers": len(found),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            **percentiles,
            "slowest_ms": round(float(found.max()), 1),
            "mean_kib": round(self.bytes / len(found) / 1024, 1),
        }


class Client:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Ask, and read the whole answer; a connection that was closed meanwhile is opened anew."""
        for attempt in (0, 1):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                return await self._asked(*self._streams, path, body)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._streams = None
                if attempt:
                    raise
        raise AssertionError

    async def _asked(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: str,
        body: Mapping[str, Any] | None,
    ) -> tuple[int, bytes]:
        content = b"" if body is None else json.dumps(body).encode()
        kind = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n" if content else ""
        method = "POST" if content else "GET"
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}\r\n".encode() + content)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        return int(head[0].split()[1]), await reader.readexactly(int(headers["content-length"]))


async def user(port: int, paths: Iterable[str], pause: float, start: float, end: float, times: Times) -> None:
    """One person who asks every `pause` seconds (at once after an answer where it is 0) until `end`."""
    client = Client(port)
    due = start
    for path in paths:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked = time.perf_counter()
        if asked >= end:
            return
        status, body = await client.ask(path)
        times.note(time.perf_counter() - asked, status, len(body))
        due = max(due + pause, time.perf_counter() if pause == 0 else 0.0)


class Spent:
    """Processor seconds of a server and of this process between two moments."""

    def __init__(self, server: psutil.Process) -> None:
        self._server, self._own = server, psutil.Process()
        self._before, self._started = self._now(), time.perf_counter()

    def _now(self) -> tuple[float, float]:
        server, own = self._server.cpu_times(), self._own.cpu_times()
        return server.user + server.system, own.user + own.system

    def figures(self) -> dict[str, float]:
        """Shares of one core since the start."""
        seconds = time.perf_counter() - self._started
        server, own = (now - before for now, before in zip(self._now(), self._before, strict=True))
        return {
            "server_share_of_a_core": round(server / seconds, 3),
            "load_generator_share_of_a_core": round(own / seconds, 3),
        }
