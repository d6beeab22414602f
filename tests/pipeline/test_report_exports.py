from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from housevis.core.errors import DataError, UsageError
from housevis.pipeline.report_exports import CONTENTS, write_tables, write_workbook
from housevis.pipeline.report_tables import (
    ReportTable,
    drop_houses,
    keep_tables,
    kept_tables,
    read_table,
    report_shows,
)
from housevis.runs import Run

DANGEROUS = ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture
def hostile() -> ReportTable:
    frame = pd.DataFrame(
        {
            "house_id": ["=cmd|' /C calc'!A0", "plain", None],
            "=heading": ["-2", "a,b", 'quoted "text"'],
            "number": [1.5, float("nan"), -3.0],
            "day": pd.to_datetime(["2024-01-02", None, "2024-03-04"]),
            "yes": [True, False, True],
            "control": ["bell\x07", "ok", ""],
        }
    )
    return ReportTable("hostile", "=HYPERLINK(1)", frame, {"number": "+1"})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", {"run_id": "r"})


def test_texts_cannot_run_as_formulas_in_a_csv(hostile, tmp_path):
    write_tables([hostile], tmp_path / "out", run_id="r")
    back = pd.read_csv(tmp_path / "out" / "hostile.csv")
    assert back["house_id"].tolist()[:2] == ["'=cmd|' /C calc'!A0", "plain"]
    assert back["'=heading"].tolist() == ["'-2", "a,b", 'quoted "text"']
    assert back["number"].tolist()[::2] == [1.5, -3.0]


@pytest.mark.parametrize("text", DANGEROUS)
def test_every_way_to_start_a_formula_is_known(text, tmp_path):
    table = ReportTable("one", "", pd.DataFrame({"text": [text], "number": [-5]}))
    write_tables([table], tmp_path, run_id="r")
    write_workbook([table], tmp_path / "one.xlsx", run_id="r")
    assert pd.read_csv(tmp_path / "one.csv", lineterminator="\n")["text"].iloc[0].startswith("'")
    assert "-5" in (tmp_path / "one.csv").read_text()
    cell = openpyxl.load_workbook(tmp_path / "one.xlsx")["one"]["A2"]
    assert cell.data_type == "s"
    assert cell.quotePrefix


def test_parquet_keeps_the_texts_as_they_are(hostile, tmp_path):
    write_tables([hostile], tmp_path, run_id="r")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "hostile.parquet"), hostile.table)


def test_a_workbook_holds_no_formula_and_all_values(hostile, tmp_path):
    file = tmp_path / "deep" / "all.xlsx"
    write_workbook([hostile], file, run_id="r")
    with zipfile.ZipFile(file) as parts:
        for name in parts.namelist():
            if name.startswith("xl/worksheets"):
                assert b"<f>" not in parts.read(name)
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == [CONTENTS, "hostile"]
    rows = list(book["hostile"].iter_rows(values_only=True))
    assert rows[0] == tuple(hostile.table.columns)
    assert rows[1][0] == "=cmd|' /C calc'!A0"
    assert rows[1][2:5] == (1.5, pd.Timestamp("2024-01-02"), True)
    assert rows[1][5] == "bell"
    assert rows[2][2] is None
    assert rows[2][3] is None
    contents = list(book[CONTENTS].iter_rows(values_only=True))
    assert ("hostile", "=HYPERLINK(1)", "number", "+1") in contents


def test_sheets_have_names_of_their_own(tmp_path):
    long = "a_table_with_a_name_longer_than_a_sheet_allows"
    tables = [ReportTable(name, "", pd.DataFrame({"x": [1]})) for name in (long, f"{long}_too", "contents")]
    write_workbook(tables, tmp_path / "b.xlsx", run_id="r")
    names = openpyxl.load_workbook(tmp_path / "b.xlsx").sheetnames
    assert len(set(names)) == 4
    assert all(len(name) <= 31 for name in names)


def test_wrong_names_are_refused(hostile, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        write_tables([hostile], tmp_path / "file", run_id="r")
    for name in ("book.xls", "book"):
        with pytest.raises(UsageError, match="xlsx"):
            write_workbook([hostile], tmp_path / name, run_id="r")
    with pytest.raises(DataError, match="table"):
        ReportTable("../away", "", pd.DataFrame())


def test_the_index_says_what_every_column_means(hostile, run, tmp_path):
    keep_tables(run, [hostile])
    keep_tables(run, [ReportTable("second", "Two.", pd.DataFrame({"x": [1, 2]}))])
    assert [each.name for each in kept_tables(run)] == ["hostile", "second"]
    write_tables(kept_tables(run), tmp_path / "out", run_id="r")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["hostile"]["holds"] == "=HYPERLINK(1)"
    assert {"name": "number", "means": "+1"} in index["hostile"]["columns"]


def test_tables_that_others_wrote_are_found_too(run):
    keep_tables(run, [ReportTable("b_first", "One.", pd.DataFrame({"x": [1]}))])
    pd.DataFrame({"y": [2]}).to_parquet(run.folder / "tables" / "a_second.parquet")
    names = [each.name for each in kept_tables(run)]
    assert names == ["b_first", "a_second"]
    assert read_table(run, "a_second")["y"].tolist() == [2]
    assert read_table(run, "third") is None


def test_an_old_run_has_none(run):
    assert kept_tables(run) == []
    assert not report_shows(run, {"A"})
    assert drop_houses(run, {"A"}) == 0


def test_houses_are_taken_out_of_every_table(run):
    shown = pd.DataFrame({"house_id": ["A", "B"], "x": [1, 2]})
    beside = pd.DataFrame({"house_id": ["B", "C"], "comparable_house_id": ["A", "B"]})
    keep_tables(
        run,
        [
            ReportTable("biggest_misses", "", shown),
            ReportTable("beside", "", beside),
            ReportTable("sums", "", pd.DataFrame({"x": np.arange(3)})),
        ],
    )
    assert report_shows(run, {"A"})
    assert drop_houses(run, {"A"}) == 2
    assert read_table(run, "biggest_misses")["house_id"].tolist() == ["B"]
    assert read_table(run, "beside")["house_id"].tolist() == ["C"]
    assert len(read_table(run, "sums")) == 3
    assert not report_shows(run, {"A"})
