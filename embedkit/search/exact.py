"""Exact search in memory, at any size of a Matryoshka embedding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.vectors import unit


class ExactSearch:
    """Nearest rows by the cosine of their first numbers.

    One product of all rows with the query: of 100,000 rows it takes milliseconds, whichever of them
    a filter leaves.

    Attributes:
        vectors: float32 [n, D].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._kept = vectors.shape[1], unit(vectors)

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
        scores = self._units(size) @ unit(query[None, :size])[0]
        if among is not None:
            scores[~among] = -np.inf
        count = len(scores) if among is None else int(among.sum())
        best = np.argpartition(-scores, min(top, len(scores) - 1))[:top]
        rows = best[np.argsort(-scores[best], kind="stable")][:count]
        return scores[rows], rows

    def contrast(
        self, like: Sequence[NDArray[np.float32]], unlike: Sequence[NDArray[np.float32]], size: int
    ) -> NDArray[np.float32]:
        """The mean of some vectors minus the mean of others, each of length 1, [size]."""
        positive: NDArray[np.float32] = unit(np.stack(like)[:, :size]).mean(axis=0)
        return positive - unit(np.stack(unlike)[:, :size]).mean(axis=0) if unlike else positive

    def _units(self, size: int) -> NDArray[np.float32]:
        kept, units = self._kept
        if kept != size:
            units = unit(self.vectors[:, :size])
            self._kept = size, units  # of one size at a time: each is a copy
        return units
