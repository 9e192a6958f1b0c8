"""Helpers for the readers of published collections, whose tables are checked and never trusted."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.table import read_table
from embedkit.errors import DatasetError

MISSING = "missing"


def read_columns(path: Path, columns: tuple[str, ...], origin: str) -> list[tuple[str, ...]]:
    """The named columns of every row of a CSV file.

    Args:
        path: the file.
        columns: headings of the columns.
        origin: where the file comes from, for messages.

    Returns:
        the cells of each row.

    Raises:
        DatasetError: there is no such file, it is unreadable, or a row lacks a column.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; it comes with {origin}")
    table = read_table(path)
    if not set(columns) <= set(table.headings):
        raise DatasetError(
            f"{path}: expected {', '.join(columns)}, found {', '.join(table.headings)};"
            f" the file as published comes with {origin}"
        )
    rows = zip(*(table.texts(column) for column in columns), strict=True)
    whole = []
    for number, row in zip(table.rows, rows, strict=True):
        cells = tuple(cell or "" for cell in row)
        if not all(cells):
            raise DatasetError(
                f"{path}, row {number}: expected {', '.join(columns)}, found {cells};"
                f" the file as published comes with {origin}"
            )
        whole.append(cells)
    return whole


def in_order(classes: Iterable[tuple[str, str]], path: Path) -> tuple[str, ...]:
    """Names of classes in the order of their published numbers.

    Args:
        classes: number and name of each class.
        path: the table, for the message.

    Returns:
        the names.

    Raises:
        DatasetError: a number cannot be read.
    """
    try:
        return tuple(name for _, name in sorted({(int(number), name) for number, name in classes}))
    except ValueError as error:
        raise DatasetError(f"{path}: the number of a class is none: {error}") from error


def audio_path(folder: Path, name: str, path: Path) -> Path:
    """The path of a file in a folder.

    Args:
        folder: the folder.
        name: name of the file.
        path: the table that names it, for the message.

    Returns:
        its path.

    Raises:
        DatasetError: `name` is no plain file name: a path in a table could lead anywhere.
    """
    if name in {".", ".."} or not re.fullmatch(r"[^/\\:\0]+", name):
        raise DatasetError(f"{path}: expected the name of a file in {folder}, found {name!r}")
    return folder / name


def part_missing(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], tuple[tuple[str, str], ...]]:
    """The clips that are there, and (name, reason) for those that are not."""
    there, missing = [], []
    for clip in clips:
        if os.path.isfile(clip.path):  # unlike Path.is_file, not an error if the name is too long
            there.append(clip)
        else:
            missing.append((clip.path.name, MISSING))
    return tuple(there), tuple(missing)


def require_audio(manifest: Manifest, tables: Iterable[Path], root: Path, names: str) -> Manifest:
    """Make sure that a manifest has clips.

    Args:
        manifest: the clips.
        tables: the tables that were read, for the message.
        root: the folder of the audio.
        names: how audio files have to be named, for the message.

    Returns:
        the manifest itself.

    Raises:
        DatasetError: it has no clip.
    """
    if manifest.clips:
        return manifest
    why = Counter(reason for _, reason in manifest.left_out)
    reasons = ", ".join(f"{reason}: {count}" for reason, count in why.items())
    raise DatasetError(
        f"none of {why.total()} clips of {' and '.join(map(str, tables))} has audio below"
        f" {root} ({reasons}); files are looked for as {names}"
    )
