"""perch-hoplite's folder: recordings, windows and annotations in SQLite, vectors in USearch.

    hoplite.sqlite   tables deployments, recordings, windows, annotations, hoplite_metadata
    usearch.index    the vector of each window, by its number, in 16 bits

BirdNET-Analyzer and OpenSoundscape read it. The format is that of perch-hoplite 1.0, which is not
needed.
"""

import csv
import io
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.atomic import atomic_write
from embedkit.datasets.stretches import Sign, Stretch
from embedkit.errors import DatasetError, UsageError, require
from embedkit.exchange.apart import written_apart
from embedkit.labels.join import clip_names, find_labels
from embedkit.store import EmbeddingTable

DATABASE, INDEX = "hoplite.sqlite", "usearch.index"
SIGNS = (Sign.NEGATIVE, Sign.POSITIVE, Sign.UNCERTAIN)  # by hoplite's number
AT_ONCE = 8192  # vectors that are read at a time
MADE_BY = "embedkit"  # what hoplite calls the provenance of an annotation

# As SQLiteUSearchDB makes them. FLOAT_LIST is little-endian float64.
TABLES = """
CREATE TABLE hoplite_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, project TEXT NOT NULL,
    latitude REAL, longitude REAL, UNIQUE (name, project));
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, filename TEXT NOT NULL, datetime TEXT,
    deployment_id INTEGER REFERENCES deployments(id) ON DELETE CASCADE,
    UNIQUE (id, deployment_id), UNIQUE (filename, deployment_id));
CREATE TABLE windows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
    offsets FLOAT_LIST NOT NULL, UNIQUE (id, recording_id, offsets));
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
    offsets FLOAT_LIST NOT NULL, label TEXT NOT NULL, label_type INTEGER NOT NULL,
    provenance TEXT NOT NULL, UNIQUE (id, recording_id, offsets));
CREATE INDEX idx_annotations
    ON annotations(recording_id, offsets, label, label_type, provenance);
CREATE INDEX idx_labels ON annotations(label, label_type, provenance);
CREATE INDEX idx_recordings_deployment_id ON recordings(deployment_id);
CREATE INDEX idx_windows_recording_id ON windows(recording_id);
"""

Windows = tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]


def read_windows(source: Path) -> Iterator[Windows]:
    """The windows of each recording.

    Yields:
        name of the recording, beginnings and ends of its windows in seconds [n], and vectors [n,
            D].

    Raises:
        DatasetError: the folder cannot be read, or a window has no vector.
        UsageError: USearch is not installed.
    """
    usearch = require("usearch.index", "hoplite")
    if not (source / INDEX).is_file():
        raise DatasetError(f"{source}: not a folder of hoplite's: it has no {INDEX}")
    with closing(_open(source)) as database:
        try:
            index = usearch.Index.restore(str(source / INDEX), view=True)
            rows = database.execute(
                "SELECT filename, windows.id, offsets FROM windows JOIN recordings"
                " ON recordings.id = recording_id ORDER BY filename, recordings.id, offsets"
            )
            for name, windows in groupby(rows, key=lambda row: str(row[0])):
                numbers, places = [], []
                for _, number, blob in windows:
                    numbers.append(number)
                    places.append(_times(blob, source))
                order = np.argsort([start for start, _ in places], kind="stable")
                times = np.array(places)[order]
                vectors = _vectors(index, np.array(numbers, np.uint64)[order], source)
                yield name, times[:, 0], times[:, 1], vectors
        except (sqlite3.Error, RuntimeError, TypeError, ValueError) as error:
            raise DatasetError(f"{source}: cannot be read as hoplite's: {error}") from error


def read_annotations(source: Path) -> list[Stretch]:
    """The marks in the recordings.

    Raises:
        DatasetError: the folder cannot be read.
    """
    with closing(_open(source)) as database:
        try:
            rows = database.execute(
                "SELECT filename, offsets, label, label_type FROM annotations JOIN recordings"
                " ON recordings.id = recording_id ORDER BY annotations.id"
            ).fetchall()
            found = []
            for name, blob, label, kind in rows:
                start_s, end_s = _times(blob, source)
                found.append(
                    Stretch(
                        clip=name, start_s=start_s, end_s=end_s, label=label, sign=SIGNS[int(kind)]
                    )
                )
        except (sqlite3.Error, IndexError, TypeError, ValueError) as error:
            raise DatasetError(f"{source}: cannot be read as hoplite's: {error}") from error
    return found


