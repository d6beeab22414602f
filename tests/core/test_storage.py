"""Files that are whole or absent, and one writer per folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from housevis.core.errors import StorageError
from housevis.core.storage import new_file, sole_writer, write_file

HOLD = """
import sys, time
from pathlib import Path
from housevis.core.storage import new_file, sole_writer
folder = Path(sys.argv[1])
with sole_writer(folder), new_file(folder / "run" / "model.txt") as stream:
    stream.write(b"half")
    stream.flush()
    print("ready", flush=True)
    time.sleep(600)
"""


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(".writing-*"))


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    assert write_file(path, "é") == 2
    assert path.read_text(encoding="utf-8") == "é"
    with pytest.raises(TypeError), new_file(path) as stream:
        stream.write("a text, not bytes")  # type: ignore[arg-type]
    assert path.read_text(encoding="utf-8") == "é"
    assert not unfinished(tmp_path)


def test_one_writer_at_a_time_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    write_file(tmp_path / "run" / "model.txt", "old")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(StorageError, match="another housevis command"), sole_writer(tmp_path):
            pass
        assert len(unfinished(tmp_path)) == 1
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with sole_writer(tmp_path):
        assert not unfinished(tmp_path)
    assert (tmp_path / "run" / "model.txt").read_text() == "old"
    with sole_writer(tmp_path):
        pass
