"""The fault benchmark in small: a server that misbehaves, one kill -9, a resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.shared
@pytest.mark.slow
def test_every_tile_is_right_after_faults_and_a_kill(shared_data: Path, tmp_path: Path) -> None:
    results = tmp_path / "faults.json"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "tile_fetch" / "faults.py"),
            str(shared_data / "data" / "king-county" / "tiles-z18.mbtiles"),
            *("--tiles", "150", "--kills", "1", "--stall", "0.5", "--width", "6"),
            *("--results", str(results)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert results.is_file(), done.stderr
    figures = json.loads(results.read_text())
    assert figures["wrong_status"] == []
    assert figures["wrong_bytes_in_archive"] == []
    assert figures["attempts_that_differ_from_the_log"] == []
    assert figures["last_answers_that_do_not_fit"] == []
    assert (figures["lost"], figures["in_archive_without_ok"]) == (0, 0)
    assert figures["kills"][0]["settled_asked_again"] == 0
    assert figures["kills"][0]["under_way"] <= 6
    assert done.returncode == 0