def write_annotations(stretches: list[Stretch], path: Path) -> None:
    """Write marks as a manifest, which every command with labels reads.

    Args:
        stretches: the marks.
        path: the CSV file.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "start_s", "end_s", "label", "sign"])
    for one in stretches:
        writer.writerow([one.clip, one.start_s, one.end_s, one.label, one.sign])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def write_hoplite(table: EmbeddingTable, out: Path, labels: str = "") -> tuple[int, int]:
    """Write a folder of hoplite's format.

    Args:
        table: the embedding folder.
        out: the folder; its vectors have 16 bits a number, as hoplite's have.
        labels: what `find_labels` reads; labels without times are of whole recordings.

    Returns:
        the number of windows, and of annotations.

    Raises:
        UsageError: the folder is there, or USearch is not installed.
        DatasetError: the labels cannot be read.
    """
    usearch = require("usearch.index", "hoplite")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is there already; name another place")
    settings = {
        "embedding_dim": table.embedding_size,
        "dtype": "float16",
        "metric_name": "IP",
        "expansion_add": 256,
        "expansion_search": 128,
    }
    index = usearch.Index(
        ndim=table.embedding_size,
        metric=usearch.MetricKind.IP,
        dtype=usearch.ScalarKind.F16,
        expansion_add=256,
        expansion_search=128,
    )
    marked = _marked(table, labels) if labels else {}
    with written_apart(out) as folder:
        folder.mkdir()
        counts = _write_database(table, marked, folder, index, json.dumps(settings))
        index.save(str(folder / INDEX))
        with (folder / INDEX).open("rb") as saved:
            os.fsync(saved.fileno())
    return counts


def _write_database(
    table: EmbeddingTable,
    marked: dict[str, list[Stretch]],
    folder: Path,
    index: Any,
    settings: str,
) -> tuple[int, int]:
    """Write the tables, and put the vectors into the index; counts windows and annotations."""
    windows = annotations = 0
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.executescript(TABLES)
        database.execute("INSERT INTO hoplite_metadata VALUES (?, ?)", ("usearch_config", settings))
        recordings: dict[str, int] = {}
        for record in table.journal:
            if not record.rows and record.clip not in marked:
                continue
            cursor = database.execute(
                "INSERT INTO recordings (filename) VALUES (?)", (record.clip,)
            )
            recordings[record.clip] = int(cursor.lastrowid or 0)
            for one in marked.get(record.clip, ()):
                offsets = _blob(one.start_s, min(one.end_s, record.duration_s))
                row = (recordings[record.clip], offsets, one.label, SIGNS.index(one.sign), MADE_BY)
                database.execute(
                    "INSERT INTO annotations (recording_id, offsets, label, label_type, provenance)"
                    " VALUES (?, ?, ?, ?, ?)",
                    row,
                )
                annotations += 1
        for rows in table.batches():
            numbers = np.arange(windows + 1, windows + 1 + len(rows.clips), dtype=np.uint64)
            places = zip(numbers.tolist(), rows.clips, rows.start_s, rows.end_s, strict=True)
            database.executemany(
                "INSERT INTO windows (id, recording_id, offsets) VALUES (?, ?, ?)",
                ((number, recordings[clip], _blob(a, b)) for number, clip, a, b in places),
            )
            index.add(numbers, rows.embeddings.astype(np.float16))
            windows += len(rows.clips)
    return windows, annotations


def _marked(table: EmbeddingTable, labels: str) -> dict[str, list[Stretch]]:
    known, _ = find_labels(clip_names(table), table, labels)
    return {
        name: [*clip.stretches] or [Stretch(clip=name, label=label) for label in clip.labels]
        for name, clip in known.items()
    }


def _open(source: Path) -> sqlite3.Connection:
    path = source / DATABASE
    if not path.is_file():
        raise DatasetError(f"{source}: not a folder of hoplite's: it has no {DATABASE}")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _vectors(index: Any, numbers: NDArray[np.uint64], source: Path) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(numbers), AT_ONCE):
        found = index.get(numbers[start : start + AT_ONCE], np.float32)
        if found is None or any(vector is None for vector in found):
            raise DatasetError(f"{source}: a window has no vector in {INDEX}")
        parts.append(np.asarray(found, np.float32))
    return np.concatenate(parts)


def _times(blob: bytes, source: Path) -> tuple[float, float]:
    found = np.frombuffer(blob, np.dtype("<f8"))
    if len(found) != 2:
        raise DatasetError(f"{source}: a place of {len(found)} numbers, expected start and end")
    return float(found[0]), float(found[1])


def _blob(start_s: float, end_s: float) -> bytes:
    return np.array([start_s, end_s], np.dtype("<f8")).tobytes()
