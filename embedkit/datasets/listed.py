"""A manifest: a CSV or Parquet with path and label, or labels; optional fold, split and group."""

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from embedkit.datasets.columns import LABEL, PATH, SEVERAL, find, normal, require
from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.names import Folder
from embedkit.datasets.table import Cell, Table, read_table, refuse_times
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)

SKIP = "skip"  # in place of a label: whoever labelled left this clip out
PRINTED_LIST = re.compile(r"""\[\s*(['"].*['"])?\s*\]""", re.DOTALL)
NOTHING, SKIPPED = "no label", f"labelled `{SKIP}`"
MISSING = frozenset({"na", "n/a", "#n/a", "nan", "none", "null", "<na>"})  # as programs write it


def read_listed(path: Path) -> Manifest:
    """Read a manifest; its paths are relative to the folder it stands in, or absolute.

    A column `labels` holds several labels, separated by `;`, or in Parquet a list. Rows without a
    label, or with the label `skip`, are left out, and counted in a warning.

    Raises:
        DatasetError: it is unreadable, has no column needed or two for one meaning, tells times
            within clips, names a clip twice, or has no labelled row.
    """
    table = read_table(path)
    refuse_times(table)
    headings = table.headings
    name_heading = require(PATH, headings, path)
    label_heading = require(LABEL, headings, path)
    folds, groups = _fact(table, "fold"), _fact(table, "group")
    # `Validation` must not be scored as if it were a test.
    splits = [split and split.casefold() for split in _fact(table, "split")]
    cells = table.cells(label_heading)
    several = normal(label_heading) in SEVERAL or any(isinstance(cell, tuple) for cell in cells)
    folder = Folder(path.parent)
    clips: dict[str, Clip] = {}
    rows: dict[str, int] = {}
    left_out: list[tuple[str, str]] = []
    for row, name, cell, fold, split, group in zip(
        table.rows, table.texts(name_heading), cells, folds, splits, groups, strict=True
    ):
        if name is None or not name.strip() or "\0" in name:
            raise DatasetError(f"{path}, row {row}: no path")
        if several and isinstance(cell, str) and PRINTED_LIST.fullmatch(cell.strip()):
            raise DatasetError(
                f"{path}, row {row}: {cell} is a list as Python prints it; separate the labels by"
                " `;`, or save the table as Parquet"
            )
        labels = _labels(cell, several)
        if labels in {(), (SKIP,)}:
            left_out.append((name, SKIPPED if labels else NOTHING))
            continue
        file = folder.file(name)
        place = os.path.normpath(file)
        if place in clips:
            raise DatasetError(
                f"{path}, row {row}: {name} stands there twice, first in row {rows[place]};"
                " expected one row a clip, with several labels in a column `labels`, separated"
                " by `;`"
            )
        rows[place] = row
        clips[place] = Clip(path=file, labels=labels, fold=fold, split=split, group=group)
    if not clips:
        raise DatasetError(
            f"{path}: expected rows with a path and a label; found:"
            f" {_counts(left_out) if left_out else 'no rows'}"
        )
    if left_out:
        log.warning("%s: rows left out: %s", path, _counts(left_out))
    _warn_of_doubts([clip.labels for clip in clips.values()], several, path)
    return Manifest(tuple(clips.values()), several_labels=several, left_out=tuple(left_out))


def _fact(table: Table, meaning: str) -> list[str | None]:
    heading = find(meaning, table.headings, table.path)
    if heading is None:
        return [None] * len(table.rows)
    return [(text and text.strip()) or None for text in table.texts(heading)]


def _labels(cell: Cell, several: bool) -> tuple[str, ...]:
    if not isinstance(cell, tuple):
        cell = tuple((cell or "").split(";")) if several else (cell or "",)
    return tuple(dict.fromkeys(label.strip() for label in cell if label.strip()))


def _warn_of_doubts(labels: Sequence[tuple[str, ...]], several: bool, path: Path) -> None:
    """Say what is read as a label, and may have been meant otherwise."""
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


def _counts(left_out: list[tuple[str, str]]) -> str:
    return ", ".join(f"{count} {why}" for why, count in Counter(w for _, w in left_out).items())
