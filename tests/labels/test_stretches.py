import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embedkit.datasets.stretches import Placed, refuse_contradictions
from embedkit.errors import DatasetError, UsageError
from embedkit.labels.stretches import (
    Marked,
    Rule,
    Sign,
    Stretch,
    missed,
    segment_targets,
    unite,
)

NAN = math.nan
GRID = 64  # steps a second, of which every time of the brute force is a whole number
ALL = Rule(marked=Marked.ALL)


def stretch(start_s: float, end_s: float, label: str = "x", sign: str = "+") -> Stretch:
    return Stretch(clip="a.wav", start_s=start_s, end_s=end_s, label=label, sign=Sign(sign))


def targets(
    stretches: Iterable[Stretch],
    labels: Sequence[str] = "x",
    rule: Rule | None = None,
    segments: Sequence[tuple[float, float]] = ((0, 1), (1, 2), (2, 3), (3, 3.4)),
) -> list[list[float]]:
    start, end = np.array(segments, float).T
    return segment_targets(start, end, stretches, list(labels), rule).T.tolist()


def same(found: list[list[float]], expected: list[list[float]]) -> bool:
    return np.array_equal(np.array(found), np.array(expected), equal_nan=True)


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([stretch(0.5, 1.0)], [1, 0, 0, 0]),  # half of the segment
        ([stretch(0.5 + 1e-7, 1.0)], [1, 0, 0, 0]),  # half, as far as anybody can tell
        ([stretch(0.2, 0.3)], [1, 0, 0, 0]),  # all of a short stretch
        ([stretch(0.95, 1.05)], [1, 1, 0, 0]),  # half of a short stretch on either side
        ([stretch(0.9, 1.2)], [NAN, 1, 0, 0]),  # a third of it only touches
        ([stretch(0.6, 2.3)], [NAN, 1, NAN, 0]),  # the segments at the edges are less than half
        ([stretch(0, math.inf)], [1, 1, 1, 1]),  # a label without times
        ([stretch(2.9, 3.2)], [0, 0, NAN, 1]),  # the padded segment ends with the clip
        ([stretch(0.2, 0.2)], [1, 0, 0, 0]),  # a moment
        ([stretch(1, 1)], [0, 1, 0, 0]),  # between two segments it begins the next
        ([stretch(3.4, 3.4)], [0, 0, 0, 1]),  # at the end no next one begins
        ([stretch(3.4, 9)], [0, 0, 0, 0]),  # beyond the clip
        ([stretch(3.3, 9)], [0, 0, 0, 1]),  # what lies beyond it counts for nothing
        ([stretch(1, 1.3), stretch(1.3, 1.5)], [0, 1, 0, 0]),  # together half of it
        # One of 1.6 s, not four of 0.4 s of which each end would be whole in its segment:
        ([stretch(0.7 + n * 0.4, 1.1 + n * 0.4) for n in range(4)], [NAN, 1, NAN, 0]),
        ([stretch(0.5, 1.5, sign="?")], [NAN, NAN, 0, 0]),
        ([stretch(0.5, 1.5, sign="?"), stretch(0.1, 0.4)], [1, NAN, 0, 0]),
        ([stretch(0, 1, sign="-")], [0, 0, 0, 0]),
        ([stretch(0.8, 1.8, sign="-"), stretch(0.1, 0.4)], [1, 0, 0, 0]),
        ([], [0, 0, 0, 0]),
    ],
)
def test_what_half_means_where_everything_was_marked(
    stretches: list[Stretch], expected: list[float]
) -> None:
    assert same(targets(stretches, rule=ALL), [expected])


def test_what_is_unmarked_is_unknown_and_a_marked_segment_has_only_its_labels() -> None:
    said = [
        stretch(0, 1, "x"),
        stretch(1, 2, "y", "-"),
        stretch(2, 3, "y"),
        stretch(2.9, 3.2, "x"),
    ]
    assert same(
        targets(said, ["x", "y", "z"]),
        [[1, NAN, NAN, 1], [0, 0, 1, 0], [0, NAN, 0, 0]],
    )


def test_a_label_that_nobody_asks_for_still_marks_a_segment() -> None:
    assert same(targets([stretch(0, 1, "y")], ["x"]), [[0, NAN, NAN, NAN]])


def test_both_shares_are_the_users() -> None:
    said = [stretch(0.2, 1.3)]  # 0.8 of the first segment, 0.3 of the second; of itself 8/11, 3/11
    assert same(targets(said, rule=Rule(cover=0.3, within=1)), [[1, 1, NAN, NAN]])
    assert same(targets(said, rule=Rule(cover=1, within=0.25)), [[1, 1, NAN, NAN]])
    assert same(targets(said, rule=Rule(cover=0.9, within=0.9)), [[NAN] * 4])
    with pytest.raises(UsageError, match="more than 0, and at most 1"):
        Rule(cover=0)


def test_overlapping_windows_hold_one_moment_together() -> None:
    windows = [(0, 1), (0.25, 1.25), (0.5, 1.5), (0.75, 1.75), (1, 2)]
    assert same(targets([stretch(1, 1)], rule=ALL, segments=windows), [[0, 1, 1, 1, 1]])


