"""The steps on two Dask workers: the same rows and hashes as on this machine, a killed worker included."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline import steps
from data_pipeline.archive import TileArchive
from data_pipeline.listings import read_listings
from data_pipeline.tile_server import TileServer
from db.store import read_houses, read_images, read_rejects, read_sales, read_tile_rows
from housevis import pipeline
from housevis.core.config import load_config
from housevis.core.engine import DaskRunner, LocalRunner, ShardRunner
from housevis.pipeline.attention import load_parts
from housevis.pipeline.embedding import embed_figures, open_store
from housevis.pipeline.project import Project, open_project

PATIENCE = 60.0
ZOOM = 18


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskRunner]:
    with DaskRunner(None, 2) as runner:
        yield runner


class SlowSource:
    """An archive that takes its time over each tile."""

    def __init__(self, archive: TileArchive) -> None:
        self._archive = archive
        self.format = archive.format

    def read(self, z: int, x: int, y: int) -> bytes | None:
        time.sleep(0.005)
        return self._archive.read(z, x, y)


@pytest.fixture(scope="module")
def server(town: Any) -> Iterator[TileServer]:
    with TileArchive(town.archive) as archive, TileServer(SlowSource(archive)) as started:
        yield started


@pytest.fixture
def fresh(town: Any, tmp_path: Path, server: TileServer) -> Iterator[Project]:
    """The town's configuration without anything done, its tiles behind a server."""
    imagery = f'\n[imagery]\nprovider = "sample-market"\nconnections = 4\nurl = "{server.url}"\n'
    (tmp_path / "town.toml").write_text(town.config_file.read_text() + imagery)
    shutil.copytree(town.workspace / "sample-market", tmp_path / "runs" / "small-town" / "sample-market")
    with open_project(load_config(tmp_path / "town.toml"), tmp_path / "runs") as project:
        yield project


@pytest.fixture(scope="module")
def whole(town: Any) -> Iterator[Project]:
    """The town as one machine made it."""
    with open_project(town.config, town.runs, reads_only=True) as project:
        yield project


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings are judged in parts that this town has several of."""
    monkeypatch.setattr(steps, "read_listings", partial(read_listings, part_rows=40))


@contextmanager
def one_worker_killed(dask: DaskRunner, condition: Callable[[], bool]) -> Iterator[None]:
    """Kill one of the workers as soon as a condition holds in the block."""
    dask.client.wait_for_workers(2, timeout=PATIENCE)
    address, victim = next(iter(dask.client.run(os.getpid).items()))
    killed = threading.Event()
    over = threading.Event()

    def kill() -> None:
        while not condition() and not over.is_set():
            time.sleep(0.002)
        if condition():
            os.kill(victim, signal.SIGKILL)
            killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()
    assert killed.is_set()
    limit = time.monotonic() + PATIENCE
    while address in dask.client.nthreads():
        assert time.monotonic() < limit
        time.sleep(0.01)


def tile_rows(project: Project) -> pd.DataFrame:
    return read_tile_rows(project.engine, ZOOM).drop(columns="fetched_at")


def assert_same_tiles(project: Project, whole: Project) -> None:
    pd.testing.assert_frame_equal(tile_rows(project), tile_rows(whole))
    with TileArchive(project.workspace.archive) as ours, TileArchive(whole.workspace.archive) as theirs:
        tiles = set(theirs.tiles(ZOOM))
        assert set(ours.tiles(ZOOM)) == tiles
        assert all(ours.read(ZOOM, t.x, t.y) == theirs.read(ZOOM, t.x, t.y) for t in tiles)


def assert_same_features(project: Project, whole: Project) -> None:
    pd.testing.assert_frame_equal(
        read_images(project.engine, "centred", ZOOM), read_images(whole.engine, "centred", ZOOM)
    )
    stores = [
        open_store(each.workspace.features, embed_figures(each)["backbone"]["fingerprint"])
        for each in (project, whole)
    ]
    keys = sorted(stores[1].keys())
    assert stores[0].keys() == set(keys)
    ours, theirs = (store.read(keys) for store in stores)
    assert float(np.abs(ours - theirs).mean() / np.abs(theirs).mean()) < 0.01


@pytest.mark.parametrize("where", ["two processes", "dask"])
def test_ingest_keeps_the_same_rows(
    fresh: Project, whole: Project, dask: DaskRunner, small_parts: None, where: str
) -> None:
    runner: ShardRunner = dask if where == "dask" else LocalRunner(2)
    result = pipeline.ingest(replace(fresh, runner=runner))
    assert not result.skipped
    for read in (read_houses, read_sales, read_rejects):
        pd.testing.assert_frame_equal(read(fresh.engine), read(whole.engine))


def test_every_step_makes_the_same_rows_and_hashes(
    fresh: Project, whole: Project, dask: DaskRunner, small_parts: None
) -> None:
    project = replace(fresh, runner=dask)
    pipeline.ingest(project)
    planned = pipeline.plan_tiles(project).figures["needed"]
    fetched = pipeline.tiles(project).figures
    assert fetched["needed"] == planned == pipeline.plan_tiles(whole).figures["needed"]
    assert_same_tiles(project, whole)
    embedded = pipeline.embed(project).figures
    assert_same_features(project, whole)
    there = embed_figures(whole)
    for name in ("pictures", "distinct_pictures", "without_picture", "features_new"):
        assert embedded[name] == there[name]


def test_a_worker_killed_in_mid_run_loses_nothing(
    fresh: Project, whole: Project, dask: DaskRunner, server: TileServer
) -> None:
    project = replace(fresh, runner=dask)
    pipeline.ingest(project)
    asked = server.requests
    with one_worker_killed(dask, lambda: server.requests - asked >= 20):
        pipeline.tiles(project)
    assert_same_tiles(project, whole)
    parts = project.workspace.features
    with one_worker_killed(dask, lambda: bool(list(parts.rglob("part-*")))):
        pipeline.embed(project)
    assert_same_features(project, whole)


def test_attention_maps_are_the_same(town_copy: Any, dask: DaskRunner) -> None:
    run = town_copy.run
    theirs = load_parts(run.maps)
    shutil.rmtree(run.maps)
    with open_project(town_copy.config, town_copy.runs) as project:
        result = pipeline.explain(replace(project, runner=dask))
    assert not result.skipped
    ours = load_parts(run.maps)
    pd.testing.assert_frame_equal(ours.houses, theirs.houses)
    assert float(np.abs(ours.heats - theirs.heats).mean() / np.abs(theirs.heats).mean()) < 0.02


def test_the_command_takes_a_schedulers_address(
    town_copy: Any, dask: DaskRunner, housevis: Callable[..., Any]
) -> None:
    address = dask.client.scheduler.address
    arguments = [town_copy.config_file, "--runs", town_copy.runs, "--scheduler"]
    for command in ("ingest", "tiles", "embed", "explain", "run"):
        done = housevis(command, *arguments, address)
        assert done.code == 0, done.err
        refused = housevis(command, *arguments, "tcp://10.0.0.5:8786")
        assert refused.code == 2
        assert "scheduler: 'tcp://10.0.0.5:8786' is on another machine and not encrypted" in refused.err
    listings = town_copy.write_listings("new.csv")
    refused = housevis("explain", listings, "--run", "small-town", "--scheduler", address)
    assert refused.code == 2
    assert "--scheduler belongs to the step" in refused.err
