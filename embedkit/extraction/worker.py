"""A worker process: files go in, rows and journal go to the disk; batches go across clips."""

import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embedkit.audio.blocks import Note
from embedkit.audio.decode import Channel, decode
from embedkit.audio.segments import Segment, cut, stack
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError, EmbedkitError, Kind
from embedkit.extraction.card import AtCard, Line
from embedkit.extraction.collection import Task
from embedkit.hearing import Hearing
from embedkit.processes import portable
from embedkit.runtime import Embedder, Program
from embedkit.store import EmbeddingWriter, FileRecord, Provenance

QUEUE = 4  # batches that may wait between decoding and the network
TELL = 0.2  # seconds between two messages to the parent, if nothing is urgent


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of an extraction does alike.

    Attributes:
        program: the extractor.
        segments: how clips are cut, in seconds as they are heard.
        channel: the channel to hear.
        track: which of several sound tracks; None: the first, and the journal notes that there are
            others.
        hearing: the speed and the band that are heard.
        batch_size: number of segments that the network takes at a time.
        folder: the embedding folder.
        provenance: settings that the vectors depend on.
    """

    program: Program
    segments: SegmentSpec
    channel: Channel
    track: int | None
    hearing: Hearing
    batch_size: int
    folder: Path
    provenance: Provenance


@dataclass(kw_only=True)
class Advance:
    """How far a worker has come since it last told its parent.

    Attributes:
        seconds: seconds of audio that it embedded.
        records: records of the files that it finished, in the order in which they were handed over.
        stored: how many more of the finished files are safe on the disk, the oldest first.
        peak_bytes: the most memory that the process ever held.
    """

    seconds: float = 0.0
    records: list[FileRecord] = field(default_factory=list)
    stored: int = 0
    peak_bytes: int = 0


Message = Advance | EmbedkitError | OSError

Tasks: TypeAlias = "Queue[Task | FileRecord | None]"

# A stream of these holds, for each file in turn, its segments and then its record.
Item = tuple[str, Segment] | FileRecord


class Decoding:
    """The state of a worker's decoding, in memory that it shares with its parent.

    The parent sees it even if the worker dies or hangs.
    """

    def __init__(self, context: BaseContext) -> None:
        self._numbers = context.RawArray("q", 4)

    @property
    def begun(self) -> int:
        """The number of files that it has begun with."""
        return int(self._numbers[0])

    def begin(self) -> None:
        """Begin with a file."""
        self._numbers[0] += 1

    @property
    def stopped(self) -> bool:
        """Whether the parent wants no other file begun."""
        return bool(self._numbers[1])

    def stop(self) -> None:
        """Ask for no other file to be begun."""
        self._numbers[1] = 1

    @property
    def at_work(self) -> bool:
        """Whether the decoder is at work, and does not wait for the network or for a file."""
        return bool(self._numbers[2])

    @property
    def signs(self) -> int:
        """The number of times that it went to work, which is a sign of life."""
        return int(self._numbers[3])

    def watch(self, segments: Iterator[Segment]) -> Iterator[Segment]:
        """Pass on what a decoder gives, and note that the decoder works while it makes the next."""
        while True:
            self._numbers[3] += 1
            self._numbers[2] = 1
            try:
                segment = next(segments, None)
            finally:
                self._numbers[2] = 0
            if segment is None:
                return
            yield segment


def run_worker(
    job: Job,
    shard: int,
    threads: int,
    tasks: Tasks,
    decoding: Decoding,
    parent: Connection,
    line: Line | None,
    *,
    ahead: bool,
) -> None:
    """Embed files as one shard of the embedding folder.

    Args:
        job: what all workers do.
        shard: number of the shard.
        threads: threads that the network may use.
        tasks: the files, or the records of files that ended elsewhere; None at the end.
        decoding: is kept up to date.
        parent: is told how far the worker has come, or as an exception what went wrong.
        line: to the process that embeds for it; None: it embeds by itself.
        ahead: decode while the network works; else one after the other, so that whichever is at
            work when the process dies has killed it.
    """
    try:
        threadpool_limits(threads)  # of numpy: the others' cores are theirs
        batches = _batches(_items(job, tasks, decoding), job.batch_size)
        if ahead:
            batches = _made_ahead(batches)  # the first of them while the network is made ready
        embedder = AtCard(job.program, line) if line else job.program.start(threads)
        with EmbeddingWriter(job.folder, job.provenance, shard) as writer:
            overlap_s = job.provenance.segment_s - job.provenance.hop_s
            sink = _Sink(embedder, writer, overlap_s)
            told = time.monotonic()
            for batch in batches:
                sink.write(batch)
                if sink.is_urgent() or time.monotonic() - told > TELL:
                    parent.send(sink.take_advance())
                    told = time.monotonic()
            sink.close()
            parent.send(sink.take_advance())
    except Exception as error:  # no file's: those have a record
        parent.send(portable(error))


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes."""
    if sys.platform == "win32":
        return 0  # not known
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _made_ahead(batches: Iterator[list[Item]]) -> Iterator[list[Item]]:
    """Batches, decoded in a thread of its own while the network works."""
    ready: queue.Queue[list[Item] | BaseException | None] = queue.Queue(QUEUE)

    def make_all() -> None:
        try:
            for batch in batches:
                ready.put(batch)
            ready.put(None)
        except BaseException as error:  # to be raised where the batches are used
            ready.put(error)

    def take_all() -> Iterator[list[Item]]:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    threading.Thread(target=make_all, daemon=True).start()
    return take_all()


