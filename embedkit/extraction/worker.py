"""One process: files go in, rows and journal go to the disk, with batches filled across clips."""

import resource
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue

import numpy as np
from numpy.typing import NDArray

from embedkit.audio.decode import Channel, decode
from embedkit.audio.segments import Segment, cut, stack
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, EmbedkitError, Kind
from embedkit.extraction.collection import Task
from embedkit.runtime import Embedder, Program
from embedkit.store import EmbeddingWriter, FileRecord, Provenance

QUEUE = 4  # batches that may wait between decoding and the network


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of an extraction does alike.

    Attributes:
        program: the extractor.
        segments: how clips are cut.
        channel: of the files.
        batch_size: segments that the network takes at a time.
        folder: the embedding folder.
        provenance: of its vectors.
    """

    program: Program
    segments: SegmentSpec
    channel: Channel
    batch_size: int
    folder: Path
    provenance: Provenance


# What a worker tells its parent.


@dataclass(frozen=True)
class Decoding:
    """It begins with a file, or (None) waits for another one."""

    task: Task | None


@dataclass(frozen=True)
class Embedded:
    """Another batch is through the network: so much audio, and these files are finished."""

    seconds: float
    records: list[FileRecord]


@dataclass(frozen=True)
class Stored:
    """So many more of the finished files are safe on the disk.

    Attributes:
        files: in the order in which they were handed over.
        peak_bytes: the most memory that the process ever held.
    """

    files: int
    peak_bytes: int


Message = Decoding | Embedded | Stored | EmbedkitError | OSError

# A stream of these holds, for each file in turn, its segments and then its record.
Item = tuple[str, Segment] | FileRecord


def run_worker(job: Job, shard: int, threads: int, parent: Connection) -> None:
    """Embed the files that the parent hands over, as one shard of the embedding folder.

    The parent sends tasks, or the record of a file that ended elsewhere, and None at the end. What
    goes wrong is sent to it as an exception.
    """
    lock = threading.Lock()  # two threads speak

    def tell(message: Message) -> None:
        with lock:
            parent.send(message)

    try:
        embedder = job.program.start(threads)
        with EmbeddingWriter(job.folder, job.provenance, shard) as writer:
            sink = _Sink(embedder, writer)
            for batch in _batches(_decoded_ahead(job, parent, tell), job.batch_size):
                embedded, stored = sink.write(batch)
                tell(embedded)
                if stored:
                    tell(Stored(stored, peak_memory()))
            tell(Stored(len(writer.close_part()), peak_memory()))
    except (EmbedkitError, OSError) as error:
        tell(error)


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _decoded_ahead(job: Job, parent: Connection, tell: Callable[[Message], None]) -> Iterator[Item]:
    """Decode in a thread of its own, while the network works."""
    queue: Queue[Item | BaseException | None] = Queue(QUEUE * job.batch_size)

    def decode_all() -> None:
        try:
            for task in iter(parent.recv, None):
                if isinstance(task, FileRecord):
                    queue.put(task)
                    continue
                tell(Decoding(task))
                for item in _items(job, task):
                    queue.put(item)
                tell(Decoding(None))
            queue.put(None)
        except BaseException as error:  # to be raised where the items are used
            queue.put(error)

    threading.Thread(target=decode_all, daemon=True).start()
    while (item := queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _items(job: Job, task: Task) -> Iterator[Item]:
    kind = message = ""
    duration_s, rows = 0.0, 0
    rate = job.program.features.sample_rate
    try:
        for segment in cut(decode(task.path, rate, job.channel), job.segments, rate):
            duration_s, rows = segment.end_s, rows + 1
            yield task.clip, segment
    except AudioError as error:
        kind, message = str(error.kind), str(error)
    yield FileRecord(
        clip=task.clip,
        size=task.size,
        mtime_ns=task.mtime_ns,
        duration_s=duration_s,
        rows=rows,
        kind=kind,
        message=message,
    )


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut the stream after every `size` segments, whichever clips they belong to."""
    batch: list[Item] = []
    segments = 0
    for item in items:
        batch.append(item)
        segments += isinstance(item, tuple)
        # Records fill a batch too, so that a million bad files do not gather in memory.
        if segments == size or len(batch) == 16 * size:
            yield batch
            batch, segments = [], 0
    yield batch


def _segments(batch: list[Item]) -> list[tuple[str, Segment]]:
    return [item for item in batch if isinstance(item, tuple)]


def _clip(item: Item) -> str | None:
    return item[0] if isinstance(item, tuple) else None


class _Sink:
    """Embeds the segments of a batch and writes them, and the records between them."""

    def __init__(self, embedder: Embedder, writer: EmbeddingWriter) -> None:
        self._embedder = embedder
        self._writer = writer
        self._not_finite: list[float] = []  # starts of such segments of the clip at hand

    def write(self, batch: list[Item]) -> tuple[Embedded, int]:
        """Write a batch: what it was, and how many files it has brought to the disk."""
        segments = [segment for _, segment in _segments(batch)]
        vectors = iter(self._embedder.embed_segments(stack(segments)) if segments else ())
        records, stored = [], 0
        for clip, run in groupby(batch, key=_clip):
            if clip is None:
                for item in run:
                    assert isinstance(item, FileRecord)
                    records.append(self._flagged(item))
                    stored += len(self._writer.finish_file(records[-1]))
            else:
                mine = [segment for _, segment in _segments(list(run))]
                self._add(clip, mine, np.stack([next(vectors) for _ in mine]))
        seconds = sum(segment.end_s - segment.start_s for segment in segments)
        return Embedded(seconds, records), stored

    def _add(self, clip: str, segments: list[Segment], vectors: NDArray[np.float32]) -> None:
        finite = np.isfinite(vectors).all(axis=1)
        starts = np.array([segment.start_s for segment in segments])
        self._not_finite += starts[~finite].tolist()
        self._writer.add_rows(
            clip,
            np.array([segment.index for segment in segments], np.int32)[finite],
            starts[finite],
            np.array([segment.end_s for segment in segments])[finite],
            vectors[finite],
        )

    def _flagged(self, record: FileRecord) -> FileRecord:
        """The record of the clip at hand, with what the network made of it."""
        starts, self._not_finite = self._not_finite, []
        if not starts:
            return record
        message = f"no finite vectors of {len(starts)} segments, the first at {starts[0]:.2f} s"
        return replace(
            record,
            rows=record.rows - len(starts),
            kind=record.kind or str(Kind.NON_FINITE),
            message="; ".join(filter(None, [record.message, message])),
        )
