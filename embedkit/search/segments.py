"""The segments of a collection that are nearest to a vector."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbeddingFolderError
from embedkit.labels.marked import Segments
from embedkit.progress import Track, untracked
from embedkit.search.index import IndexKind, Metric, choose_kind, open_index
from embedkit.search.rows import searched
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

Vectors = NDArray[np.float32]

RERANKED = 10  # candidates of a compressed index for each segment that is asked for
EFFORT = 128  # neighbours that HNSW keeps in mind, at least
PROBES = 32  # lists that IVF looks into
FEW = 20_000  # segments that are compared one by one
PARAMETERS: dict[IndexKind, Any] = {
    IndexKind.FLAT: faiss.SearchParameters,
    IndexKind.HNSW: vars(faiss)["SearchParametersHNSW"],  # which its type stubs do not know
    IndexKind.IVF_PQ: faiss.SearchParametersIVF,
}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A segment found, and its cosine or dot product with the query."""

    clip: str
    start_s: float
    end_s: float
    similarity: float


class SearchIndex:
    """All segments of an embedding folder, but for slivers at the clips' ends.

    Attributes:
        kind: of the index.
        metric: what near means.
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
        """Open the index, made or brought up to date first.

        Args:
            table: the collection.
            kind: by default by size: exact up to 500,000 segments, HNSW up to 5,000,000, compressed
                beyond.
            metric: what near means.
            cache: folder where indices that took time are kept; by default that of the user.
            track: shows the progress.

        Raises:
            EmbeddingFolderError: the collection has no segments.
        """
        if not len(table):
            raise EmbeddingFolderError(f"{table.folder}: it has no vectors to search")
        self._table = table
        self.kind, self.metric = kind or choose_kind(len(table)), metric
        self._index, parts, self._exact = open_index(table, self.kind, metric, cache, track)
        spans = table.spans(parts)
        kept = searched(spans, table)
        self._start_s, self._end_s = spans.start_s[kept], spans.end_s[kept]
        self.clips, self._clip = np.unique(spans.clips[kept].astype(str), return_inverse=True)

    @property
    def segments(self) -> Segments:
        """Where the segments stand."""
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
        by_clip: bool = True,
    ) -> list[list[Hit]]:
        """The segments nearest to each of some vectors [n, D], best first.

        Args:
            vectors: the queries.
            top: how many at most.
            without: of each query the clips to leave out, such as its own; by default none.
            among: which segments to look at, bool [segments]; by default all.
            by_clip: only the best segment of each clip.
        """
        queries = np.ascontiguousarray(vectors, np.float32)
        if self.metric is Metric.COSINE:
            queries = unit(queries)
        allowed = None if among is None else np.flatnonzero(among)
        total = len(self._clip) if allowed is None else len(allowed)
        if by_clip:  # nor are there more clips than there are
            there = self.clips if allowed is None else np.unique(self._clip[allowed])
            top = min(top, len(there))
        answers: list[list[Hit]] = [[] for _ in queries]
        unanswered, deeper = list(range(len(queries))), bool(total)
        depth = 4 * top if by_clip or without else top
        while unanswered and deeper:
            depth = min(total, depth)
            deeper = depth < total
            values, rows = self._nearest(queries[unanswered], depth, allowed)
            for query, value, row in zip(unanswered, values, rows, strict=True):
                own = without[query] if without else ()
                answers[query] = self._hits(value, row, own, by_clip)[:top]
            short = [query for query in unanswered if len(answers[query]) < top]
            unanswered = short if (rows[:, -1] >= 0).any() else []  # -1: it knows no more
            depth *= 4  # segments of one clip, or of one left out, came first
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
        exact = self._exact
        vectors = self._index.reconstruct_batch(allowed) if exact is None else exact[allowed]
        values, places = faiss.knn(queries, vectors, depth, faiss.METRIC_INNER_PRODUCT)
        return values, allowed[places]

    def _hits(
        self, values: Vectors, rows: NDArray[np.int64], own: Collection[str], by_clip: bool
    ) -> list[Hit]:
        hits, seen = [], set()
        for value, row in zip(values, rows, strict=True):
            clip = self._clip[row]
            name = str(self.clips[clip])
            if row < 0 or name in own or (by_clip and clip in seen):
                continue
            seen.add(clip)
            hits.append(
                Hit(
                    clip=name,
                    start_s=float(self._start_s[row]),
                    end_s=float(self._end_s[row]),
                    similarity=float(value),
                )
            )
        return hits
