"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def _shared_folder() -> Path:
    return Path(os.environ.get("HOUSEVIS_SHARED", PROJECT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sales, tiles and weights that lies beside the project."""
    folder = _shared_folder()
    if not (folder / "data" / "king-county" / "sales.csv").is_file():
        pytest.skip(f"the shared data folder is not at {folder}; set HOUSEVIS_SHARED to run this test")
    return folder
