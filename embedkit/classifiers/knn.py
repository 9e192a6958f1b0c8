"""The labels of the nearest vectors."""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from embedkit.classifiers.method import Floats, Scale, Training, Vectors
from embedkit.progress import Track, untracked
from embedkit.vectors import unit

TEMPERATURE = 0.07
BATCH = 4096  # queries at a time
YES, UNKNOWN = 1, 2


@dataclass(frozen=True, kw_only=True)
class NeighboursModel:
    """A vote of the nearest training vectors, by the cosine of standardised vectors.

    Each has weight exp(cosine / 0.07), as in Wu et al., Unsupervised feature learning via
    non-parametric instance discrimination, 2018.

    Attributes:
        mean, scale: mean and deviation of the training vectors [D].
        known: these vectors, standardised, of length 1 [n, D].
        targets: 1 where a vector has the label, 2 where that is not known, uint8 [n, classes]; what
            is not known has no vote.
        neighbours: number of vectors that vote.
    """

    mean: Floats
    scale: Floats
    known: Vectors
    targets: NDArray[np.uint8]
    neighbours: int

    def __post_init__(self) -> None:
        if len(self.known) != len(self.targets) or self.neighbours < 1:
            raise ValueError("not as many targets as vectors")

    def scores(self, vectors: Vectors) -> Floats:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""
        index = faiss.IndexFlatIP(self.known.shape[1])
        index.add(np.ascontiguousarray(self.known))
        scores = np.empty((len(vectors), self.targets.shape[1]))
        for start in range(0, len(vectors), BATCH):
            asked = unit((vectors[start : start + BATCH] - self.mean) / self.scale)
            cosine, found = index.search(asked, min(self.neighbours, len(self.known)))
            weights = np.exp((cosine.astype(np.float64) - cosine[:, :1]) / TEMPERATURE)
            weights /= weights.sum(axis=1, keepdims=True)
            votes = self.targets[found]
            yes = np.einsum("nk,nkc->nc", weights, votes == YES)
            if (votes == UNKNOWN).any():
                cast = np.einsum("nk,nkc->nc", weights, votes != UNKNOWN)
                yes = np.divide(yes, cast, out=np.zeros_like(yes), where=cast > 0)
            scores[start : start + BATCH] = yes
        return scores


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The settings of the method.

    Attributes:
        neighbours: number of vectors that vote.
    """

    neighbours: int = 20

    def fit(self, training: Training, track: Track = untracked) -> NeighboursModel:
        """Remember the training vectors.

        Args:
            training: labelled vectors.
            track: is not used.

        Returns:
            the model.
        """
        scale = Scale.of(training.vectors)
        return NeighboursModel(
            mean=scale.mean,
            scale=scale.scale,
            known=unit((training.vectors - scale.mean) / scale.scale),
            targets=np.nan_to_num(training.targets, nan=UNKNOWN).astype(np.uint8),
            neighbours=self.neighbours,
        )
