"""Archives by the command: checked, damaged, mended, written to files and taken in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.archive import TileArchive
from housevis.core.config import load_config
from housevis.pipeline import archive_export, archive_import, ingest, tiles, verify_tiles
from housevis.pipeline.project import open_project

CONFIG = """
name = "small-town"

[sample_market]
houses = {houses}
seed = {seed}

[imagery]
window = 1.2
"""


def write_config(folder: Path, houses: int = 100, seed: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "town.toml").write_text(CONFIG.format(houses=houses, seed=seed))
    return folder / "town.toml"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a town whose tiles are fetched."""
    folder = tmp_path_factory.mktemp("archives") / "town"
    with open_project(load_config(write_config(folder)), folder / "runs") as project:
        ingest(project)
        assert tiles(project).figures["failed"] == 0
    return folder


@pytest.fixture
def town(fetched: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    return Path(shutil.copytree(fetched, tmp_path / "town"))


def archive_of(folder: Path) -> Path:
    return folder / "runs" / "small-town" / "tiles.mbtiles"


def test_damage_is_found_named_and_mended(town: Path, housevis: Callable[..., Any]) -> None:
    command = ["tiles", str(town / "town.toml"), "--runs", str(town / "runs")]
    sound = housevis(*command, "--verify")
    assert sound.code == 0, sound.err
    assert "sound" in sound.out
    with TileArchive(archive_of(town)) as archive:
        before = dict(archive.stored())
    with sqlite3.connect(archive_of(town)) as connection:
        columns = [row[0] for row in connection.execute("SELECT DISTINCT tile_column FROM tiles")]
        connection.execute("UPDATE tiles SET tile_data = 'x' WHERE tile_column = ?", columns[:1])
        connection.execute("DELETE FROM tiles WHERE tile_column = ?", columns[-1:])
    connection.close()
    damaged = housevis(*command, "--verify")
    assert damaged.code == 1
    assert "bytes changed" in damaged.out
    assert "`housevis tiles CONFIG` fetches them again" in damaged.out
    assert housevis(*command).code == 0
    assert housevis(*command, "--verify").code == 0
    with TileArchive(archive_of(town)) as archive:
        assert dict(archive.stored()) == before


@pytest.mark.parametrize("ending", ["mbtiles", "pmtiles"])
def test_an_archive_goes_to_another_workspace(
    town: Path, tmp_path: Path, housevis: Callable[..., Any], ending: str
) -> None:
    file = tmp_path / f"town.{ending}"
    out = housevis("archive", "export", str(town / "town.toml"), str(file), "--runs", str(town / "runs"))
    assert out.code == 0, out.err
    assert file.name in out.out
    again = housevis("archive", "export", str(town / "town.toml"), str(file), "--runs", str(town / "runs"))
    assert again.code == 2
    assert "exists" in again.err

    other = tmp_path / "other"
    config = write_config(other)
    taken = housevis("archive", "import", str(config), str(file), "--runs", str(other / "runs"))
    assert taken.code == 0, taken.err
    assert "Sample market" in taken.out
    with open_project(load_config(config), other / "runs") as project:
        ingest(project)
        found = tiles(project)
        assert (found.figures["fetched"], found.skipped) == (0, True)
        assert verify_tiles(project).figures["agrees"]
    with TileArchive(archive_of(town)) as one, TileArchive(archive_of(other)) as two:
        assert dict(one.stored()) == dict(two.stored())

    elsewhere = write_config(tmp_path / "elsewhere", seed=2)
    refused = housevis("archive", "import", str(elsewhere), str(file), "--runs", str(tmp_path / "runs"))
    assert refused.code == 2
    assert "another town" in refused.err


def test_commands_without_an_archive_say_so(tmp_path: Path, housevis: Callable[..., Any]) -> None:
    config = str(write_config(tmp_path / "town"))
    runs = ["--runs", str(tmp_path / "runs")]
    for command in (
        ["tiles", config, "--verify"],
        ["archive", "export", config, str(tmp_path / "a.pmtiles")],
    ):
        outcome = housevis(*command, *runs)
        assert outcome.code == 1
        assert "no archive of tiles" in outcome.err


def test_the_python_calls(town: Path, tmp_path: Path) -> None:
    with open_project(load_config(town / "town.toml"), town / "runs") as project:
        out = archive_export(project, tmp_path / "out.pmtiles")
        back = archive_import(project, tmp_path / "out.pmtiles")
    assert out.figures["tiles"] == back.figures["same"] > 0
    assert (out.step, back.step) == ("archive", "archive")
