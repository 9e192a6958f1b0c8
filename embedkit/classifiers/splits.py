"""Chooses which clips to fit on and which to score; no group stands on both sides."""

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
    """Choose what is fitted on and what is scored, as asked for or as the labels have it.

    If nothing is asked for: with a split column, as `training_split`; else each fold of a fold
    column in turn; else a quarter of the groups is held out.

    Args:
        data: the labelled clips.
        fold: hold out this fold.
        folds: draw this many folds, and hold out each in turn.
        share: hold out this share, drawn at random.
        seed: seed of the draws.

    Returns:
        the way in words, and the splits.

    Raises:
        UsageError: more than one of them is asked for.
        DatasetError: as for the functions below.
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
    """The published folds, after the way in words.

    Raises:
        DatasetError: as for `published_folds`.
    """
    held = published_folds(data)
    return f"each of {len(held)} folds held out in turn", held


def published_folds(data: Labelled) -> list[tuple[Indices, Indices]]:
    """Splits that hold out each fold of the fold column in turn.

    Raises:
        DatasetError: there are no folds, or as for `hold_out_fold`.
    """
    held = [hold_out_fold(data, fold) for fold in sorted(set(data.folds or ()) - {""})]
    if not held:
        raise DatasetError("the labels have no folds: add a fold column, or leave out --folds")
    return held


def hold_out_fold(data: Labelled, fold: str) -> tuple[Indices, Indices]:
    """Fit on all other folds and score this one; where there are splits, fit only on train.

    Args:
        data: the labelled clips.
        fold: the fold to score.

    Returns:
        the rows to fit on, and the rows to score.

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
    """Fit on the clips whose split is train; score all others except those for validation.

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
    """Folds drawn at random by whole groups, each held out in turn.

    Args:
        data: the labelled clips.
        k: number of folds.
        seed: seed of the draw.

    Yields:
        for each fold the rows to fit on, and the rows to score.

    Raises:
        DatasetError: there are fewer groups than folds.
    """
    groups = len(set(data.groups))
    if not 2 <= k <= groups:
        raise DatasetError(f"{k} folds: must be from 2 to {groups}, the number of groups")
    splitter = GroupKFold(n_splits=k, shuffle=True, random_state=seed)
    yield from splitter.split(data.clips, groups=data.groups)


def random_split(data: Labelled, share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out a share of the groups, drawn at random.

    Args:
        data: the labelled clips.
        share: the share to hold out.
        seed: seed of the draw.

    Returns:
        the rows to fit on, and the rows to score.

    Raises:
        DatasetError: there are fewer than two groups, or the share leaves one side empty.
    """
    groups = len(set(data.groups))
    held = round(share * groups)
    if not 1 <= held < groups:
        raise DatasetError(f"a share of {share} of {groups} groups leaves one side empty")
    splitter = GroupShuffleSplit(n_splits=1, test_size=held, random_state=seed)
    fit, score = next(splitter.split(data.clips, groups=data.groups))
    return fit, score
