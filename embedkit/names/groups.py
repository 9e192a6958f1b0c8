"""Names for groups of vectors: clusters, regions of a map, copies of a clip."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit import scoring
from embedkit.classifiers.classifier import Classifier

LEAST = 0.1
AT_ONCE = 4096  # vectors


def names_of_groups(
    vectors: NDArray[np.float32],
    groups: NDArray[np.integer],
    names: Classifier,
    *,
    contrast: bool = True,
) -> list[str]:
    """A name for each group of vectors.

    A name's share of a group is the mean of its probabilities over the group's vectors. With
    contrast a group is called by the name that tells it best from all: the one with the largest p
    log(p / q), where p is the name's share of the group and q its share of all vectors. That is the
    name's term of the divergence of p from q. So not every group of a collection of songs is called
    `Music`. Among names that tell equally much, and without contrast, the one with the largest
    share is taken.

    Args:
        vectors: [n, D]; all are scored, some thousand at a time.
        groups: number of each one's group [n], from 0 on.
        names: a classifier of such vectors.
        contrast: look at what tells groups apart.

    Returns:
        names by the groups' numbers; empty where no name has a share of 0.1 or more.
    """
    total = scoring.no_sums(int(groups.max()) + 1 if len(groups) else 0, len(names.labels))
    for start in range(0, len(vectors), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        scores = names.scores(vectors[some])
        scoring.add(total, scores, np.ones(len(scores)), groups[some])
    shares, usual = scoring.means(total), scoring.means(total.sum(axis=0, keepdims=True))
    return _called(shares, usual, list(names.labels), contrast)


def folders_of_groups(folders: Sequence[str], groups: NDArray[np.integer]) -> list[str]:
    """A name for each group of sounds: the folder that tells it best from all.

    Args:
        folders: folder of each sound [n].
        groups: number of each one's group [n], from 0 on.

    Returns:
        names by the groups' numbers, as for `names_of_groups`.
    """
    labels, owner = np.unique(np.asarray(folders, str), return_inverse=True)
    counts = np.zeros((int(groups.max()) + 1 if len(groups) else 0, len(labels)))
    np.add.at(counts, (groups, owner), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    usual = counts.sum(axis=0, keepdims=True) / max(len(groups), 1)
    return _called(shares, usual, labels.tolist(), contrast=True)


def _called(
    shares: NDArray[np.float64], usual: NDArray[np.float64], labels: list[str], contrast: bool
) -> list[str]:
    """The name of each group, by the names' shares of it [groups, names], and of all [1, names]."""
    telling = np.zeros_like(shares)
    if contrast:
        telling = shares * np.log(np.maximum(shares, 1e-12) / np.maximum(usual, 1e-12))
    found = []
    for mine, apart in zip(shares, telling.round(9), strict=True):  # what rounding adds tells none
        enough = np.flatnonzero(mine >= LEAST)
        best = max(enough.tolist(), key=lambda name: (apart[name], mine[name]), default=None)
        found.append("" if best is None else labels[best])
    return found
