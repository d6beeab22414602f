"""The ratio studies of a run: written, taken up by old runs, shown and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from housevis.core.config_sections import RatioStudiesSection
from housevis.core.errors import ConfigError, RunError, UsageError
from housevis.pipeline.evaluating import evaluate
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.ratio_studies import RATIO_STUDIES, export_ratio_studies, read_ratio_studies
from housevis.pipeline.report_page import report
from housevis.pricing import metrics
from housevis.runs import find_run, read_parquet


def test_a_run_has_the_ratio_studies_of_its_later_sales(town) -> None:
    studies = read_ratio_studies(town.run)
    judged = read_parquet(town.run.estimates)
    later = judged[judged["sample"] == "later sale"]
    everything = studies[studies["by"] == "all"].set_index("figure")
    assert set(everything["sales"]) == {len(later)}
    estimate, price = later["estimate"].to_numpy(), later["price"].to_numpy()
    for name, statistic in metrics.STATISTICS.items():
        assert everything.loc[name, "value"] == pytest.approx(float(statistic(estimate, price)))
        assert town.run.metrics()["ratio_study"][name]["estimate"] == pytest.approx(
            everything.loc[name, "value"]
        )
    covered = town.run.metrics()["interval"]["covered"]
    assert everything.loc["covered", "value"] == pytest.approx(covered)
    assert {"decile of estimate", "quarter", "area", "kind"} <= set(studies["by"])
    assert "of the same sales within ±5 %" in town.out
    assert "Fair to whom" in town.run.report.read_text(encoding="utf-8")


def test_an_old_run_still_opens_and_gets_them_without_new_models(project: Project) -> None:
    run = find_run(project.workspace.folder.parent, project.config.name)
    before = read_ratio_studies(run)
    (run.folder / RATIO_STUDIES).unlink()
    with pytest.raises(RunError, match="no ratio studies"):
        export_ratio_studies(project, run.folder / "a.csv")
    report(project)
    assert "Fair to whom" not in run.report.read_text(encoding="utf-8")
    assert evaluate(project).skipped
    pd.testing.assert_frame_equal(read_ratio_studies(run), before)
    assert not report(project).skipped
    assert "Fair to whom" in run.report.read_text(encoding="utf-8")
    assert report(project).skipped


def test_another_grouping_is_taken_up_and_a_wrong_one_refused(town_copy) -> None:
    config = town_copy.config.model_copy(update={"ratio_studies": RatioStudiesSection(area="bedrooms")})
    with open_project(config, town_copy.runs) as project:
        assert evaluate(project).skipped
    studies = read_ratio_studies(town_copy.run)
    areas = studies.loc[studies["by"] == "area", "group"].unique().tolist()
    assert len(areas) > 1
    assert all(name.isdigit() or name == "not stated" for name in areas)
    config = config.model_copy(update={"ratio_studies": RatioStudiesSection(area="zone")})
    with open_project(config, town_copy.runs) as project, pytest.raises(ConfigError, match="zone"):
        evaluate(project)


def test_the_exported_tables_hold_the_same(project: Project, tmp_path: Path) -> None:
    run = find_run(project.workspace.folder.parent, project.config.name)
    studies = read_ratio_studies(run)
    result = export_ratio_studies(project, tmp_path / "new" / "studies.csv")
    read = pd.read_csv(tmp_path / "new" / "studies.csv")
    assert result.figures["rows"] == len(read) == len(studies)
    assert np.allclose(read["value"], studies["value"], equal_nan=True)
    assert read["verdict"].fillna("").tolist() == studies["verdict"].fillna("").tolist()
    export_ratio_studies(project, tmp_path / "studies.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "studies.parquet"), studies)
    with pytest.raises(UsageError, match="CSV or Parquet"):
        export_ratio_studies(project, tmp_path / "studies.gpkg")
