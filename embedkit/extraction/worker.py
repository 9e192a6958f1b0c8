"""One shard's files -> rows and journal, with batches filled across clips."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from embedkit.audio.decode import Channel, decode
from embedkit.audio.files import clip_name
from embedkit.audio.segments import Segment, cut, stack
from embedkit.config import SegmentSpec
from embedkit.errors import AudioError
from embedkit.models.extractor import Extractor
from embedkit.store import EmbeddingWriter, FileRecord, Provenance


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker of an extraction does alike.

    Attributes:
        root: clip names are relative to it.
        model: the model folder.
        segments: how clips are cut.
        channel: of the files.
        batch_size: segments that the network takes at a time.
        device: where torch computes.
        folder: the embedding folder.
        provenance: of its vectors.
    """

    root: Path
    model: Path
    segments: SegmentSpec
    channel: Channel
    batch_size: int
    device: str
    folder: Path
    provenance: Provenance


# A stream of these holds, for each file in turn, its segments and then its record.
Item = tuple[str, Segment] | FileRecord


def run_worker(job: Job, shard: int, paths: Iterable[Path]) -> Generator[FileRecord]:
    """Embed files one after the other as one shard of the folder.

    Yields:
        a record for every file when it is done. One that fails has a kind, and keeps the rows
        before the damage.

    Raises:
        EmbeddingFolderError: another process writes this shard.
    """
    extractor = Extractor.load(job.model, job.device, dim=job.provenance.embedding_size)
    with EmbeddingWriter(job.folder, job.provenance, shard) as writer:
        for batch in _batches(_items(job, extractor.sample_rate, paths), job.batch_size):
            yield from _write(extractor, writer, batch)


def _items(job: Job, sample_rate: int, paths: Iterable[Path]) -> Iterator[Item]:
    for path in paths:
        clip = clip_name(path, job.root)
        kind = message = ""
        duration_s, rows, size, mtime_ns = 0.0, 0, 0, 0
        try:
            status = path.stat()
            size, mtime_ns = status.st_size, status.st_mtime_ns
        except OSError:
            pass  # decode says why
        try:
            blocks = decode(path, sample_rate, job.channel)
            for segment in cut(blocks, job.segments, sample_rate):
                duration_s, rows = segment.end_s, rows + 1
                yield clip, segment
        except AudioError as error:
            kind, message = str(error.kind), str(error)
        yield FileRecord(
            clip=clip,
            size=size,
            mtime_ns=mtime_ns,
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


def _write(
    extractor: Extractor, writer: EmbeddingWriter, batch: list[Item]
) -> Iterator[FileRecord]:
    segments = [item[1] for item in batch if isinstance(item, tuple)]
    vectors = iter(extractor.embed_segments(stack(segments)) if segments else ())
    for clip, run in groupby(batch, key=lambda item: item[0] if isinstance(item, tuple) else None):
        if clip is None:
            for record in run:
                assert isinstance(record, FileRecord)
                writer.finish_file(record)
                yield record
        else:
            segments = [item[1] for item in run if isinstance(item, tuple)]
            writer.add_rows(
                clip,
                np.array([segment.index for segment in segments], np.int32),
                np.array([segment.start_s for segment in segments]),
                np.array([segment.end_s for segment in segments]),
                np.stack([next(vectors) for _ in segments]),
            )
