"""The tables of the report for others: CSV and Parquet files, or one Excel workbook."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from housevis.core.errors import UsageError
from housevis.core.storage import explained_disk_errors, new_file, write_file
from housevis.pipeline.harmless import STARTS_FORMULA, harmless
from housevis.pipeline.report_tables import INDEX, ReportTable, described
from housevis.pipeline.results import StepResult

CONTENTS: Final = "contents"
"""The first sheet of the workbook: what the others hold."""

_LONGEST_SHEET_NAME: Final = 31
_LONGEST_CELL: Final = 32_767
_MOST_ROWS: Final = 1_048_575
_WIDEST: Final = 60


def write_tables(tables: Sequence[ReportTable], folder: Path, *, run_id: str) -> StepResult:
    """Write every table as CSV and as Parquet, and ``index.json`` that says what they hold.

    A text that a spreadsheet would take for a formula (it starts with ``=``,
    ``+``, ``-`` or ``@``) has an apostrophe before it in the CSV; the Parquet
    file has it as it is.

    Args:
        tables: The tables.
        folder: The folder, made where it is not there; other files in it stay.
        run_id: The run they are of.

    Returns:
        Figures ``tables``, ``rows``, ``run_id``, ``folder``.

    Raises:
        UsageError: The folder is a file.
        StorageError: It cannot be written to.
    """
    started = time.perf_counter()
    if folder.exists() and not folder.is_dir():
        raise UsageError("this is a file", where=str(folder), remedy="Give --tables the name of a folder.")
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for each in tables:
            with new_file(folder / f"{each.name}.parquet") as stream:
                each.table.to_parquet(stream, index=False)
            text = harmless(each.table).to_csv(index=False, lineterminator="\n")
            write_file(folder / f"{each.name}.csv", text)
        index = {each.name: {"holds": each.holds, "columns": described(each)} for each in tables}
        write_file(folder / INDEX, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    lines = [f"tables of the report: {len(tables)} as CSV and Parquet in {folder}"]
    return _result(lines, tables, {"run_id": run_id, "folder": str(folder)}, started)


def write_workbook(tables: Sequence[ReportTable], file: Path, *, run_id: str) -> StepResult:
    """Write every table as a sheet of one Excel workbook, texts always as texts.

    Args:
        tables: The tables.
        file: The file; its name ends in ``.xlsx``.
        run_id: The run they are of.

    Returns:
        Figures ``tables``, ``rows``, ``run_id``, ``file``.

    Raises:
        UsageError: The name is of another kind of file, or a table has more rows than a sheet.
        StorageError: The file cannot be written.
    """
    started = time.perf_counter()
    if file.suffix.lower() != ".xlsx" or file.is_dir():
        raise UsageError(
            "a workbook is written as .xlsx",
            where=str(file),
            remedy="Give --excel a name that ends in .xlsx.",
        )
    longest = max(tables, key=lambda each: len(each.table), default=None)
    if longest is not None and len(longest.table) > _MOST_ROWS:
        raise UsageError(
            f"the table {longest.name} has {len(longest.table):,} rows, more than a sheet of Excel holds",
            where=str(file),
            remedy="Take --tables, which has no such limit.",
        )
    book = Workbook(write_only=True)
    names = _sheet_names([each.name for each in tables])
    contents = [
        {"sheet": name, "holds": each.holds, "column": column["name"], "means": column["means"]}
        for name, each in zip(names, tables, strict=True)
        for column in described(each)
    ]
    columns = ["sheet", "holds", "column", "means"]
    _add_sheet(book, CONTENTS, pd.DataFrame(contents, columns=columns))
    for name, each in zip(names, tables, strict=True):
        _add_sheet(book, name, each.table)
    with explained_disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file) as stream:
            book.save(stream)
    lines = [f"tables of the report: {len(tables)} sheets in {file}"]
    return _result(lines, tables, {"run_id": run_id, "file": str(file)}, started)


def _result(
    lines: list[str], tables: Sequence[ReportTable], figures: dict[str, Any], started: float
) -> StepResult:
    counts = {"tables": len(tables), "rows": sum(len(each.table) for each in tables)}
    return StepResult("report", lines, counts | figures, time.perf_counter() - started)


def _sheet_names(names: Sequence[str]) -> list[str]:
    """Names short enough for sheets, each once."""
    found: list[str] = []
    for name in names:
        short, number = name[:_LONGEST_SHEET_NAME], 2
        while short in found or short == CONTENTS:
            ending = f"_{number}"
            short, number = name[: _LONGEST_SHEET_NAME - len(ending)] + ending, number + 1
        found.append(short)
    return found


def _add_sheet(book: Workbook, name: str, table: pd.DataFrame) -> None:
    sheet = book.create_sheet(name)
    sheet.freeze_panes = "A2"
    for position, column in enumerate(table.columns, start=1):
        shown = [str(column), *map(str, table[column].head(50).tolist())]
        width = min(max(map(len, shown)) + 2, _WIDEST)
        sheet.column_dimensions[get_column_letter(position)].width = width
    heading = []
    for column in table.columns:
        cell = _text_cell(sheet, str(column))
        cell.font = Font(bold=True)
        heading.append(cell)
    sheet.append(heading)
    for row in _rows(table):
        sheet.append([_cell(sheet, value) for value in row])


def _rows(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].astype(object).tolist() for name in table.columns), strict=True)


def _cell(sheet: WriteOnlyWorksheet, value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().replace(tzinfo=None)
    if isinstance(value, bool | int):
        return value
    return _text_cell(sheet, str(value))


def _text_cell(sheet: WriteOnlyWorksheet, text: str) -> WriteOnlyCell:
    """A cell that is text whatever it starts with, and stays so when somebody edits it."""
    clean = ILLEGAL_CHARACTERS_RE.sub("", text)[:_LONGEST_CELL]
    cell = WriteOnlyCell(sheet, clean)
    cell.data_type = "s"
    if clean.startswith(STARTS_FORMULA):
        cell.quotePrefix = True
    return cell
