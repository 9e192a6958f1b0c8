import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from embedkit import metrics
from embedkit.errors import EmbedkitWarning
from embedkit.metrics import (
    accuracy,
    d_prime,
    macro_auc,
    mean_average_precision,
    resampled_weighted_auc,
    retrieval,
    weighted_auc,
)

Floats = NDArray[np.float64]


def draw(seed: int, clips: int = 60, classes: int = 4) -> tuple[Floats, Floats]:
    """Targets of unequal prevalence, and scores with many ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((clips, classes)) < np.linspace(0.1, 0.6, classes)).astype(float)
    targets[0], targets[1] = 0, 1
    return targets, np.round(rng.random((clips, classes)) + 0.3 * targets, 1)


def pair_auc(truth: Floats, scores: Floats) -> float:
    """How often a positive clip scores above a negative one; a tie counts a half."""
    wins = [
        (positive > negative) + (positive == negative) / 2
        for positive in scores[truth == 1]
        for negative in scores[truth == 0]
    ]
    return float(np.mean(wins))


def average_precision(truth: Floats, scores: Floats) -> float:
    """The precision at each threshold, weighted by the recall that it adds."""
    total = 0.0
    for threshold in set(scores[truth == 1]):
        above = scores >= threshold
        total += truth[above].mean() * truth[scores == threshold].sum() / truth.sum()
    return total


@pytest.mark.parametrize("seed", range(3))
def test_aucs_count_the_pairs_in_order(seed: int) -> None:
    targets, scores = draw(seed)
    aucs = np.array([pair_auc(t, s) for t, s in zip(targets.T, scores.T, strict=True)])
    prevalence = targets.mean(axis=0)
    by_hand = (aucs * prevalence).sum() / prevalence.sum()
    assert weighted_auc(targets, scores) == pytest.approx(by_hand, abs=1e-12)
    assert macro_auc(targets, scores) == pytest.approx(aucs.mean(), abs=1e-12)
    assert abs(by_hand - aucs.mean()) > 1e-4  # the weights do matter here
    library = roc_auc_score(targets, scores, average="weighted")
    assert weighted_auc(targets, scores) == pytest.approx(library, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_map_is_the_mean_of_the_classes_average_precision(seed: int) -> None:
    targets, scores = draw(seed)
    by_hand = [average_precision(t, s) for t, s in zip(targets.T, scores.T, strict=True)]
    assert mean_average_precision(targets, scores) == pytest.approx(np.mean(by_hand), abs=1e-12)


@pytest.mark.parametrize("figure", [weighted_auc, macro_auc, mean_average_precision])
def test_perfect_scores_give_1(figure: Callable[[Floats, Floats], float]) -> None:
    targets, _ = draw(0)
    assert figure(targets, targets * 0.2 - 5) == pytest.approx(1)


@pytest.mark.parametrize("figure", [weighted_auc, macro_auc])
def test_scores_turned_around_give_0(figure: Callable[[Floats, Floats], float]) -> None:
    targets, _ = draw(0)
    assert figure(targets, -targets) == pytest.approx(0)


@pytest.mark.parametrize("figure", [weighted_auc, macro_auc, mean_average_precision])
def test_classes_without_positives_or_negatives_are_left_out_with_a_warning(
    figure: Callable[[Floats, Floats], float],
) -> None:
    targets, scores = draw(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = figure(targets[:, [1, 3]], scores[:, [1, 3]])
    targets[:, 0], targets[:, 2] = 0, 1
    with pytest.warns(UserWarning, match="2 of 4 classes have no positive or no negative clip"):
        assert figure(targets, scores) == pytest.approx(expected, abs=1e-12)
    with pytest.warns(UserWarning, match="4 of 4"):
        assert np.isnan(figure(np.zeros_like(targets), scores))


def test_the_warning_points_at_the_caller() -> None:
    with pytest.warns(UserWarning, match="1 of 1") as caught:
        weighted_auc(np.zeros((3, 1)), np.zeros((3, 1)))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("k", [1, 5])
def test_retrieval_is_the_loop_over_queries(k: int) -> None:
    rng = np.random.default_rng(k)
    labels = np.array([0] * 8 + [1] * 5 + [2] * 2 + [3])  # nothing is relevant to the last
    vectors = rng.standard_normal((len(labels), 6)) * rng.uniform(0.1, 9, (len(labels), 1))
    vectors[:8] += [3, 0, 0, 0, 0, 0]
    precisions, at_k = [], []
    for query in range(15):
        ranked = sorted(
            (other for other in range(16) if other != query),
            key=lambda other: -(vectors[query] @ vectors[other]) / np.linalg.norm(vectors[other]),
        )
        hits = [labels[other] == labels[query] for other in ranked]
        found = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
        precisions.append(np.mean(found))
        at_k.append(np.mean(hits[:k]))
    expected = (np.mean(precisions), np.mean(at_k))
    assert retrieval(vectors, np.eye(4)[labels], k) == pytest.approx(expected, abs=1e-12)


def test_retrieval_ranks_a_vector_of_zeros_between_near_and_far() -> None:
    vectors = np.array([[1.0, 0], [2, 0.1], [0, 0], [-1, 0]])
    precision, at_1 = retrieval(vectors, np.eye(2)[[0, 0, 1, 1]], k=1)
    # The zeros tie with everything: 1 of 3 is relevant, not the first. From -1 they come first.
    assert precision == pytest.approx((1 + 1 + 1 / 3 + 1) / 4)
    assert at_1 == (1 + 1 + 0 + 1) / 4


def test_what_shares_a_label_is_relevant_and_many_queries_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = np.array([[1.0, 0], [1, 0.1], [1, 0.3], [0, 1]])
    targets = np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]])
    # By hand: the first one's relevant clips come first and third, and so on.
    expected = [(1 + 2 / 3) / 2, (1 + 1) / 2, 1, 1 / 3]
    assert retrieval(vectors, targets)[0] == pytest.approx(np.mean(expected))
    monkeypatch.setattr(metrics, "QUERIES", 1)
    found = {retrieval(vectors, targets, seed=seed)[0] for seed in range(20)}
    assert sorted(found) == pytest.approx(sorted({*expected}))


def test_retrieval_without_a_relevant_clip_is_undefined() -> None:
    assert np.isnan(retrieval(np.eye(3), np.eye(3))).all()


def test_accuracy_is_the_share_of_right_classes() -> None:
    truth = np.array([0, 1, 2, 2, 0])
    assert accuracy(truth, np.array([0, 1, 2, 1, 1])) == 0.6
    assert accuracy(truth, truth) == 1


def test_average_precision_of_the_test_is_scikit_learns() -> None:
    # The oracle itself, against an independent implementation.
    targets, scores = draw(9)
    assert average_precision(targets[:, 1], scores[:, 1]) == pytest.approx(
        average_precision_score(targets[:, 1], scores[:, 1])
    )


@pytest.mark.parametrize("separation", [0.0, 0.5, 1.0, 2.5])
def test_d_prime_is_the_distance_of_the_normal_distributions_that_were_drawn(
    separation: float,
) -> None:
    # At the quantiles of both distributions the AUC has no noise but the grid's.
    grid = norm.ppf((np.arange(2000) + 0.5) / 2000)
    scores = np.concatenate([grid, grid + separation])[:, None]
    targets = np.repeat([0.0, 1.0], 2000)[:, None]
    assert d_prime(targets, scores) == pytest.approx(separation, abs=2e-3)


def test_every_system_is_resampled_on_the_same_clips() -> None:
    targets, scores = draw(0)
    scores = np.round(scores, 1)  # some are equal
    found = resampled_weighted_auc(targets, scores, resamples=20, seed=3)
    drawn = np.random.default_rng(3).integers(len(targets), size=(20, len(targets)))
    expected = [weighted_auc(targets[clips], scores[clips]) for clips in drawn]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(resampled_weighted_auc(targets, 2 * scores - 1, 20, 3), found)
    alone = resampled_weighted_auc(np.ones((1, 2)), np.ones((1, 2)))
    assert np.isnan(alone).all()


def test_a_resample_that_lacks_a_class_leaves_it_out() -> None:
    targets = np.eye(2)[[0, 0, 0, 1]]
    targets = np.hstack([targets, [[0], [1], [0], [1]]])
    scores = np.random.default_rng(0).random((4, 3))
    found = resampled_weighted_auc(targets, scores, resamples=50)
    drawn = np.random.default_rng(0).integers(4, size=(50, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmbedkitWarning)
        expected = [weighted_auc(targets[clips], scores[clips]) for clips in drawn]
    np.testing.assert_allclose(found, expected)
