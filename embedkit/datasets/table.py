"""Reads a table that a person brings, CSV or Parquet, as columns of text."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedkit.datasets.columns import KNOWN, is_time, normal, tells_times
from embedkit.datasets.text import read_text
from embedkit.errors import DatasetError

DELIMITERS = (",", ";", "\t", "|")
BLANK = " \xa0" + "".join(DELIMITERS)
SEPARATOR = re.compile(r'\A"?sep=(.)"?[;,\t]*(?:\r\n|\r|\n)', re.IGNORECASE)  # Excel's own line
MAGIC = b"PAR1"  # with which Parquet begins
HEAD = 100_000  # characters in which a header ends
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
VALUES = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null),
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    *(pa.types.is_temporal, pa.types.is_binary, pa.types.is_large_binary),
)

Cell = str | tuple[str, ...] | None  # the tuple of a list in Parquet; None if nothing is there


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of a CSV or Parquet file.

    Attributes:
        path: the file.
        headings: headings of its columns, in their order, without spaces around them.
        rows: the number of each row [n] as a spreadsheet counts them: the header is row 1, and
            blank rows, which are left out, count.
        decimal: the decimal mark of its numbers, a dot or a comma.
        cells: reads a column [n] by its heading; raises DatasetError if it holds no text,
            numbers or lists of them.
    """

    path: Path
    headings: tuple[str, ...]
    rows: Sequence[int]
    decimal: str
    cells: Callable[[str], Sequence[Cell]]

    def texts(self, heading: str) -> list[str | None]:
        """A column of single values [n].

        Raises:
            DatasetError: it cannot be read, or holds lists.
        """
        texts: list[str | None] = []
        for cell in self.cells(heading):
            if isinstance(cell, tuple):
                raise DatasetError(f"{self.path}: the column {heading} holds lists, expected text")
            texts.append(cell)
        return texts

    def numbers(self, heading: str) -> NDArray[np.float64]:
        """A column of numbers [n].

        Raises:
            DatasetError: it cannot be read, or a cell holds no number; names the row.
        """
        values = []
        for row, text in zip(self.rows, self.texts(heading), strict=True):
            plain = (text or "").strip().replace(self.decimal, ".")
            if not NUMBER.fullmatch(plain):
                raise DatasetError(
                    f"{self.path}, row {row}: expected a number for {heading}, found {text or ''!r}"
                )
            values.append(float(plain))
        return np.array(values, np.float64)


