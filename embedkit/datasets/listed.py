"""Manifests: CSV or Parquet with path and label, or labels; fold, split and group are optional."""

import logging
import os
from pathlib import Path

from embedkit.datasets.cells import (
    NOTHING,
    SKIP,
    SKIPPED,
    counted,
    named_column,
    read_facts,
    read_labels,
    warn_of_doubts,
)
from embedkit.datasets.columns import LABEL, PATH, require
from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.marks import gathered
from embedkit.datasets.names import Folder
from embedkit.datasets.table import Table, read_table, refuse_times
from embedkit.datasets.timed import Layout, read_marks
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)


def read_listed(path: Path, label_column: str = "") -> Manifest:
    """Read a manifest; its paths are relative to the folder it stands in, or absolute.

    A column `labels` holds several labels, separated by `;`, or in Parquet a list. Rows without a
    label, or with the label `skip`, are left out, and counted in a warning. Where columns give
    times, or signs, labels are of stretches, of any number of rows a file; see `timed`.

    Args:
        path: a CSV or Parquet file.
        label_column: the heading of the labels, where it is none that is known.

    Returns:
        the clips with their labels.

    Raises:
        DatasetError: it is unreadable, has no column needed or two for one meaning, tells times
            in a way that is not known, names a clip of whole clips twice, or has no labelled row.
    """
    table = read_table(path)
    layout = Layout.of(table)
    if layout is not None:
        return gathered([read_marks(table, layout, label_column)], path)
    refuse_times(table)
    return _whole_clips(table, label_column)


def _whole_clips(table: Table, label_column: str) -> Manifest:
    path = table.path
    name_heading = require(PATH, table.headings, path)
    if label_column:
        label_heading = named_column(table, label_column)
    else:
        label_heading = require(LABEL, table.headings, path)
    all_labels, several = read_labels(table, label_heading)
    folder = Folder(path.parent)
    clips: dict[str, Clip] = {}
    rows: dict[str, int] = {}
    left_out: list[tuple[str, str]] = []
    for row, name, labels, (fold, split, group) in zip(
        table.rows, table.texts(name_heading), all_labels, read_facts(table), strict=True
    ):
        if name is None or not name.strip() or "\0" in name:
            raise DatasetError(f"{path}, row {row}: no path")
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
            f" {counted(left_out) if left_out else 'no rows'}"
        )
    if left_out:
        log.warning("%s: rows left out: %s", path, counted(left_out))
    warn_of_doubts([clip.labels for clip in clips.values()], several, path)
    return Manifest(tuple(clips.values()), several_labels=several, left_out=tuple(left_out))
