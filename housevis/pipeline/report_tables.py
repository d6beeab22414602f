"""The tables behind a run's report: every figure that it prints stands in one of them.

They lie in the run's folder as ``tables/<name>.parquet``; ``tables/index.json``
says what each holds and what its columns mean, with units.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from housevis.core.errors import DataError
from housevis.runs import Run, read_json, read_parquet, write_json, write_parquet

TABLES: Final = "tables"
"""The folder in a run's folder."""

INDEX: Final = "index.json"

SINGLE_HOUSES: Final = ("picture_moved_most", "biggest_misses")
"""Tables of the houses that the report shows one by one."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class ReportTable:
    """One table of the report.

    Attributes:
        name: Small letters, digits and underscores; its file is called so.
        holds: What it holds, in a sentence; "" where nobody said.
        table: The table itself.
        columns: Column -> what it means, with its unit; columns that are not named mean what they say.

    Raises:
        DataError: The name cannot be that of a file.
    """

    name: str
    holds: str
    table: pd.DataFrame
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(
                f"{self.name!r} cannot name a table",
                where="ReportTable",
                remedy="Use small letters, digits and underscores.",
            )


def table_file(run: Run, name: str) -> Path:
    """Where a table of a run lies."""
    return run.folder / TABLES / f"{name}.parquet"


def keep_tables(run: Run, tables: Iterable[ReportTable]) -> None:
    """Write tables into a run's folder, in place of those with the same names."""
    index = _index(run)
    for table in tables:
        path = table_file(run, table.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(table.table, path)
        index[table.name] = {"holds": table.holds, "columns": described(table)}
    write_json(run.folder / TABLES / INDEX, index)


def described(table: ReportTable) -> list[dict[str, str]]:
    """Name and meaning of every column of a table, in order."""
    return [{"name": str(name), "means": table.columns.get(str(name), "")} for name in table.table.columns]


def read_table(run: Run, name: str) -> pd.DataFrame | None:
    """A table of a run; None where it has none of that name.

    Raises:
        RunError: The file is damaged.
    """
    path = table_file(run, name)
    return read_parquet(path) if path.is_file() else None


def kept_tables(run: Run) -> list[ReportTable]:
    """All tables of a run: first those of the index in their order, then any other.

    Raises:
        RunError: A file is damaged.
    """
    index = _index(run)
    there = {path.stem for path in (run.folder / TABLES).glob("*.parquet") if _NAME.fullmatch(path.stem)}
    names = [name for name in index if name in there] + sorted(there - set(index))
    return [
        ReportTable(
            name,
            str(index.get(name, {}).get("holds", "")),
            read_parquet(table_file(run, name)),
            {each["name"]: each["means"] for each in index.get(name, {}).get("columns", [])},
        )
        for name in names
    ]


def report_shows(run: Run, house_ids: Collection[str]) -> bool:
    """Whether the report of a run shows one of some houses by itself, with its picture or as a miss."""
    tables = [read_table(run, name) for name in SINGLE_HOUSES]
    return any(table["house_id"].isin(set(house_ids)).any() for table in tables if table is not None)


def drop_houses(run: Run, house_ids: Collection[str]) -> int:
    """Take the rows of some houses out of all tables of a run; how many there were."""
    dropped = 0
    for path in sorted((run.folder / TABLES).glob("*.parquet")):
        table = read_parquet(path)
        named = [name for name in table.columns if str(name).endswith("house_id")]
        if named:
            kept = table[~table[named].isin(set(house_ids)).any(axis=1)]
            if len(kept) < len(table):
                write_parquet(kept, path)
                dropped += len(table) - len(kept)
    return dropped


def _index(run: Run) -> dict[str, Any]:
    path = run.folder / TABLES / INDEX
    return dict(read_json(path)) if path.is_file() else {}
