"""What is held out, and that no group is on both sides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made import labelled

from embedkit.classifiers import splits
from embedkit.errors import DatasetError
from embedkit.labels.join import Labelled


def test_holding_out_a_fold_leaves_the_others_to_fit_on() -> None:
    data = labelled(2, each=6)
    fit_on, held = splits.hold_out_fold(data, "1")
    assert held.tolist() == [4, 5, 6, 7]
    assert fit_on.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_group_in_two_folds_is_refused() -> None:
    data = labelled(2, each=6)
    data = Labelled(**{**vars(data), "groups": ["g"] * len(data.clips)})
    with pytest.raises(DatasetError, match="group 'g' is in fold '1' and in others"):
        splits.hold_out_fold(data, "1")


def test_the_split_column_says_what_is_fitted_on_and_what_is_scored() -> None:
    data = labelled(2, each=3)
    parts = ["train", "test", "val", "train", "", "eval"]
    data = replace(data, splits=parts, groups=[str(n) for n in range(6)])
    fit_on, held = splits.training_split(data)
    assert (fit_on.tolist(), held.tolist()) == ([0, 3], [1, 4, 5])


def test_published_folds_are_held_out_in_turn() -> None:
    data = labelled(2, each=6)
    turns = list(splits.published_folds(data))
    expected = [splits.hold_out_fold(data, fold) for fold in "012"]
    for found, wanted in zip(turns, expected, strict=True):
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def assert_groups_apart(data: Labelled, fit_on: Any, held: Any) -> None:
    assert not {data.groups[n] for n in fit_on} & {data.groups[n] for n in held}
    assert sorted([*fit_on, *held]) == list(range(len(data.clips)))


@pytest.mark.parametrize("k", [2, 5, 6])
def test_random_folds_hold_each_clip_out_once_and_keep_groups_whole(k: int) -> None:
    data = labelled(3)
    turns = list(splits.random_folds(data, k, seed=0))
    assert len(turns) == k
    assert sorted(np.concatenate([held for _, held in turns])) == list(range(36))
    for turn in turns:
        assert_groups_apart(data, *turn)


@pytest.mark.parametrize(("share", "groups"), [(0.25, 2), (0.5, 3), (0.1, 1), (0.8, 5)])
def test_a_random_split_holds_out_a_share_of_the_groups(share: float, groups: int) -> None:
    data = labelled(3)  # 6 groups
    fit_on, held = splits.random_split(data, share, seed=0)
    assert_groups_apart(data, fit_on, held)
    assert len({data.groups[n] for n in held}) == groups


@pytest.mark.parametrize(
    "draw_with",
    [
        lambda data, seed: next(splits.random_folds(data, 3, seed))[1].tolist(),
        lambda data, seed: splits.random_split(data, 0.5, seed)[1].tolist(),
    ],
    ids=["folds", "split"],
)
def test_the_seed_decides_what_is_held_out(draw_with: Callable[..., list[int]]) -> None:
    data = labelled(3)
    assert draw_with(data, 1) == draw_with(data, 1)
    assert len({tuple(draw_with(data, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda d: splits.hold_out_fold(d, "7"), "cannot hold out fold '7'; there are: 0, 1, 2"),
        (lambda d: list(splits.random_folds(d, 1, 0)), "1 folds: must be from 2 to 6"),
        (lambda d: list(splits.random_folds(d, 7, 0)), "7 folds: must be from 2 to 6"),
        (lambda d: splits.random_split(d, 0.01, 0), "0.01 of 6 groups leaves one side empty"),
        (lambda d: splits.random_split(d, 0.99, 0), "0.99 of 6 groups leaves one side empty"),
        (lambda d: splits.hold_out_fold(Labelled(**{**vars(d), "folds": None}), "1"), "no fold"),
        (
            lambda d: splits.hold_out_fold(Labelled(**{**vars(d), "folds": ["1"] * 36}), "1"),
            "cannot hold out fold '1'; there are: 1",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused(ask: Callable[[Labelled], Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ask(labelled(3))
