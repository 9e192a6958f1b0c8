"""Segments in their surroundings: a second alone tells less than the seconds around it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.store import EmbeddingTable, Provenance, Rows

AROUND_S = 3.0
AT_ONCE = 4096  # rows that are given at a time, at most


def surrounded(table: EmbeddingTable, around_s: float = AROUND_S, every: int = 1) -> Iterator[Rows]:
    """The rows of a folder, each with the mean vector of the seconds around it.

    A row's surroundings are the segments of its clip that lie wholly in the seconds whose middle is
    its own: 3 s are a second and its two neighbours. The mean is weighted by real duration, as a
    clip's is. A sliver at a clip's end, which is mostly padding (`embedkit.scoring.mostly_sound`),
    counts in the means and is not given. Some thousand rows are held at a time.

    Args:
        table: the embedding folder.
        around_s: seconds of the surroundings.
        every: give only every so-many-th row of the folder; all rows count in surroundings.

    Yields:
        rows, some at a time.
    """
    reach, whole_s = _reach(table.provenance, around_s), table.provenance.segment_s
    held: Rows | None = None
    first = done = 0  # the number of the first row that is held; how many of those were given
    for more in chain(table.batches(), [None]):
        held = _join(held, more)
        if held is None:
            return
        ready = len(held.clips) - (0 if more is None else reach)
        for start in range(done, ready, AT_ONCE):
            chosen = np.arange(start, min(start + AT_ONCE, ready))
            chosen = chosen[(first + chosen) % every == 0]
            seconds = held.end_s[chosen] - held.start_s[chosen]
            chosen = chosen[scoring.mostly_sound(held.segments[chosen], seconds, whole_s)]
            if len(chosen):
                yield replace(_take(held, chosen), embeddings=_means(held, chosen, reach))
        done = max(done, ready)
        needed = max(0, done - reach)
        held, first, done = _take(held, slice(needed, None)), first + needed, done - needed


def _reach(provenance: Provenance, around_s: float) -> int:
    """The number of segments on each side of a segment that belong to its surroundings."""
    if not provenance.hop_s > 0:  # imported ones may all begin at once
        return 0
    return max(0, int((around_s - provenance.segment_s) / 2 / provenance.hop_s + 1e-6))


def _means(rows: Rows, chosen: NDArray[np.int64], reach: int) -> NDArray[np.float32]:
    total = scoring.no_sums(len(chosen), rows.embeddings.shape[1])
    for step in range(-reach, reach + 1):
        others = (chosen + step).clip(0, len(rows.clips) - 1)
        near = rows.segments[others] - rows.segments[chosen] == step
        near &= rows.clips[others] == rows.clips[chosen]
        others = others[near]
        scoring.add(
            total,
            rows.embeddings[others],
            rows.end_s[others] - rows.start_s[others],
            np.flatnonzero(near),
        )
    return scoring.means(total).astype(np.float32)


def _join(*parts: Rows | None) -> Rows | None:
    found = [vars(part).values() for part in parts if part is not None]
    if not found:
        return None
    return Rows(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _take(rows: Rows, which: Any) -> Rows:
    return Rows(*(column[which] for column in vars(rows).values()))
