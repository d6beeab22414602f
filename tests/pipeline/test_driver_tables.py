"""The tables of drivers of a run: kept with it, taken up by old runs, shown in the report."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from housevis.core.config_sections import RatioStudiesSection
from housevis.pipeline.driver_tables import (
    BY_AREA,
    LOCATION_AND_PICTURE,
    OVER_TIME,
    keep_driver_tables,
    read_driver_tables,
)
from housevis.pipeline.evaluating import evaluate
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.report_page import report
from housevis.pipeline.report_tables import TABLES, kept_tables, table_file
from housevis.pipeline.sold import load_sold_houses
from housevis.runs import find_run, read_parquet

HEADING = "Where and when which driver counts"


def test_a_run_has_the_drivers_of_its_later_sales(town) -> None:
    tables = read_driver_tables(town.run)
    judged = read_parquet(town.run.estimates)
    later = judged[judged["sample"] == "later sale"]
    for table in (tables.by_area, tables.over_time):
        everything = table[table["by"] == "all"].set_index("driver")
        assert set(everything["sales"]) == {len(later)}
        assert [DRIVER_PREFIX + name for name in everything.index] == driver_columns(later)
        logs = np.log(later["estimate"] / later["base"])
        assert everything["mean_log"].sum() == pytest.approx(logs.mean())
        for name, row in everything.iterrows():
            assert row["mean_amount"] == pytest.approx(later[f"{DRIVER_PREFIX}{name}"].mean())
        groups = table[table["by"] != "all"].groupby("position")["sales"].first()
        assert groups.sum() == len(later)
    places = tables.location_and_picture
    assert places["sales"].iloc[0] == later["used_picture"].sum()
    assert places["swing_log"].iloc[0] > 0
    assert HEADING in town.run.report.read_text(encoding="utf-8")
    told = {each.name: each for each in kept_tables(town.run)}
    for name in (BY_AREA, OVER_TIME, LOCATION_AND_PICTURE):
        assert told[name].holds
        assert all(told[name].columns[str(column)] for column in told[name].table.columns)


def test_the_report_makes_them_for_an_old_run_and_keeps_them(project: Project) -> None:
    run = find_run(project.workspace.folder.parent, project.config.name)
    before = read_driver_tables(run)
    for name in (BY_AREA, OVER_TIME, LOCATION_AND_PICTURE):
        table_file(run, name).unlink()
    assert read_driver_tables(run) is None
    report(project)
    assert HEADING in run.report.read_text(encoding="utf-8")
    assert read_driver_tables(run).by_area.equals(before.by_area)
    assert read_driver_tables(run).location_and_picture.equals(before.location_and_picture)
    written = table_file(run, BY_AREA).stat().st_mtime_ns
    assert evaluate(project).skipped
    assert table_file(run, BY_AREA).stat().st_mtime_ns == written


def test_another_area_is_taken_up(town_copy) -> None:
    config = town_copy.config.model_copy(update={"ratio_studies": RatioStudiesSection(area="bedrooms")})
    with open_project(config, town_copy.runs) as project:
        keep_driver_tables(config, town_copy.run, load_sold_houses(project))
    areas = read_driver_tables(town_copy.run).by_area
    names = set(areas.loc[areas["by"] == "area", "group"])
    assert len(names) > 1
    assert all(name.isdigit() or name == "not stated" for name in names)


def test_estimates_of_other_sales_are_left_alone(town_copy) -> None:
    run = town_copy.run
    shutil.rmtree(run.folder / TABLES)
    judged = read_parquet(run.estimates)
    judged.iloc[1:].to_parquet(run.estimates)
    with open_project(town_copy.config, town_copy.runs) as project:
        keep_driver_tables(town_copy.config, run, load_sold_houses(project))
    assert read_driver_tables(run) is None
