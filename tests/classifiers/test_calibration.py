"""What scores are worth, of made truths that are known."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from embedkit.classifiers.calibration import Bins, density, fit_curves, thresholds


def test_bins_are_halves_of_what_is_left() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1024) / 1024)
    bins = Bins.of(scores, 64)
    np.testing.assert_array_equal(bins.edges, [512 / 1024, 768 / 1024, 896 / 1024, 960 / 1024])
    np.testing.assert_array_equal(bins.counts, [512, 256, 128, 64, 64])
    np.testing.assert_array_equal(bins.place(np.array([0, 0.499, 0.5, 0.9, 1])), [0, 0, 1, 3, 4])
    assert len(Bins.of(np.random.default_rng(0).random(10**6), 10).counts) == 10
    # Where half of the scores are 0, they are one bin; of one score alone there is no other.
    bins = Bins.of(np.maximum(0, np.arange(-512, 512)) / 512, 64)
    np.testing.assert_array_equal(bins.counts, [513, 255, 128, 64, 64])
    np.testing.assert_array_equal(Bins.of(np.ones(50), 5).counts, [50])
    np.testing.assert_array_equal(Bins.of(np.arange(5.0), 10).counts, [5])


def test_of_two_values_a_curve_adds_half_to_each_count() -> None:
    # Firth's estimate of a 2 x 2 table is known: a half is added to each of its cells.
    values = np.array([0.0] * 10 + [1.0] * 7)
    right = np.array([True] * 3 + [False] * 7 + [True] * 7)
    ((intercept,), (slope,)) = fit_curves(values, right, np.ones((1, 17)))
    assert intercept == pytest.approx(np.log(3.5 / 7.5), abs=1e-7)
    assert intercept + slope == pytest.approx(np.log(7.5 / 0.5), abs=1e-7)
    # Counted thrice by weights is counted thrice.
    several = fit_curves(values, right, np.full((2, 17), 3.0))
    alone = fit_curves(np.tile(values, 3), np.tile(right, 3), np.ones((1, 51)))
    np.testing.assert_allclose(several, np.repeat(alone, 2, axis=1), atol=1e-7)


def test_of_much_a_curve_is_that_of_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(2, 3, 20_000)
    right = rng.random(20_000) < expit(-1 + 0.7 * values)
    ((intercept,), (slope,)) = fit_curves(values, right, np.ones((1, 20_000)))
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(values[:, None], right)
    assert intercept == pytest.approx(model.intercept_[0], abs=2e-3)
    assert slope == pytest.approx(model.coef_[0, 0], abs=1e-3)


def simulated(seed: int, reviewed: int) -> tuple[Bins, np.ndarray, np.ndarray, float]:
    """A collection of rare calls whose truth is a curve, what was reviewed of it, its density."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-4, 2.5, 20_000)
    chance = expit(-0.5 + 1.2 * logits)
    right = rng.random(len(logits)) < chance
    scores = expit(logits)
    bins = Bins.of(scores, reviewed // 10)
    place = bins.place(scores)
    each = reviewed // len(bins.counts)
    drawn = np.concatenate(
        [
            rng.choice(np.flatnonzero(place == number), each, replace=False)
            for number in range(len(bins.counts))
        ]
    )
    return bins, scores[drawn], right[drawn], float(right.mean())


def test_the_thresholds_of_a_known_curve_are_found_within_their_intervals() -> None:
    inside = np.zeros(3)
    middle = []
    runs = 30
    truth = expit((logit([0.9, 0.95, 0.99]) + 0.5) / 1.2)
    for seed in range(runs):
        bins, scores, right, _ = simulated(seed, 200)
        found = np.array(list(thresholds(bins, scores, right, seed).values()))
        inside += (found[:, 1] <= truth) & (truth <= found[:, 2])
        middle.append(found[:, 0])
    assert (inside >= 0.85 * runs).all()
    # Not one run's luck: half of the estimates are below the truth and half above.
    assert (np.abs(np.mean(np.array(middle) < truth, axis=0) - 0.5) < 0.3).all()


def test_the_density_is_without_bias_and_within_its_interval() -> None:
    differences, inside = [], 0
    runs = 300
    for seed in range(runs):
        bins, scores, right, truth = simulated(seed, 100)
        found = density(bins, scores, right)
        differences.append(found.value - truth)
        inside += found.low <= truth <= found.high
    error = np.std(differences) / np.sqrt(runs)
    assert abs(np.mean(differences)) < 3 * error
    assert inside >= 0.92 * runs, inside


def test_the_density_is_the_bins_shares_by_their_size() -> None:
    bins = Bins(edges=np.array([0.5, 0.75]), counts=np.array([50, 30, 20]))
    scores = np.array([0.1, 0.2, 0.6, 0.6, 0.7, 0.9])
    right = np.array([False, True, False, False, True, True])
    found = density(bins, scores, right)
    assert found.value == pytest.approx(0.5 * 1 / 2 + 0.3 * 1 / 3 + 0.2)
    assert found.low < found.value < found.high
    assert density(bins, scores, np.zeros(6, bool))[:2] == (0, 0)
    assert np.isnan(density(bins, scores[:-1], right[:-1])).all()  # a bin that nobody looked at


def test_scores_that_part_right_from_wrong_have_a_finite_threshold() -> None:
    scores = np.linspace(0.01, 0.99, 60)
    bins = Bins.of(scores, 6)
    found = thresholds(bins, scores, scores > 0.6)
    assert 0.5 < found[0.9].value < found[0.95].value < 0.99
    assert found[0.9].low <= found[0.9].value <= found[0.9].high


def test_a_precision_that_no_score_reaches_has_no_threshold() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.01, 0.99, 200)
    bins = Bins.of(scores, 20)
    coins = rng.random(200) < 0.5
    assert all(each.value == np.inf for each in thresholds(bins, scores, coins).values())
    # And what is right at every score needs none.
    always = thresholds(bins, scores, np.ones(200, bool))
    assert always[0.9].value < 0.01
