"""Clips of a collection that are nearly the same."""

from dataclasses import dataclass

import faiss

from embedkit.backends.vectors import unit
from embedkit.store import EmbeddingTable

BATCH = 4096  # clips that are compared with all others at a time


@dataclass(frozen=True, order=True)
class Pair:
    """Two clips, and the cosine of their vectors less the collection's mean."""

    similarity: float
    clip: str
    other: str


def find_duplicates(table: EmbeddingTable, least: float) -> list[Pair]:
    """Pairs of clips whose vectors are at least so similar, the most similar first.

    The collection's mean is taken from all vectors: what all clips share makes none alike. One more
    vector, of zeros, is counted in it: else two copies alone would have nothing left.

    Args:
        table: the collection.
        least: cosine, from which two clips are nearly the same.
    """
    clips, vectors = table.clip_vectors()
    if len(clips) < 2:
        return []
    vectors = unit(vectors - vectors.sum(axis=0) / (len(vectors) + 1))
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    pairs = []
    for start in range(0, len(clips), BATCH):
        limits, values, rows = index.range_search(vectors[start : start + BATCH], least)
        for query in range(len(limits) - 1):
            found = slice(int(limits[query]), int(limits[query + 1]))
            for value, row in zip(values[found], rows[found], strict=True):
                if row > start + query:
                    pairs.append(Pair(float(value), clips[start + query], clips[int(row)]))
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.clip, pair.other))
