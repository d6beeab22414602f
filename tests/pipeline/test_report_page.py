"""The report of a finished run, its tables and files."""

from __future__ import annotations

import json
from dataclasses import replace

import openpyxl
import pandas as pd
import pytest

from housevis import pipeline
from housevis.pipeline.ratio_studies import RATIO_STUDIES
from housevis.pipeline.report_evidence import all_tables
from housevis.pipeline.report_figures import HOLDS
from housevis.pipeline.report_tables import TABLES


def test_every_own_table_is_described(town):
    tables = {each.name: each for each in all_tables(town.run)}
    assert set(HOLDS) - {"market_index"} <= set(tables)
    for name in HOLDS:
        if name in tables:
            assert tables[name].holds
    assert len(tables["estimates"].table) == len(pd.read_parquet(town.run.estimates))


def test_a_finished_report_is_not_made_twice_but_follows_its_tables(project, town_copy):
    assert pipeline.report(project).skipped
    page = town_copy.run.report.read_text()
    extra = pd.DataFrame({"x": [1]})
    extra.to_parquet(town_copy.run.folder / TABLES / "from_elsewhere.parquet")
    assert not pipeline.report(project).skipped
    assert pipeline.report(project).skipped
    assert page.count("<h2") == town_copy.run.report.read_text().count("<h2")


def test_the_tables_are_exported_each_way(project, town_copy, tmp_path):
    folder, book = tmp_path / "tables", tmp_path / "tables.xlsx"
    written = pipeline.export_report_tables(project, folder, book)
    names = {each.name for each in all_tables(town_copy.run)}
    assert {path.stem for path in folder.glob("*.csv")} == names
    assert {path.stem for path in folder.glob("*.parquet")} == names
    assert set(json.loads((folder / "index.json").read_text())) == names
    assert len(openpyxl.load_workbook(book, read_only=True).sheetnames) == len(names) + 1
    assert [result.figures["tables"] for result in written] == [len(names)] * 2
    assert pipeline.export_report_tables(project, None, None) == []


def test_the_houses_shown_are_later_sales_with_pictures_of_their_own(town):
    later = pd.read_parquet(town.run.estimates).query("sample == 'later sale'")
    page = town.run.report.read_text()
    for name in ("picture_moved_most", "biggest_misses"):
        table = pd.read_parquet(town.run.folder / TABLES / f"{name}.parquet")
        assert set(table["sale_id"]) <= set(later["sale_id"])
        for house_id in table["house_id"]:
            assert house_id in page
    assert page.count("data:image/webp;base64,") == 10


def test_a_removed_house_is_in_no_table_and_no_report(project, town_copy):
    shown = pd.read_parquet(town_copy.run.folder / TABLES / "picture_moved_most.parquet")
    house = str(shown["house_id"].iloc[0])
    run = town_copy.run
    pipeline.remove(project, [house])
    for path in (run.folder / TABLES).glob("*.parquet"):
        assert house not in pd.read_parquet(path).astype(str).to_numpy()
    assert not run.report.is_file()


def test_a_run_evaluated_before_there_were_groups_still_gets_its_report(project, town_copy):
    (town_copy.run.folder / RATIO_STUDIES).unlink()
    assert not pipeline.report(project).skipped
    assert "This run has no ratio studies by tenth" in town_copy.run.report.read_text()


@pytest.mark.parametrize("area_unit", ["m2", "ft2"])
def test_areas_are_in_the_unit_asked_for(project, town_copy, area_unit):
    listings = project.config.listings.model_copy(update={"area_unit": area_unit})
    changed = replace(project, config=project.config.model_copy(update={"listings": listings}))
    pipeline.report(changed)
    page = town_copy.run.report.read_text()
    assert ("ft²" in page) == (area_unit == "ft2")
