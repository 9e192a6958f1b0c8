r"""Audacity's label tracks: each line has a beginning, an end and a label, with tabs between them.

https://manual.audacityteam.org/man/importing_and_exporting_labels.html. A line that begins with
`\` gives the frequencies of the label before it, and is left out.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from embedkit.datasets.times import seconds
from embedkit.errors import DatasetError

NUMBER = r"[-+]?[\d.,:eE+-]*\d[\d.,]*"
LINE = re.compile(rf"\s*{NUMBER}\t{NUMBER}(\t.*)?")
FREQUENCIES = "\\"


class Line(NamedTuple):
    """A label, and the number of its line."""

    number: int
    start_s: float
    end_s: float
    label: str


def is_label_track(text: str) -> bool:
    """Whether each of the first lines that are not blank is a label; true for an empty text."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    return all(LINE.fullmatch(line) or line.startswith(FREQUENCIES) for line in lines)


def read_label_track(text: str, path: object) -> Iterator[Line]:
    """The labels of a track.

    Args:
        text: content of the file.
        path: the name of the file in messages.

    Yields:
        the labels.

    Raises:
        DatasetError: a line is no label; names the line.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith(FREQUENCIES):
            continue
        start, end, label = [*line.split("\t", 2), "", ""][:3]
        times = [seconds(cell, "," if "," in cell else ".") for cell in (start, end)]
        if None in times:
            raise DatasetError(
                f"{path}, row {number}: expected a beginning, an end and a label with tabs between"
                f" them, as Audacity writes them; found {line[:60]!r}"
            )
        yield Line(number, times[0] or 0.0, times[1] or 0.0, label.strip())
