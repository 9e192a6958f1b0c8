"""Exact nearest segments by cosine."""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbeddingFolderError
from embedkit.store import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A segment found, and its cosine to the query."""

    clip: str
    start_s: float
    end_s: float
    similarity: float


class CosineIndex:
    """All segments of an embedding folder, in memory, for exact search."""

    def __init__(self, table: EmbeddingTable) -> None:
        """Read the folder.

        Raises:
            EmbeddingFolderError: it has no rows.
        """
        self._rows = table.rows()
        if not len(self._rows.clips):
            raise EmbeddingFolderError(f"{table.folder}: it has no vectors to search")
        self._index = faiss.IndexFlatIP(table.embedding_size)
        self._index.add(unit(self._rows.embeddings))

    def has_clip(self, clip: str) -> bool:
        """Whether the collection has a clip of that name."""
        return bool((self._rows.clips == clip).any())

    def clip_vector(self, clip: str) -> NDArray[np.float32]:
        """The vector [D] of a clip of the collection, as EmbeddingTable.clip_vectors has it."""
        mine = self._rows.clips == clip
        seconds = self._rows.end_s[mine] - self._rows.start_s[mine]
        mean: NDArray[np.float32] = np.average(
            self._rows.embeddings[mine], axis=0, weights=seconds
        ).astype(np.float32)
        return mean

    def search(self, vector: NDArray[np.float32], top: int, without: str = "") -> list[Hit]:
        """The segments nearest to a vector [D], the best one of each clip, best first.

        Args:
            vector: the query.
            top: how many clips at most.
            without: a clip to leave out: the query's own.
        """
        wanted = top
        total = len(self._rows.clips)
        while True:
            # Several segments of one clip may come first: look deeper until enough clips did.
            wanted = min(total, 4 * wanted)
            similarity, order = self._index.search(unit(vector[None]), wanted)
            hits: dict[str, Hit] = {}
            for value, row in zip(similarity[0], order[0], strict=True):
                clip = str(self._rows.clips[row])
                if clip != without and clip not in hits:
                    hits[clip] = Hit(
                        clip=clip,
                        start_s=float(self._rows.start_s[row]),
                        end_s=float(self._rows.end_s[row]),
                        similarity=float(value),
                    )
            if len(hits) >= top or wanted == total:
                return list(hits.values())[:top]


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors [n, D] of length 1; a vector of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled
