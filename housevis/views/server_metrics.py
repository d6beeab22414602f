"""What the server counts and logs: by route and status, never who asked or for which house."""

from __future__ import annotations

import json
import logging
import resource
import sys
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LOGGER: Final = logging.getLogger("housevis.server")

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, message, and the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an error the kind and its place, not its text, which may name a house."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name == LOGGER.name else "server",
            **getattr(record, "fields", {}),
        }
        if record.name != LOGGER.name:
            line["message"] = str(record.msg).splitlines()[0] if record.msg else ""
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                line["at"] = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        return json.dumps(line, ensure_ascii=True)


def log_to_stderr() -> None:
    """Send the server's log to the standard error stream, and uvicorn's warnings with it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in ((LOGGER.name, logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


class Metrics:
    """Counts of requests, to be read by Prometheus."""

    def __init__(self) -> None:
        self._started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._within: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self._refused: Counter[str] = Counter()
        self.in_flight = 0

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        place = next((number for number, most in enumerate(_BUCKETS) if seconds <= most), len(_BUCKETS))
        with self._lock:
            self._requests[method, route, status] += 1
            self._seconds[route] += seconds
            self._within[route][place] += 1

    def refuse(self, reason: str) -> None:
        """Count a request that was refused before it reached a route."""
        with self._lock:
            self._refused[reason] += 1

    def text(self, houses: dict[str, int]) -> str:
        """All counts in Prometheus' text format.

        Args:
            houses: Id of a run -> how many houses it shows.
        """
        with self._lock:
            requests, refused = dict(self._requests), dict(self._refused)
            seconds, within = dict(self._seconds), {name: list(row) for name, row in self._within.items()}
        lines = [
            "# HELP housevis_requests_total Answered requests.",
            "# TYPE housevis_requests_total counter",
        ]
        for (method, route, status), number in sorted(requests.items()):
            labels = f'method="{method}",route="{_escaped(route)}",status="{status}"'
            lines.append(f"housevis_requests_total{{{labels}}} {number}")
        lines += [
            "# HELP housevis_request_seconds Time from request to answer.",
            "# TYPE housevis_request_seconds histogram",
        ]
        for route, row in sorted(within.items()):
            below = 0
            for most, number in zip((*map(str, _BUCKETS), "+Inf"), row, strict=True):
                below += number
                labels = f'route="{_escaped(route)}",le="{most}"'
                lines.append(f"housevis_request_seconds_bucket{{{labels}}} {below}")
            lines.append(f'housevis_request_seconds_sum{{route="{_escaped(route)}"}} {seconds[route]:.6f}')
            lines.append(f'housevis_request_seconds_count{{route="{_escaped(route)}"}} {below}')
        lines += ["# HELP housevis_refused_total Refused requests.", "# TYPE housevis_refused_total counter"]
        lines += [
            f'housevis_refused_total{{reason="{name}"}} {count}' for name, count in sorted(refused.items())
        ]
        lines += ["# HELP housevis_houses Houses that a run shows.", "# TYPE housevis_houses gauge"]
        lines += [f'housevis_houses{{run="{_escaped(run)}"}} {count}' for run, count in houses.items()]
        for name, text, value in (
            ("housevis_requests_in_flight", "Requests being answered.", self.in_flight),
            ("housevis_start_time_seconds", "When the server started.", round(self._started, 3)),
            ("housevis_memory_peak_bytes", "Most memory held so far.", _peak_bytes()),
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
