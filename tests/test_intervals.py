"""Intervals and tests of shares, by sums of probabilities that are written down in full."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from embedkit.classifiers.evaluate import Evaluation
from embedkit.classifiers.scene import Decision, against_best
from embedkit.metrics import mcnemar, share_interval, wilson

SHARE = 0.97


def coverage(intervals: list[tuple[float, float]], share: float) -> float:
    """How likely the interval of k right clips, by k, holds the share that they were drawn by."""
    chances = binom.pmf(np.arange(len(intervals)), len(intervals) - 1, share)
    return sum(
        chance
        for chance, (low, high) in zip(chances, intervals, strict=True)
        if low <= share <= high
    )


def by_bootstrap(count: int) -> list[tuple[float, float]]:
    """Percentiles of a resample's share, which is binomial: what intervals were made by before."""
    found = []
    for right in range(count + 1):
        low, high = binom.ppf([0.025, 0.975], count, right / count)
        found.append((float(low) / count, float(high) / count))
    return found


@pytest.mark.parametrize("count", [20, 40, 66, 80, 200, 400])
def test_the_interval_covers_a_share_of_97_in_100_as_often_as_it_says(count: int) -> None:
    intervals = [wilson(right / count, count) for right in range(count + 1)]
    assert 0.94 < coverage(intervals, SHARE) < 0.985
    shares = np.linspace(0.9, 0.99, 91)
    assert 0.945 < np.mean([coverage(intervals, share) for share in shares]) < 0.965


@pytest.mark.parametrize(("count", "below"), [(20, 0.5), (40, 0.75), (80, 0.91)])
def test_a_bootstrap_would_not(count: int, below: float) -> None:
    assert coverage(by_bootstrap(count), SHARE) < below


@pytest.mark.parametrize(("right", "count"), [(66, 66), (0, 5), (1, 1), (371, 400), (55, 80)])
def test_the_interval_is_scipys(right: int, count: int) -> None:
    found = binomtest(right, count).proportion_ci(0.95, "wilson")
    assert wilson(right / count, count) == pytest.approx((found.low, found.high), abs=1e-12)
    values = np.arange(count) < right
    assert share_interval(values.astype(float)) == wilson(right / count, count)


def test_66_of_66_is_no_certainty() -> None:
    # The share under which 66 of 66 is 1.96 deviations away: n p = (n + z^2) p^2.
    lowest = 66 / (66 + 1.959964**2)
    assert share_interval(np.ones(66)) == pytest.approx((lowest, 1), abs=1e-6)


def test_segments_of_a_clip_are_one_piece_of_evidence() -> None:
    # Every clip is right throughout or wrong throughout.
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    owners = [str(n) for n in np.repeat(np.arange(8), 50)]
    assert share_interval(np.repeat(values, 50), owners) == pytest.approx(share_interval(values))
    # Of one long clip and two short ones: (6 + 1 + 1)^2 / (36 + 1 + 1) clips.
    found = share_interval(np.ones(8), ["a"] * 6 + ["b", "c"])
    assert found == pytest.approx(wilson(1.0, 64 / 38))
    assert share_interval(np.ones(9), ["a"] * 9)[0] < 0.25  # one clip says nothing of others


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 5), (6, 0), (1, 8), (12, 3)])
def test_mcnemars_test_counts_the_coins_that_fall_as_unevenly(first: int, second: int) -> None:
    both, neither = 30, 4
    left = np.repeat([1.0, 0.0, 1.0, 0.0], [first, second, both, neither])
    right = np.repeat([0.0, 1.0, 1.0, 0.0], [first, second, both, neither])
    total = first + second
    uneven = abs(first - second)
    ways = sum(comb(total, k) for k in range(total + 1) if abs(total - 2 * k) >= uneven)
    assert mcnemar(left, right) == pytest.approx(ways / 2**total)
    assert mcnemar(right, left) == mcnemar(left, right)


def test_the_ways_to_decide_a_scene_are_tested_against_the_best() -> None:
    truth = np.eye(2)[np.zeros(20, int)]

    def right(count: int) -> Evaluation:
        scores = np.where(np.arange(20)[:, None] < count, truth, 1 - truth)
        return Evaluation(
            clips=[str(n) for n in range(20)], labels=("a", "b"), several_labels=False,
            targets=truth.astype(np.float32), scores=scores,
        )  # fmt: skip

    ways = zip(Decision, map(right, (12, 18, 17)), strict=True)
    found = against_best(dict(ways))
    assert list(found.values()) == pytest.approx([2 / 2**6, 1, 1])


def test_figures_have_no_point_for_an_interval_where_all_is_right() -> None:
    truth = np.eye(2)[np.arange(24) % 2]
    for each in (1, 3):  # clips, and three segments of each
        done = Evaluation(
            clips=[str(n) for n in range(24) for _ in range(each)],
            labels=("a", "b"),
            several_labels=False,
            targets=np.repeat(truth, each, axis=0).astype(np.float32),
            scores=np.repeat(truth, each, axis=0),
        )
        figures = done.figures()
        assert figures["accuracy"] == 1
        assert figures["accuracy_interval"] == pytest.approx((0.8620, 1), abs=1e-4)
