"""A CSV that people edit too: what is not changed stays as it was written, byte for byte."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedkit.errors import DatasetError

DELIMITERS = ",;\t"
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
    """Rows under named columns; encoding, delimiter and ends of lines are kept.

    Attributes:
        columns: their names.
        rows: may be taken out.
    """

    def __init__(self, columns: list[str]) -> None:
        """Without rows; as comma-separated UTF-8."""
        self._header = Row(columns)
        self.columns = columns
        self._encoding, self._delimiter, self._end = "utf-8", ",", "\r\n"
        self.rows: list[Row] = []

    @classmethod
    def read(cls, path: Path, columns: list[str]) -> Self:
        """Read a file; one that is not there, or is empty, has no rows.

        Columns are found by their names, whatever their capitals and the spaces around them.

        Args:
            path: text in UTF-8 or UTF-16, separated by comma, semicolon or tab.
            columns: that must be there.

        Raises:
            DatasetError: it is no such text, or a column is missing.
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
        """A cell; empty where the row is too short or there is no such column."""
        place = self.columns.index(column) if column in self.columns else len(row.cells)
        return row.cells[place] if place < len(row.cells) else ""

    def key(self, row: Row, but: str) -> tuple[str, ...]:
        """What a row says but for one column, to compare it by."""
        place = self.columns.index(but)
        text = list(row.cells[:place] + row.cells[place + 1 :])
        while text and not text[-1]:
            text.pop()
        return tuple(text)

    def values(self, row: Row) -> dict[str, str]:
        """The cells of a row by column."""
        return {column: self.get(row, column) for column in self.columns}

    def put(self, row: Row, values: Mapping[str, str]) -> None:
        """Change cells of a row; columns that are not there are added at the right."""
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
        """The file."""
        rows = (self._header, *self.rows)
        text = "".join(self._line(row.cells) if row.text is None else row.text for row in rows)
        return text.encode(self._encoding)

    def _parse(self, text: str, path: Path, columns: list[str]) -> None:
        lines = list(io.StringIO(text, newline=""))
        self._end = next((end for end in ("\r\n", "\n", "\r") if lines[0].endswith(end)), "\n")
        if not lines[-1].endswith(("\r", "\n")):
            lines[-1] += self._end
        for delimiter in DELIMITERS:
            rows = _rows(lines, delimiter)
            try:
                header = next(row for row in rows if any(map(str.strip, row.cells)))
            except csv.Error:  # it is not this delimiter
                continue
            plain = [name.strip().casefold() for name in header.cells]
            if set(columns) <= set(plain):
                own = zip(header.cells, plain, strict=True)
                self.columns = [name if name in columns else cell for cell, name in own]
                self._header, self._delimiter, self.rows = header, delimiter, list(rows)
                return
        raise DatasetError(
            f"{path}: expected the columns {' and '.join(columns)}, found: {lines[0].strip()[:200]}"
        )

    def _add(self, column: str) -> None:
        """Add a column; every row gets a cell of it, as other readers want it."""
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
