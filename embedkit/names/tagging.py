"""Finds the most likely names of clips, and of stretches of clips, in an embedding folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedkit.atomic import atomic_write
from embedkit.classifiers.classifier import Classifier
from embedkit.classifiers.method import Floats
from embedkit.classifiers.tracks import (
    WRITERS,
    Span,
    TrackFormat,
    check_table,
    merge,
    track_text,
)
from embedkit.names.surroundings import AROUND_S, surrounded
from embedkit.store import EmbeddingTable, clip_path

TOP = 3
LEAST = 0.2
AT_ONCE = 1000  # clips that are written at a time

COLUMNS = pa.schema(
    [
        ("clip", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("name", pa.string()),
        ("score", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A clip and its names.

    Attributes:
        clip: name of the clip.
        duration_s: its length in seconds.
        spans: names of the whole clip, the most likely first, or of its stretches by time; empty
            where no name is likely enough.
    """

    clip: str
    duration_s: float
    spans: list[Span]

    def __str__(self) -> str:
        """The names in a line."""
        return "; ".join(f"{span.label} {span.score:.2f}" for span in self.spans)


def tag_clips(
    table: EmbeddingTable, names: Classifier, *, top: int = TOP, least: float = LEAST
) -> Iterator[Tagged]:
    """Name each clip as a whole, by its mean vector.

    Args:
        table: the embedding folder.
        names: a classifier of its vectors: `load_names`, or your own.
        top: the most names of a clip; the most likely ones are taken.
        least: the probability that a name must have.

    Yields:
        the clips that have rows, in the order of the parts.

    Raises:
        EmbedkitError: the names are those of other vectors.
    """
    names.check(table)
    seconds = _durations(table)
    for clips, vectors in table.clip_batches():
        likely = _likely(names.scores(vectors), top, least)
        for clip, found in zip(clips, likely, strict=True):
            spans = [Span(clip, 0.0, seconds[clip], names.labels[i], p) for i, p in found]
            yield Tagged(clip=clip, duration_s=seconds[clip], spans=spans)


def tag_stretches(
    table: EmbeddingTable,
    names: Classifier,
    *,
    top: int = TOP,
    least: float = LEAST,
    around_s: float = AROUND_S,
) -> Iterator[Tagged]:
    """Name the stretches of each clip.

    Each segment is named in its surroundings (`surrounded`); neighbours with one name become one
    stretch.

    Args:
        table: the embedding folder.
        names: a classifier of its vectors.
        top: the most names of a segment.
        least: the probability that a name must have in a segment.
        around_s: seconds around each segment that it is heard with.

    Yields:
        the clips that have rows, in the order of the parts.

    Raises:
        EmbedkitError: the names are those of other vectors.
    """
    names.check(table)
    seconds = _durations(table)
    # The rows of a clip follow one another.
    for clip, spans in groupby(_segments(table, names, top, least, around_s), lambda one: one[0]):
        found = merge(chain.from_iterable(mine for _, mine in spans))
        yield Tagged(clip=clip, duration_s=seconds[clip], spans=found)


def _segments(
    table: EmbeddingTable, names: Classifier, top: int, least: float, around_s: float
) -> Iterator[tuple[str, list[Span]]]:
    """The clip of each segment, and its names."""
    for rows in surrounded(table, around_s):
        likely = _likely(names.scores(rows.embeddings), top, least)
        places = (rows.clips.tolist(), rows.start_s.tolist(), rows.end_s.tolist())
        for clip, start, end, found in zip(*places, likely, strict=True):
            yield clip, [Span(clip, start, end, names.labels[i], p) for i, p in found]


def _durations(table: EmbeddingTable) -> dict[str, float]:
    journal = table.journal_table()
    clips, seconds = (journal[name].to_pylist() for name in ("clip", "duration_s"))
    return dict(zip(clips, seconds, strict=True))


def _likely(scores: Floats, top: int, least: float) -> list[list[tuple[int, float]]]:
    """For each row the columns of at most `top` scores from `least` on, the highest first."""
    rows, columns = np.nonzero(scores >= least)
    found: list[list[tuple[int, float]]] = [[] for _ in scores]
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        found[row].append((column, float(scores[row, column])))
    return [sorted(mine, key=lambda one: (-one[1], one[0]))[:top] for mine in found]


def write_tags(path: Path, tagged: Iterable[Tagged]) -> Iterator[Tagged]:
    """Write a row for each name: clip, start_s, end_s, name, score; and pass the clips on.

    A clip without a name has one row, in which name and score are empty. The file is there when all
    clips have been taken.

    Args:
        path: a .csv or .parquet file.
        tagged: clips.

    Yields:
        the same clips.

    Raises:
        UsageError: the file has another suffix.
    """
    check_table(path)
    clips = iter(tagged)
    with atomic_write(path) as file, WRITERS[path.suffix](file, COLUMNS) as writer:
        while some := list(islice(clips, AT_ONCE)):
            rows: list[tuple[Any, ...]] = []
            for clip in some:
                rows += clip.spans or [(clip.clip, 0.0, clip.duration_s, None, None)]
            columns = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=COLUMNS))
            yield from some


def write_track(folder: Path, form: TrackFormat, clip: Tagged, sample_rate: int) -> None:
    """Write a clip's stretches as a label track, `<clip>.txt` in the folder; it may be empty.

    Args:
        folder: the folder to write to.
        form: Audacity's label track, or Raven's selection table.
        clip: the clip and its stretches.
        sample_rate: sample rate of the extractor in Hz: Raven's boxes reach up to half of it.

    Raises:
        EmbeddingFolderError: the name of the clip leads out of the folder.
    """
    with atomic_write(clip_path(folder, f"{clip.clip}.txt")) as file:
        file.write(track_text(clip.spans, form, sample_rate).encode("utf-8", "replace"))
