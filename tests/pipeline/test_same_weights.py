"""Whether it matters whose weights a house borrows: kept with the run, said on its pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from housevis.pipeline.evaluating import evaluate
from housevis.pipeline.explaining import GLOBAL, LOCAL, explain, has_same_weights
from housevis.pipeline.pages import atlas
from housevis.pipeline.project import open_project
from housevis.pipeline.report_page import report
from housevis.pipeline.training import train
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import STEPS, find_run

KERNEL = '[siamese]\nobjective = "kernel"\nfeature_dimension = 1\npenalty = 0.3\n'


def card_data(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the map's cards show: the first view, and the details of all houses."""
    text = (folder / "data" / "houses.js").read_text(encoding="utf-8")
    view = json.loads(text.split("=", 1)[1].rstrip().rstrip(";"))
    details: list[dict[str, Any]] = []
    for number in range(-(-len(view["house"]) // view["chunkSize"])):
        chunk = (folder / "data" / f"details-{number}.js").read_text(encoding="utf-8")
        details += json.loads(chunk.split(",", 1)[1].rstrip().rstrip(";").removesuffix(")"))
    return view, details


def test_a_linear_learner_s_maps_are_called_global(town: Any) -> None:
    assert town.run.steps()["explain"]["figures"]["same_weights"] is True
    assert GLOBAL in town.out
    view, details = card_data(town.run.atlas)
    assert view["pictures"]["sameWeights"] is True
    overlays = (town.run.atlas / "data" / "overlays-0.js").read_text(encoding="utf-8")
    assert '"attention":"data:image/png' in overlays
    assert not any(detail["neighbour"] for detail in details)
    page = town.run.report.read_text(encoding="utf-8")
    assert "<b>Global</b>" in page
    assert "borrows the weights" not in page


def test_a_run_of_an_older_version_is_asked_for_its_learner(town_copy: Any) -> None:
    steps = json.loads((town_copy.run.folder / STEPS).read_text())
    del steps["explain"]["figures"]["same_weights"]
    (town_copy.run.folder / STEPS).write_text(json.dumps(steps))
    shutil.rmtree(town_copy.run.atlas)
    town_copy.run.report.unlink()
    with open_project(town_copy.config, town_copy.runs) as project:
        again = explain(project)
        assert again.skipped
        assert not {GLOBAL, LOCAL} & set(again.lines)
        assert has_same_weights(town_copy.run) is True
        atlas(project)
        report(project)
    assert card_data(town_copy.run.atlas)[0]["pictures"]["sameWeights"] is True
    assert "<b>Global</b>" in town_copy.run.report.read_text(encoding="utf-8")


def explained(town: Any, run: str, housevis: Callable[..., Any]) -> tuple[str, list[str]]:
    """New houses explained by a run: what is printed, and who lent the weights."""
    listings, out = town.write_listings("new.csv"), town.folder / "maps"
    done = housevis(
        "explain", listings, "--run", run, "--runs", town.runs, "--imagery", town.archive, "--out", out
    )
    assert done.code == 0, done.err
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        return done.out, stored["lenders"].tolist()


def test_new_houses_are_told_too_that_the_maps_are_global(
    town_copy: Any, housevis: Callable[..., Any]
) -> None:
    out, lenders = explained(town_copy, "small-town", housevis)
    assert GLOBAL in out
    assert lenders == [""] * 4


def test_a_kernel_regression_s_weights_differ_and_name_their_lender(
    town_copy: Any, housevis: Callable[..., Any]
) -> None:
    text = town_copy.config_file.read_text()
    text = text.replace("[siamese]\npenalty = 60.0\n", KERNEL)
    text = text.replace("rounds = 60", "rounds = 10\nfolds = 2")
    town_copy.config_file.write_text(text)
    with open_project(town_copy.config, town_copy.runs) as project:
        run_id = train(project).figures["run_id"]
        result = explain(project)
        evaluate(project)
    run = find_run(town_copy.runs, run_id)
    assert result.figures["same_weights"] is False
    assert has_same_weights(run) is False
    assert LOCAL in result.lines
    out, lenders = explained(town_copy, run_id, housevis)
    assert LOCAL in out
    assert GLOBAL not in out
    teachers = ValuationModel.load(run.serving).training["house_id"].astype(str)
    assert set(lenders) <= set(teachers)
