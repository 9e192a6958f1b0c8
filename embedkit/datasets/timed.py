"""Tables whose labels have a beginning and an end, or a sign; each row is a mark.

They are embedkit's manifests, Raven's selection tables, BirdNET's results, hoplite's annotations,
crowsetta's generic sequences, and others with a column for each of the two times.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedkit.datasets.cells import named_column, read_facts, read_labels
from embedkit.datasets.columns import (
    ANNOTATION,
    FILE_OFFSET,
    FROM,
    LABEL,
    LASTS,
    NAMES,
    PATH,
    SIGN,
    SOUND,
    TO,
    find,
    is_time,
    normal,
)
from embedkit.datasets.marks import Mark
from embedkit.datasets.names import Folder
from embedkit.datasets.pairs import paired
from embedkit.datasets.stretches import Sign
from embedkit.datasets.table import Table
from embedkit.datasets.times import seconds
from embedkit.errors import DatasetError

SIGNS = {
    **dict.fromkeys(("+", "positive", "right"), Sign.POSITIVE),
    **dict.fromkeys(("-", "−", "–", "negative", "wrong"), Sign.NEGATIVE),
    **dict.fromkeys(("?", "uncertain", "possible", "unsure"), Sign.UNCERTAIN),
}
NO_CALL = "nocall"  # BirdNET's, of a file in which it found nothing


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of times and signs; None where there is none.

    Attributes:
        start, end: beginning and end of a stretch, in seconds.
        lasts: its length, where there is no end.
        file_offset: the start within the file, where `start` counts from the first of many files.
        sign: sign of the label.
    """

    start: str | None = None
    end: str | None = None
    lasts: str | None = None
    file_offset: str | None = None
    sign: str | None = None

    @classmethod
    def of(cls, table: Table) -> Self | None:
        """The columns of a table of stretches or signs; None for any other table."""
        start, end, lasts, file_offset, sign = (
            find(meaning, table.headings, table.path)
            for meaning in (FROM, TO, LASTS, FILE_OFFSET, SIGN)
        )
        until = end or lasts
        if sign is not None and not any(parse_sign(text) for text in table.texts(sign)):
            sign = None  # it says something else
        if start and until and all(_tells(table, heading) for heading in (start, until)):
            return cls(
                start=start, end=end, lasts=None if end else lasts, file_offset=file_offset,
                sign=sign,
            )  # fmt: skip
        return None if sign is None else cls(sign=sign)


def _tells(table: Table, heading: str) -> bool:
    """Whether a column holds times; a column without rows may."""
    return not table.rows or any(is_time(text) for text in table.texts(heading) if text)


def parse_sign(text: str | None) -> Sign | None:
    """The sign that a text means; None for a blank cell or another word."""
    return SIGNS.get((text or "").strip().casefold())


def read_marks(table: Table, layout: Layout, label_column: str = "") -> tuple[list[Mark], bool]:
    """Read a table of stretches.

    Args:
        table: the table; without a column of sounds, it belongs to the sound of its own name.
        layout: its columns of times and signs.
        label_column: the heading of the labels; empty: found by its name.

    Returns:
        a mark for each row, and whether a row may have several labels.

    Raises:
        DatasetError: a row has no sound, or an unreadable time or sign; names the row.
    """
    labels, several = _labels(table, label_column)
    marks = [
        Mark(
            file=file,
            place=f"{table.path}, row {row}",
            labels=own,
            start_s=start_s,
            end_s=end_s,
            sign=sign,
            facts=facts,
        )
        for row, file, own, (start_s, end_s), sign, facts in zip(
            table.rows,
            _files(table),
            labels,
            _times(table, layout),
            _signs(table, layout),
            read_facts(table),
            strict=True,
        )
    ]
    return marks, several


def _labels(table: Table, column: str) -> tuple[list[tuple[str, ...]], bool]:
    headings, path = table.headings, table.path
    heading = (
        named_column(table, column)
        if column
        else find(LABEL, headings, path) or find(ANNOTATION, headings, path)
    )
    if heading is None:
        raise DatasetError(
            f"{path}: which column holds the labels? It has: {', '.join(headings) or 'no rows'};"
            f" name it by --label-column, or call it {NAMES[LABEL].ours[0]}"
        )
    labels, several = read_labels(table, heading)
    if any(normal(other) == "confidence" for other in headings):
        labels = [() if own == (NO_CALL,) else own for own in labels]
    return labels, several


def names_sounds(table: Table) -> bool:
    """Whether a table has a column of sounds; else it belongs to the sound of its own name."""
    return bool(_sound_columns(table))


def _sound_columns(table: Table) -> list[str]:
    own = find(PATH, table.headings, table.path)
    called = {normal(heading): heading for heading in table.headings}
    return [own] if own else [called[name] for name in NAMES[SOUND].ours if name in called]


def _files(table: Table) -> Iterator[Path]:
    """The sound of each row: the first of its names for which there is a file."""
    columns = [table.texts(heading) for heading in _sound_columns(table)]
    if not columns:
        yield from [paired(table.path)] * len(table.rows)
        return
    folder = Folder(table.path.parent)
    known: dict[tuple[str, ...], Path] = {}
    for row, cells in zip(table.rows, zip(*columns, strict=True), strict=True):
        names = tuple(cell for cell in cells if cell and cell.strip() and "\0" not in cell)
        if not names:
            raise DatasetError(f"{table.path}, row {row}: no path")
        if names not in known:
            files = [folder.file(name) for name in names]
            known[names] = next((file for file in files if os.path.lexists(file)), files[0])
        yield known[names]


def _times(table: Table, layout: Layout) -> Iterator[tuple[float, float]]:
    """Where each row begins and ends: from 0 to infinity where it says neither."""
    headings = (layout.start, layout.end or layout.lasts, layout.file_offset)
    starts, untils, offsets = (
        [None] * len(table.rows) if heading is None else table.texts(heading)
        for heading in headings
    )
    for row, *texts in zip(table.rows, starts, untils, offsets, strict=True):
        start, until, offset = (
            _seconds(table, row, heading, text)
            for heading, text in zip(headings, texts, strict=True)
        )
        if start is None and until is None:
            yield 0.0, math.inf
            continue
        if start is None or until is None:
            there, lacking = (headings[1], headings[0]) if start is None else headings[:2]
            raise DatasetError(
                f"{table.path}, row {row}: has a time in {there} and none in {lacking}; expected"
                " both, or of a label of the whole clip neither"
            )
        length = until if layout.lasts else until - start
        begins = start if offset is None else offset
        yield begins, begins + length if offset is not None or layout.lasts else until


def _seconds(table: Table, row: int, heading: str | None, text: str | None) -> float | None:
    if text is None or not text.strip():
        return None
    found = seconds(text, table.decimal)
    if found is None:
        raise DatasetError(
            f"{table.path}, row {row}: expected seconds, or hours, minutes and seconds as 1:02:03.5"
            f" for {heading}, found {text!r}"
        )
    return found


def _signs(table: Table, layout: Layout) -> Iterator[Sign]:
    texts = [None] * len(table.rows) if layout.sign is None else table.texts(layout.sign)
    for row, text in zip(table.rows, texts, strict=True):
        sign = parse_sign(text)
        if sign is None and text and text.strip():
            raise DatasetError(
                f"{table.path}, row {row}: expected +, - or ? (positive, negative, uncertain) for"
                f" {layout.sign}, found {text!r}"
            )
        yield sign or Sign.POSITIVE
