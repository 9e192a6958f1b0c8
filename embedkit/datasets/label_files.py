"""Label files of other tools: one file, or a folder of them."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from embedkit.audio.files import walk
from embedkit.datasets import audacity
from embedkit.datasets.columns import tells_times
from embedkit.datasets.manifest import Manifest
from embedkit.datasets.marks import Mark, gathered
from embedkit.datasets.pairs import paired
from embedkit.datasets.table import read_table
from embedkit.datasets.text import read_text
from embedkit.datasets.timed import Layout, names_sounds, read_marks
from embedkit.errors import DatasetError

log = logging.getLogger(__name__)

TRACKS = frozenset({".txt", ".tsv"})  # which beside sounds are nothing but labels
TABLES = TRACKS | {".csv", ".parquet"}
HOPLITE = "hoplite_annotations.csv"

Marks = tuple[Sequence[Mark], bool]  # and whether a row may have several labels


def is_label_track(path: Path) -> bool:
    """Whether a file is a label track of Audacity's: text in lines, without a header."""
    return (
        path.suffix.lower() == ".txt"
        and path.is_file()
        and audacity.is_label_track(read_text(path))
    )


def find_label_files(root: Path) -> list[Path]:
    """The label files below a folder; none if it is a folder of class folders.

    Where sounds stand in class folders, a CSV may be about anything. It counts if it has the name
    of the sound beside it, or of hoplite's table.
    """
    files = [
        found.path
        for found in walk(root, lambda path: path.suffix.lower() in TABLES)
        if not found.is_audio and found.path.is_file()
    ]
    if not all(map(_is_of_sounds, files)) and _has_class_folders(root):
        files = list(filter(_is_of_sounds, files))
    files = list(filter(_is_label_file, files))
    # An empty text alone is no label file; beside others it is one of a sound without labels.
    return files if any(path.stat().st_size for path in files) else []


def _is_of_sounds(path: Path) -> bool:
    return path.suffix.lower() in TRACKS or path.name == HOPLITE or paired(path).is_file()


def _has_class_folders(root: Path) -> bool:
    return any(found.is_audio and found.path.parent != root for found in walk(root))


def _is_label_file(path: Path) -> bool:
    try:
        return is_label_track(path) or Layout.of(read_table(path)) is not None
    except DatasetError:
        if _tells_times(path):
            raise
        return False  # a text of another kind


def _tells_times(path: Path) -> bool:
    """Whether a file that cannot be read as a table begins like one of times."""
    first = path.read_bytes()[:4096].decode("utf-8", "replace").splitlines()[:1]
    return any(tells_times(heading) for heading in re.split("[,;|\t]", first[0] if first else ""))


def read_label_files(paths: Sequence[Path], source: Path, label_column: str = "") -> Manifest:
    """Read label files as one; a file without a row says that its sound was looked at.

    Args:
        paths: what `find_label_files` found.
        source: the name of all of them in messages.
        label_column: the heading of the labels; empty: found by its name.

    Returns:
        the recordings with their stretches.

    Raises:
        DatasetError: a file cannot be read, or as for `gathered`.
    """
    log.info("%s: %d label files", source, len(paths))
    return gathered((_read(path, label_column) for path in paths), source)


def read_label_track(path: Path, label_column: str = "") -> Manifest:
    """Read one label track of Audacity's.

    Args:
        path: the file.
        label_column: must be empty, as a label track has no columns.

    Returns:
        the recording with its stretches.

    Raises:
        DatasetError: a line cannot be read, or as for `gathered`.
    """
    del label_column
    return gathered([_read_track(path)], path)


def _read(path: Path, label_column: str) -> Marks:
    if is_label_track(path):
        return _read_track(path)
    table = read_table(path)
    marks, several = read_marks(table, Layout.of(table) or Layout(), label_column)
    if not marks and not names_sounds(table):
        marks = [Mark(file=paired(path), place=str(path))]
    return marks, several


def _read_track(path: Path) -> Marks:
    sound = paired(path)
    marks = [
        Mark(
            file=sound,
            place=f"{path}, row {line.number}",
            labels=(line.label,) if line.label else (),
            start_s=line.start_s,
            end_s=line.end_s,
        )
        for line in audacity.read_label_track(read_text(path), path)
    ]
    return marks or [Mark(file=sound, place=str(path))], False
