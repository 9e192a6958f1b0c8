"""Which clips to fit on and which to score: never one group on both sides."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from embedkit.datasets.manifest import VALIDATION_SPLITS
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.join import Labelled

Indices = NDArray[np.int64]


def choose(
    data: Labelled,
    *,
    fold: str | None = None,
    folds: int | None = None,
    share: float | None = None,
    seed: int = 0,
) -> tuple[str, list[tuple[Indices, Indices]]]:
    """What is fitted on and what is scored, as asked for or as the labels have it.

    Without a wish: where there is a split column, as training_split; else each fold of a fold
    column in turn; else a quarter of the groups is held out.

    Args:
        data: the labelled clips.
        fold: hold out this one.
        folds: draw so many, and hold out each in turn.
        share: hold out so much, drawn at random.
        seed: of what is drawn.

    Returns:
        the way in words, and the splits.

    Raises:
        UsageError: more than one wish.
        DatasetError: as the functions below.
    """
    if sum(wish is not None for wish in (fold, folds, share)) > 1:
        raise UsageError("choose one of --hold-out-fold, --k-folds and --test-share")
    if fold is not None:
        return f"fold {fold} held out", [hold_out_fold(data, fold)]
    if folds is not None:
        return f"{folds} random folds", list(random_folds(data, folds, seed))
    if share is None and data.splits is not None:
        fitted, scored = training_split(data)
        if not len(scored):
            raise DatasetError("nothing to score: all splits are train or validation")
        return "fitted on split train", [(fitted, scored)]
    if share is None and data.folds is not None:
        return in_turn(data)
    share = 0.25 if share is None else share
    return f"{share:.0%} held out at random", [random_split(data, share, seed)]


def in_turn(data: Labelled) -> tuple[str, list[tuple[Indices, Indices]]]:
    """The way in words, and the published folds.

    Raises:
        DatasetError: as published_folds.
    """
    held = published_folds(data)
    return f"each of {len(held)} folds held out in turn", held


def published_folds(data: Labelled) -> list[tuple[Indices, Indices]]:
    """Each fold of the fold column held out in turn.

    Raises:
        DatasetError: there are no folds, or as hold_out_fold.
    """
    held = [hold_out_fold(data, fold) for fold in sorted(set(data.folds or ()) - {""})]
    if not held:
        raise DatasetError("the labels have no folds")
    return held


def hold_out_fold(data: Labelled, fold: str) -> tuple[Indices, Indices]:
    """Fit on all other folds, score this one; where there are splits, fit on train alone.

    Raises:
        DatasetError: there is no such fold, nothing beside it, or a group on both sides.
    """
    if data.folds is None:
        raise DatasetError(
            "the labels have no fold column: add one, or hold out with --k-folds or --test-share"
        )
    held = np.array([name == fold for name in data.folds])
    if not held.any() or held.all():
        there = ", ".join(sorted(set(data.folds)))
        raise DatasetError(f"cannot hold out fold {fold!r}; there are: {there}")
    fitted = ~held
    if data.splits is not None:
        fitted &= np.array([split == "train" for split in data.splits])
        if not fitted.any():
            raise DatasetError(f"no clip of split 'train' beside fold {fold!r}")
    _refuse_shared(data, fitted, held, f"in fold {fold!r} and in others")
    return np.flatnonzero(fitted), np.flatnonzero(held)


def training_split(data: Labelled) -> tuple[Indices, Indices]:
    """Fit on the clips whose split is train; score all others but those for validation.

    Raises:
        DatasetError: there is no split column, no clip with the split train, or a group on both
            sides.
    """
    if data.splits is None:
        raise DatasetError("the labels have no split column")
    training = np.array([split == "train" for split in data.splits])
    validation = np.array([split in VALIDATION_SPLITS for split in data.splits])
    if not training.any():
        raise DatasetError(f"no clip of split 'train'; there are: {', '.join(set(data.splits))}")
    scored = ~training & ~validation
    _refuse_shared(data, training, scored, "in split 'train' and in one that is scored")
    return np.flatnonzero(training), np.flatnonzero(scored)


def _refuse_shared(
    data: Labelled, fitted: NDArray[np.bool_], scored: NDArray[np.bool_], where: str
) -> None:
    groups = np.array(data.groups)
    both = set(groups[fitted]) & set(groups[scored])
    if both:
        raise DatasetError(f"group {str(min(both))!r} is {where}")


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
