"""Writes detections as tables, or in the formats of Raven, Audacity and BirdNET."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from embedkit.atomic import atomic_write
from embedkit.classifiers.tracks import RAVEN, Span, TrackFormat, one_line, raven_row, write_tracks
from embedkit.errors import UsageError
from embedkit.field.recordings import Recordings
from embedkit.store import EmbeddingTable

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("label", pa.string()),
        ("score", pa.float64()),
    ]
)
# Behind them where the collection knows when and where it was recorded.
RECORDED = [("recorded_at", pa.string()), ("site", pa.string())]
BIRDNET = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
AT_ONCE = 10_000  # rows of a table


class DetectionFormat(StrEnum):
    """Formats of detections."""

    CSV = "csv"
    PARQUET = "parquet"
    RAVEN = "raven"
    AUDACITY = "audacity"
    BIRDNET = "birdnet"

    @classmethod
    def of(cls, path: Path) -> "DetectionFormat":
        """The format of a file's suffix.

        Raises:
            UsageError: the suffix is that of no format.
        """
        for suffix, form in SUFFIXES.items():
            if path.name.lower().endswith(suffix):
                return form
        raise UsageError(
            f"{path}: name a file that ends in {', '.join(SUFFIXES)}, or say --format"
            f" {', '.join(cls)}"
        )


SUFFIXES = {
    ".csv": DetectionFormat.CSV,
    ".parquet": DetectionFormat.PARQUET,
    ".selections.txt": DetectionFormat.RAVEN,
}


def write_detections(
    path: Path, form: DetectionFormat, spans: Iterable[Span], table: EmbeddingTable
) -> int:
    """Write detections as they come.

    Raven's format is one selection table over all files of the folder, sorted by name, as Raven
    opens them one behind the other; Begin Path and File Offset place each detection in its own
    file. Where it is known when and where the files were recorded, tables and Raven's table say so.
    Audacity's format is a folder with a label track for each file. Both of BirdNET's columns of
    names hold the label.

    Args:
        path: a file; for Audacity a folder.
        form: the format.
        spans: detections; those of a clip follow one another.
        table: the collection of the clips.

    Returns:
        the number of detections.

    Raises:
        EmbeddingFolderError: the name of a clip leads out of the folder.
    """
    count = 0

    def counted() -> Iterator[Span]:
        nonlocal count
        for span in spans:
            count += 1
            yield span

    _FORMS[form](path, counted(), table)
    return count


def as_records(spans: Iterable[Span], recordings: Recordings) -> Iterator[dict[str, Any]]:
    """Detections by column; with time and site, where any of the collection is known.

    Args:
        spans: detections.
        recordings: the clocks of the collection.

    Yields:
        a dictionary for each.
    """
    known = recordings.are_known
    for span in spans:
        record = dict(zip(SCHEMA.names, span, strict=True))
        if known:
            record["recorded_at"] = recordings.stamp(span.clip, span.start_s)
            record["site"] = recordings.site(span.clip)
        yield record


def _csv(path: Path, spans: Iterator[Span], table: EmbeddingTable) -> None:
    _table(path, spans, table, pa.csv.CSVWriter)


def _parquet(path: Path, spans: Iterator[Span], table: EmbeddingTable) -> None:
    _table(path, spans, table, pa.parquet.ParquetWriter)


def _table(
    path: Path, spans: Iterator[Span], table: EmbeddingTable, kind: Callable[..., Any]
) -> None:
    recordings = Recordings(table)
    schema = pa.schema([*SCHEMA, *RECORDED]) if recordings.are_known else SCHEMA
    records = as_records(spans, recordings)
    with atomic_write(path) as file, kind(file, schema) as writer:
        while rows := list(islice(records, AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _raven(path: Path, spans: Iterator[Span], table: EmbeddingTable) -> None:
    begins, recordings = _begins(table), Recordings(table)
    root, rate = Path(table.provenance.audio_root), table.provenance.sample_rate
    with atomic_write(path) as file:
        more = "\tRecorded At\tSite" * recordings.are_known
        file.write(f"{RAVEN}\tBegin Path\tFile Offset (s){more}\n".encode())
        for number, span in enumerate(spans, start=1):
            begin = begins[span.clip]
            shifted = span._replace(start_s=begin + span.start_s, end_s=begin + span.end_s)
            place = one_line(str(root / span.clip))
            row = f"{raven_row(number, shifted, rate)}\t{place}\t{span.start_s:.6f}"
            if recordings.are_known:
                row += f"\t{recordings.stamp(span.clip, span.start_s) or ''}"
                row += f"\t{one_line(recordings.site(span.clip) or '')}"
            file.write(f"{row}\n".encode("utf-8", "replace"))


def _begins(table: EmbeddingTable) -> dict[str, float]:
    """Where each clip begins when all are played one behind the other, sorted by name."""
    lengths = durations(table)
    ends = np.cumsum([0.0, *lengths.values()])
    return dict(zip(lengths, ends[:-1].tolist(), strict=True))


def durations(table: EmbeddingTable) -> dict[str, float]:
    """The length of each file in seconds, sorted by name."""
    journal = table.journal_table().select(["clip", "duration_s"]).sort_by("clip")
    return dict(zip(*(journal[name].to_pylist() for name in journal.column_names), strict=True))


def _audacity(path: Path, spans: Iterator[Span], table: EmbeddingTable) -> None:
    for _, mine in groupby(spans, key=lambda span: span.clip):
        write_tracks(path, TrackFormat.AUDACITY, mine, table.provenance.sample_rate)


def _birdnet(path: Path, spans: Iterator[Span], table: EmbeddingTable) -> None:
    root = Path(table.provenance.audio_root)
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "replace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(BIRDNET)
        for span in spans:
            times = f"{span.start_s:.6f}", f"{span.end_s:.6f}"
            place = str(root / span.clip)
            writer.writerow([*times, span.label, span.label, f"{span.score:.4f}", place])
        text.detach()


_FORMS: dict[DetectionFormat, Callable[[Path, Iterator[Span], EmbeddingTable], None]] = {
    DetectionFormat.CSV: _csv,
    DetectionFormat.PARQUET: _parquet,
    DetectionFormat.RAVEN: _raven,
    DetectionFormat.AUDACITY: _audacity,
    DetectionFormat.BIRDNET: _birdnet,
}