def _items(job: Job, tasks: Tasks, decoding: Decoding) -> Iterator[Item]:
    while (task := tasks.get()) is not None and not decoding.stopped:
        decoding.begin()
        if isinstance(task, FileRecord):
            yield task
        else:
            yield from _items_of(job, task, decoding)


def _items_of(job: Job, task: Task, decoding: Decoding) -> Iterator[Item]:
    kind = ""
    duration_s, rows = 0.0, 0
    words: list[str] = []  # a file that is odd and can be read has some too, and no kind
    try:
        for segment in decoding.watch(_segments_of(job, task, words.append)):
            duration_s, rows = segment.end_s, rows + 1
            yield task.clip, segment
    except AudioError as error:
        kind = str(error.kind)
        words.insert(0, str(error))
    yield FileRecord(
        clip=task.clip,
        size=task.size,
        mtime_ns=task.mtime_ns,
        duration_s=duration_s,
        rows=rows,
        kind=kind,
        message="; ".join(words),
    )


def _segments_of(job: Job, task: Task, note: Note) -> Iterator[Segment]:
    rate = job.program.sample_rate
    blocks = decode(task.path, rate, job.channel, job.track, note, job.hearing)
    yield from cut(blocks, job.segments, rate, job.hearing.speed)


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
    """Embeds the segments of batches, and writes them with the records between them.

    Attributes:
        advance: what it has done since `take_advance`.
    """

    def __init__(self, embedder: Embedder, writer: EmbeddingWriter, overlap_s: float) -> None:
        self.advance = Advance()
        self._embedder = embedder
        self._writer = writer
        self._overlap_s = overlap_s  # of two segments: audio counts once
        self._not_finite: list[float] = []  # starts of such segments of the clip at hand

    def write(self, batch: list[Item]) -> None:
        """Embed and write a batch."""
        segments = [segment for _, segment in _segments(batch)]
        vectors = iter(self._embedder.embed_segments(stack(segments)) if segments else ())
        self.advance.seconds += sum(
            segment.end_s - segment.start_s - (self._overlap_s if segment.index else 0)
            for segment in segments
        )
        for clip, run in groupby(batch, key=_clip):
            if clip is None:
                for item in run:
                    assert isinstance(item, FileRecord)
                    record = self._flagged(item)
                    self.advance.records.append(record)
                    self.advance.stored += len(self._writer.finish_file(record))
            else:
                mine = [segment for _, segment in _segments(list(run))]
                self._add(clip, mine, np.stack([next(vectors) for _ in mine]))

    def is_urgent(self) -> bool:
        """Whether something came to the disk, or failed."""
        return bool(self.advance.stored) or any(record.kind for record in self.advance.records)

    def close(self) -> None:
        """Bring the rest to the disk."""
        self.advance.stored += len(self._writer.close_part())

    def take_advance(self) -> Advance:
        """What it has done since the last time."""
        advance, self.advance = self.advance, Advance()
        advance.peak_bytes = peak_memory()
        return advance

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
        """The record of the current clip, with what the network made of it."""
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