def test_stretches_that_no_segment_catches_are_named() -> None:
    start, end = np.array([0.0, 4.0]), np.array([1.0, 5.0])  # between them nothing was embedded
    lost = [stretch(2, 3), stretch(0.9, 3.5, "y"), stretch(9, 9, sign="-")]
    kept = [stretch(0, 0.5), stretch(1, 1), stretch(2, 2, sign="?")]
    assert missed(start, end, lost + kept) == sorted(lost)
    assert missed(start, end, []) == []


def test_stretches_are_united_in_any_order() -> None:
    said = [stretch(5, 6), stretch(1, 2), stretch(1.5, 3), stretch(3, 4), stretch(4.1, 4.1)]
    assert unite(said).tolist() == [[1, 4], [4.1, 4.1], [5, 6]]


def count(covered: NDArray[np.bool_], first: int, last: int) -> int:
    return int(covered[first:last].sum())


def brute_force(
    segments: NDArray[np.int64], stretches: list[Stretch], label: str, rule: Rule
) -> list[float]:
    """The rule by the cells of a fine grid, a segment at a time."""
    total = int(segments.max())

    def cells(sign: Sign) -> NDArray[np.bool_]:
        covered = np.zeros(total, bool)
        for each in stretches:
            if (each.label, each.sign) == (label, sign):
                covered[round(each.start_s * GRID) : round(each.end_s * GRID)] = True
        return covered

    def runs(covered: NDArray[np.bool_]) -> list[tuple[int, int]]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], covered.astype(int), [0]])))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

    def reaches(sign: Sign, first: int, last: int) -> bool:
        covered = cells(sign)
        own = [max(0, min(last, stop) - max(first, start)) for start, stop in runs(covered)]
        shares = [
            each / (stop - start) for each, (start, stop) in zip(own, runs(covered), strict=True)
        ]
        return sum(own) > 0 and (
            sum(own) >= rule.cover * (last - first) or max(shares) >= rule.within
        )

    found = []
    for first, last in segments.tolist():
        others = {each.label for each in stretches if each.sign is Sign.POSITIVE}
        marked = rule.marked is Marked.ALL
        for other in others:
            keep = [each for each in stretches if each.label == other]
            marked |= other != label and brute_force_one(keep, other, first, last, rule, total)
        if reaches(Sign.POSITIVE, first, last):
            found.append(1.0)
        elif any(count(cells(sign), first, last) for sign in (Sign.POSITIVE, Sign.UNCERTAIN)):
            found.append(NAN)
        elif marked or reaches(Sign.NEGATIVE, first, last):
            found.append(0.0)
        else:
            found.append(NAN)
    return found


def brute_force_one(
    stretches: list[Stretch], label: str, first: int, last: int, rule: Rule, total: int
) -> bool:
    """Whether one segment has one label, everything being marked."""
    segments = np.array([[first, last], [0, total]])
    rule = Rule(cover=rule.cover, within=rule.within, marked=Marked.ALL)
    return brute_force(segments, stretches, label, rule)[0] == 1


@pytest.mark.parametrize("seed", range(60))
def test_the_rule_is_what_a_fine_grid_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hop, length = rng.choice([16, 32, 64, 96]), rng.choice([32, 64, 96])
    total = int(rng.integers(length, 6 * GRID))
    starts = np.arange(0, total, hop)
    segments = np.stack([starts, np.minimum(starts + length, total)], axis=1)
    said = []
    for _ in range(rng.integers(1, 9)):
        start = int(rng.integers(0, total - 1))
        end = int(rng.integers(start + 1, min(total, start + 128) + 1))
        label, sign = str(rng.choice(["x", "y"])), str(rng.choice(["+", "+", "-", "?"]))
        said.append(stretch(start / GRID, end / GRID, label, sign))
    rule = Rule(
        cover=float(rng.choice([0.25, 0.5, 1])),
        within=float(rng.choice([0.25, 0.5, 1])),
        marked=Marked(str(rng.choice(["all", "some"]))),
    )
    shuffled = rng.permutation(len(segments))
    found = segment_targets(*segments[shuffled].T / GRID, said, ["x", "y"], rule)
    expected = [brute_force(segments[shuffled], said, label, rule) for label in "xy"]
    assert same(found.T.tolist(), expected)


@pytest.mark.parametrize(
    ("positive", "negative"),
    [((1, 2), (1.9, 3)), ((1, 2), (0, 9)), ((1, 1), (0, 2)), ((0, 2), (0, 0)), ((1, 1), (1, 1))],
)
def test_a_negative_over_a_positive_is_refused(
    positive: tuple[float, float], negative: tuple[float, float]
) -> None:
    others = [Placed(stretch(7 + n, 7.5 + n, sign=sign), f"row {n}") for n, sign in enumerate("+-")]
    placed = [
        *others,
        Placed(stretch(*negative, sign="-"), "t.csv, row 7"),
        Placed(stretch(*positive), "t.csv, row 9"),
    ]
    with pytest.raises(DatasetError, match=r"t\.csv, row 7: says .* and t\.csv, row 9 that"):
        refuse_contradictions(placed)


def test_what_only_touches_or_is_of_another_label_contradicts_nothing() -> None:
    said = [
        stretch(1, 2),
        stretch(2, 3, sign="-"),
        stretch(2, 2, sign="-"),
        stretch(0, 1, sign="-"),
        stretch(1, 2, "y", "-"),
        stretch(1, 2, sign="?"),
    ]
    refuse_contradictions([Placed(each, f"row {n}") for n, each in enumerate(said)])
