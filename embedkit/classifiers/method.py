"""The protocols of every classifier: a method takes labelled vectors and gives a model."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from embedkit.progress import Track, untracked

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a method is fitted on.

    Attributes:
        vectors: float32 [n, D].
        targets: float32 [n, classes], 1 where a vector has the label; where it may have several
            labels, NaN where that is not known.
        several_labels: whether a vector may have no label, or more than one.
        groups: group of each vector [n]. Vectors of one group are alike for other reasons than
            their label, such as being of one recording, and must not stand on both sides of a
            split.
    """

    vectors: Vectors
    targets: NDArray[np.float32]
    several_labels: bool
    groups: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.vectors)

    def part(self, rows: NDArray[np.int64]) -> "Training":
        """Some of the vectors."""
        return Training(
            vectors=self.vectors[rows],
            targets=self.targets[rows],
            several_labels=self.several_labels,
            groups=self.groups[rows],
        )


class Model(Protocol):
    """A fitted method: a dataclass of arrays and plain values, so that it can be stored as such."""

    def scores(self, vectors: Vectors) -> Floats:
        """Scores in [0, 1], [n, classes], of vectors [n, D]."""


class Method(Protocol):
    """The settings of a method, a dataclass."""

    def fit(self, training: Training, track: Track = untracked) -> Model:
        """Fit, and show the progress where it takes long.

        Args:
            training: labelled vectors.
            track: shows the progress.

        Returns:
            the model.

        Raises:
            DatasetError: the method cannot be fitted on this.
        """


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Mean and deviation of each number of the training vectors, both [D]."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, vectors: Vectors) -> "Scale":
        """Measure vectors [n, D]; a number that never varies has deviation 1."""
        scaler = StandardScaler().fit(vectors.astype(np.float64))
        return cls(mean=scaler.mean_, scale=scaler.scale_)
