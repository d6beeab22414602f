"""Reading a listings file as text: CSV, TSV, Parquet, GeoJSON, GeoPackage.

Everything arrives as strings, so that the rules in
:mod:`data_pipeline.listings` judge what the file says and not what a reader
made of it.
"""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from housevis.core.errors import ConfigError, ListingsError

LATITUDE_COLUMN = "geometry_latitude"
LONGITUDE_COLUMN = "geometry_longitude"
"""Columns that the points of GeoJSON and GeoPackage become."""

_TEXT_SUFFIXES = {".csv", ".tsv", ".txt"}
_PARQUET_SUFFIXES = {".parquet", ".pq"}
_GEOMETRY_SUFFIXES = {".geojson", ".json", ".gpkg"}
_WGS84 = 4326


def read_table(path: Path, encoding: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A listings file as strings.

    Args:
        path: The file.
        encoding: Of a text file.

    Returns:
        The frame: strings, missing where a value is empty. Its index is the
        line of the file, the header being line 1; empty lines are left out.
        And the rows whose number of fields is not the header's: `row`, `detail`.

    Raises:
        ListingsError: The file is missing, empty, of an unknown kind, damaged
            or in another encoding; names the line where it can.
        ConfigError: The encoding is unknown.
    """
    _check_there(path)
    suffix = path.suffix.lower()
    if suffix in _TEXT_SUFFIXES:
        return _read_text(path, _codec(encoding))
    if suffix in _PARQUET_SUFFIXES:
        frame = _read_parquet(path)
    elif suffix in _GEOMETRY_SUFFIXES:
        frame = _read_geometry(path)
    else:
        raise ListingsError(
            f"listings of the kind {path.suffix or '(no suffix)'!r} cannot be read",
            where=str(path),
            remedy="Save them as .csv, .tsv, .parquet, .geojson or .gpkg.",
        )
    frame = _stripped(pd.DataFrame({str(name): _as_text(frame[name]) for name in frame.columns}))
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    return frame, pd.DataFrame(columns=["row", "detail"])


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise ListingsError(
            "this is a folder" if path.is_dir() else "there is no such listings file",
            where=str(path),
            remedy="Check listings.path; it starts from the folder of the configuration file.",
        )
    if path.stat().st_size == 0:
        raise ListingsError("the listings file is empty", where=str(path), remedy="Export it again.")


def _codec(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError(
            f"{encoding!r} is no known text encoding",
            where="listings.encoding",
            remedy='Set encoding = "utf-8" or encoding = "latin-1".',
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def _read_header(path: Path, codec: str) -> tuple[list[str], str]:
    """Column names and delimiter."""
    try:
        with path.open(encoding=codec, newline="") as file:
            first = file.readline()
            delimiter = _delimiter(path, first)
            file.seek(0)
            names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter))]
    except UnicodeError:
        raise _wrong_encoding(path, codec) from None
    except csv.Error as problem:
        raise _unreadable(path, str(problem)) from None
    if "\0" in first:
        raise _wrong_encoding(path, codec)
    if not any(names):
        raise ListingsError(
            "the first line is empty, so there are no column names",
            where=f"{path}, line 1",
            remedy="The first line must name the columns.",
        )
    return names, delimiter


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=outside_quotes.count)


def _wrong_encoding(path: Path, codec: str) -> ListingsError:
    name = codec.removesuffix("-sig")
    with path.open("rb") as file:
        begin = file.read(4)
        if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not name.startswith("utf-16"):
            return ListingsError(
                f"the file is UTF-16, not {name}",
                where=f"{path}, line 1",
                remedy='Set encoding = "utf-16" under [listings].',
            )
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode(codec if number == 1 else name)
            except UnicodeError:
                return ListingsError(
                    f"this line is not valid {name}",
                    where=f"{path}, line {number}",
                    remedy='Set encoding = "latin-1" under [listings], or save the file as UTF-8.',
                )
            if "\0" in text:
                return ListingsError(
                    "this line holds a null byte, so this is no text file",
                    where=f"{path}, line {number}",
                    remedy="Export it again as CSV in UTF-8.",
                )
    return ListingsError(
        f"the file is not valid {name}",
        where=str(path),
        remedy='Set encoding = "latin-1" under [listings], or save the file as UTF-8.',
    )


def _read_text(path: Path, codec: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pyarrow
    from pyarrow import csv as arrow

    names, delimiter = _read_header(path, codec)
    columns = [str(number) for number in range(len(names))]
    odd: list[tuple[int, str, int]] = []

    def set_aside(row: Any) -> str:
        odd.append((row.number, row.text, row.actual_columns))
        return "skip"

    try:
        table = arrow.read_csv(
            path,
            read_options=arrow.ReadOptions(
                use_threads=False, column_names=columns, encoding=codec.removesuffix("-sig")
            ),
            parse_options=arrow.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=set_aside,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=dict.fromkeys(columns, pyarrow.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except UnicodeError:
        raise _wrong_encoding(path, codec) from None
    except (pyarrow.ArrowException, OSError) as problem:
        if "UTF8" in str(problem):
            raise _wrong_encoding(path, codec) from None
        raise _unreadable(path, str(problem)) from None
    frame = table.to_pandas().astype("str")
    lines, odd_lines = _line_numbers(frame, [(number, text.count("\n")) for number, text, _ in odd])
    _check_quotes(path, codec, frame, lines, [text for _, text, _ in odd], odd_lines)
    frame.index = pd.Index(lines)
    frame.columns = pd.Index(names)
    frame = frame.iloc[1:].loc[:, ~frame.columns.duplicated()]
    frame = _stripped(frame.loc[frame.notna().any(axis=1)])
    malformed = pd.DataFrame(
        [
            (line, f"{count} fields, the header has {len(names)}")
            for line, (_, text, count) in zip(odd_lines, odd, strict=True)
            if text.strip()
        ],
        columns=["row", "detail"],
    )
    return frame, malformed


def _check_quotes(
    path: Path, codec: str, frame: pd.DataFrame, lines: list[int], odd: list[str], odd_lines: list[int]
) -> None:
    """A quote that is never closed would swallow the rest of the file into one value."""
    if codec.startswith(("utf-16", "utf-32")) or _count_quotes(path) % 2 == 0:
        return
    swallowing = [line for line, text in zip(odd_lines, odd, strict=True) if "\n" in text.strip()]
    for name in frame.columns:
        broken = frame[name].str.contains("\n", regex=False, na=False).to_numpy()
        swallowing += [lines[position] for position in np.flatnonzero(broken)[-1:]]
    if swallowing:
        raise ListingsError(
            "a double quote is opened and never closed",
            where=f"{path}, line {max(swallowing)}",
            remedy="Close the quote, or write it twice where it belongs to the value.",
        )


def _count_quotes(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))


def _line_numbers(frame: pd.DataFrame, odd: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The lines on which the records of `frame` and the odd ones begin; a quoted value may span lines.

    Args:
        frame: The regular records, the header first.
        odd: Record number (from 1) and line breaks of each other record.
    """
    breaks = np.zeros(len(frame) + len(odd), dtype=np.int64)
    is_odd = np.zeros(len(breaks), dtype=bool)
    for number, count in odd:
        is_odd[number - 1] = True
        breaks[number - 1] = count
    inside = np.zeros(len(frame), dtype=np.int64)
    for name in frame.columns:
        if frame[name].str.contains("\n", regex=False, na=False).any():
            inside += frame[name].str.count("\n").fillna(0).to_numpy(dtype=np.int64)
    breaks[~is_odd] = inside
    begins = 1 + np.arange(len(breaks)) + np.concatenate([[0], np.cumsum(breaks)[:-1]])
    return begins[~is_odd].tolist(), begins[is_odd].tolist()


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in frame.columns:
        values = frame[name].str.replace("\0", "", regex=False).str.strip()
        columns[name] = values.mask(values == "")
    return pd.DataFrame(columns, index=frame.index)


def _unreadable(path: Path, cause: str) -> ListingsError:
    cause = cause.removeprefix("Error tokenizing data. C error: ").strip()
    return ListingsError(
        f"the table cannot be read: {cause}",
        where=str(path),
        remedy="Look for a double quote that is opened and never closed, or export the file again.",
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError, ValueError) as problem:
        raise ListingsError(
            f"this is no Parquet file, or it is damaged ({problem.__class__.__name__})",
            where=str(path),
            remedy="Export it again.",
        ) from None


def _read_geometry(path: Path) -> pd.DataFrame:
    """A table whose geometries became :data:`LATITUDE_COLUMN` and :data:`LONGITUDE_COLUMN`."""
    import geopandas
    import pyogrio.errors

    try:
        table = geopandas.read_file(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, OSError, ValueError) as problem:
        raise ListingsError(
            f"the map file cannot be read ({problem.__class__.__name__})",
            where=str(path),
            remedy="Check that it opens in a GIS, then export it again as GeoJSON or GeoPackage.",
        ) from None
    frame = pd.DataFrame(table.drop(columns="geometry", errors="ignore"))
    if isinstance(table, geopandas.GeoDataFrame):
        points = table.geometry.representative_point()
        if points.crs is not None:
            points = points.to_crs(_WGS84)
        frame[LATITUDE_COLUMN], frame[LONGITUDE_COLUMN] = points.y, points.x
    return frame


def _as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.dt.strftime("%Y-%m-%d")
    return column.astype(object).where(column.notna(), None).map(str, na_action="ignore").astype("str")
