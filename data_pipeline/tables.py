"""Opening a listings source: a table that is read in parts.

CSV and TSV arrive as strings; other kinds keep the types of their cells,
which :func:`data_pipeline.parsing.as_text` turns into strings one by one.
The rules in :mod:`data_pipeline.listings` thus judge what the source says and
not what a reader made of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from data_pipeline.column_names import LATITUDE_COLUMN, LONGITUDE_COLUMN
from housevis.core.errors import ListingsError

PART_ROWS = 25_000
"""Rows that are worked on at a time, about."""

_TEXT_SUFFIXES = {".csv", ".tsv", ".txt"}
_PARQUET_SUFFIXES = {".parquet", ".pq"}
_GEOMETRY_SUFFIXES = {".geojson", ".json", ".gpkg"}
_EXCEL_SUFFIXES = {".xlsx", ".xlsm"}
_WGS84 = 4326
_TITLE_ROWS = 1_000


@dataclass(frozen=True)
class Table:
    """A source of listings.

    Attributes:
        name: Short name, kept with rejected rows.
        where: Path or address, for messages; it holds no secret.
        kind: What was recognised, for a reader.
        header: Column names.
        parts: Column names -> the rows of these columns, part by part; the
            index is the line in the source, the header being line 1.
        malformed: Rows whose number of fields is not the header's: line and
            detail; complete when all parts have been read.
    """

    name: str
    where: str
    kind: str
    header: list[str]
    parts: Callable[[Sequence[str]], Iterator[pd.DataFrame]]
    malformed: list[tuple[int, str]] = field(default_factory=list)


def open_table(
    path: Path,
    *,
    encoding: str = "utf-8",
    sheet: str | None = None,
    crs: str = "EPSG:4326",
    part_rows: int = PART_ROWS,
) -> Table:
    """Open a listings file.

    Args:
        path: The file.
        encoding: Of a text file.
        sheet: Sheet of an Excel file or layer of a GeoPackage; None takes the first.
        crs: Of geometries that know none of their own.
        part_rows: Rows in a part, about.

    Raises:
        ListingsError: The file is missing, empty, of an unknown kind, damaged
            or in another encoding; names the line where it can. Reading the
            parts raises it too.
        ConfigError: The encoding is unknown.
    """
    _check_there(path)
    suffix = path.suffix.lower()
    if suffix in _TEXT_SUFFIXES:
        from data_pipeline.text_tables import open_text

        return open_text(path, encoding, part_rows)
    if suffix in _PARQUET_SUFFIXES:
        return _open_parquet(path, crs, part_rows)
    if suffix in _GEOMETRY_SUFFIXES:
        return _table_of(path, "map file", _read_geometry(path, sheet, crs), part_rows)
    if suffix in _EXCEL_SUFFIXES:
        return _open_excel(path, sheet, part_rows)
    raise ListingsError(
        f"listings of the kind {path.suffix or '(no suffix)'!r} cannot be read",
        where=str(path),
        remedy="Save them as .csv, .tsv, .parquet, .geojson, .gpkg or .xlsx; unpack what is compressed.",
    )


def frames(
    rows: Iterator[Sequence[Any]],
    header: Sequence[str],
    wanted: Sequence[str],
    first_line: int,
    part_rows: int,
) -> Iterator[pd.DataFrame]:
    """Rows of cells as frames of the wanted columns, `part_rows` at a time; empty rows are left out."""
    positions = [header.index(name) for name in wanted]
    line = first_line
    while block := list(islice(rows, part_rows)):
        lines = [line + number for number, row in enumerate(block) if any(cell is not None for cell in row)]
        kept = [block[number - line] for number in lines]
        columns = {
            name: pd.Series([row[at] if at < len(row) else None for row in kept], dtype=object)
            for name, at in zip(wanted, positions, strict=True)
        }
        yield pd.DataFrame(columns).set_axis(pd.Index(lines, dtype="int64"))
        line += len(block)


def first_rows(parts: Iterator[pd.DataFrame], count: int) -> tuple[pd.DataFrame, Iterator[pd.DataFrame]]:
    """The first `count` rows, and all parts again from the start."""
    held: list[pd.DataFrame] = []
    rows = 0
    while rows < count and (more := list(islice(parts, 1))):
        held += more
        rows += len(more[0])
    sample = pd.concat(held).iloc[:count] if held else pd.DataFrame()
    return sample, chain(held, parts)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise ListingsError(
            "this is a folder" if path.is_dir() else "there is no such listings file",
            where=str(path),
            remedy="Check listings.path; it starts from the folder of the configuration file.",
        )
    if path.stat().st_size == 0:
        raise ListingsError("the listings file is empty", where=str(path), remedy="Export it again.")


def _table_of(path: Path, kind: str, frame: pd.DataFrame, part_rows: int) -> Table:
    header = [str(name) for name in frame.columns]
    frame = frame.set_axis(header, axis=1).set_axis(pd.RangeIndex(2, len(frame) + 2))
    frame = frame.loc[:, ~frame.columns.duplicated()]

    def parts(wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), part_rows):
            yield frame.iloc[start : start + part_rows][list(wanted)]

    return Table(path.name, str(path), kind, header, parts)


def _open_parquet(path: Path, crs: str, part_rows: int) -> Table:
    import pyarrow
    from pyarrow import parquet

    def damaged(problem: Exception) -> ListingsError:
        return ListingsError(
            f"this is no Parquet file, or it is damaged ({problem.__class__.__name__})",
            where=str(path),
            remedy="Export it again.",
        )

    try:
        with parquet.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            geographic = b"geo" in (file.schema_arrow.metadata or {})
    except (pyarrow.ArrowException, OSError, ValueError) as problem:
        raise damaged(problem) from None
    if geographic:
        return _table_of(path, "GeoParquet", _read_geometry(path, None, crs), part_rows)

    def parts(wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        line = 2
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=part_rows, columns=list(wanted)):
                    frame = batch.to_pandas(ignore_metadata=True, integer_object_nulls=True)[list(wanted)]
                    yield frame.set_axis(pd.RangeIndex(line, line + len(frame)))
                    line += len(frame)
        except (pyarrow.ArrowException, OSError, ValueError) as problem:
            raise damaged(problem) from None

    return Table(path.name, str(path), "Parquet", header, parts)


def _open_excel(path: Path, sheet: str | None, part_rows: int) -> Table:
    import zipfile

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (
        *(InvalidFileException, zipfile.BadZipFile, OSError, ValueError),
        *(LookupError, AttributeError, TypeError),  # what openpyxl raises on parts it does not expect
    ) as problem:
        raise ListingsError(
            f"this is no Excel file, or it is damaged ({problem.__class__.__name__})",
            where=str(path),
            remedy="Open it in a spreadsheet program and save it again as .xlsx.",
        ) from None
    names = [worksheet.title for worksheet in book.worksheets]
    if sheet is not None and sheet not in names:
        book.close()
        raise _no_sheet(path, sheet, names)
    if not names:
        book.close()
        raise ListingsError("this workbook has no sheet of cells", where=str(path), remedy="Export it again.")
    chosen = sheet or names[0]
    book[chosen].reset_dimensions()  # a stray cell far right makes no row wider
    header_line, header = _excel_header(book[chosen].iter_rows(values_only=True))
    book.close()
    if not header:
        raise ListingsError(
            f"sheet {chosen!r} is empty",
            where=str(path),
            remedy=f"Set listings.sheet to one of: {', '.join(name for name in names if name != chosen)}."
            if len(names) > 1
            else "Export it again.",
        )

    def parts(wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            again[chosen].reset_dimensions()
            cells = islice(again[chosen].iter_rows(values_only=True), header_line, None)
            yield from frames(cells, header, wanted, header_line + 1, part_rows)
        finally:
            again.close()

    kind = f"Excel, sheet {chosen!r}, columns named in row {header_line}"
    return Table(path.name, str(path), kind, header, parts)


def _excel_header(rows: Iterator[Sequence[Any]]) -> tuple[int, list[str]]:
    """The first row that names two columns or more, else the first that is not empty; 0 where all are."""
    first: tuple[int, list[str]] = (0, [])
    for line, row in enumerate(islice(rows, _TITLE_ROWS), start=1):
        names = ["" if cell is None else str(cell).strip() for cell in row]
        if sum(1 for name in names if name) > 1:
            return line, names
        if any(names) and not first[0]:
            first = line, names
    return first


def _no_sheet(path: Path, sheet: str, names: Sequence[str]) -> ListingsError:
    return ListingsError(
        f"there is no sheet or layer {sheet!r}",
        where=str(path),
        remedy=f"Set listings.sheet to one of: {', '.join(names)}.",
    )


def _read_geometry(path: Path, layer: str | None, crs: str) -> pd.DataFrame:
    """A table whose geometries became coordinates in degrees."""
    import geopandas
    import pyogrio
    import pyogrio.errors

    problems = (
        *(pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError),
        *(OSError, ValueError),
    )
    try:
        if path.suffix.lower() in _PARQUET_SUFFIXES:
            table = geopandas.read_parquet(path)
        else:
            layers = [str(name) for name, _ in pyogrio.list_layers(path)]
            if layer is not None and layer not in layers:
                raise _no_sheet(path, layer, layers)
            table = geopandas.read_file(path, layer=layer or layers[0])
    except problems as problem:
        raise ListingsError(
            f"the map file cannot be read ({problem.__class__.__name__})",
            where=str(path),
            remedy="Check that it opens in a GIS, then export it again as GeoJSON or GeoPackage.",
        ) from None
    if not isinstance(table, geopandas.GeoDataFrame):
        return pd.DataFrame(table)
    frame = pd.DataFrame(table.drop(columns=table.geometry.name))
    points = table.geometry.representative_point()
    points = points.set_crs(crs) if points.crs is None else points
    points = points.to_crs(_WGS84)
    frame[LATITUDE_COLUMN], frame[LONGITUDE_COLUMN] = points.y, points.x
    return frame
