"""Tables of a corpus: CSV, TSV and Parquet files become numbered rows by column name."""

from __future__ import annotations

import csv
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.files.lines import ALL_LINES, MAX_LINE_BYTES, Told, every_line, refuse, text_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tamis.index.files.lines import Fault, Rows

    CheckHeader = Callable[[str, Sequence[str]], None]

_DELIMITERS = ",;\t"
_PARQUET_ROWS = 1024  # read at a time
_MSMARCO = ("_id", "text")
_MSMARCO_DOCUMENTS = ("_id", "url", "title", "text")


def csv_rows(name: str, stream: IO[bytes], check: CheckHeader, fault: Fault = refuse) -> Rows:
    """Rows of a table whose first line names its columns; comma, semicolon or tab between them.

    Args:
        name: of the file.
        stream: its bytes.
        check: told the file and the columns; refuses those that lack what is needed.
        fault: told of a line that is not UTF-8 or not a row of the table.

    Raises:
        InputError: through ``fault``; or the header lacks something.
    """
    told = Told(fault)
    lines = every_line(name, stream, told)  # a cell may hold blank ones
    first = next(lines, None)
    if first is None:
        return
    delimiter = max(_DELIMITERS, key=first[1].count)
    for number, row in _table(name, chain([first], lines), delimiter, check, fault):
        if not told.anything():  # of the row's lines
            yield number, row


def tsv_rows(
    name: str,
    stream: IO[bytes],
    is_header: Callable[[Sequence[str]], bool],
    check: CheckHeader,
    fault: Fault = refuse,
) -> Rows:
    """Rows of a file with tabs: a table with a header, or MS MARCO's without one.

    MS MARCO's passages are id and text, where the text may hold tabs; its documents are id, URL,
    title and text.

    Args:
        name: of the file.
        stream: its bytes.
        is_header: whether the cells of the first line name columns.
        check: as for `csv_rows`.
        fault: told of a line that is not UTF-8, or without a tab.
    """
    lines = text_lines(name, stream, fault)
    first = next(lines, None)
    if first is None:
        return
    cells = first[1].split("\t")
    every = chain([first], lines)
    if is_header(cells):
        yield from _table(name, every, "\t", check, fault)
    elif len(cells) == 4 and cells[1].startswith(("http://", "https://")):
        yield from _without_header(name, every, _MSMARCO_DOCUMENTS, fault)
    else:
        yield from _without_header(name, every, _MSMARCO, fault)


def _without_header(
    name: str, lines: Iterable[tuple[int, str]], columns: Sequence[str], fault: Fault
) -> Rows:
    for number, line in lines:
        cells = line.split("\t", len(columns) - 1)
        if len(cells) == len(columns):
            yield number, dict(zip(columns, cells, strict=True))
            continue
        fault(
            InputError(
                f"{name}:{number}: expected {', tab, '.join(columns).removeprefix('_')}; found "
                f"{_tabs(len(cells) - 1)}; separate them by a tab, or name the columns in a header"
            )
        )


def _tabs(count: int) -> str:
    return f"{count or 'no'} tab{'s' if count > 1 else ''}"


def _table(
    name: str,
    lines: Iterable[tuple[int, str]],
    delimiter: str,
    check: CheckHeader,
    fault: Fault,
) -> Rows:
    csv.field_size_limit(MAX_LINE_BYTES)
    texts = _Numbered(lines)
    reader = csv.reader(texts, strict=True, delimiter=delimiter)
    columns: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault(InputError(f"{name}:{texts.number}: expected CSV, found {error}; quote the cell"))
            continue
        if cells is None:
            return
        if columns is None:
            columns = [cell.strip() for cell in cells]
            check(name, columns)
        elif not cells:
            continue  # a blank line between rows
        elif len(cells) == len(columns):
            yield texts.number, dict(zip(columns, cells, strict=True))
        else:
            fault(
                InputError(
                    f"{name}:{texts.number}: expected {len(columns)} cells as in the header, found "
                    f"{len(cells)}; put a text that holds {delimiter!r} in double quotes"
                )
            )


class _Numbered:
    """Gives lines to a CSV reader, and remembers the number of the last one."""

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return line + "\n"


def parquet_rows(path: Path, check: CheckHeader, wanted: range = ALL_LINES) -> Rows:
    """The rows of a Parquet file, numbered from 1; needs pyarrow.

    Args:
        path: of the file.
        check: as for `csv_rows`.
        wanted: the numbers of the rows to read; row groups without any are not read.

    Raises:
        InputError: it is no Parquet file, lacks a column, or pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(
            f"{path}: expected pyarrow for a Parquet file, found it missing; "
            "install it with `pip install 'tamis[parquet]'`"
        ) from error
    try:
        with ParquetFile(path) as table:
            check(str(path), table.schema_arrow.names)
            for number, row in _rows(table, wanted):
                if number in wanted:
                    yield number, row
    except (ArrowException, OSError) as error:
        raise InputError(
            f"{path}: expected Parquet, found {error}; check that the file is whole"
        ) from error


def parquet_count(path: Path) -> int:
    """How many rows a Parquet file holds; 0 where it cannot be read, as reading it will tell."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_metadata
    except ImportError:
        return 0
    try:
        return int(read_metadata(path).num_rows)
    except (ArrowException, OSError):
        return 0


def _rows(table: Any, wanted: range) -> Rows:  # noqa: ANN401  pyarrow has no types
    """The rows of all row groups that hold a wanted one."""
    before = 0
    for group in range(table.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if before < wanted.stop - 1 and before + count >= wanted.start:
            batches = table.iter_batches(batch_size=_PARQUET_ROWS, row_groups=[group])
            rows = chain.from_iterable(batch.to_pylist() for batch in batches)
            yield from enumerate(rows, start=before + 1)
        before += count
