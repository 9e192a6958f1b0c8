"""Exact search in memory, at any size of a Matryoshka embedding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.vectors import unit


class ExactSearch:
    """Rows compared with a query by the cosine of their first numbers.

    One product of all rows with the query: of 100,000 rows it takes milliseconds.

    Attributes:
        vectors: float32 [n, D].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._kept = vectors.shape[1], unit(vectors)

    def scores(self, query: NDArray[np.float32], size: int | None = None) -> NDArray[np.float32]:
        """The cosine of each row with a query [n].

        Args:
            query: float32 [D], or its first numbers [size].
            size: numbers that are compared; by default all.

        Returns:
            float32 [n].
        """
        size = size or self.vectors.shape[1]
        found: NDArray[np.float32] = self._units(size) @ unit(query[None, :size])[0]
        return found

    def contrast(
        self, like: Sequence[NDArray[np.float32]], unlike: Sequence[NDArray[np.float32]], size: int
    ) -> NDArray[np.float32]:
        """The mean of some vectors minus the mean of others, each scaled to length 1.

        Args:
            like: vectors [D].
            unlike: vectors [D] to subtract; may be empty.
            size: number of their first numbers that are used.

        Returns:
            float32 [size].
        """
        positive: NDArray[np.float32] = unit(np.stack(like)[:, :size]).mean(axis=0)
        return positive - unit(np.stack(unlike)[:, :size]).mean(axis=0) if unlike else positive

    def _units(self, size: int) -> NDArray[np.float32]:
        kept, units = self._kept
        if kept != size:
            units = unit(self.vectors[:, :size])
            self._kept = size, units  # of one size at a time: each is a copy
        return units