def read_table(path: Path) -> Table:
    """Read a Parquet file, known by its suffix or its content, or a CSV file.

    Cells of a CSV are separated by commas, semicolons, tabs or bars, whichever give the header most
    known columns; `datasets.text` finds its encoding.

    Raises:
        DatasetError: it is neither, two columns have one name, or a row of the CSV has not as many
            cells as its header.
    """
    try:
        table = _parquet(path) if _is_parquet(path) else _csv(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: not a readable CSV or Parquet file: {error}") from error
    seen: dict[str, str] = {}
    for heading in table.headings:
        name = normal(heading) or heading
        if name in seen:
            raise DatasetError(
                f"{path}: the columns {seen[name]!r} and {heading!r} have one name; rename one"
            )
        seen[name] = heading
    return table


UNREADABLE = (
    ", and there are not two that say in seconds where a label begins and ends: call them start_s"
    " and end_s; or, if the labels are of whole clips, take the column out"
)


def refuse_times(table: Table, hint: str = UNREADABLE) -> None:
    """Refuse a table whose labels are of stretches of clips.

    Args:
        table: a table that should have labels of whole clips.
        hint: the end of the message.

    Raises:
        DatasetError: a column says where something begins or ends.
    """
    for heading in filter(tells_times, table.headings):
        cells = (cell if isinstance(cell, tuple) else (cell,) for cell in table.cells(heading))
        if any(is_time(text) for texts in cells for text in texts if text):
            raise DatasetError(
                f"{table.path}: the column {heading!r} gives times within clips{hint}"
            )


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() == ".parquet" or not path.is_file():  # a pipe is read only once
        return path.suffix.lower() == ".parquet"
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _csv(path: Path) -> Table:
    text = read_text(path)
    stated = SEPARATOR.match(text)
    if stated is not None:
        text, delimiter = text[stated.end() :], stated[1]
    else:
        delimiter = max(DELIMITERS, key=lambda one: _fit(_header(text, one)))
    try:
        (_, header), *records = list(_records(text, delimiter, path)) or [(1, [])]
        headings = [heading.strip().strip("\ufeff") for heading in header]
        counts = {len(cells) for _, cells in records}
        if counts == {len(headings) + 1} and all(cells[0].isdecimal() for _, cells in records):
            headings = ["", *headings]  # R numbers the rows, and has no heading for the numbers
        columns = _columns(headings, records, delimiter, path)
    except DatasetError as error:
        header = _header(text, delimiter)
        if _fit(header)[0]:
            raise
        first = ", ".join(header)[:100]  # a title, or a remark, stands above the header
        raise DatasetError(
            f"{error}. The first row is taken for the names of the columns, and has no name that is"
            f" known: {first}"
        ) from error
    return Table(
        path=path,
        # One without a heading is the numbering of a data frame, or the margin of a sheet.
        headings=tuple(heading for heading in headings if heading),
        rows=[number for number, _ in records],
        decimal="." if delimiter == "," else ",",
        cells=dict(zip(headings, columns, strict=True)).__getitem__,
    )


def _columns(
    headings: list[str], records: list[tuple[int, list[str]]], delimiter: str, path: Path
) -> list[list[str | None]]:
    """The cells of each column."""
    needed = max((number for number, heading in enumerate(headings, 1) if heading), default=0)
    columns: list[list[str | None]] = [[] for _ in headings]
    for number, cells in records:
        if len(cells) < needed or any(cells[len(headings) :]):
            raise DatasetError(
                f"{path}, row {number}: it has {len(cells)} cells, and the header has"
                f" {len(headings)}; a cell that holds {delimiter!r} must stand in quotes"
            )
        for column, cell in zip(columns, cells, strict=False):
            column.append(cell or None)
    return columns


def _fit(header: list[str]) -> tuple[int, int]:
    """How well a header was separated: into how many known columns, and how many in all."""
    return sum(normal(heading) in KNOWN for heading in header), len(header)


def _header(text: str, delimiter: str) -> list[str]:
    rows = csv.reader(io.StringIO(text[:HEAD], newline=""), delimiter=delimiter)
    return next(filter(_filled, rows), [])


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each row that is not blank."""
    # Where all headings are set off by a space, so are the cells, and quotes stand behind it.
    others = _header(text, delimiter)[1:]
    spaced = bool(others) and all(heading.startswith(" ") for heading in others)
    # Strict: else a quote that is never closed takes all that follows into its cell.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=spaced, strict=True
    )
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if _filled(cells):
                yield number, cells
    except csv.Error as error:
        raise DatasetError(
            f"{path}, row {number + 1}: not readable as CSV: {error}; a cell that begins with a"
            " quote ends with one, and a quote within it is doubled"
        ) from error


def _filled(cells: list[str]) -> bool:
    return any(cell.strip(BLANK) for cell in cells)


def _parquet(path: Path) -> Table:
    with pq.ParquetFile(path) as file:
        headings = file.schema_arrow.names
        count = file.metadata.num_rows

    def cells(heading: str) -> Sequence[Cell]:
        try:
            with pq.ParquetFile(path) as file:
                found = _cells(file.read([heading]).column(0))
            if len(found) != count:
                raise ValueError(f"it has {len(found)} rows of {count}")
            return found
        except (OSError, pa.ArrowException, TypeError, ValueError) as error:
            raise DatasetError(f"{path}: the column {heading} cannot be read: {error}") from error

    return Table(
        path=path, headings=tuple(headings), rows=range(2, count + 2), decimal=".", cells=cells
    )


def _cells(column: pa.ChunkedArray) -> Sequence[Cell]:
    if not any(known(column.type) for known in LISTS):
        return _texts(column)
    items = iter(_texts(pc.list_flatten(column)))
    lengths = pc.list_value_length(column).to_pylist()
    return [
        None if length is None else tuple(item for item in islice(items, length) if item)
        for length in lengths
    ]


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """Values as text: a whole number without a dot, and a missing value (null, NaN) as None."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not any(known(kind) for known in VALUES):
        raise TypeError(f"it holds {kind}, expected text or numbers")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column).cast(pa.string())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column = column.cast(pa.string())  # text whose writer did not mark it as such
    return [None if value in (None, "") else str(value) for value in column.to_pylist()]
