"""Reading CSV and TSV files in parts of bounded size, with the line of every row."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.tables import Table
from housevis.core.errors import ConfigError, ListingsError

_ROW_BYTES = 160
_SMALLEST_BLOCK = 1 << 16
_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}


def open_text(path: Path, encoding: str, part_rows: int) -> Table:
    """Open a CSV or TSV file; the first line names the columns.

    Raises:
        ListingsError: The first line is empty, or not in this encoding.
        ConfigError: The encoding is unknown.
    """
    codec = _codec(encoding)
    names, delimiter = _read_header(path, codec)
    malformed: list[tuple[int, str]] = []

    def parts(wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        malformed.clear()
        reader = _Reader(path, codec, names, delimiter, max(part_rows * _ROW_BYTES, _SMALLEST_BLOCK))
        yield from reader.parts(wanted)
        malformed.extend(reader.malformed)

    kind = f"text in {codec.removesuffix('-sig')}, {_DELIMITERS[delimiter]} between the columns"
    return Table(path.name, str(path), kind, names, parts, malformed)


class _Reader:
    """One pass over a file."""

    def __init__(self, path: Path, codec: str, names: list[str], delimiter: str, block: int) -> None:
        self.path = path
        self.codec = codec
        self.names = names
        self.delimiter = delimiter
        self.block = block
        self.malformed: list[tuple[int, str]] = []
        self._odd: list[tuple[int, str, int]] = []
        self._broken = _Breaks()

    def parts(self, wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
        import pyarrow

        positions = [self.names.index(name) for name in wanted]
        done = 0
        line = 1
        try:
            for batch in self._batches():
                lines = self._lines(batch, done)
                line = int(lines[-1]) if len(lines) else line
                there = np.zeros(batch.num_rows, dtype=bool)
                for column in batch.columns:
                    there |= column.is_valid().to_numpy(zero_copy_only=False)
                there[: max(0, 1 - done)] = False
                done += batch.num_rows
                frame = batch.select(positions).to_pandas().set_axis(list(wanted), axis=1)
                frame = frame.astype("str").set_axis(pd.Index(lines, dtype="int64"))
                yield frame.loc[there]
        except UnicodeError:
            raise _wrong_encoding(self.path, self.codec) from None
        except (pyarrow.ArrowException, OSError) as problem:
            if "UTF8" in str(problem):
                raise _wrong_encoding(self.path, self.codec) from None
            if "straddling" in str(problem):
                raise _never_closed(self.path, f"{line + 1} or later") from None
            raise _unreadable(self.path, str(problem)) from None
        odd_lines = self._odd_lines()
        self._check_quotes(odd_lines)
        self.malformed = [
            (line, f"{count} fields, the header has {len(self.names)}")
            for line, (_, text, count) in zip(odd_lines, self._odd, strict=True)
            if text.strip()
        ]

    def _batches(self) -> Iterator[Any]:
        import pyarrow
        from pyarrow import csv as arrow

        def set_aside(row: Any) -> str:
            self._odd.append((row.number, row.text, row.actual_columns))
            return "skip"

        columns = [str(number) for number in range(len(self.names))]
        with arrow.open_csv(
            self.path,
            read_options=arrow.ReadOptions(
                use_threads=False,
                block_size=self.block,
                column_names=columns,
                encoding=self.codec.removesuffix("-sig"),
            ),
            parse_options=arrow.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=set_aside,
            ),
            convert_options=arrow.ConvertOptions(
                column_types=dict.fromkeys(columns, pyarrow.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        ) as reader:
            yield from reader

    def _lines(self, batch: Any, done: int) -> npt.NDArray[np.int64]:
        """The lines on which the records of a batch begin; a quoted value may span lines."""
        from pyarrow import compute

        inside = np.zeros(batch.num_rows, dtype=np.int64)
        for column in batch.columns:
            if compute.any(compute.match_substring(column, "\n")).as_py():
                count = compute.fill_null(compute.count_substring(column, "\n"), 0)
                inside += count.to_numpy(zero_copy_only=False)
        regular = done + np.arange(batch.num_rows)
        odd = np.array([number for number, _, _ in self._odd], dtype=np.int64)
        texts = [text for _, text, _ in self._odd]
        before = np.searchsorted(odd - 1 - np.arange(len(odd)), regular, side="right")
        odd_breaks = np.concatenate([[0], np.cumsum([text.count("\n") for text in texts])]).astype(np.int64)
        lines = 1 + regular + before + odd_breaks[before] + self._broken.total
        lines += np.concatenate([[0], np.cumsum(inside)[:-1]]).astype(np.int64)[: len(lines)]
        self._broken.add(regular, inside, lines)
        return lines

    def _odd_lines(self) -> list[int]:
        lines = []
        breaks = 0
        for place, (number, text, _) in enumerate(self._odd):
            regular_before = number - 1 - place
            lines.append(number + breaks + self._broken.before(regular_before))
            breaks += text.count("\n")
        return lines

    def _check_quotes(self, odd_lines: list[int]) -> None:
        """A quote that is never closed would swallow the rest of the file into one value."""
        if self.codec.startswith(("utf-16", "utf-32")) or _count_quotes(self.path) % 2 == 0:
            return
        swallowing = [
            line for line, (_, text, _) in zip(odd_lines, self._odd, strict=True) if "\n" in text.strip()
        ]
        swallowing += self._broken.lines[-1:]
        if swallowing:
            raise _never_closed(self.path, str(max(swallowing)))


class _Breaks:
    """Line breaks inside the values of regular records."""

    def __init__(self) -> None:
        self.total = 0
        self.lines: list[int] = []
        self._records: list[int] = []
        self._counts: list[int] = []

    def add(
        self, records: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]
    ) -> None:
        there = np.flatnonzero(counts)
        self._records += records[there].tolist()
        self._counts += counts[there].tolist()
        self.lines += lines[there].tolist()
        self.total += int(counts.sum())

    def before(self, record: int) -> int:
        """Breaks in the regular records before this one."""
        return sum(self._counts[: int(np.searchsorted(self._records, record))])


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
            names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
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
    if sum(1 for name in names if name) == 1:
        raise ListingsError(
            f"the first line names one column only ({next(filter(None, names))!r})",
            where=f"{path}, line 1",
            remedy="The first line must name the columns; take out titles above it.",
        )
    return names, delimiter


def _delimiter(path: Path, header: str) -> str:
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    if path.suffix.lower() == ".tsv" and "\t" in outside_quotes:
        return "\t"
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


def _count_quotes(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(1 << 20), b""))


def _never_closed(path: Path, line: str) -> ListingsError:
    return ListingsError(
        "a double quote is opened and never closed",
        where=f"{path}, line {line}",
        remedy="Close the quote, or write it twice where it belongs to the value.",
    )


def _unreadable(path: Path, cause: str) -> ListingsError:
    cause = cause.removeprefix("Error tokenizing data. C error: ").strip()
    return ListingsError(
        f"the table cannot be read: {cause}",
        where=str(path),
        remedy="Look for a double quote that is opened and never closed, or export the file again.",
    )
