"""Artefacts that were deleted or damaged: one message, and a remedy that works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from housevis.pipeline.attention import load_parts


def run_again(town: Any, housevis: Callable[..., Any]) -> None:
    done = housevis("run", town.config_file, "--runs", town.runs)
    assert done.code == 0, done.err


def test_deleted_files_are_made_again(town: Any, town_copy: Any, housevis: Callable[..., Any]) -> None:
    run = town_copy.run
    shutil.rmtree(run.evaluation / "fold-1")
    shutil.rmtree(run.serving)
    next(iter(run.maps.iterdir())).unlink()
    (run.atlas / "index.html").unlink()
    run.report.unlink()
    run_again(town_copy, housevis)
    for folder in ("evaluation/fold-1", "serving"):
        wanted = {path.name: path.read_bytes() for path in (town.run.folder / folder).iterdir()}
        made = {path.name: path.read_bytes() for path in (run.folder / folder).iterdir()}
        assert set(made) >= {"model.json", "siamese.safetensors", "training.parquet"}
        assert made["with_picture.txt"] == wanted["with_picture.txt"]
    assert len(load_parts(run.maps).houses) == len(load_parts(town.run.maps).houses)
    assert run.metrics() == town.run.metrics()


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("evaluation/estimates.parquet", "atlas"),
        ("evaluation/estimates.parquet", "report"),
        ("evaluation/maps/part-00000.safetensors", "explain"),
        ("evaluation/maps/part-00000.safetensors", "atlas"),
        ("evaluation/earlier/training.parquet", "atlas"),
        ("evaluation/earlier/model.json", "atlas"),
        ("evaluation/earlier/with_picture.txt", "report"),
        ("evaluation/earlier/siamese.safetensors", "report"),
        ("serving/siamese.safetensors", "estimate"),
        ("serving/training.parquet", "estimate"),
        ("serving/without_picture.txt", "estimate"),
        ("serving/calibration.json", "estimate"),
        ("serving/grad-weights.safetensors", "explain-new"),
        ("run.json", "estimate"),
        ("run.json", "atlas"),
        ("steps.json", "atlas"),
        ("metrics.json", "report"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\x00damaged\xff" * 40, b"{}"], ids=["empty", "noise", "braces"])
def test_a_damaged_file_gives_one_message(
    town_copy: Any, housevis: Callable[..., Any], pattern: str, command: str, content: bytes
) -> None:
    run = town_copy.run
    page = run.atlas / "index.html" if command == "atlas" else run.report
    page.unlink()
    file = run.folder / pattern
    file.write_bytes(content)
    arguments: dict[str, list[Any]] = {
        "estimate": ["estimate", town_copy.write_listings("new.csv"), "--run", "small-town"],
        "explain-new": ["explain", town_copy.write_listings("new.csv"), "--run", "small-town"],
    }
    if command == "explain-new":
        arguments[command] += ["--imagery", town_copy.archive, "--out", town_copy.folder / "out"]
    if command == "estimate":
        arguments[command] += ["--out", town_copy.folder / "out.csv"]
    ended = housevis(*arguments.get(command, [command, town_copy.config_file]), "--runs", town_copy.runs)
    assert ended.code == 1, ended
    assert ended.err.startswith("Error: ")
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.err.rstrip().endswith(".")
    assert not page.exists()
    assert not (town_copy.folder / "out.csv").exists()


def test_a_damaged_model_is_replaced_by_following_the_message(
    town: Any, town_copy: Any, housevis: Callable[..., Any]
) -> None:
    run = town_copy.run
    (run.evaluation / "earlier" / "with_picture.txt").write_text("tree")
    run.report.unlink()
    ended = housevis("report", town_copy.config_file, "--runs", town_copy.runs)
    assert "evaluation/earlier" in ended.err
    shutil.rmtree(run.evaluation / "earlier")
    run_again(town_copy, housevis)
    assert run.report.is_file()
    pd.testing.assert_frame_equal(pd.read_parquet(run.estimates), pd.read_parquet(town.run.estimates))


def test_a_damaged_feature_part_is_computed_again_once_it_is_deleted(
    town_copy: Any, housevis: Callable[..., Any]
) -> None:
    part: Path = next(iter(town_copy.workspace.glob("features/*/part-*")))
    part.write_bytes(b"damaged")
    for command in ("embed", "train"):
        ended = housevis(command, town_copy.config_file, "--runs", town_copy.runs)
        assert ended.code == 1
        assert str(part) in ended.err
        assert "Delete it" in ended.err
    part.unlink()
    done = housevis("embed", town_copy.config_file, "--runs", town_copy.runs)
    assert done.code == 0, done.err
    assert part.is_file()


def test_a_run_of_another_version_is_named(town_copy: Any, housevis: Callable[..., Any]) -> None:
    record = town_copy.run.folder / "run.json"
    record.write_text(record.read_text().replace('"seed": 1,', '"seed": 1, "novelty": 1,', 1))
    listings = town_copy.write_listings("new.csv")
    ended = housevis("estimate", listings, "--run", "small-town", "--runs", town_copy.runs)
    assert ended.code == 1
    assert "does not know the run's settings" in ended.err
