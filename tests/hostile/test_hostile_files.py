"""Hostile texts of listings in everything that is written: pages, scripts, tables for spreadsheets."""

from __future__ import annotations

import csv
import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from housevis.pipeline import estimate
from housevis.pipeline.harmless import STARTS_FORMULA
from housevis.pipeline.report_exports import write_tables, write_workbook
from housevis.pipeline.report_tables import kept_tables

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


class Active(HTMLParser):
    """Collects what could run on a page: scripts, handlers, addresses of other schemes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Any]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        for name, value in attrs:
            if name.startswith("on") or name in ("srcdoc", "formaction"):
                self.found.append((tag, name))
            if name in ("href", "src", "action") and re.match(
                r"\s*(javascript|vbscript|data:text)", value or ""
            ):
                self.found.append((tag, value))

    def handle_data(self, data: str) -> None:
        if self._inside and "hostile" in data:
            self.found.append(("script", data))

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def test_every_text_is_kept_as_it_is_or_as_documented(hostile_town: Any, texts: dict[str, str]) -> None:
    judged = pd.read_parquet(hostile_town.run.estimates)
    assert set(texts.values()) <= set(judged["house_id"])
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", house) for house in judged["house_id"])


def test_no_page_holds_anything_that_could_run(hostile_town: Any) -> None:
    run = hostile_town.run.folder
    pages = [run / "report.html", hostile_town.folder / "gallery.html"]
    pages += [run / "atlas" / "index.html", run / "atlas" / "house.html", *(run / "houses").glob("*.html")]
    assert len(pages) == 7
    for page in pages:
        active = Active()
        active.feed(page.read_text(encoding="utf-8"))
        assert active.found == [], page.name


def test_scripts_of_the_map_hold_no_sign_that_could_close_them(hostile_town: Any) -> None:
    scripts = [
        path for folder in ("data", "houses") for path in (hostile_town.run.atlas / folder).glob("*.js")
    ]
    assert len(scripts) > 10
    for script in scripts:
        text = script.read_bytes()
        assert text.isascii()
        assert not re.search(rb"[<>&]", text), script.name


def test_files_of_houses_stay_in_their_folder(hostile_town: Any) -> None:
    names = [path.name for path in (hostile_town.run.folder / "houses").iterdir()]
    assert len(names) == 3
    assert all(not re.search(r'[/\\<>:"|?*]', name) for name in names)
    assert not list(hostile_town.folder.parent.rglob("passwd*"))


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def assert_harmless(path: Path) -> None:
    for row in cells(path):
        for cell in row:
            assert not cell.startswith(STARTS_FORMULA) or NUMBER.fullmatch(cell), cell


@pytest.fixture(scope="module")
def tables(hostile_town: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    kept = kept_tables(hostile_town.run)
    write_tables(kept, folder, run_id="r")
    write_workbook(kept, folder / "all.xlsx", run_id="r")
    return folder


def test_no_cell_of_a_csv_runs_and_numbers_stay_numbers(tables: Path) -> None:
    written = list(tables.glob("*.csv"))
    assert len(written) > 5
    negative = 0
    for path in written:
        assert_harmless(path)
        negative += sum(cell.startswith("-") for row in cells(path) for cell in row)
    assert negative > 10


def test_no_cell_of_a_workbook_runs_and_texts_are_whole(tables: Path, texts: dict[str, str]) -> None:
    book = openpyxl.load_workbook(tables / "all.xlsx")
    shown, kinds = set(), set()
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                kinds.add(cell.data_type)
                shown.add(cell.value)
                if isinstance(cell.value, str) and cell.value.startswith(STARTS_FORMULA):
                    assert cell.quotePrefix
    assert kinds == {"b", "d", "inlineStr", "n", "s"}
    assert shown & set(texts.values())


def test_estimates_of_new_listings_do_not_run_either(
    hostile_town: Any, texts: dict[str, str], tmp_path: Path
) -> None:
    sales = pd.read_csv(hostile_town.folder / "sales.csv", dtype=str, lineterminator="\n")
    sales = sales[~sales["house_id"].str.fullmatch(r"h\d+")]
    sales.loc[sales.index[-1], "latitude"] = ""
    sales.drop(columns=["price", "date"]).to_csv(tmp_path / "new.csv", index=False, quoting=csv.QUOTE_ALL)
    out, supporting = tmp_path / "estimates.csv", tmp_path / "comparables.csv"
    estimate(
        tmp_path / "new.csv",
        hostile_town.runs,
        "hostile-town",
        imagery=None,
        out=out,
        as_of=date(2025, 6, 1),
        comparables=supporting,
    )
    found = {row[0].removeprefix("'") if row[0][1:2] in "=+-@" else row[0] for row in cells(out)[1:]}
    assert found == set(list(texts.values())[:-1])
    for path in (out, supporting, tmp_path / "estimates.csv.rejects.csv"):
        assert_harmless(path)
    assert all(NUMBER.fullmatch(row[1]) for row in cells(out)[1:])


def test_records_of_the_run_are_json_whatever_the_texts(hostile_town: Any) -> None:
    for path in hostile_town.run.folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
