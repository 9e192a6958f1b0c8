"""A CSV file that people edit too: what is not changed stays as it was written, byte for byte."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedkit.datasets.columns import END, LABEL, SEVERAL, find, normal, require
from embedkit.datasets.table import DELIMITERS, SEPARATOR, Table, refuse_times
from embedkit.datasets.timed import Layout
from embedkit.errors import DatasetError

_OF_CLIPS = (
    "; here labels are given to whole clips, and what that file says would be lost: it is left as"
    " it is. Name another file; `embedkit label --segments` goes on with one that has times"
)
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(eq=False)
class Row:
    """A row.

    Attributes:
        cells: the values, which may be fewer or more than the columns.
        text: the row as it was read, with its line's end; None once a cell has changed.
    """

    cells: list[str]
    text: str | None = None


class Spreadsheet:
    """Rows under named columns; encoding, delimiter and line ends are kept.

    Attributes:
        columns: names of the columns.
        rows: the rows; they may be taken out.
    """

    def __init__(self, columns: list[str]) -> None:
        """Make a sheet without rows, as comma-separated UTF-8."""
        self._first = ""  # Excel's own line, `sep=;`
        self._header = Row(columns)
        self.columns = columns
        self._encoding, self._delimiter, self._end = "utf-8", ",", "\r\n"
        self.rows: list[Row] = []

    @classmethod
    def read(cls, path: Path, columns: list[str]) -> Self:
        """Read a file; a file that is not there, or is empty, has no rows.

        Args:
            path: text in UTF-8 or UTF-16, separated as `datasets.table` knows it.
            columns: meanings of the columns that must be there. Whatever they are called in the
                file (see `datasets.columns`), they are called by these names here.

        Returns:
            the sheet.

        Raises:
            DatasetError: it is no such text, a column is missing, or it has stretches of clips and
                END is not among the columns.
        """
        made = cls(columns)
        try:
            content = path.read_bytes()
            mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
            made._encoding = MARKS.get(mark, "utf-8")
            text = content.decode(made._encoding)
            if "\0" in text:
                raise DatasetError(f"{path}: not a CSV: it has bytes that no text has")
            if text.strip():
                made._parse(text, path, columns)
        except FileNotFoundError:
            pass
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path}: not a CSV in UTF-8; save it as one: a spreadsheet program offers `CSV"
                " UTF-8` or asks for the character set"
            ) from error
        except (OSError, csv.Error) as error:
            raise DatasetError(f"{path}: not a readable CSV: {error}") from error
        return made

    def get(self, row: Row, column: str) -> str:
        """A cell.

        Args:
            row: the row.
            column: name of the column.

        Returns:
            its text; empty where the row is too short or there is no such column.
        """
        place = self.columns.index(column) if column in self.columns else len(row.cells)
        return row.cells[place] if place < len(row.cells) else ""

    def key(self, row: Row, but: str) -> tuple[str, ...]:
        """The cells of a row except for one column, to compare rows by.

        Args:
            row: the row.
            but: name of the column that is left out.

        Returns:
            the cells.
        """
        place = self.columns.index(but)
        text = list(row.cells[:place] + row.cells[place + 1 :])
        while text and not text[-1]:
            text.pop()
        return tuple(text)

    def values(self, row: Row) -> dict[str, str]:
        """The cells of a row by column."""
        return {column: self.get(row, column) for column in self.columns}

    def put(self, row: Row, values: Mapping[str, str]) -> None:
        """Change cells of a row; columns that are not there are added at the right.

        Args:
            row: the row.
            values: new cells by column.
        """
        for column in values:
            if column not in self.columns:
                self._add(column)
        for column, value in values.items():
            place = self.columns.index(column)
            if self.get(row, column) != value:
                row.cells += [""] * (place + 1 - len(row.cells))
                row.cells[place] = value
                row.text = None

    def append(self, values: Mapping[str, str]) -> Row:
        """Add a row at the end."""
        row = Row([""] * len(self.columns))
        self.rows.append(row)
        self.put(row, values)
        return row

    def to_bytes(self) -> bytes:
        """The content of the file."""
        rows = (self._header, *self.rows)
        text = "".join(self._line(row.cells) if row.text is None else row.text for row in rows)
        return (self._first + text).encode(self._encoding)

    def _parse(self, text: str, path: Path, columns: list[str]) -> None:
        stated = SEPARATOR.match(text)
        if stated is not None:
            self._first, text = stated[0], text[stated.end() :] or "\n"
        delimiters = DELIMITERS if stated is None else (stated[1],)
        lines = list(io.StringIO(text, newline=""))
        self._end = next((end for end in ("\r\n", "\n", "\r") if lines[0].endswith(end)), "\n")
        if not lines[-1].endswith(("\r", "\n")):
            lines[-1] += self._end
        for delimiter in delimiters:
            rows = _rows(lines, delimiter)
            try:
                header = next(row for row in rows if any(map(str.strip, row.cells)))
            except (csv.Error, StopIteration):  # it is not this delimiter, or all cells are blank
                continue
            ours = {find(meaning, header.cells, path): meaning for meaning in columns}
            if None not in ours:
                self.columns = [ours.get(heading, heading) for heading in header.cells]
                self._header, self._delimiter, self.rows = header, delimiter, list(rows)
                break
        else:
            headings = next(csv.reader(lines, delimiter=delimiters[0]))
            for meaning in columns:
                require(meaning, headings, path)
            raise DatasetError(f"{path}: not a readable CSV: its header has stray quotation marks")
        for heading in self._header.cells:
            if normal(heading) in SEVERAL and heading not in self.columns:
                raise DatasetError(
                    f"{path}: the column {heading!r} is for several labels a clip, and here each"
                    " clip has one; call it `label`"
                )
            if normal(heading) == "labels" and LABEL in columns:  # beside `label`
                raise DatasetError(
                    f"{path}: a new label would contradict its column {heading!r}, which other"
                    " programs may read; rename that one, or name another file"
                )
        if END not in columns:
            self._refuse_stretches(path)

    def _refuse_stretches(self, path: Path) -> None:
        """Refuse times and signs, which a program for labels of clips would lose."""

        def cells(column: str) -> list[str | None]:
            return [self.get(row, column) or None for row in self.rows]

        count = range(2, len(self.rows) + 2)
        headings = tuple(self.columns)
        table = Table(path=path, headings=headings, rows=count, decimal=".", cells=cells)
        refuse_times(table, _OF_CLIPS)
        if Layout.of(table) is not None:
            raise DatasetError(f"{path}: its labels have signs{_OF_CLIPS}")

    def _add(self, column: str) -> None:
        """Add a column; every row gets a cell in it, as other readers want it."""
        self.columns = [*self.columns, column]
        self._header = Row([*self._header.cells, column])
        for row in self.rows:
            missing = len(self.columns) - len(row.cells)
            if row.cells and missing > 0:
                row.cells += [""] * missing
                row.text = None

    def _line(self, cells: list[str]) -> str:
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter=self._delimiter, lineterminator=self._end).writerow(cells)
        return stream.getvalue()


def _rows(lines: list[str], delimiter: str) -> Iterator[Row]:
    """The rows of a CSV with their text. A quotation mark that is never closed is an error."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 0
    for cells in reader:
        yield Row(cells, "".join(lines[start : reader.line_num]))
        start = reader.line_num
