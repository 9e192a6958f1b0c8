"""Splits that labels publish: what is fitted on when there are folds, splits and groups at once."""

import numpy as np
import pytest

from embedkit.classifiers import splits
from embedkit.errors import DatasetError
from embedkit.labels.join import Labelled


def labelled(
    folds: list[str] | None, parts: list[str] | None, groups: list[str] | None = None
) -> Labelled:
    count = len(folds or parts or ())
    return Labelled(
        clips=[f"{clip}.wav" for clip in range(count)],
        vectors=np.zeros((count, 2), np.float32),
        targets=np.eye(2, dtype=np.float32)[np.arange(count) % 2],
        labels=("a", "b"),
        several_labels=False,
        folds=folds,
        splits=parts,
        groups=groups or [str(clip) for clip in range(count)],
    )


# As TUT 2016: a development set with folds, and an evaluation set without.
FOLDS = ["1", "1", "2", "2", "", "", ""]
PARTS = ["train", "train", "train", "train", "test", "test", "validation"]


def test_the_evaluation_set_is_not_fitted_on_when_a_fold_is_held_out() -> None:
    data = labelled(FOLDS, PARTS)
    fitted, held = splits.hold_out_fold(data, "1")
    assert (fitted.tolist(), held.tolist()) == ([2, 3], [0, 1])
    how, turns = splits.in_turn(data)
    assert how == "each of 2 folds held out in turn"
    assert [(some.tolist(), other.tolist()) for some, other in turns] == [
        ([2, 3], [0, 1]), ([0, 1], [2, 3])
    ]  # fmt: skip
    # Without splits, clips without a fold are material like any other.
    assert splits.hold_out_fold(labelled(FOLDS, None), "1")[0].tolist() == [2, 3, 4, 5, 6]


def test_a_group_in_train_and_in_test_is_refused() -> None:
    groups = ["x", "1", "2", "3", "x", "5", "6"]
    with pytest.raises(DatasetError, match="group 'x' is in split 'train' and in one that is sco"):
        splits.training_split(labelled(None, PARTS, groups))
    # In a split that is left alone it does no harm.
    fitted, _ = splits.training_split(labelled(None, PARTS, [*"012345", "0"]))
    assert fitted.tolist() == [0, 1, 2, 3]


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DatasetError, match="nothing to score"):
        splits.choose(labelled(None, ["train", "train", "val"]))
    with pytest.raises(DatasetError, match="no folds"):
        splits.in_turn(labelled(None, PARTS))
    with pytest.raises(DatasetError, match="no clip of split 'train' beside fold '1'"):
        splits.hold_out_fold(labelled(["1", "2"], ["test", "test"]), "1")
