"""Reads the vectors of labelled clips and segments, and no more of them than memory holds."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.labels.marked import Segments
from embedkit.numbering import numbered
from embedkit.store import EmbeddingTable, Rows

log = logging.getLogger(__name__)

MOST = 200_000  # vectors that are read into memory: of more, a sample


@dataclass(frozen=True, kw_only=True)
class Read:
    """Vectors of clips, or of segments, sorted by clip and segment, all of one length n.

    Attributes:
        clips: names of the clips; for segments, the names of their clips.
        vectors: float32 [n, D].
        start_s, seconds: for segments, their start and real duration, float64 [n]; None for clips.
    """

    clips: list[str]
    vectors: NDArray[np.float32]
    start_s: NDArray[np.float64] | None = None
    seconds: NDArray[np.float64] | None = None


def draw_clips(names: Collection[str]) -> set[str]:
    """All of some clips, or a random sample if they are more than are read."""
    wanted = sorted(names)
    if len(wanted) > MOST:
        log.warning("%d of %d labelled clips, drawn at random", MOST, len(wanted))
        drawn = np.random.default_rng(0).choice(len(wanted), MOST, replace=False)
        wanted = [wanted[index] for index in drawn]
    return set(wanted)


def read_clips(table: EmbeddingTable, names: Collection[str]) -> Read:
    """The vectors of some clips.

    Args:
        table: the embedding folder.
        names: names of the clips.

    Returns:
        one vector for each clip.
    """
    clips, vectors = table.clip_vectors(names)
    return Read(clips=clips, vectors=vectors)


def draw_segments(table: EmbeddingTable, names: Collection[str]) -> NDArray[np.int64]:
    """The segments of some clips, or a random sample if they are more than are read.

    Args:
        table: the embedding folder.
        names: names of the clips.

    Returns:
        numbers of the segments, in the order of the parts.
    """
    journal = table.journal_table()
    counts = zip(journal["clip"].to_pylist(), journal["rows"].to_pylist(), strict=True)
    total = sum(rows for name, rows in counts if name in names)
    if total <= MOST:
        return np.arange(total)
    log.warning("%d of %d labelled segments, drawn at random", MOST, total)
    return np.random.default_rng(0).choice(total, MOST, replace=False)


def read_spans(table: EmbeddingTable, names: Collection[str]) -> Segments:
    """The times of the segments of some clips.

    Args:
        table: the embedding folder.
        names: names of the clips.

    Returns:
        the segments, in the order of the parts.
    """
    known = sorted(names)
    number = {name: index for index, name in enumerate(known)}
    owner = [np.zeros(0, np.int64)]
    start_s, end_s = [np.zeros(0)], [np.zeros(0)]
    for part in table.parts:
        rows = table.spans([part.name])
        owners = np.array([number.get(name, -1) for name in rows.clips], np.int64)
        kept = owners >= 0
        owner.append(owners[kept])
        start_s.append(rows.start_s[kept])
        end_s.append(rows.end_s[kept])
    return Segments(
        names=known,
        owner=np.concatenate(owner),
        start_s=np.concatenate(start_s),
        end_s=np.concatenate(end_s),
    )


def read_segments(
    table: EmbeddingTable, names: Collection[str], chosen: NDArray[np.int64]
) -> tuple[Read, NDArray[np.int64]]:
    """The vectors of some segments.

    Args:
        table: the embedding folder.
        names: names of clips.
        chosen: numbers of their segments, in the order of the parts [n].

    Returns:
        the vectors, sorted; and the place of each [n] among the chosen, by rising numbers.
    """
    chosen = np.sort(chosen)
    batches: list[Rows] = []
    seen = 0
    for batch in table.batches():
        own = np.flatnonzero([name in names for name in batch.clips])
        first, last = np.searchsorted(chosen, [seen, seen + len(own)])
        kept = own[chosen[first:last] - seen]
        batches.append(Rows(*(values[kept] for values in vars(batch).values())))
        seen += len(own)
    columns = [vars(batch).values() for batch in batches]
    rows = Rows(*(np.concatenate(column) for column in zip(*columns, strict=True)))
    order = np.lexsort((rows.segments, numbered(rows.clips)[1]))
    read = Read(
        clips=rows.clips[order].tolist(),
        vectors=rows.embeddings[order],
        start_s=rows.start_s[order],
        seconds=(rows.end_s - rows.start_s)[order],
    )
    return read, order
