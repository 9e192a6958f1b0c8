"""Marks that a person makes on stretches of recordings, in a CSV file that others read too."""

import math
from collections.abc import Collection, Iterable
from pathlib import Path

from embedkit.datasets.columns import END, LABEL, PATH, SIGN, START
from embedkit.datasets.names import match
from embedkit.datasets.stretches import Placed, Sign, Stretch, refuse_contradictions
from embedkit.datasets.timed import parse_sign
from embedkit.datasets.times import seconds
from embedkit.errors import DatasetError
from embedkit.labels.answers import LONGEST, edit_rows
from embedkit.labels.spreadsheet import Row, Spreadsheet

COLUMNS = [PATH, START, END, LABEL]


class Marks:
    """Stretches with a label and a sign, as `classify fit` and `label --segments` read them.

    The file is what counts: each change is made to it as it is then, under a lock, and is on the
    disk when the call returns. Rows and columns that are no part of a change stay.

    Attributes:
        path: the CSV file; it is made with the first mark.
    """

    def __init__(self, path: Path, clips: Collection[str]) -> None:
        """Open a file of marks.

        Args:
            path: the CSV file.
            clips: names of the clips of the collection.

        Raises:
            DatasetError: it is not a CSV of labels with times.
        """
        self.path, self._clips = path, clips
        self.stretches()

    def stretches(self) -> list[Stretch]:
        """What the file says of the collection's clips, in its order.

        Raises:
            DatasetError: it is not a CSV of labels with times.
        """
        found = Spreadsheet.read(self.path, COLUMNS)
        return [stretch for _, stretch in self._rows(found)]

    def put(self, stretch: Stretch) -> None:
        """Make a mark; a mark of the same stretch and label gets its sign.

        Raises:
            DatasetError: the label is empty, too long or holds control characters; the stretch ends
                before it begins; or the mark contradicts another one. Nothing has changed.
        """
        _check(stretch)

        def change(found: Spreadsheet) -> None:
            for row, _ in self._same(found, stretch):
                found.rows.remove(row)
            found.append(_cells(stretch))
            self._refuse(found)

        edit_rows(self.path, COLUMNS, change)

    def take(self, stretch: Stretch) -> None:
        """Take a mark away, whatever its sign.

        Raises:
            DatasetError: the file cannot be written.
        """

        def change(found: Spreadsheet) -> None:
            for row, _ in self._same(found, stretch):
                found.rows.remove(row)

        edit_rows(self.path, COLUMNS, change)

    def add(self, stretches: Iterable[Stretch]) -> int:
        """Make many marks, such as those of a table.

        Returns:
            how many of them were new.

        Raises:
            DatasetError: as for `put`.
        """
        made = list(stretches)
        count = 0
        for stretch in made:
            _check(stretch)

        def change(found: Spreadsheet) -> None:
            nonlocal count
            there = {_key(stretch) for _, stretch in self._rows(found)}
            fresh = [stretch for stretch in made if _key(stretch) not in there]
            for stretch in fresh:
                found.append(_cells(stretch))
            self._refuse(found)
            count = len(fresh)

        edit_rows(self.path, COLUMNS, change)
        return count

    def _rows(self, found: Spreadsheet) -> list[tuple[Row, Stretch]]:
        paths = [found.get(row, PATH) for row in found.rows]
        meant = match(paths, self._clips)
        rows = []
        for row, path in zip(found.rows, paths, strict=True):
            start_s, end_s = (seconds(found.get(row, name)) for name in (START, END))
            label = found.get(row, LABEL).strip()
            if path in meant and label and start_s is not None and end_s is not None:
                sign = parse_sign(found.get(row, SIGN)) or Sign.POSITIVE
                stretch = Stretch(
                    clip=meant[path], start_s=start_s, end_s=end_s, label=label, sign=sign
                )
                rows.append((row, stretch))
        return rows

    def _same(self, found: Spreadsheet, stretch: Stretch) -> list[tuple[Row, Stretch]]:
        return [each for each in self._rows(found) if _key(each[1]) == _key(stretch)]

    def _refuse(self, found: Spreadsheet) -> None:
        """Refuse a file that contradicts itself, since nobody could learn from it."""
        refuse_contradictions([Placed(stretch, str(stretch)) for _, stretch in self._rows(found)])


def _key(stretch: Stretch) -> tuple[str, str, int, int]:
    times = round(1000 * stretch.start_s), round(1000 * stretch.end_s)
    return stretch.clip, stretch.label, *times


def _check(stretch: Stretch) -> None:
    if not 0 < len(stretch.label) <= LONGEST or not stretch.label.isprintable():
        raise DatasetError(f"a label has 1 to {LONGEST} characters, all printable")
    if not (0 <= stretch.start_s < stretch.end_s and math.isfinite(stretch.end_s)):
        raise DatasetError(f"{stretch}: a stretch ends after it begins")


def _cells(stretch: Stretch) -> dict[str, str]:
    return {
        PATH: stretch.clip,
        START: f"{stretch.start_s:.10g}",
        END: f"{stretch.end_s:.10g}",
        LABEL: stretch.label,
        SIGN: stretch.sign.value,
    }
