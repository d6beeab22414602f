"""Other tests of a run's model: who learns from whom, and that a stopped command goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import RunError, UsageError
from housevis.pipeline.project import Project
from housevis.pipeline.removal_files import remove_from_run
from housevis.pipeline.report_page import report
from housevis.pipeline.sold import SoldHouses, load_sold_houses
from housevis.pipeline.training import learner_penalties
from housevis.pipeline.validating import VALIDATION, read_validation, validate
from housevis.pipeline.validation_parts import PARTS, Part, finished_part, judge_part, parts_of
from housevis.pricing import metrics
from housevis.pricing.validation import (
    BOTH,
    BY_BLOCK,
    BY_DATE,
    BY_HOUSE,
    EVERYTHING,
    KNOWN,
    ROLLING_ORIGIN,
    TESTS,
)
from housevis.runs import find_run, read_parquet


def test_who_learns_from_whom(project: Project) -> None:
    sold = load_sold_houses(project)
    sales, later = sold.sales, ~sold.is_earlier
    judged = {test: parts_of(test, sold, project.config, 4) for test in TESTS}
    for test, parts in judged.items():
        times_judged = np.sum([part.judge for part in parts], axis=0)
        expected = later if test in (BY_DATE, ROLLING_ORIGIN) else sold.is_earlier
        np.testing.assert_array_equal(times_judged, expected.astype(int))
        for part in parts:
            assert not (part.teach & part.judge).any()
            assert not set(sales["house_id"][part.teach]) & set(sales["house_id"][part.judge])
            if test in (BY_HOUSE, BY_BLOCK):
                assert not (part.teach & later).any()
                assert not set(sold.groups[part.teach]) & set(sold.groups[part.judge])
            else:
                assert sales["sale_date"][part.teach].max() < sales["sale_date"][part.judge].min()
    taught = [int(part.teach.sum()) for part in judged[ROLLING_ORIGIN]]
    assert taught == sorted(set(taught))
    assert all(part.model_id is None for test in (ROLLING_ORIGIN, BY_BLOCK) for part in judged[test])


def with_later_sales_changed(sold: SoldHouses, part: Part) -> tuple[SoldHouses, Part]:
    """The same market, but prices from the origin on are others and one more house is sold then."""
    origin = sold.sales.loc[part.judge, "sale_date"].min()
    sales = sold.sales.copy()
    after = (sales["sale_date"] >= origin).to_numpy()
    sales.loc[after, "price"] *= 7.0
    neighbour = int(np.flatnonzero(part.teach)[0])
    planted = sales.iloc[[neighbour]].assign(
        sale_id="planted@x", house_id="planted", sale_date=origin, price=1e9
    )
    rows = np.append(np.arange(len(sales)), neighbour)
    changed = replace(
        sold,
        sales=pd.concat([sales, planted], ignore_index=True),
        pooled=sold.pooled[rows],
        image_keys=sold.image_keys[rows],
        groups=sold.groups[rows],
        is_earlier=np.append(sold.is_earlier, False),
        folds=np.append(sold.folds, -1),
    )
    same = replace(part, teach=np.append(part.teach, False), judge=np.append(part.judge, True))
    return changed, same


def test_a_planted_later_sale_changes_no_model_of_an_origin(project: Project) -> None:
    sold = load_sold_houses(project)
    run = find_run(project.workspace.folder.parent, project.config.name)
    penalties = learner_penalties(project, run, sold)
    estimates = read_parquet(run.estimates)
    part = parts_of(ROLLING_ORIGIN, sold, project.config, 3)[1]
    first = judge_part(run, sold, part, project.config, penalties, estimates)
    assert finished_part(run, sold, part) is not None
    changed, same = with_later_sales_changed(sold, part)
    assert finished_part(run, changed, same) is None
    second = judge_part(run, changed, same, project.config, penalties, estimates)
    assert second["sale_id"].tolist() == [*first["sale_id"], "planted@x"]
    for method in (name for name in first if name not in KNOWN):
        np.testing.assert_array_equal(second[method].to_numpy()[:-1], first[method].to_numpy())
    assert not np.array_equal(second["price"].to_numpy()[:-1], first["price"].to_numpy())


def test_a_stopped_command_goes_on_and_the_report_shows_the_tests(
    town_copy: Any, send_signal_when: Callable[..., Any], housevis: Callable[..., Any]
) -> None:
    run = town_copy.run
    assert "housevis validate CONFIG" in run.report.read_text(encoding="utf-8")
    first = run.folder / PARTS / "rolling-origin-1-of-2.parquet"
    command = ["validate", "town.toml", "--origins", "2"]
    ended = send_signal_when(town_copy.folder, command, first.is_file, signal.SIGINT)
    assert ended.code == 130
    assert "7 models to fit" in ended.err
    assert "what is finished is kept" in ended.err.lower()
    kept = {path: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    assert not (run.folder / VALIDATION).is_file()

    done = housevis("validate", town_copy.config_file, "--origins", "2", "--runs", town_copy.runs)
    assert done.code == 0, done.err
    assert "were finished before" in done.err
    assert all(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    table = read_validation(run)
    assert table["test"].unique().tolist() == list(TESTS)
    assert "rolling origin" in done.out
    own = table[table["is_run_model"] & (table["part"] == EVERYTHING)].set_index("test")
    assert own["method"].eq(BOTH).all()
    judged = read_parquet(run.estimates)
    for test, sample in ((BY_DATE, "later sale"), (BY_HOUSE, "cross-fitted")):
        of_run = judged[judged["sample"] == sample]
        share = metrics.pe(of_run["estimate"].to_numpy(), of_run["price"].to_numpy())
        assert own.loc[test, "pe10"] == pytest.approx(share)
    for test, reference in ((ROLLING_ORIGIN, BY_DATE), (BY_BLOCK, BY_HOUSE)):
        assert own.loc[test, "sales"] == own.loc[reference, "sales"]
        expected = own.loc[test, "pe10"] - own.loc[reference, "pe10"]
        assert own.loc[test, "difference"] == pytest.approx(expected)

    again = housevis("validate", town_copy.config_file, "--tests", "by-date", "--runs", town_copy.runs)
    assert "no model to fit" in again.err
    pd.testing.assert_frame_equal(read_validation(run), table)

    shown = housevis("report", town_copy.config_file, "--runs", town_copy.runs)
    assert shown.code == 0, shown.err
    page = run.report.read_text(encoding="utf-8")
    assert "housevis validate CONFIG" not in page
    assert "Nearest comparables" in page

    house_id = judged["house_id"][0]
    remove_from_run(run, [house_id])
    for path in (run.folder / PARTS).iterdir():
        assert house_id not in set(read_parquet(path)["house_id"])


def test_what_cannot_be_asked(project: Project) -> None:
    with pytest.raises(UsageError, match="no test 'by moon'"):
        validate(project, tests=["by-date", "by-moon"])
    with pytest.raises(UsageError, match="one origin"):
        validate(project, origins=0)
    run = find_run(project.workspace.folder.parent, project.config.name)
    (run.folder / "steps.json").unlink()
    with pytest.raises(RunError, match="'evaluate' is not finished"):
        validate(project)


def test_a_report_of_a_run_without_the_tests_says_how_to_make_them(project: Project) -> None:
    report(project)
    run = find_run(project.workspace.folder.parent, project.config.name)
    assert "Not measured for this run" in run.report.read_text(encoding="utf-8")
