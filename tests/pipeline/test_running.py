"""The whole run: what it prints, what it leaves behind, and that nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from housevis import pipeline
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.running import STEPS

PICKLE = b"\x80"


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and content of every file."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_command_prints_what_a_reader_asks_for(town: Any) -> None:
    listings = re.search(
        r"listings: (\d+) rows in, (\d+) sales of (\d+) houses kept, (\d+) rejected", town.out
    )
    assert listings is not None
    rows, sales, houses, rejected = map(int, listings.groups())
    assert rows == sales + rejected
    assert houses <= sales
    reasons = re.search(r"rejected \((.*)\)", town.out)
    assert reasons is not None
    assert sum(int(part.split()[0]) for part in reasons[1].split(", ")) == rejected
    tiles = re.search(r"tiles: (\d+) needed, (\d+) fetched now", town.out)
    assert tiles is not None
    assert tiles[1] == tiles[2]
    assert re.search(r"rank accuracy on later sales: \d+\.\d %", town.out)
    assert re.search(
        r"share of later sales within ±10 %: \d+\.\d % without visual features, \d+\.\d % with them", town.out
    )
    page = re.search(r"^map: file://(/.*index\.html)$", town.out, re.MULTILINE)
    assert page is not None
    assert Path(page[1]).is_file()
    for step in STEPS:
        assert re.search(rf"^{step.__name__}: \d+\.\d s$", town.err, re.MULTILINE)


def test_the_run_leaves_its_folders_behind(town: Any) -> None:
    run = town.run
    assert (town.workspace / "current").read_text().strip() == run.run_id
    assert {folder.name for folder in run.folder.iterdir() if folder.is_dir()} == {
        "atlas",
        "evaluation",
        "serving",
        "tables",
    }
    assert run.metrics()["headline"]["sales"] == len(
        pd.read_parquet(run.estimates).query("sample == 'later sale'")
    )
    assert set(run.steps()) == {"train", "explain", "evaluate", "atlas", "report"}
    assert run.record["versions"]["torch"]
    for folder in (run.evaluation / "earlier", run.serving):
        assert {"siamese.safetensors", "model.json", "grad-weights.safetensors", "training.parquet"} <= {
            path.name for path in folder.iterdir()
        }


def test_no_artefact_is_a_pickle(town: Any) -> None:
    suffixes = {path.suffix for path in town.workspace.rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy", ".npz"}
    for path in town.workspace.rglob("*"):
        if not path.is_file():
            continue
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                assert file.keys()
        elif path.suffix == ".parquet":
            pd.read_parquet(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert not path.read_bytes().startswith(PICKLE), path


def test_a_second_run_does_nothing(
    town_copy: Any, housevis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the second run connected to something")

    run_before = snapshot(town_copy.run.folder)
    features_before = snapshot(town_copy.workspace / "features")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    again = housevis("run", town_copy.config_file, "--runs", town_copy.runs)
    assert again.code == 0
    assert again.err.splitlines() == [f"{step.__name__}: done before" for step in STEPS]
    assert snapshot(town_copy.run.folder) == run_before
    assert snapshot(town_copy.workspace / "features") == features_before
    assert " 0 fetched now" in again.out
    first = re.sub(r" \d+ fetched now|finished in .*|file://.*|report of .*", "", town_copy.out)
    second = re.sub(r" \d+ fetched now|finished in .*|file://.*|report of .*", "", again.out)
    assert second == first


def test_each_step_by_itself_is_skipped_too(project: Project) -> None:
    for step in STEPS:
        assert step(project).skipped, step.__name__


def test_a_setting_of_the_pages_renews_the_pages_alone(town_copy: Any) -> None:
    settings = town_copy.config_file.read_text() + '[atlas]\ntitle = "Another title"\n'
    town_copy.config_file.write_text(settings)
    with open_project(town_copy.config, town_copy.runs) as project:
        results = [step(project) for step in STEPS]
    assert [result.step for result in results if not result.skipped] == ["atlas", "report"]
    assert len(list(town_copy.workspace.glob("*/run.json"))) == 1
    for page in (town_copy.run.report, town_copy.run.atlas / "index.html"):
        assert "Another title" in page.read_text()


def test_another_seed_makes_another_run_beside_the_first(
    town_copy: Any, housevis: Callable[..., Any]
) -> None:
    first = town_copy.run.run_id
    before = snapshot(town_copy.run.folder)
    text = town_copy.config_file.read_text().replace('"small-town"\nseed = 1', '"small-town"\nseed = 2')
    town_copy.config_file.write_text(text)
    trained = housevis("train", town_copy.config_file, "--runs", town_copy.runs)
    assert trained.code == 0, trained.err
    runs = {path.parent.name for path in town_copy.workspace.glob("*/run.json")}
    assert len(runs) == 2
    assert first in runs
    assert town_copy.run.run_id == first, "an unfinished run must not become the current one"
    assert snapshot(town_copy.run.folder) == before
    (unfinished,) = runs - {first}
    for command in ("estimate", "serve"):
        arguments = {
            "estimate": ["estimate", town_copy.write_listings("new.csv"), "--run"],
            "serve": ["serve"],
        }
        ended = housevis(*arguments[command], unfinished, "--runs", town_copy.runs)
        assert ended.code == 1
        assert "not finished" in ended.err or "not built" in ended.err


def test_steps_need_the_step_before(town_copy: Any, housevis: Callable[..., Any]) -> None:
    empty = town_copy.folder / "empty"
    for step, missing in {
        "embed": "tiles",
        "train": "ingest",
        "explain": "ingest",
        "evaluate": "ingest",
        "atlas": "ingest",
        "report": "ingest",
    }.items():
        ended = housevis(step, town_copy.config_file, "--runs", empty)
        assert ended.code == 1
        assert f"housevis {missing} CONFIG" in ended.err, step
    housevis("ingest", town_copy.config_file, "--runs", empty)
    plan = housevis("tiles", town_copy.config_file, "--plan", "--runs", empty)
    assert re.search(r"zoom 18: \d+ distinct tiles, 0 of them there already", plan.out)
    assert not (empty / "small-town" / "tiles.mbtiles").exists()


def test_no_secret_is_written_anywhere(town_copy: Any, housevis: Callable[..., Any]) -> None:
    """The address of a database and a key in an address of tiles stay out of every file."""
    database = town_copy.workspace / "housevis.sqlite"
    text = town_copy.config_file.read_text()
    text = text.replace("seed = 1\n", f'seed = 3\ndatabase = "sqlite:///{database}?timeout=61"\n', 1)
    text += '[imagery]\nprovider = "sample-market"\n'
    text += 'url = "http://user:pass-sesame@127.0.0.1:9/{z}/{x}/{y}.png?token=key-sesame"\n'
    town_copy.config_file.write_text(text)
    ended = housevis("train", town_copy.config_file, "--runs", town_copy.runs)
    assert ended.code == 0, ended.err
    (record,) = [
        path for path in town_copy.workspace.glob("*/run.json") if path.parent.name != town_copy.run.run_id
    ]
    assert "database" not in json.loads(record.read_text())["config"]
    for path in town_copy.workspace.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"sesame" not in content, path
            assert b"timeout=61" not in content, path
    assert "sesame" not in ended.out + ended.err


def test_results_for_the_docs_name_no_house(town_copy: Any, housevis: Callable[..., Any]) -> None:
    text = town_copy.config_file.read_text().replace("seed = 1\n", 'seed = 1\nresults = "results.json"\n', 1)
    town_copy.config_file.write_text(text)
    assert housevis("run", town_copy.config_file, "--runs", town_copy.runs).code == 0
    written = (town_copy.folder / "results.json").read_text()
    houses = pd.read_parquet(town_copy.run.estimates)["house_id"]
    assert not any(house_id in written for house_id in houses)
    assert json.loads(written)["headline"] == town_copy.run.metrics()["headline"]


def test_the_python_calls_have_the_names_of_the_commands() -> None:
    for name in (
        "ingest",
        "tiles",
        "embed",
        "train",
        "explain",
        "evaluate",
        "atlas",
        "report",
        "run",
        "serve",
    ):
        assert callable(getattr(pipeline, name))
    assert np.all([step.__name__ in pipeline.__all__ for step in STEPS])
