"""Google AudioSet (v1): published tables of 10 s segments, with audio that each user fetches."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from embedkit.audio.formats import AUDIO_SUFFIXES
from embedkit.datasets.manifest import Clip, Manifest
from embedkit.datasets.published import MISSING, in_order, read_columns, require_audio
from embedkit.errors import DatasetError

ORIGIN = "AudioSet, https://research.google.com/audioset/download.html"
BALANCED = "balanced_train_segments.csv"
UNBALANCED = "unbalanced_train_segments.csv"
EVALUATION = "eval_segments.csv"
CLASSES = "class_labels_indices.csv"
SECONDS = 10.0  # the paper leaves out what is shorter

# YouTube also delivers sound in containers that are rather known as video.
SUFFIXES = AUDIO_SUFFIXES | {".mp4", ".webm"}
ID = re.compile(r"[A-Za-z0-9_-]{11}")
# An id has 11 characters, so that a Y before it or a time behind it is never taken for a part of
# it. The times need not be compared: AudioSet has one segment of a video.
NAME = re.compile(rf"Y?({ID.pattern})(?:_[0-9.]+){{0,2}}")


def read_audioset(root: Path) -> Manifest:
    """Read the balanced training set and, where it is there, the evaluation set.

    Raises:
        DatasetError: a table is missing or not as published, or no clip has audio.
    """
    return _read(root, (BALANCED,), "AudioSet")


def read_audioset_unbalanced(root: Path) -> Manifest:
    """Read both training sets as one, and the evaluation set, so far as they are there.

    Raises:
        DatasetError: a table is missing or not as published, or no clip has audio.
    """
    return _read(root, (BALANCED, UNBALANCED), "AudioSet with the unbalanced set")


def _read(root: Path, training: tuple[str, ...], source: str) -> Manifest:
    tables = [(path, "train") for name in training for path in _find(root, name)]
    if not tables:
        raise _not_there(root, " or ".join(training))
    tables += [(path, "test") for path in _find(root, EVALUATION)]
    classes = _find(root, CLASSES)
    if not classes:
        raise _not_there(root, CLASSES)
    rows = read_columns(classes[0], ("index", "mid", "display_name"), ORIGIN)
    names = {mid: name for _, mid, name in rows}
    audio = _index(root)
    clips: list[Clip] = []
    left_out: list[tuple[str, str]] = []
    for path, split in tables:
        for ytid, seconds, labels in _segments(path, names):
            if seconds < SECONDS:
                left_out.append((ytid, f"shorter than {SECONDS:g} s"))
            elif ytid not in audio:
                left_out.append((ytid, MISSING))
            else:
                clips.append(Clip(path=Path(audio[ytid]), labels=labels, split=split))
    manifest = Manifest(
        tuple(clips),
        several_labels=True,
        classes=in_order(((index, name) for index, _, name in rows), classes[0]),
        left_out=tuple(left_out),
        source=source,
    )
    return require_audio(
        manifest,
        (path for path, _ in tables),
        root,
        "<id>.wav, Y<id>.wav, <id>_<start>.wav or <id>_<start>_<end>.wav, in any folder and with"
        " any suffix of audio",
    )


def _find(root: Path, name: str) -> list[Path]:
    """The table in the root or else in a folder directly below; none or one."""
    there = [path for path in (root / name, *sorted(root.glob(f"*/{name}"))) if path.is_file()]
    return there[:1]


def _not_there(root: Path, name: str) -> DatasetError:
    return DatasetError(
        f"no {name} in {root} or in a folder directly below; it comes with {ORIGIN}"
    )


def _index(root: Path) -> dict[str, str]:
    """The audio file of each id, found by its name alone: there may be two million."""
    index: dict[str, str] = {}
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up would be followed for ever
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in names:
            stem, suffix = os.path.splitext(name)
            match = NAME.fullmatch(stem)
            if match and suffix.lower() in SUFFIXES:
                path = os.path.join(folder, name)
                # Of several the first, in whatever order the file system lists them.
                index[match[1]] = min(path, index.get(match[1], path))
    return index


def _segments(path: Path, names: dict[str, str]) -> Iterator[tuple[str, float, tuple[str, ...]]]:
    """Id, seconds and labels of each row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, skipinitialspace=True)
            for row in rows:
                if row and not row[0].startswith("# "):
                    yield _segment(row, names, f"{path}, line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable CSV file: {error}") from error


def _segment(
    row: list[str], names: dict[str, str], where: str
) -> tuple[str, float, tuple[str, ...]]:
    try:
        ytid, start, end, mids = row
        seconds = round(float(end) - float(start), 3)  # published to the millisecond
    except ValueError:
        ytid = ""
    if not ID.fullmatch(ytid):
        raise DatasetError(
            f'{where}: expected <YouTube id>, <start>, <end>, "<labels>", found {row}; spreadsheet'
            f" programs damage this file, get it again from {ORIGIN}"
        )
    labels = mids.split(",")
    unknown = [mid for mid in labels if mid not in names]
    if unknown:
        raise DatasetError(f"{where}: {unknown[0]!r} is no mid of {CLASSES}; both have to be v1")
    return ytid, seconds, tuple(names[mid] for mid in labels)
