"""The cells of label tables, whether their labels are of clips or of stretches."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from embedkit.datasets.columns import SEVERAL, find, normal
from embedkit.datasets.table import Cell, Table
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)

SKIP = "skip"  # in place of a label: whoever labelled left this clip out
NOTHING, SKIPPED = "no label", f"labelled `{SKIP}`"
FACTS = ("fold", "split", "group")
PRINTED_LIST = re.compile(r"""\[\s*(['"].*['"])?\s*\]""", re.DOTALL)
MISSING = frozenset({"na", "n/a", "#n/a", "nan", "none", "null", "<na>"})  # as programs write it

Facts = tuple[str | None, ...]  # as FACTS


def read_facts(table: Table) -> list[Facts]:
    """Fold, split and group of each row, where there are such columns."""
    folds, splits, groups = (_fact(table, meaning) for meaning in FACTS)
    # `Validation` must not be scored as if it were a test.
    splits = [split and split.casefold() for split in splits]
    return list(zip(folds, splits, groups, strict=True))


def _fact(table: Table, meaning: str) -> list[str | None]:
    heading = find(meaning, table.headings, table.path)
    if heading is None:
        return [None] * len(table.rows)
    return [(text and text.strip()) or None for text in table.texts(heading)]


def read_labels(table: Table, heading: str) -> tuple[list[tuple[str, ...]], bool]:
    """The labels of each row.

    Args:
        table: the table.
        heading: heading of the labels.

    Returns:
        the labels of each row, and whether a row may have several: separated by `;`, or in Parquet
            a list.

    Raises:
        DatasetError: a cell holds a list as Python prints it.
    """
    cells = table.cells(heading)
    several = normal(heading) in SEVERAL or any(isinstance(cell, tuple) for cell in cells)
    for row, cell in zip(table.rows, cells, strict=True):
        if several and isinstance(cell, str) and PRINTED_LIST.fullmatch(cell.strip()):
            raise DatasetError(
                f"{table.path}, row {row}: {cell} is a list as Python prints it; separate the"
                " labels by `;`, or save the table as Parquet"
            )
    return [_split(cell, several) for cell in cells], several


def _split(cell: Cell, several: bool) -> tuple[str, ...]:
    if not isinstance(cell, tuple):
        cell = tuple((cell or "").split(";")) if several else (cell or "",)
    return tuple(dict.fromkeys(label.strip() for label in cell if label.strip()))


def warn_of_doubts(labels: Sequence[tuple[str, ...]], several: bool, path: Path) -> None:
    """Warn of what is read as a label, and may have been meant otherwise.

    Args:
        labels: labels of each row.
        several: whether a row may have several.
        path: the table.
    """
    missing = [label for each in labels for label in each if label.casefold() in MISSING]
    if missing:
        log.warning(
            "%s: %r is taken for a label, of %d clips; if it says that there is none, leave these"
            " cells empty",
            path, missing[0], len(missing),
        )  # fmt: skip
    commas = [each[0] for each in labels if len(each) == 1 and "," in each[0]]
    if several and commas and all(len(each) == 1 for each in labels):
        log.warning(
            "%s: no cell has several labels; %r is taken for one. Labels are separated by `;`",
            path, commas[0],
        )  # fmt: skip


def counted(left_out: Sequence[tuple[str, str]]) -> str:
    """The number of rows that were left out, by the reason: `2 no label, 1 labelled skip`."""
    return ", ".join(f"{count} {why}" for why, count in Counter(w for _, w in left_out).items())


def named_column(table: Table, name: str) -> str:
    """The column of this name, even if its capitals and signs differ.

    Args:
        table: the table.
        name: name of the column.

    Returns:
        its heading.

    Raises:
        DatasetError: there is none.
    """
    same = [heading for heading in table.headings if name in (heading, normal(heading))]
    same += [heading for heading in table.headings if normal(heading) == normal(name)]
    if not same:
        there = ", ".join(table.headings) or "no rows"
        raise DatasetError(f"{table.path}: has no column {name!r}; it has: {there}")
    return same[0]
