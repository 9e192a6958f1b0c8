"""Which clips to fit on and which to score: never one group on both sides."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from embedkit.backends.labels import Labelled
from embedkit.errors import DatasetError

Indices = NDArray[np.int64]


def hold_out_fold(data: Labelled, fold: str) -> tuple[Indices, Indices]:
    """Fit on all other folds, score this one.

    Raises:
        DatasetError: there is no such fold, or nothing beside it.
    """
    if data.folds is None:
        raise DatasetError("the labels have no fold column")
    held = np.array([name == fold for name in data.folds])
    if not held.any() or held.all():
        there = ", ".join(sorted(set(data.folds)))
        raise DatasetError(f"cannot hold out fold {fold!r}; there are: {there}")
    return np.flatnonzero(~held), np.flatnonzero(held)


def published_folds(data: Labelled) -> Iterator[tuple[Indices, Indices]]:
    """Each fold of the fold column held out in turn."""
    for fold in sorted(set(data.folds or ())):
        yield hold_out_fold(data, fold)


def random_folds(data: Labelled, k: int, seed: int) -> Iterator[tuple[Indices, Indices]]:
    """K folds drawn at random by whole groups, each held out in turn.

    Raises:
        DatasetError: fewer groups than folds.
    """
    groups = len(set(data.groups))
    if not 2 <= k <= groups:
        raise DatasetError(f"{k} folds: from 2 to the number of groups, {groups}")
    splitter = GroupKFold(n_splits=k, shuffle=True, random_state=seed)
    yield from splitter.split(data.clips, groups=data.groups)


def random_split(data: Labelled, share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out a share of the groups, drawn at random.

    Raises:
        DatasetError: fewer than two groups, or a share that leaves one side empty.
    """
    groups = len(set(data.groups))
    held = round(share * groups)
    if not 1 <= held < groups:
        raise DatasetError(f"a share of {share} of {groups} groups leaves one side empty")
    splitter = GroupShuffleSplit(n_splits=1, test_size=held, random_state=seed)
    fit, score = next(splitter.split(data.clips, groups=data.groups))
    return fit, score
