"""A run that is killed or stopped at any moment loses nothing that was finished."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_pipeline.archive import TileArchive
from data_pipeline.tile_server import TileServer
from housevis.pipeline.attention import load_parts
from housevis.pipeline.embedding import embed_figures, open_store
from housevis.pipeline.project import open_project

BATCH = 32
"""Tiles, and pictures, that are stored together."""

COMPLETE = "training.parquet"


class SlowSource:
    """An archive that takes its time over each tile."""

    def __init__(self, archive: TileArchive) -> None:
        self._archive = archive
        self.format = archive.format

    def read(self, z: int, x: int, y: int) -> bytes | None:
        time.sleep(0.05)
        return self._archive.read(z, x, y)


@pytest.fixture
def slow_server(town: Any) -> Iterator[TileServer]:
    with TileArchive(town.archive) as archive, TileServer(SlowSource(archive)) as server:
        yield server


def count(database: Path, table: str) -> int:
    if not database.is_file():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def times(paths: Iterator[Path] | list[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_fetching_goes_on_where_it_stopped(
    town: Any,
    tmp_path: Path,
    slow_server: TileServer,
    send_signal_when: Callable[..., Any],
    housevis: Callable[..., Any],
    number: signal.Signals,
    code: int,
) -> None:
    imagery = f'\n[imagery]\nprovider = "sample-market"\nconnections = 4\nurl = "{slow_server.url}"\n'
    (tmp_path / "town.toml").write_text(town.config_file.read_text() + imagery)
    shutil.copytree(town.workspace / "sample-market", tmp_path / "runs" / "small-town" / "sample-market")
    config, runs = tmp_path / "town.toml", tmp_path / "runs"
    assert housevis("ingest", config, "--runs", runs).code == 0
    archive = runs / "small-town" / "tiles.mbtiles"
    ended = send_signal_when(
        tmp_path, ["run", "town.toml"], lambda: count(archive, "tiles") >= 2 * BATCH, number
    )
    assert ended.code == code
    assert "Traceback" not in ended.err
    if number == signal.SIGINT:
        assert ended.err.splitlines()[-1].startswith("Stopped. What is finished is kept")
    stored, asked = count(archive, "tiles"), slow_server.requests
    assert stored >= 2 * BATCH
    finished = housevis("tiles", config, "--runs", runs)
    assert finished.code == 0, finished.err
    with TileArchive(town.archive) as whole, TileArchive(archive) as resumed:
        tiles = set(whole.tiles(18))
        assert set(resumed.tiles(18)) == tiles
        assert all(resumed.read(18, t.x, t.y) == whole.read(18, t.x, t.y) for t in tiles)
    assert f"{len(tiles)} needed, {len(tiles) - stored} fetched now" in finished.out
    assert slow_server.requests - asked <= len(tiles) - stored
    assert slow_server.requests <= len(tiles) + 2 * BATCH, "more than one batch was asked for twice"
    again = slow_server.requests
    assert " 0 fetched now" in housevis("tiles", config, "--runs", runs).out
    assert slow_server.requests == again


def forget(database: Path, *steps: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("DELETE FROM steps WHERE name = ?", [(step,) for step in steps])
        connection.execute("DELETE FROM images")


def figures_of(run: Any) -> dict[str, Any]:
    """The figures of a run, without its name."""
    figures = run.metrics()
    return figures | {"run_id": "", "split": figures["split"] | {"run_id": ""}}


def test_a_run_killed_in_every_step_ends_as_if_it_had_not_been(
    town: Any,
    town_copy: Any,
    send_signal_when: Callable[..., Any],
    housevis: Callable[..., Any],
) -> None:
    workspace, arguments = town_copy.workspace, ["run", "town.toml"]
    shutil.rmtree(town_copy.run.folder)
    shutil.rmtree(workspace / "features")
    (workspace / "current").unlink()
    forget(workspace / "housevis.sqlite", "embed", "embed-started")

    def parts() -> list[Path]:
        return list(workspace.glob("features/*/part-*"))

    def in_run(pattern: str) -> list[Path]:
        return list(workspace.glob(f"*-*/{pattern}"))

    send_signal_when(town_copy.folder, arguments, lambda: len(parts()) >= 3)
    embedded = times(parts())
    with open_project(town.config, town.runs) as whole:
        fingerprint = embed_figures(whole)["backbone"]["fingerprint"]
    keys = open_store(workspace / "features", fingerprint).keys()
    assert len(keys) >= 3 * BATCH

    send_signal_when(town_copy.folder, arguments, lambda: len(in_run(f"evaluation/*/{COMPLETE}")) >= 2)
    assert times(list(embedded)) == embedded
    with open_project(town_copy.config, town_copy.runs) as project:
        figures = embed_figures(project)
    assert figures["features_new"] == figures["distinct_pictures"] - len(keys), "a stored feature came again"
    complete = [path.parent for path in in_run(f"evaluation/*/{COMPLETE}")]
    models = times([path for folder in complete for path in folder.iterdir()])
    assert not (workspace / "current").exists()

    stopped = send_signal_when(
        town_copy.folder,
        arguments,
        lambda: len(in_run("evaluation/maps/part-*")) >= 2,
        signal.SIGINT,
    )
    assert stopped.code == 130
    assert stopped.err.endswith("Stopped. What is finished is kept; the same command goes on from there.\n")
    assert "Traceback" not in stopped.err
    assert times(list(models)) == models, "a complete model was fitted again"
    maps = times(in_run("evaluation/maps/part-*"))
    assert len(load_parts(in_run("evaluation/maps")[0]).houses) >= (len(maps) - 1) * BATCH

    send_signal_when(town_copy.folder, arguments, lambda: bool(in_run("serving/siamese.safetensors")))
    assert times(list(maps)) == maps, "a stored attention map was made again"
    send_signal_when(town_copy.folder, arguments, lambda: bool(in_run("atlas/pictures/*")))
    assert len(in_run("run.json")) == 1

    finished = housevis("run", town_copy.config_file, "--runs", town_copy.runs)
    assert finished.code == 0, finished.err
    left, wanted = town_copy.run, town.run
    assert figures_of(left) == figures_of(wanted)
    pd.testing.assert_frame_equal(pd.read_parquet(left.estimates), pd.read_parquet(wanted.estimates))
    ours, theirs = load_parts(left.maps), load_parts(wanted.maps)
    assert ours.houses["house_id"].is_unique
    assert set(ours.houses["house_id"]) == set(theirs.houses["house_id"])
    assert not [path for path in left.folder.rglob("*") if path.name.startswith(".") and path.is_file()]
    pages = {path.relative_to(left.atlas) for path in left.atlas.rglob("*")}
    assert pages == {path.relative_to(wanted.atlas) for path in wanted.atlas.rglob("*")}
