"""A market without pictures goes the whole way: from listings to map and report, by the real command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.__main__ import main as data_pipeline
from housevis.core.config import load_config
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, SERVING, load_sold_houses
from housevis.pricing.metrics import pe
from housevis.runs import Run, find_run

COMMAND = [sys.executable, "-c", "from housevis.cli import main; main()"]
CONFIG = """
name = "bare-town"
seed = 1

[sample_market]
houses = 300
seed = 1

[pricing]
visual_features = "none"
rounds = 60
bootstrap = 200
"""
PICTURE_STEPS = ("tiles", "embed", "explain")
STEPS = ("ingest", "train", "evaluate", "atlas", "report")


@dataclass(frozen=True)
class BareTown:
    """A configuration without pictures, its runs, and what the command printed."""

    folder: Path
    out: str = ""
    err: str = ""

    @property
    def config_file(self) -> Path:
        return self.folder / "bare.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def workspace(self) -> Path:
        return self.runs / "bare-town"

    @property
    def run(self) -> Run:
        return find_run(self.runs, "bare-town")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> BareTown:
    """The finished run; nothing in it is to be changed."""
    folder = tmp_path_factory.mktemp("bare")
    BareTown(folder).config_file.write_text(CONFIG)
    done = subprocess.run(
        [*COMMAND, "run", "bare.toml"],
        cwd=folder,
        env={**os.environ, "HOUSEVIS_PROGRESS": "off", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return BareTown(folder, done.stdout, done.stderr)


def visible_text(page: str) -> str:
    """What a reader of a page can see, its scripts and styles left out."""
    return re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)


def test_only_the_steps_that_need_no_picture_are_taken(bare: BareTown) -> None:
    assert re.findall(r"^(\w+): \d+\.\d s$", bare.err, re.MULTILINE) == list(STEPS)
    assert set(bare.run.steps()) == set(STEPS) - {"ingest"}
    assert re.search(
        r"share of later sales within ±10 %: \d+\.\d % from attributes alone \(n = \d+\)", bare.out
    )
    for word in ("rank accuracy", "tiles", "backbone", "attention", "with them", "heat", "pictures"):
        assert word not in bare.out, word


def test_nothing_of_pictures_is_left_behind(bare: BareTown) -> None:
    names = {path.name for path in bare.workspace.rglob("*")}
    assert not names & {
        "tiles.mbtiles",
        "features",
        "pictures",
        "maps",
        "siamese.safetensors",
        "grad-weights.safetensors",
        "penalty.json",
        "with_picture.txt",
    }
    assert bare.run.record["backbone"] is None
    for folder in (bare.run.evaluation / EARLIER, bare.run.serving):
        assert {path.name for path in folder.iterdir()} >= {
            "model.json",
            "without_picture.txt",
            "training.parquet",
            "calibration.json",
        }


def test_figures_that_do_not_exist_are_absent_or_null(bare: BareTown) -> None:
    figures = bare.run.metrics()
    judged = pd.read_parquet(bare.run.estimates)
    later = judged[judged["sample"] == "later sale"]
    headline = figures["headline"]
    assert headline["sales"] == len(later)
    assert headline["share_without"] == pe(later["estimate"].to_numpy(), later["price"].to_numpy())
    assert {headline[name] for name in ("share_with", "gain", "gain_low", "gain_high")} == {None}
    assert not {"rank_accuracy", "pictures"} & set(figures)
    assert not {"rank_accuracy", "penalty"} & set(figures["split"])
    assert "attention" not in figures["town"]
    assert figures["deviations"] == []
    assert "picture" not in figures["drivers"]
    assert [row["name"] for row in figures["ablation"]] == [
        "G", "G, Bed, Bath", "G, Bed, Bath, T", "G, A", "G, Bed, Bath, T, A",
    ]  # fmt: skip
    for row in figures["ablation"]:
        assert row["with_visual"] is row["mdape_with"] is row["gain"] is None
        assert 0 < row["without"] < 1
    assert figures["ablation"][-1]["without"] == headline["share_without"]


def test_every_estimate_is_out_of_sample(bare: BareTown) -> None:
    judged = pd.read_parquet(bare.run.estimates)
    with open_project(load_config(bare.config_file), bare.runs) as project:
        sold = load_sold_houses(project)
    assert sold.pooled.shape == (len(judged), 0)
    assert set(judged["sale_id"]) == set(sold.sales["sale_id"])
    for model_id, rows in judged.groupby("model_id"):
        known = pd.read_parquet(bare.run.evaluation / str(model_id) / "training.parquet")
        assert list(known.columns) == ["sale_id", "house_id"]
        assert not set(rows["sale_id"]) & set(known["sale_id"])
        assert not set(rows["house_id"]) & set(known["house_id"])
    assert SERVING not in set(judged["model_id"])
    later = judged["sample"] == "later sale"
    assert (judged.loc[later, "model_id"] == EARLIER).all()
    assert judged.loc[later, "sale_date"].min() > judged.loc[~later, "sale_date"].max()


def test_base_and_drivers_add_up_and_no_driver_is_a_picture(bare: BareTown) -> None:
    judged = pd.read_parquet(bare.run.estimates)
    drivers = judged[[name for name in judged if name.startswith("driver ")]]
    assert set(drivers) == {
        f"driver {name}" for name in ("location", "bedrooms", "bathrooms", "area_m2", "sale_month")
    }
    np.testing.assert_allclose(judged["base"] + drivers.sum(axis=1), judged["estimate"], rtol=1e-6)
    assert not judged["used_picture"].any()
    assert (judged["estimate"] == judged["without_picture"]).all()
    assert (judged["low"] < judged["estimate"]).all()
    assert (judged["estimate"] < judged["high"]).all()


def without_saying_so(page: str) -> str:
    """The text of a report less the sentences that say that there are no pictures."""
    for said in ("This run uses no pictures", "no pictures.", "Pictures: none are used."):
        page = page.replace(said, "")
    return page


def test_the_pages_show_no_trace_of_pictures(bare: BareTown) -> None:
    share = f"{100 * bare.run.metrics()['headline']['share_without']:.1f} %"
    atlas = visible_text((bare.run.atlas / "index.html").read_text())
    report = visible_text(bare.run.report.read_text())
    assert "This run uses no pictures" in report
    report = without_saying_so(report)
    for page in (atlas, report):
        assert share in page
        for word in ("icture", "ttention", "magery", "ackbone", "tiles", "ranker", "gained", "None", "nan"):
            assert word not in page, word
    for path in (bare.run.atlas / "data").iterdir():
        for word in ('"status"', '"heat"', '"neighbour"', "Aerial", "attribution"):
            assert word not in path.read_text(), (path.name, word)


def test_steps_of_pictures_say_in_one_line_that_there_is_nothing_to_do(
    bare: BareTown, housevis: Callable[..., Any]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in bare.run.folder.rglob("*")}
    for step in PICTURE_STEPS:
        for option in ([], ["--plan"]) if step == "tiles" else ([],):
            ended = housevis(step, bare.config_file, *option, "--runs", bare.runs)
            assert ended.code == 0
            assert re.fullmatch(
                rf"{step}: nothing to do, .* no pictures \(visual_features = \"none\" in \[pricing\]\)\n",
                ended.out.replace("\n", " ").strip() + "\n",
            )
    assert {path: path.stat().st_mtime_ns for path in bare.run.folder.rglob("*")} == before


def test_the_data_pipeline_by_itself_fetches_nothing(
    bare: BareTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_pipeline([str(bare.config_file), "--runs", str(tmp_path)]) == 0
    assert "tiles: nothing to do" in capsys.readouterr().out
    assert not (tmp_path / "bare-town" / "tiles.mbtiles").exists()


def test_each_step_alone_straight_after_ingest(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    for step, missing in {"train": "ingest", "evaluate": "ingest"}.items():
        ended = housevis(step, bare.config_file, "--runs", tmp_path)
        assert ended.code == 1
        assert f"housevis {missing} CONFIG" in ended.err
    assert housevis("ingest", bare.config_file, "--runs", tmp_path).code == 0
    early = housevis("evaluate", bare.config_file, "--runs", tmp_path)
    assert early.code == 1
    assert "Run `housevis train CONFIG` first" in early.err
    for step in STEPS[1:]:
        ended = housevis(step, bare.config_file, "--runs", tmp_path)
        assert ended.code == 0, ended.err
    (figures,) = tmp_path.glob("bare-town/*/metrics.json")
    ours, first = json.loads(figures.read_text()), bare.run.metrics()
    for found in (ours, first):
        found.pop("run_id")
        found["split"].pop("run_id")
    assert ours == first, "the same steps in one go and one by one give the same figures"


def test_a_second_run_does_nothing(bare: BareTown, housevis: Callable[..., Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in bare.run.folder.rglob("*")}
    again = housevis("run", bare.config_file, "--runs", bare.runs)
    assert again.code == 0
    assert again.err.splitlines() == [f"{step}: done before" for step in STEPS]
    assert {path: path.stat().st_mtime_ns for path in bare.run.folder.rglob("*")} == before


def test_settings_of_the_ranker_make_no_other_run(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    config = tmp_path / "bare.toml"
    config.write_text(
        CONFIG + "\n[siamese]\nepochs = 2\n\n[explain]\npairs = 7\n\n[vision]\nimage_size = 96\n"
    )
    again = housevis("train", config, "--runs", bare.runs)
    assert again.code == 0, again.err
    assert len(list(bare.workspace.glob("*/run.json"))) == 1


@pytest.fixture
def listings(bare: BareTown, tmp_path: Path) -> Path:
    lines = (bare.workspace / "sample-market" / "listings.csv").read_text().splitlines()[:6]
    path = tmp_path / "new.csv"
    path.write_text("\n".join(",".join([line.split(",")[0], *line.split(",")[3:]]) for line in lines) + "\n")
    return path


def test_new_houses_are_estimated_without_imagery(
    bare: BareTown, listings: Path, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    tables = []
    for imagery in ([], ["--imagery", tmp_path / "no-such.mbtiles"]):
        out = tmp_path / f"estimates-{len(imagery)}.csv"
        ended = housevis(
            "estimate", listings, "--run", "bare-town", "--runs", bare.runs, "--out", out,
            "--as-of", "2026-03-01", *imagery,
        )  # fmt: skip
        assert ended.code == 0, ended.err
        assert ("The imagery was not read" in ended.out) == bool(imagery)
        assert "have no imagery" not in ended.out
        tables.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 5
    assert (tables[0]["low"] < tables[0]["estimate"]).all()
    assert (tables[0]["estimate"] < tables[0]["high"]).all()
    assert set(tables[0]["imagery"].fillna("none")) == {"none"}


def test_attention_of_new_houses_is_refused_with_the_way_forward(
    bare: BareTown, listings: Path, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    out = tmp_path / "maps"
    ended = housevis(
        "explain", listings, "--run", "bare-town", "--runs", bare.runs, "--out", out,
        "--imagery", tmp_path / "no-such.mbtiles",
    )  # fmt: skip
    assert ended.code == 1
    assert "attributes alone" in ended.err
    assert 'visual_features = "in-sample"' in " ".join(ended.err.split())
    assert not out.exists()


def test_results_for_the_docs_are_written(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    config = tmp_path / "bare.toml"
    config.write_text(CONFIG.replace("seed = 1\n", 'seed = 1\nresults = "results.json"\n', 1))
    assert housevis("run", config, "--runs", bare.runs).code == 0
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["backbone"] is None
    assert set(written["stages_seconds"]) == set(STEPS)
    assert written["headline"] == bare.run.metrics()["headline"]


def test_a_house_is_removed_from_the_map_of_a_run_without_pictures(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    copy = BareTown(tmp_path / "copy")
    shutil.copytree(bare.folder, copy.folder)
    house = pd.read_parquet(copy.run.estimates)["house_id"].iloc[7]
    ended = housevis("remove", copy.config_file, house, "--yes", "--runs", copy.runs)
    assert ended.code == 0, ended.err
    run = Run.read(copy.workspace / bare.run.run_id)
    assert house not in set(pd.read_parquet(run.estimates)["house_id"])
    assert (run.atlas / "data" / "houses.js").is_file()
    for path in run.atlas.rglob("*.js"):
        assert f'"{house}"' not in path.read_text(encoding="utf-8"), path


def test_houses_are_exported_without_pictures(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    out = tmp_path / "houses.gpkg"
    ended = housevis("export", bare.config_file, "--runs", bare.runs, "--out", out)
    assert ended.code == 0, ended.err
    assert out.is_file()


def test_other_tests_of_the_model_need_no_picture(
    bare: BareTown, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    copied = BareTown(tmp_path / "copy")
    shutil.copytree(bare.folder, copied.folder)
    ended = housevis("validate", copied.config_file, "--origins", "2", "--runs", copied.runs)
    assert ended.code == 0, ended.err
    assert "icture" not in ended.out
    table = pd.read_parquet(copied.run.folder / "validation.parquet")
    assert set(table.loc[table["is_run_model"], "method"]) == {"attributes only"}
    housevis("report", copied.config_file, "--runs", copied.runs)
    page = visible_text(copied.run.report.read_text())
    assert "Linear hedonic" in page
    assert "icture" not in without_saying_so(page)
