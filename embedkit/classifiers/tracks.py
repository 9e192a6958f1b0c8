"""Writes predictions as tables and label tracks that other tools open."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedkit.atomic import atomic_write
from embedkit.classifiers.evaluate import Predictions
from embedkit.errors import UsageError
from embedkit.labels.join import Unit
from embedkit.store import clip_path

WRITERS = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}
ROUNDING_S = 1e-6  # of sums of times
RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
    "\tLabel\tScore"
)


class TrackFormat(StrEnum):
    """Formats of label tracks."""

    AUDACITY = "audacity"
    RAVEN = "raven"


class Span(NamedTuple):
    """A stretch of a clip with one label."""

    clip: str
    start_s: float
    end_s: float
    label: str
    score: float


def best(predictions: Predictions, labels: tuple[str, ...]) -> Iterator[Span]:
    """The label with the highest score of each row.

    Args:
        predictions: the scores.
        labels: the classes.

    Yields:
        a span for each row; whole clips go from 0 s to 0 s.
    """
    for row, index in enumerate(predictions.scores.argmax(axis=1)):
        yield span_of(predictions, row, int(index), labels)


def above(predictions: Predictions, labels: tuple[str, ...], least: float) -> Iterator[Span]:
    """Every label of each row whose score is high enough, where a row may have several.

    Args:
        predictions: the scores.
        labels: the classes.
        least: the lowest score.

    Yields:
        the spans.
    """
    for row, index in np.argwhere(predictions.scores >= least):
        yield span_of(predictions, int(row), int(index), labels)


def span_of(predictions: Predictions, row: int, index: int, labels: tuple[str, ...]) -> Span:
    """A label of a row.

    Args:
        predictions: the scores.
        row: number of the row.
        index: number of the label.
        labels: the classes.

    Returns:
        the span; a whole clip goes from 0 s to 0 s.
    """
    start_s, end_s = predictions.start_s, predictions.end_s
    return Span(
        clip=predictions.clips[row],
        start_s=0.0 if start_s is None else float(start_s[row]),
        end_s=0.0 if end_s is None else float(end_s[row]),
        label=labels[index],
        score=float(predictions.scores[row, index]),
    )


def check_table(path: Path) -> None:
    """Refuse a file whose suffix is not that of a table.

    Raises:
        UsageError: it ends neither in .csv nor in .parquet.
    """
    if path.suffix not in WRITERS:
        raise UsageError(f"{path}: name a file that ends in {' or '.join(WRITERS)}")


def write_table(
    path: Path, labels: tuple[str, ...], batches: Iterable[Predictions], unit: Unit
) -> Iterator[Predictions]:
    """Write clip, label, score and a column `score:<label>` for each, and pass the batches on.

    Segments have start_s and end_s too. The file is there when all batches have been taken.

    Args:
        path: a .csv or .parquet file.
        labels: the classes.
        batches: the scores; without any the file only has its columns.
        unit: whether they are of clips or segments.

    Yields:
        the same batches.

    Raises:
        UsageError: the file has another suffix.
    """
    check_table(path)
    text, number = pa.string(), pa.float64()
    spans = [] if unit is Unit.CLIP else [("start_s", number), ("end_s", number)]
    scores = [("score", number), *((f"score:{label}", number) for label in labels)]
    schema = pa.schema([("clip", text), *spans, ("label", text), *scores])
    with atomic_write(path) as file, WRITERS[path.suffix](file, schema) as writer:
        for batch in batches:
            writer.write_table(pa.table(_columns(batch, labels), schema=schema))
            yield batch


def _columns(batch: Predictions, labels: tuple[str, ...]) -> list[Any]:
    names = [labels[index] for index in batch.scores.argmax(axis=1)]
    spans = [] if batch.start_s is None else [batch.start_s, batch.end_s]
    return [batch.clips, *spans, names, batch.scores.max(axis=1), *batch.scores.T]


def merge(spans: Iterable[Span]) -> list[Span]:
    """Neighbouring spans of one label, in any order, joined (see `join`); by clip and time."""
    return sorted(join(sorted(spans, key=lambda span: (span.clip, span.start_s))))


def join(spans: Iterable[Span], gap_s: float = 0.0) -> Iterator[Span]:
    """Join neighbouring spans of one label, from the first one's start to the last one's end.

    The score is the highest of theirs: it is over a threshold if one of them is.

    Args:
        spans: spans; those of a clip follow one another by their start.
        gap_s: spans that are at most this many seconds apart are neighbours.

    Yields:
        the spans of a clip in any order; memory holds one of each label.
    """
    last: dict[str, Span] = {}
    clip = None
    for span in spans:
        if span.clip != clip:
            yield from last.values()
            last, clip = {}, span.clip
        before = last.get(span.label)
        if before is None:
            last[span.label] = span
        elif span.start_s <= before.end_s + gap_s + ROUNDING_S:
            last[span.label] = before._replace(
                end_s=max(before.end_s, span.end_s), score=max(before.score, span.score)
            )
        else:
            yield before
            last[span.label] = span
    yield from last.values()


def write_tracks(folder: Path, form: TrackFormat, spans: Iterable[Span], sample_rate: int) -> int:
    """Write a label track for each clip, `<clip>.txt` in the folder.

    Args:
        folder: the folder to write to.
        form: Audacity's label track, or Raven's selection table.
        spans: spans of segments.
        sample_rate: sample rate of the extractor in Hz: Raven's boxes reach up to half of it.

    Returns:
        the number of tracks.

    Raises:
        EmbeddingFolderError: the name of a clip leads out of the folder.
    """
    by_clip = defaultdict(list)
    for span in merge(spans):
        by_clip[span.clip].append(span)
    for clip, mine in by_clip.items():
        with atomic_write(clip_path(folder, f"{clip}.txt")) as file:
            file.write(track_text(mine, form, sample_rate).encode("utf-8", "replace"))
    return len(by_clip)


def track_text(spans: list[Span], form: TrackFormat, sample_rate: int) -> str:
    """A label track of one clip's spans, as `write_tracks` writes it.

    Args:
        spans: spans of the clip.
        form: Audacity's label track, or Raven's selection table.
        sample_rate: sample rate of the extractor in Hz.

    Returns:
        the text of the file.
    """
    return _FORMS[form](spans, sample_rate)


def _audacity(spans: list[Span], sample_rate: int) -> str:
    del sample_rate
    return "".join(
        f"{span.start_s:.6f}\t{span.end_s:.6f}\t{one_line(span.label)}\n" for span in spans
    )


def _raven(spans: list[Span], sample_rate: int) -> str:
    rows = (raven_row(number, span, sample_rate) for number, span in enumerate(spans, start=1))
    return "\n".join([RAVEN, *rows]) + "\n"


def raven_row(number: int, span: Span, sample_rate: int) -> str:
    """A row under the columns of RAVEN, without a line end.

    Args:
        number: number of the selection.
        span: the span.
        sample_rate: sample rate of the extractor in Hz.

    Returns:
        the row.
    """
    return (
        f"{number}\tSpectrogram 1\t1\t{span.start_s:.6f}\t{span.end_s:.6f}\t0.0"
        f"\t{sample_rate / 2:.1f}\t{one_line(span.label)}\t{span.score:.4f}"
    )


def one_line(text: str) -> str:
    """A text that fits into one field of one line."""
    return " ".join(text.split())


_FORMS = {TrackFormat.AUDACITY: _audacity, TrackFormat.RAVEN: _raven}
