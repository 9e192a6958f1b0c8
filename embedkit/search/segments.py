"""The segments of a collection that are nearest to a vector."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbeddingFolderError
from embedkit.labels.marked import Segments
from embedkit.numbering import numbered
from embedkit.progress import Track, untracked
from embedkit.search.choice import BEST_OF_EACH, EVERY, Choice, centred, number_folders
from embedkit.search.index import IndexKind, Metric, choose_kind, open_index
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

Vectors = NDArray[np.float32]

RERANKED = 10  # candidates of a compressed index for each segment that is asked for
EFFORT = 128  # neighbours that HNSW keeps in mind, at least
PROBES = 32  # lists that IVF looks into
FEW = 20_000  # segments that are compared one by one
AT_ONCE = 65_536  # vectors that are added to a mean
PARAMETERS: dict[IndexKind, Any] = {
    IndexKind.FLAT: faiss.SearchParameters,
    IndexKind.HNSW: vars(faiss)["SearchParametersHNSW"],  # which its type stubs do not know
    IndexKind.IVF_PQ: faiss.SearchParametersIVF,
}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A found segment, and its cosine or dot product with the query."""

    clip: str
    start_s: float
    end_s: float
    similarity: float


class SearchIndex:
    """All segments of an embedding folder except slivers at the clips' ends.

    Attributes:
        kind: kind of the index.
        metric: measure of nearness.
        clips: names of the clips that have segments, sorted.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        *,
        kind: IndexKind | None = None,
        metric: Metric = Metric.COSINE,
        cache: Path | None = None,
        track: Track = untracked,
    ) -> None:
        """Open the index; it is made or brought up to date first.

        Args:
            table: the collection.
            kind: by default the kind follows the size: exact up to 500,000 segments, HNSW up to
                5,000,000, compressed beyond.
            metric: measure of nearness.
            cache: folder where indices are kept; by default that of the user.
            track: shows the progress.

        Raises:
            EmbeddingFolderError: the collection has no segments.
        """
        if not len(table):
            raise EmbeddingFolderError(f"{table.folder}: it has no vectors to search")
        self._table = table
        self.kind, self.metric = kind or choose_kind(len(table)), metric
        self._index, parts, self._exact = open_index(table, self.kind, metric, cache, track)
        clips, self._start_s, self._end_s = _places(table, parts)
        self.clips, self._clip = numbered(clips)
        del clips  # of ten million segments they take 80 MB
        self._folder = number_folders(self.clips.tolist())

    @property
    def segments(self) -> Segments:
        """The clips and times of the segments."""
        return Segments(
            names=self.clips.tolist(), owner=self._clip, start_s=self._start_s, end_s=self._end_s
        )

    def search(
        self,
        vectors: Vectors,
        top: int,
        *,
        without: Sequence[Collection[str]] = (),
        among: NDArray[np.bool_] | None = None,
        choice: Choice = BEST_OF_EACH,
    ) -> list[list[Hit]]:
        """The segments that are nearest to some vectors, the best first.

        Args:
            vectors: the queries, float32 [n, D].
            top: the most results of each query.
            without: for each query the clips to leave out, such as its own; by default none.
            among: which segments to look at, bool [segments]; by default all.
            choice: which results are kept; by default the best segment of each clip.

        Returns:
            a list of results for each query.
        """
        queries = choice.sign * np.ascontiguousarray(vectors, np.float32)
        if self.metric is Metric.COSINE:
            queries = unit(queries)
        allowed = None if among is None else np.flatnonzero(among)
        total = len(self._clip) if allowed is None else len(allowed)
        clips = self._clip if allowed is None else self._clip[allowed]
        top = min(top, choice.most(clips, self._folder[clips]))
        answers: list[list[Hit]] = [[] for _ in queries]
        unanswered, deeper = list(range(len(queries))), bool(total)
        depth = top if choice == EVERY and not without else 4 * top
        while unanswered and deeper:
            depth = min(total, depth)
            deeper = depth < total
            values, rows = self._nearest(queries[unanswered], depth, allowed)
            for query, value, row in zip(unanswered, values, rows, strict=True):
                own = without[query] if without else ()
                answers[query] = self._choose(value, row, own, choice, top)
            short = [
                query
                for query, value in zip(unanswered, values, strict=True)
                if len(answers[query]) < top and value[-1] >= choice.least_fit
            ]
            unanswered = short if (rows[:, -1] >= 0).any() else []  # -1: it knows no more
            depth *= 4  # segments of one clip, copies, or those of one left out came first
        return answers

    def _nearest(
        self, queries: Vectors, depth: int, allowed: NDArray[np.int64] | None
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Similarity and row of the nearest segments [n, depth]; -1 for none."""
        exact = self._exact
        wanted = depth if exact is None else min(len(self._clip), RERANKED * depth)
        more: dict[str, Any] = {}
        share = 1.0
        if allowed is not None:
            if len(allowed) <= FEW and self.kind is not IndexKind.FLAT:
                return self._among(queries, depth, allowed)
            more["sel"] = faiss.IDSelectorBatch(allowed)
            share = len(allowed) / len(self._clip)  # of what it comes by, the rest does not count
        if self.kind is IndexKind.HNSW:
            more["efSearch"] = round(max(EFFORT, 2 * wanted) / share)
        elif self.kind is IndexKind.IVF_PQ:
            more["nprobe"] = round(PROBES / share)
        values, rows = self._index.search(queries, wanted, params=PARAMETERS[self.kind](**more))
        if exact is None:
            return values, rows
        # A compressed index finds candidates; the vectors themselves rank them.
        for query, (value, row) in enumerate(zip(values, rows, strict=True)):
            there = row >= 0
            value[there] = exact[row[there]] @ queries[query]
            value[~there] = -np.inf
            order = np.argsort(-value, kind="stable")
            values[query], rows[query] = value[order], row[order]
        return values[:, :depth], rows[:, :depth]

    def _among(
        self, queries: Vectors, depth: int, allowed: NDArray[np.int64]
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """The nearest of a few segments [n, depth]; an index would pass many others on the way."""
        values, places = faiss.knn(
            queries, self._stored(allowed), depth, faiss.METRIC_INNER_PRODUCT
        )
        return values, allowed[places]

    def _choose(
        self,
        fits: Vectors,
        rows: NDArray[np.int64],
        own: Collection[str],
        choice: Choice,
        top: int,
    ) -> list[Hit]:
        """The results that are kept of segments sorted with the best first; -1 is none."""
        there = (rows >= 0) & ~np.isin(self._clip[rows], self._numbers(own))
        fits, rows = fits[there], rows[there]
        clips = self._clip[rows]
        places = choice.keep(
            top,
            fits,
            clips,
            self._folder[clips],
            lambda places: centred(self._stored(rows[places]), self._mean),
        )
        return [
            Hit(
                clip=self.clips[clips[place]],
                start_s=float(self._start_s[rows[place]]),
                end_s=float(self._end_s[rows[place]]),
                similarity=choice.sign * float(fits[place]),
            )
            for place in places
        ]

    def _numbers(self, names: Collection[str]) -> NDArray[np.int64]:
        """The numbers of some clips, as far as they have segments."""
        wanted = np.array(list(names), object)
        places = np.searchsorted(self.clips, wanted).clip(max=len(self.clips) - 1)
        found: NDArray[np.int64] = places[self.clips[places] == wanted]
        return found

    def _stored(self, rows: NDArray[np.int64]) -> Vectors:
        """The vectors of some rows, as they are searched [n, D]."""
        if self._exact is not None:
            return np.asarray(self._exact[rows])
        found: Vectors = self._index.reconstruct_batch(rows)
        return found

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        """The mean of all vectors and one of zeros [D], as for `duplicates`."""
        rows = np.arange(len(self._clip))
        starts = range(0, len(rows), AT_ONCE)
        total = sum(
            self._stored(rows[start : start + AT_ONCE]).sum(axis=0, dtype=float) for start in starts
        )
        mean: NDArray[np.float64] = total / (len(rows) + 1)
        return mean


def _places(
    table: EmbeddingTable, parts: Sequence[str]
) -> tuple[NDArray[np.object_], NDArray[np.float64], NDArray[np.float64]]:
    """Clips and times in seconds of the searched rows of some parts, in that order; all [n]."""
    clips, start_s, end_s = [], [], []
    for part in parts:  # by themselves: all at once take several times what is kept of them
        spans = table.spans([part])
        kept = searched(spans, table)
        clips.append(spans.clips[kept])
        start_s.append(spans.start_s[kept])
        end_s.append(spans.end_s[kept])
    return np.concatenate(clips), np.concatenate(start_s), np.concatenate(end_s)
