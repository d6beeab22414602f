"""The check that nothing made from shared data is committed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLE = "data/king-county/sales.csv"
ROWS = [
    f"71293005{n:02},20141013T000000,2219{n:02},3,1,1180,5650,47.51{n:02},-122.25{n:02}" for n in range(9)
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with the check in it, and a shared folder beside it."""
    folder, shared = tmp_path / "project", tmp_path / "shared"
    (folder / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "repository_check.py", folder / "tests")
    (folder / "readme.md").write_text(
        "A project with some words of its own, more than sixty-four characters long.\n"
    )
    (shared / TABLE).parent.mkdir(parents=True)
    (shared / TABLE).write_text("\n".join(["id,date,price,bedrooms", *ROWS]) + "\n")
    (shared / "METHODS.md").write_text(
        "Equations of the papers, in words that are not those of the project.\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture
def check(repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(shared: Path | None = None) -> subprocess.CompletedProcess[str]:
        subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
        return subprocess.run(
            [sys.executable, "tests/repository_check.py"],
            cwd=repository,
            env={**os.environ, "HOUSEVIS_SHARED": str(shared or repository.parent / "shared")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_clean_repository_passes(check: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = check()
    assert done.returncode == 0, done.stdout
    assert "0 complaints" in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("docs/images/king-county.png", b"\x89PNG", "committed but the sample market"),
        ("house.JPG", b"\xff\xd8", "committed but the sample market"),
        ("sales.parquet", b"PAR1", "committed but the sample market"),
        ("docs/table.md", "\n".join(ROWS[:3]).encode(), "rows of a table"),
        ("notes.txt", ("x\n" + "\r\n".join(ROWS[4:8])).encode(), "rows of a table"),
        ("docs/methods.md", None, "the same file"),
        (
            "a.ipynb",
            json.dumps({"cells": [{"outputs": [{"output_type": "stream"}]}]}).encode(),
            "carries outputs",
        ),
        ("b.ipynb", json.dumps({"cells": [{"execution_count": 3, "outputs": []}]}).encode(), None),
        ("docs/images/sample-market-map-1440.webp", b"\x89PNG", None),
        ("docs/two.md", "\n".join(ROWS[:2]).encode(), None),
    ],
)
def test_what_was_planted_is_found(
    repository: Path,
    check: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    content: bytes | None,
    complaint: str | None,
) -> None:
    planted = repository / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_bytes(content or (repository.parent / "shared" / "METHODS.md").read_bytes())
    done = check()
    if complaint is None:
        assert done.returncode == 0, done.stdout
        return
    assert done.returncode == 1
    assert f"{name}: " in done.stdout
    assert complaint in done.stdout
    assert "1 complaints" in done.stdout


def test_files_that_git_ignores_are_no_concern(
    repository: Path, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (repository / ".gitignore").write_text("/runs/\n")
    (repository / "runs").mkdir()
    (repository / "runs" / "tiles.mbtiles").write_bytes(b"SQLite")
    assert check().returncode == 0


def test_without_the_shared_folder_it_says_that_it_did_not_compare(
    repository: Path, check: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (repository / "docs.md").write_text("\n".join(ROWS))
    done = check(repository / "nowhere")
    assert done.returncode == 0
    assert "were not compared" in done.stdout


def test_this_repository_is_clean() -> None:
    done = subprocess.run(
        [sys.executable, "tests/repository_check.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
