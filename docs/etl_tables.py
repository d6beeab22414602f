"""Tables of what the ETL was measured to do: fetching tiles, a million listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

Figures = Mapping[str, Any]

_CONTENDERS = {
    "housevis": "housevis: every picture checked, SHA-256, archive, manifest",
    "bare": "bare loop: a requests session per thread, bytes thrown away",
    "contextily": "contextily, a call per house, its cache on",
    "contextily-best": "contextily, distinct tiles, no cache, threads",
    "img2dataset": "img2dataset, files, no resizing",
    "raw": "bare sockets in processes: what the server can do",
}


def _made_by(figures: Figures) -> str:
    machine = figures["machine"]
    return f"Command: `{figures['command']}`. Machine: {machine['processor']}, {machine['cores']} cores."


def fetch_speed(figures: Figures) -> str:
    """Tiles per second beside peers."""
    speeds = figures["median_tiles_per_second"]
    rows = [
        [what, f"{speeds[name]:,.0f}", f"{speeds['housevis'] / speeds[name]:.2f}"]
        for name, what in _CONTENDERS.items()
        if name in speeds
    ]
    table = markdown_table(["contender", "tiles per second", "housevis is times as fast"], rows)
    requests = ", ".join(f"{count:,}" for count in sorted(set(figures["requests_of_housevis"])))
    return (
        f"{table}\n\n{figures['distinct_tiles']:,} distinct tiles of {figures['houses']:,} houses, "
        f"{figures['connections']} connections, median of {len(figures['turns']['housevis'])} rounds. "
        f"housevis sent {requests} requests in each. {_made_by(figures)}\n"
    )


def fetch_rate(figures: Figures) -> str:
    """What a server with a limit gets and gives."""
    rows = [
        [
            run["server_counts"],
            "configured" if run["client_knows_limit"] else "unknown",
            f"{100 * run['share_of_limit']:.1f} %",
            str(run["answers_429"]),
            f"{100 * run['share_429_after_30_s']:.2f} %",
        ]
        for run in figures["runs"]
    ]
    header = ["the server counts by", "limit", "reached", "answers 429", "429 after 30 s"]
    return (
        f"{markdown_table(header, rows)}\n\nThe server allows {figures['limit_per_second']} requests a "
        f"second; each run takes {figures['runs'][0]['seconds']:.0f} s or more. {_made_by(figures)}\n"
    )


def fetch_faults(figures: Figures) -> str:
    """What a broken server and a process killed again and again leave behind."""
    rows = [[name, f"{figures[name]:,}"] for name in ("tiles", "requests")]
    rows += [[f"tiles that ended {name}", f"{count:,}"] for name, count in figures["statuses"].items()]
    rows += [
        ["tiles with a wrong status", f"{len(figures['wrong_status']):,}"],
        ["tiles lost", f"{figures['lost']:,}"],
        ["wrong bytes in the archive", f"{len(figures['wrong_bytes_in_archive']):,}"],
        ["rows that differ from the server's log", f"{len(figures['attempts_that_differ_from_the_log']):,}"],
        ["kills", f"{len(figures['kills']):,}"],
        ["requests under way at a kill, at most", f"{max(kill['under_way'] for kill in figures['kills']):,}"],
        ["settled tiles asked again", f"{sum(kill['settled_asked_again'] for kill in figures['kills']):,}"],
    ]
    return f"{markdown_table(['what', 'count'], rows)}\n\n{figures['seconds']:,.0f} s. {_made_by(figures)}\n"


def million_listings(figures: Figures) -> str:
    """Time and memory of a large market on both databases."""
    rows = [
        [
            name,
            f"{run['ingest']['seconds']:.0f} s",
            f"{run['plan']['seconds']:.0f} s",
            f"{run['seconds']:.0f} s",
            f"{run['peak_mib']:,} MiB",
        ]
        for name, run in figures["databases"].items()
    ]
    header = ["database", "ingest", "plan of the tiles", "together", "memory at most"]
    alike = figures["identical"] and figures["identical_plans"]
    same = "the same rows and the same plan" if alike else "rows or plans that differ"
    return (
        f"{markdown_table(header, rows)}\n\n{figures['rows']:,} rows of CSV; both databases hold {same}. "
        f"{_made_by(figures)}\n"
    )
