"""Exact search in memory, at any size of a Matryoshka embedding."""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.backends.vectors import unit


class ExactSearch:
    """Nearest rows by the cosine of their first numbers.

    Attributes:
        vectors: float32 [n, D].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._kept: tuple[int, faiss.IndexFlatIP | None] = (0, None)

    def search(
        self,
        query: NDArray[np.float32],
        top: int,
        *,
        size: int | None = None,
        among: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Cosines and rows of the nearest, best first.

        Args:
            query: float32 [D], or its first numbers [size].
            top: how many at most.
            size: numbers that are compared; by default all.
            among: which rows to look at, bool [n]; by default all.
        """
        size = size or self.vectors.shape[1]
        asked = unit(query[None, :size])
        allowed = None if among is None else np.flatnonzero(among)
        most = len(self.vectors) if allowed is None else len(allowed)
        if not most:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        more = {} if allowed is None else {"sel": faiss.IDSelectorBatch(allowed)}
        found = self._index(size).search(
            asked, min(top, most), params=faiss.SearchParameters(**more)
        )
        return found[0][0], found[1][0]

    def contrast(
        self, like: Sequence[NDArray[np.float32]], unlike: Sequence[NDArray[np.float32]], size: int
    ) -> NDArray[np.float32]:
        """The mean of some vectors minus the mean of others, each of length 1, [size]."""
        positive: NDArray[np.float32] = unit(np.stack(like)[:, :size]).mean(axis=0)
        return positive - unit(np.stack(unlike)[:, :size]).mean(axis=0) if unlike else positive

    def _index(self, size: int) -> faiss.IndexFlatIP:
        kept, index = self._kept
        if kept != size or index is None:
            index = faiss.IndexFlatIP(size)
            index.add(unit(self.vectors[:, :size]))
            self._kept = size, index  # of one size at a time: each is a copy
        return index
