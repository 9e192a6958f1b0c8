"""Clips of a collection that are nearly the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from embedkit.classifiers.classifier import Classifier
from embedkit.names.groups import names_of_groups
from embedkit.progress import Track, untracked
from embedkit.store import EmbeddingTable
from embedkit.vectors import unit

LEAST = 0.98  # cosine, from which two are nearly the same unless somebody says another
ROWS, COLUMNS = 256, 4096  # clips that are compared with each other at a time
WAITING = 1_000_000  # links that are held, at most about, before they are sorted into groups
EQUAL = 1e-6  # similarities that are nearer to each other than this are equal


@dataclass(frozen=True, order=True)
class Pair:
    """Two clips, and the cosine of their vectors less the collection's mean.

    Attributes:
        similarity: that cosine.
        clip, other: their names.
        group: number, from 1 on, of the group of clips that pairs join.
    """

    similarity: float
    clip: str
    other: str
    group: int


def find_duplicates(table: EmbeddingTable, least: float, track: Track = untracked) -> list[Pair]:
    """Pairs of clips whose vectors are nearly the same, the most similar first.

    Clips that are joined, directly or through others, are a group. Only the most similar pairs that
    join a group are given: 2 pairs for 3 copies, and never more than n - 1 for n clips (a maximum
    spanning forest). Memory is bounded by the number of clips.

    The collection's mean is subtracted from all vectors, so that what all clips share makes none
    alike. One more vector, of zeros, counts in the mean: otherwise nothing would be left of a
    collection of two copies.

    Args:
        table: the collection.
        least: the cosine from which on two clips are nearly the same.
        track: shows the progress.

    Returns:
        the pairs.
    """
    clips, vectors = table.clip_vectors()
    if len(clips) < 2:
        return []
    vectors = unit(vectors - vectors.sum(axis=0) / (len(vectors) + 1))
    links = join(vectors, least, track)
    found = sorted(
        (-min(1.0, float(similarity)), clips[first], clips[second], int(group))
        for similarity, first, second, group in zip(
            links.similarity, links.first, links.second, links.group[links.first], strict=True
        )
    )
    numbers: dict[int, int] = {}
    return [
        Pair(-negative, clip, other, numbers.setdefault(group, len(numbers) + 1))
        for negative, clip, other, group in found
    ]


def name_groups(table: EmbeddingTable, pairs: list[Pair], names: Classifier) -> dict[int, str]:
    """The most likely names of the clips of each group.

    Args:
        table: the collection.
        pairs: what `find_duplicates` gave.
        names: a classifier that names vectors.

    Returns:
        names by the group's number; empty where no name is likely.
    """
    if not pairs:
        return {}
    group = {clip: pair.group for pair in pairs for clip in (pair.clip, pair.other)}
    clips, vectors = table.clip_vectors(group)
    numbers, groups = np.unique([group[clip] for clip in clips], return_inverse=True)
    called = names_of_groups(vectors, groups, names, contrast=False)
    return dict(zip(numbers.tolist(), called, strict=True))


class Links:
    """The strongest links that join things to groups, kept up to date as more links come.

    Attributes:
        first, second: the two ends of each link, int64 [links].
        similarity: strength of each link, float64 [links].
        group: number of each thing's group [n].
    """

    def __init__(self, count: int) -> None:
        self.first = self.second = np.zeros(0, np.int64)
        self.similarity = np.zeros(0)
        self.group = np.arange(count)
        self._weakest = np.full(
            count, np.inf, np.float32
        )  # link of the group that each thing is in
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []

    def add(self, row: int, column: int, cosines: NDArray[np.float32], least: float) -> None:
        """Take the links between two ranges of things; no two links come twice.

        Args:
            row: number of the first thing of the rows.
            column: number of the first thing of the columns.
            cosines: their similarities [rows, columns].
            least: the cosine from which on they are linked.
        """
        rows, columns = (
            slice(start, start + count)
            for start, count in zip((row, column), cosines.shape, strict=True)
        )
        # A link within a group, no stronger than the weakest that holds it, changes nothing.
        new = self.group[rows, None] != self.group[columns]
        new |= cosines > self._weakest[rows, None] + EQUAL
        new &= cosines >= least
        first, second = np.nonzero(new)
        once = first + row < second + column
        first, second = first[once], second[once]
        if len(first):
            similarity = cosines[first, second].astype(np.float64)
            self._waiting.append((first + row, second + column, similarity))
        if sum(len(each[0]) for each in self._waiting) >= WAITING:
            self.sort()

    def sort(self) -> None:
        """Keep only the strongest links, old and waiting, that join as much."""
        held = [(self.first, self.second, self.similarity), *self._waiting]
        first, second, similarity = map(np.concatenate, zip(*held, strict=True))
        count = len(self.group)
        # A cosine's distance from 2 is above 0, which a sparse matrix would not hold.
        # SciPy before 1.15 looks for trees among indices of 32 bits alone.
        ends = first.astype(np.int32), second.astype(np.int32)
        graph = coo_array((2 - similarity, ends), shape=(count, count))
        tree = coo_array(minimum_spanning_tree(graph.tocsr()))
        self.first, self.second = (ends.astype(np.int64) for ends in (tree.row, tree.col))
        self.similarity = 2 - tree.data
        groups, numbers = connected_components(tree, directed=False)
        self.group = numbers.astype(np.int64)
        weakest = np.full(groups, np.inf, np.float32)
        np.minimum.at(weakest, self.group[self.first], self.similarity)
        self._weakest = weakest[self.group]
        self._waiting = []


def join(vectors: NDArray[np.float32], least: float, track: Track = untracked) -> Links:
    """The strongest links among vectors whose cosine is high enough.

    Args:
        vectors: float32 [n, D], of length 1.
        least: the lowest cosine.
        track: shows the progress.

    Returns:
        the links.
    """
    links = Links(len(vectors))
    starts = range(0, len(vectors), ROWS)
    for start in track(starts, "Comparing", len(starts)):
        rows = vectors[start : start + ROWS]
        for left in range(start, len(vectors), COLUMNS):
            links.add(start, left, rows @ vectors[left : left + COLUMNS].T, least)
    links.sort()
    return links
